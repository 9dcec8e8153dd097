"""The durable half of asynchronous invocation: events and what became of them, in `queue.db`.

Theory of operation: the engine (`fgd.invoke.queue`) gathers whatever has come up - new events, results, cancellations,
wishes for events to run - into one `Work`, and `commit` carries it out in one transaction with one fsync. While
that runs the next `Work` gathers. So thousands of events a second share some hundreds of fsyncs (group commit), and
an event that comes in while there is room is stored and claimed by the same transaction.

States of a row: WAITING (0) -> CLAIMED (1) -> SUCCESS (2) | FAIL (3) | DISCARD (4), and CLAIMED -> WAITING with a
later `due_s` for a retry. A claim is a lease of the daemon that runs now: it holds the lock of the state directory,
so whatever is CLAIMED when it starts belonged to a dead one and waits again. An event may so run twice, never not.

Rows of one statement are bound and read in one step wherever there can be many (see `fgd.store.sqlite`).
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import msgspec

from fgd.errors import StorageFull
from fgd.model import AsyncState
from fgd.store import deliveries
from fgd.store.api import AsyncRecord
from fgd.store.deliveries import DeliveryStore, NewDelivery
from fgd.store.reserve import Reserve
from fgd.store.sqlite import Database, Migrations, slices, values_sql

WAITING: Final = 0
CLAIMED: Final = 1
SUCCESS: Final = 2
FAIL: Final = 3
DISCARD: Final = 4
_NAMES: Final[tuple[AsyncState, ...]] = ("WAIT", "RUNNING", "SUCCESS", "FAIL", "DISCARD")

MIGRATIONS: Migrations = (
    (
        "CREATE TABLE function (fn INTEGER PRIMARY KEY, func_id TEXT NOT NULL, version TEXT NOT NULL,"
        " UNIQUE (func_id, version))",
        """CREATE TABLE event (
            id INTEGER PRIMARY KEY, fn INTEGER NOT NULL, request_id TEXT NOT NULL,
            state INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0,
            due_s REAL NOT NULL, enqueued_s REAL NOT NULL,
            start_s REAL NOT NULL DEFAULT 0, end_s REAL NOT NULL DEFAULT 0,
            error_code INTEGER NOT NULL DEFAULT 0, error_message TEXT NOT NULL DEFAULT '',
            event BLOB
        )""",
        "CREATE INDEX event_open ON event (fn, state, due_s) WHERE state < 2",
        "CREATE INDEX event_request ON event (request_id)",
        "CREATE INDEX event_function ON event (fn)",
    ),
    # JSON of `fgd.call.CallOptions`, "" for none
    ("ALTER TABLE event ADD COLUMN options TEXT NOT NULL DEFAULT ''",),
    deliveries.SCHEMA,
)
_INSERT: Final = "INSERT INTO event (fn, request_id, due_s, enqueued_s, event, options) VALUES "
_INSERT_COLUMNS: Final = 6
_UPDATE: Final = (
    "WITH v(id, state, tries, due_s, error_code, error_message, start_s, end_s) AS (VALUES {rows})"
    " UPDATE event SET state=v.state, tries=v.tries, due_s=v.due_s, error_code=v.error_code,"
    " error_message=v.error_message, start_s=v.start_s, end_s=v.end_s,"
    " event=CASE WHEN v.state >= 2 THEN NULL ELSE event.event END"
    " FROM v WHERE event.id=v.id AND event.state=1"
)
_UPDATE_COLUMNS: Final = 8
_NEXT: Final = (
    "SELECT id, request_id, tries, enqueued_s, start_s, options, event FROM event INDEXED BY event_open"
    " WHERE fn=? AND state=0 AND state<2 AND due_s<=? ORDER BY due_s LIMIT ?"
)
#: One row for all claimed events: what is small as JSON, the events one after the other as one blob.
_FETCH: Final = (
    "SELECT json_group_array(json_array(id, request_id, tries, enqueued_s, start_s, options, length(event))),"
    f" CAST(group_concat(event, '') AS BLOB) FROM ({_NEXT})"
)
_CLAIM: Final = "UPDATE event SET state=1 WHERE id IN (SELECT value FROM json_each(?))"
_MESSAGE_MAX_CHARS: Final = 1024
#: No retry waits longer than this.
BACKOFF_MAX_S: Final = 300.0

#: (func_id, version)
type Key = tuple[str, str]
_ROWS = msgspec.json.Decoder(list[tuple[int, str, int, float, float, str, int]])


class NewEvent(NamedTuple):
    """An event to be stored."""

    key: Key
    request_id: str
    event: bytes
    enqueued_s: float
    options: str = ""
    #: The delivery whose document this is: that is over when this is stored; 0 for none.
    delivery: int = 0


class Change(NamedTuple):
    """What became of a claimed event. `state` WAITING with a `due_s` is a retry."""

    id: int
    state: int
    tries: int
    due_s: float
    error_code: int
    error_message: str
    start_s: float
    end_s: float


class ClaimedEvent(NamedTuple):
    """An event that is ours to run."""

    id: int
    request_id: str
    event: bytes
    tries: int
    enqueued_s: float
    start_s: float
    options: str


class Work(NamedTuple):
    """Everything that one transaction does, in this order."""

    now_s: float
    new: Sequence[NewEvent] = ()
    changes: Sequence[Change] = ()
    #: Ids of claimed events of which no record shall remain.
    forget: Sequence[int] = ()
    #: Outcomes of the changed and forgotten events that go somewhere.
    deliveries: Sequence[NewDelivery] = ()
    #: Request ids of waiting events to be discarded.
    cancels: Sequence[str] = ()
    #: Function version and how many of its due events, longest due first.
    claims: Sequence[tuple[Key, int]] = ()


class Done(NamedTuple):
    """What came of a `Work`."""

    #: For each claim its events, and when the function's next waiting one is due (None: no other waits).
    claimed: list[tuple[Key, list[ClaimedEvent], float | None]]
    #: For each cancellation the function version whose event was discarded, or None.
    cancelled: list[Key | None]


class Backlog(NamedTuple):
    """Waiting events of one function version: how many, and when the first is due."""

    key: Key
    waiting: int
    due_s: float


class QueueStore:
    """Events on disk. Make it with `open`."""

    def __init__(self, database: Database, reserve: Reserve) -> None:
        self._database = database
        self._reserve = reserve
        self._numbers: dict[Key, int] = {}

    @classmethod
    async def open(cls, state_dir: Path) -> Self:
        """Opens `queue.db`. Raises StateError and StorageFull as `Database.open` does."""
        reserve = Reserve(state_dir / "queue.reserve")
        database = await Database.open(state_dir / "queue.db", MIGRATIONS)
        self = cls(database, reserve)
        await database.read(self._keep_reserve)
        return self

    async def aclose(self) -> None:
        await self._database.aclose()

    @property
    def deliveries(self) -> DeliveryStore:
        """The outcomes that go somewhere, in the same database."""
        return DeliveryStore(self._database, self._freeing)

    @property
    def batch_max_bytes(self) -> int:
        """Bytes of events that one transaction should have at most (more than one event), see `Reserve`."""
        return self._reserve.size_bytes // 4

    async def recover(self, now_s: float) -> list[Backlog]:
        """Lets claimed events wait again, and tells what waits. Loads no event, so it is quick with any number."""
        return await self._database.run(lambda connection: self._recover(connection, now_s))

    async def commit(self, work: Work) -> Done:
        """Carries out a piece of work; when this returns it is on disk.

        On a full disk, work without new events may use up the reserve: it frees room in the end.

        Raises:
            StorageFull: nothing of it was done.
        """
        if work.new:
            return await self._database.run(lambda connection: self._commit(connection, work))
        return await self._freeing(lambda connection: self._commit(connection, work))

    async def _freeing[T](self, work: Callable[[sqlite3.Connection], T]) -> T:
        """A transaction that frees room in the end, and may use up the reserve for it."""
        try:
            return await self._database.run(work)
        except StorageFull:
            await self._database.read(self._use_reserve)
        return await self._database.run(work)

    async def keep_reserve(self) -> None:
        """Makes the reserve again if it was used and the disk has room; call it now and then."""
        await self._database.read(self._keep_reserve)

    async def records(
        self, func_id: str, *, version: str, request_id: str, states: Sequence[int], begin_s: float, end_s: float,
        offset: int, limit: int, held: Sequence[int],
    ) -> list[AsyncRecord]:  # fmt: skip
        """Records of a function, newest first.

        Args:
            version, request_id, begin_s, end_s: "" and 0 mean any; the times are those of enqueueing, both included.
            states: of `_NAMES`, by number.
            held: ids of events that are claimed but not yet running: they count as waiting.
        """
        where, values = ["fn IN (SELECT fn FROM function WHERE func_id=? AND (?='' OR version=?))"], [
            func_id, version, version,
        ]  # type: tuple[list[str], list[Any]]  # fmt: skip
        if request_id:
            where.append("request_id=?")
            values.append(request_id)
        if begin_s:
            where.append("enqueued_s>=?")
            values.append(begin_s)
        if end_s:
            where.append("enqueued_s<=?")
            values.append(end_s)
        ids = msgspec.json.encode(held).decode()
        sql = (
            "SELECT * FROM (SELECT request_id, (SELECT func_id FROM function WHERE function.fn=event.fn),"
            " (SELECT version FROM function WHERE function.fn=event.fn),"
            " CASE WHEN state=1 AND id IN (SELECT value FROM json_each(?)) THEN 0 ELSE state END AS now,"
            " tries, error_code, error_message, enqueued_s, start_s, end_s FROM event"
            f" WHERE {' AND '.join(where)} ORDER BY id DESC)"
            " WHERE now IN (SELECT value FROM json_each(?)) LIMIT ? OFFSET ?"
        )
        wanted = msgspec.json.encode(states).decode()

        def read(connection: sqlite3.Connection) -> list[Any]:
            return connection.execute(sql, (ids, *values, wanted, limit, offset)).fetchall()

        return [_record(row) for row in await self._database.read(read)]

    async def expire(self, before_s: float, after_id: int, most: int = 2000) -> int:
        """Removes records that ended before a moment; gives the id to continue behind, 0 when it is done.

        Ids grow with the time of enqueueing and nothing ends before it was enqueued, so the look ends where rows were
        enqueued later; it needs no index.
        """

        def work(connection: sqlite3.Connection) -> int:
            last, seen = connection.execute(
                "SELECT max(CASE WHEN enqueued_s<? THEN id END), count(*) FROM"
                " (SELECT id, enqueued_s FROM event WHERE id>? ORDER BY id LIMIT ?)",
                (before_s, after_id, most),
            ).fetchone()
            if last is None:
                return 0
            connection.execute(
                "DELETE FROM event WHERE id>? AND id<=? AND state>=2 AND end_s<?", (after_id, last, before_s)
            )
            return int(last) if seen == most else 0

        return await self._database.run(work)

    # --- in the database's thread ------------------------------------------------------------------------

    def _keep_reserve(self, connection: sqlite3.Connection) -> None:
        self._reserve.make()
        pages = max(16, self._reserve.size_bytes // 4 // 4096)
        connection.execute(f"PRAGMA wal_autocheckpoint={pages}")

    def _use_reserve(self, connection: sqlite3.Connection) -> None:
        self._reserve.release()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _recover(self, connection: sqlite3.Connection, now_s: float) -> list[Backlog]:
        keys: dict[int, Key] = {}
        for fn, func_id, version in connection.execute("SELECT fn, func_id, version FROM function").fetchall():
            keys[fn] = (func_id, version)
            connection.execute(
                "UPDATE event INDEXED BY event_open SET state=0 WHERE fn=? AND state=1 AND state<2", (fn,)
            )
            # The clock was set back: what was enqueued "in the future" or waits longer than any retry is due now.
            connection.execute(
                "UPDATE event INDEXED BY event_open SET due_s=? WHERE fn=? AND state=0 AND state<2 AND due_s>?"
                " AND (tries=0 OR due_s>?)", (now_s, fn, now_s, now_s + BACKOFF_MAX_S),
            )  # fmt: skip
        connection.execute("DELETE FROM function WHERE fn NOT IN (SELECT fn FROM event)")
        rows = connection.execute(
            "SELECT fn, count(*), min(due_s) FROM event INDEXED BY event_open"
            " WHERE state=0 AND state<2 GROUP BY fn"
        ).fetchall()  # fmt: skip
        return [Backlog(keys[fn], waiting, due_s) for fn, waiting, due_s in rows]

    def _commit(self, connection: sqlite3.Connection, work: Work) -> Done:
        try:
            self._insert(connection, work.new)
            self._change(connection, work.changes)
            if work.forget:
                ids = msgspec.json.encode(work.forget).decode()
                connection.execute("DELETE FROM event WHERE id IN (SELECT value FROM json_each(?))", (ids,))
            if work.deliveries:
                deliveries.insert(connection, work.deliveries)
            cancelled = [self._cancel(connection, request_id, work.now_s) for request_id in work.cancels]
            claimed = [self._claim(connection, key, most, work.now_s) for key, most in work.claims]
        except BaseException:
            self._numbers.clear()  # numbers given in this transaction are not valid any more
            raise
        return Done(claimed, cancelled)

    def _insert(self, connection: sqlite3.Connection, new: Sequence[NewEvent]) -> None:
        at = 0
        for size in slices(len(new)):
            values: list[Any] = []
            handed: list[int] = []
            for key, request_id, event, enqueued_s, options, delivery in new[at : at + size]:
                values += (self._number(connection, key), request_id, enqueued_s, enqueued_s, event, options)
                if delivery:
                    handed.append(delivery)
            connection.execute(_INSERT + values_sql(_INSERT_COLUMNS, size), values)
            if handed:
                deliveries.delete(connection, handed)
            at += size

    def _change(self, connection: sqlite3.Connection, changes: Sequence[Change]) -> None:
        at = 0
        for size in slices(len(changes)):
            values: list[Any] = []
            for change in changes[at : at + size]:
                values += change
            connection.execute(_UPDATE.format(rows=values_sql(_UPDATE_COLUMNS, size)), values)
            at += size

    def _cancel(self, connection: sqlite3.Connection, request_id: str, now_s: float) -> Key | None:
        row = connection.execute(
            "SELECT event.id, func_id, version FROM event JOIN function USING (fn)"
            " WHERE request_id=? AND event.state=0", (request_id,)
        ).fetchone()  # fmt: skip
        if row is None:
            return None
        connection.execute(
            "UPDATE event SET state=4, end_s=?, error_code=4208, error_message=?, event=NULL WHERE id=?",
            (now_s, "function invocation canceled", row[0]),
        )
        return (row[1], row[2])

    def _claim(
        self, connection: sqlite3.Connection, key: Key, most: int, now_s: float
    ) -> tuple[Key, list[ClaimedEvent], float | None]:
        fn = self._number(connection, key)
        text, events = connection.execute(_FETCH, (fn, now_s, most)).fetchone()
        rows = _ROWS.decode(text)
        claimed: list[ClaimedEvent] = []
        at = 0
        for number, request_id, tries, enqueued_s, start_s, options, length in rows:
            event = events[at : at + length]
            claimed.append(ClaimedEvent(number, request_id, event, tries, enqueued_s, start_s, options))
            at += length
        if claimed:
            connection.execute(_CLAIM, (msgspec.json.encode([event.id for event in claimed]).decode(),))
        if len(claimed) == most:
            return key, claimed, now_s
        due = connection.execute(
            "SELECT min(due_s) FROM event INDEXED BY event_open WHERE fn=? AND state=0 AND state<2", (fn,)
        ).fetchone()
        return key, claimed, due[0]

    def _number(self, connection: sqlite3.Connection, key: Key) -> int:
        number = self._numbers.get(key)
        if number is None:
            connection.execute("INSERT OR IGNORE INTO function (func_id, version) VALUES (?,?)", key)
            row = connection.execute("SELECT fn FROM function WHERE func_id=? AND version=?", key).fetchone()
            number = self._numbers[key] = int(row[0])
        return number


def message(text: str) -> str:
    """An error message of a length that is fit for a record."""
    return text if len(text) <= _MESSAGE_MAX_CHARS else text[: _MESSAGE_MAX_CHARS - 3] + "..."


def state_numbers(state: str) -> tuple[int, ...]:
    """The states that a name means; all for ""."""
    return tuple(number for number, name in enumerate(_NAMES) if state in ("", name))


def _record(row: Any) -> AsyncRecord:
    return AsyncRecord(
        request_id=row[0], func_id=row[1], version=row[2], state=_NAMES[row[3]], tries=row[4], error_code=row[5],
        error_message=row[6], enqueued_s=row[7], start_s=row[8], end_s=row[9],
    )  # fmt: skip
