"""Looks at a bucket of another object store: its list is taken over, its changes go into the journal."""

import sqlite3
from collections.abc import AsyncIterable, Sequence
from itertools import pairwise

from fgd.errors import ObjectStoreAway
from fgd.store import object_mirror
from fgd.store.object_journal import append_event
from fgd.store.object_mirror import Seen
from fgd.store.objects import ObjectStore


class Looks:
    """At one bucket, for one stream of the journal; one look at a time."""

    def __init__(self, store: ObjectStore, project_id: str, stream: str, bucket: str) -> None:
        self._store = store
        self._project_id = project_id
        self._stream = stream
        self._bucket = bucket

    async def begin(self, since_s: float) -> None:
        """Forgets what was seen before a moment (epoch seconds), so that the next look tells nothing."""
        project_id, stream = self._project_id, self._stream

        def work(one: sqlite3.Connection) -> int:
            seen_s = object_mirror.seen_s(one, project_id, stream)
            if seen_s is not None and seen_s >= since_s:
                return 0  # it was begun already; all that is in the journal is new
            object_mirror.drop(one, project_id, stream)
            return one.execute("DELETE FROM event WHERE project=? AND bucket=?", (project_id, stream)).rowcount

        self._store.journal.count(project_id, -await self._store.database.run(work))

    async def look(self, pages: AsyncIterable[tuple[Sequence[Seen], bool]]) -> None:
        """Takes a whole list over: (objects, whether it is the last) for each page, in the order of keys.

        Raises:
            ObjectError: too many changes wait.
            ObjectStoreAway: the list is in another order.
        """
        store, after = self._store, ""
        seen_s = await store.database.read(
            lambda one: object_mirror.seen_s(one, self._project_id, self._stream)
        )  # fmt: skip
        async for page, last in pages:
            if any(first >= second for first, second in pairwise([after, *(one.key for one in page)])):
                raise ObjectStoreAway(
                    f"object store: the list of the bucket {self._bucket} is not in the order of keys"
                )
            done: str | None = after
            while done is not None:
                store.journal.check_room(self._project_id)
                done = await self._take(done, page, last=last, tell=seen_s is not None)
            after = page[-1].key if page else after

    async def _take(self, after: str, page: Sequence[Seen], *, last: bool, tell: bool) -> str | None:
        now_s = self._store.now_s()

        def work(one: sqlite3.Connection) -> tuple[int, str | None]:
            events, done = object_mirror.take(
                one, self._project_id, self._stream, self._bucket, after, page, last=last, now_s=now_s
            )
            told = events if tell else []
            for event in told:
                append_event(one, self._stream, event)
            if last and done is None:
                object_mirror.finish(one, self._project_id, self._stream, now_s)
            return len(told), done

        count, done = await self._store.database.run(work)
        self._store.journal.count(self._project_id, count)
        return done
