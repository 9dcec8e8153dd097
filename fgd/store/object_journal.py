"""The journal of the object store: what changed in which bucket, for those who wait for it.

It is read by cursor: whoever waits for events of a bucket says up to where it has them (`watch`), and they are removed
when everybody has them and an hour has passed, in which triggers that are being made or started say so.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import trio

from fgd.store import object_mirror
from fgd.store.object_types import Actor, ObjectError, ObjectEvent, StoredObject
from fgd.store.sqlite import Database

#: How long an event is kept for somebody who has not said yet that it waits for it.
EVENT_GRACE_S: Final = 3600.0


#: Changes of a project that wait for its triggers; beyond it nothing is changed until they have caught up.
EVENTS_MAX: Final = 1_000_000


class ObjectJournal:
    """Reads and trims it; `note_event` writes."""

    def __init__(self, database: Database, now_s: Callable[[], float]) -> None:
        self._database = database
        self._now_s = now_s
        self._changed: dict[tuple[str, str], trio.Event] = {}
        #: Reader -> (project, bucket, last event it has).
        self._readers: dict[str, tuple[str, str, int]] = {}
        self._began_s = now_s()
        #: Project -> changes that are kept.
        self._kept: dict[str, int] = {}

    async def load(self) -> None:
        """Counts what is there."""
        rows = await self._database.read(
            lambda one: one.execute("SELECT project, count(*) FROM event GROUP BY project").fetchall()
        )
        self._kept = dict(rows)

    def check_room(self, project_id: str) -> None:
        """Raises ObjectError where too many changes wait."""
        if self._kept.get(project_id, 0) >= EVENTS_MAX:
            raise ObjectError(
                "SlowDown", 503, f"{EVENTS_MAX:,} changes of the project's objects wait for triggers; try again later"
            )

    async def events(self, project_id: str, bucket: str, after: int, most: int) -> list[ObjectEvent]:
        """Events of a bucket after one, oldest first."""
        rows = await self._database.read(
            lambda one: one.execute(
                "SELECT seq, body FROM event WHERE project=? AND bucket=? AND seq>? ORDER BY seq LIMIT ?",
                (project_id, bucket, after, most),
            ).fetchall()
        )
        return [msgspec.structs.replace(msgspec.json.decode(body, type=ObjectEvent), seq=seq) for seq, body in rows]

    async def before(self, project_id: str, bucket: str, at_s: float) -> int:
        """The last event of a bucket before a moment (epoch seconds), 0 where there is none."""
        row = await self._database.read(
            lambda one: one.execute(
                "SELECT coalesce(max(seq), 0) FROM event WHERE project=? AND bucket=? AND at_s<?",
                (project_id, bucket, at_s),
            ).fetchone()
        )
        return int(row[0])

    def hold(self, reader: str, project_id: str, bucket: str) -> None:
        """A reader is about to say what it has; until then all is kept for it."""
        if self._readers.get(reader, ("", "", 0))[:2] != (project_id, bucket):
            self.watch(reader, project_id, bucket, 0)

    def watch(self, reader: str, project_id: str, bucket: str, seq: int) -> None:
        """A reader has all events of a bucket up to one: later ones are kept for it."""
        self._readers[reader] = (project_id, bucket, seq)

    def leave(self, reader: str) -> None:
        """A reader goes away for good; an unknown one is fine."""
        self._readers.pop(reader, None)

    def changed(self, project_id: str, bucket: str) -> Callable[[], Awaitable[None]]:
        """Call it before you look; what it gives waits for the next change after the call."""
        return self._changed.setdefault((project_id, bucket), trio.Event()).wait

    def added(self, project_id: str, bucket: str) -> None:
        """A change is on disk."""
        self.count(project_id, 1)
        self.wake(project_id, bucket)

    def count(self, project_id: str, number: int) -> None:
        """So many changes more are on disk."""
        self._kept[project_id] = self._kept.get(project_id, 0) + number

    def wake(self, project_id: str, bucket: str) -> None:
        """Lets those look who wait for a bucket."""
        waiting = self._changed.pop((project_id, bucket), None)
        if waiting is not None:
            waiting.set()

    async def trim(self, now_s: float) -> None:
        """Removes events that everybody has."""
        if now_s - self._began_s < EVENT_GRACE_S:
            return
        wanted: dict[tuple[str, str], int] = {}
        for project_id, bucket, seq in self._readers.values():
            wanted[project_id, bucket] = min(seq, wanted.get((project_id, bucket), seq))

        def work(one: sqlite3.Connection) -> dict[str, int]:
            removed: dict[str, int] = {}
            old = one.execute("SELECT DISTINCT project, bucket FROM event WHERE at_s < ?", (now_s - EVENT_GRACE_S,))
            for project_id, bucket in old.fetchall():
                done = one.execute(
                    "DELETE FROM event WHERE project=? AND bucket=? AND at_s < ? AND seq <= ?",
                    (project_id, bucket, now_s - EVENT_GRACE_S, wanted.get((project_id, bucket), 1 << 62)),
                )
                removed[project_id] = removed.get(project_id, 0) + done.rowcount
            object_mirror.forget(one, set(wanted))
            return removed

        for project_id, count in (await self._database.run(work)).items():
            self.count(project_id, -count)


def note_event(
    one: sqlite3.Connection, now_s: float, project_id: str, bucket: str, name: str, about: StoredObject, actor: Actor
) -> None:
    """A step of the transaction that changes the object."""
    event = ObjectEvent(
        seq=0, name=name, bucket=bucket, key=about.key, etag=about.etag, size=about.size, at_s=now_s,
        project_id=project_id, principal=actor.principal, address=actor.address, request_id=actor.request_id,
        chain=actor.chain,
    )  # fmt: skip
    append_event(one, bucket, event)


def append_event(one: sqlite3.Connection, stream: str, event: ObjectEvent) -> None:
    """A step of the transaction that takes a change over; `stream` is the bucket, or stands for one elsewhere."""
    one.execute(
        "INSERT INTO event (project, bucket, at_s, body) VALUES (?,?,?,?)",
        (event.project_id, stream, event.at_s, msgspec.json.encode(event).decode()),
    )
