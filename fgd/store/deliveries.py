"""Deliveries on disk: outcomes of asynchronous invocations on their way to a destination, in `queue.db`.

A row is made by the transaction that ends its event (`fgd.store.queue`), and goes when it was delivered. OPEN (0) waits
for its moment; FAILED (1) was given up and is kept, with its document, until somebody has it tried again or drops it,
or until it is too old.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

from fgd.store.sqlite import Database, slices, values_sql

OPEN: Final = 0
FAILED: Final = 1
STATES: Final = ("WAIT", "FAIL")

#: (func_id, version)
type Key = tuple[str, str]


class Run(Protocol):
    """As `Database.run`."""

    async def __call__[T](self, work: Callable[[sqlite3.Connection], T]) -> T: ...


SCHEMA: Final = (
    # A number is never used twice (AUTOINCREMENT): whoever remembers one must not meet another delivery under it.
    """CREATE TABLE delivery (
        id INTEGER PRIMARY KEY AUTOINCREMENT, func_id TEXT NOT NULL, version TEXT NOT NULL, request_id TEXT NOT NULL,
        state INTEGER NOT NULL DEFAULT 0, success INTEGER NOT NULL, function_urn TEXT NOT NULL,
        kind TEXT NOT NULL, param TEXT NOT NULL, chain TEXT NOT NULL DEFAULT '',
        tries INTEGER NOT NULL DEFAULT 0, created_s REAL NOT NULL, since_s REAL NOT NULL, due_s REAL NOT NULL,
        end_s REAL NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '', document BLOB NOT NULL
    )""",
    "CREATE INDEX delivery_open ON delivery (func_id, version, due_s) WHERE state = 0",
    "CREATE INDEX delivery_function ON delivery (func_id, state)",
)
_INSERT: Final = (
    "INSERT INTO delivery (func_id, version, request_id, success, function_urn, kind, param, chain, created_s, since_s,"
    " due_s, document) VALUES "
)
_INSERT_COLUMNS: Final = 12
_UPDATE: Final = (
    "WITH v(id, state, tries, due_s, end_s, error) AS (VALUES {rows}) UPDATE delivery SET state=v.state,"
    " tries=v.tries, due_s=v.due_s, end_s=v.end_s, error=v.error FROM v WHERE delivery.id=v.id RETURNING delivery.id"
)
_UPDATE_COLUMNS: Final = 6
_COLUMNS: Final = (
    "id, func_id, version, request_id, state, success, function_urn, kind, param, chain, tries, created_s,"
    " since_s, due_s, end_s, error"
)


class NewDelivery(NamedTuple):
    """An outcome to be delivered. `chain`: ids of functions, joined by commas."""

    key: Key
    request_id: str
    success: bool
    function_urn: str
    kind: str
    param: str
    chain: str
    created_s: float
    document: bytes


class StoredDelivery(msgspec.Struct, frozen=True):
    """A row. `since_s`: when it was stored, or given back to be tried again. `end_s` is 0 while it is open.

    `document` is empty in lists.
    """

    id: int
    func_id: str
    version: str
    request_id: str
    state: int
    success: bool
    function_urn: str
    kind: str
    param: str
    chain: str
    tries: int
    created_s: float
    since_s: float
    due_s: float
    end_s: float
    error: str
    document: bytes = b""


class Settlement(NamedTuple):
    """What became of a try that was not the last word: OPEN with a later `due_s`, or FAILED."""

    id: int
    state: int
    tries: int
    due_s: float
    end_s: float
    error: str


class Pending(NamedTuple):
    """Open deliveries of a function version: how many, and when the first is due."""

    key: Key
    waiting: int
    due_s: float


def insert(connection: sqlite3.Connection, new: Sequence[NewDelivery]) -> None:
    """Stores deliveries as part of a transaction."""
    at = 0
    for size in slices(len(new)):
        values: list[Any] = []
        for one in new[at : at + size]:
            values += (
                *one.key, one.request_id, one.success, one.function_urn, one.kind, one.param, one.chain, one.created_s,
                one.created_s, one.created_s, one.document,
            )  # fmt: skip
        connection.execute(_INSERT + values_sql(_INSERT_COLUMNS, size), values)
        at += size


def delete(connection: sqlite3.Connection, ids: Iterable[int]) -> None:
    """Removes deliveries as part of a transaction."""
    connection.execute("DELETE FROM delivery WHERE id IN (SELECT value FROM json_each(?))", (_json(ids),))


class DeliveryStore:
    """The table of deliveries. Every method is one transaction; errors are those of `Database.run`."""

    def __init__(self, database: Database, freeing: Run) -> None:
        """
        Args:
            freeing: runs transactions that must be possible on a full disk, because they make room.
        """
        self._database = database
        self._freeing = freeing

    async def pending(self, now_s: float, latest_s: float) -> list[Pending]:
        """What is open, by function version; at the start.

        What is due after `latest_s` is due now: no pause is that long, so the clock was set back.
        """

        def work(connection: sqlite3.Connection) -> list[Any]:
            connection.execute("UPDATE delivery SET due_s=? WHERE state=0 AND due_s>?", (now_s, latest_s))
            return connection.execute(
                "SELECT func_id, version, count(*), min(due_s) FROM delivery WHERE state=0 GROUP BY func_id, version"
            ).fetchall()

        return [Pending((row[0], row[1]), row[2], row[3]) for row in await self._database.run(work)]

    async def take(
        self, key: Key, now_s: float, most: int, held: Sequence[int]
    ) -> tuple[list[StoredDelivery], float | None]:
        """Due deliveries of a function version without those in `held`, and when the next one after them is due."""

        def work(connection: sqlite3.Connection) -> tuple[list[Any], float | None]:
            rows = connection.execute(
                f"SELECT {_COLUMNS}, document FROM delivery INDEXED BY delivery_open WHERE func_id=? AND version=?"
                " AND state=0 AND due_s<=? AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY due_s LIMIT ?",
                (*key, now_s, _json(held), most),
            ).fetchall()
            known = [*held, *(row[0] for row in rows)]
            (due_s,) = connection.execute(
                "SELECT min(due_s) FROM delivery INDEXED BY delivery_open WHERE func_id=? AND version=? AND state=0"
                " AND id NOT IN (SELECT value FROM json_each(?))",
                (*key, _json(known)),
            ).fetchone()
            return rows, due_s

        rows, due_s = await self._database.read(work)
        return [_stored(row) for row in rows], due_s

    async def settle(self, delivered: Sequence[int], others: Sequence[Settlement]) -> set[int]:
        """Writes down what became of tries; when this returns it is on disk.

        Gives those of `others` that were there still: one whose time was over may have been handed over all the same.
        """

        def work(connection: sqlite3.Connection) -> set[int]:
            delete(connection, delivered)
            found: set[int] = set()
            at = 0
            for size in slices(len(others)):
                values = [value for one in others[at : at + size] for value in one]
                rows = connection.execute(_UPDATE.format(rows=values_sql(_UPDATE_COLUMNS, size)), values).fetchall()
                found.update(row[0] for row in rows)
                at += size
            return found

        return await self._freeing(work)

    async def list(
        self, func_id: str, *, version: str = "", state: int | None = None, request_id: str = "", offset: int = 0,
        limit: int,
    ) -> list[StoredDelivery]:  # fmt: skip
        """Deliveries of a function, newest first, without their documents; "" and None mean any."""

        def work(connection: sqlite3.Connection) -> list[Any]:
            return connection.execute(
                f"SELECT {_COLUMNS} FROM delivery WHERE func_id=? AND (?='' OR version=?) AND (?='' OR request_id=?)"
                " AND (? IS NULL OR state=?) ORDER BY id DESC LIMIT ? OFFSET ?",
                (func_id, version, version, request_id, request_id, state, state, limit, offset),
            ).fetchall()

        return [_stored(row) for row in await self._database.read(work)]

    async def get(self, func_id: str, number: int) -> StoredDelivery | None:
        """A delivery of a function, with its document."""

        def work(connection: sqlite3.Connection) -> Any:
            return connection.execute(
                f"SELECT {_COLUMNS}, document FROM delivery WHERE func_id=? AND id=?", (func_id, number)
            ).fetchone()

        row = await self._database.read(work)
        return None if row is None else _stored(row)

    async def failed(
        self, func_id: str, version: str, ids: Sequence[int] | None, then: Literal["retry", "drop"], now_s: float
    ) -> dict[Key, int]:
        """Has failed deliveries of a function tried again from the start, or drops them; gives how many, by version.

        Args:
            version: only of this one; "" for any.
            ids: which; None for all.
        """

        def work(connection: sqlite3.Connection) -> dict[Key, int]:
            where = "state=1 AND func_id=? AND (?='' OR version=?)"
            values: list[Any] = [func_id, version, version]
            if ids is not None:
                where += " AND id IN (SELECT value FROM json_each(?))"
                values.append(_json(ids))
            found = connection.execute(
                f"SELECT version, count(*) FROM delivery WHERE {where} GROUP BY version", values
            ).fetchall()
            if then == "drop":
                connection.execute(f"DELETE FROM delivery WHERE {where}", values)
            else:
                connection.execute(
                    f"UPDATE delivery SET state=0, tries=0, since_s=?, due_s=?, end_s=0 WHERE {where}",
                    [now_s, now_s, *values],
                )
            return {(func_id, name): count for name, count in found}

        return await self._freeing(work)

    async def expire(self, before_s: float, kept_max: int) -> dict[tuple[str, str, str], int]:
        """Removes deliveries that failed before a moment, and of each function the oldest failed ones over a number.

        Gives how many of each (func_id, version, kind).
        """

        def work(connection: sqlite3.Connection) -> list[Any]:
            doomed = (
                "SELECT id FROM (SELECT id, end_s, row_number() OVER (PARTITION BY func_id ORDER BY id DESC) AS place"
                " FROM delivery WHERE state=1) WHERE end_s<? OR place>?"
            )
            found = connection.execute(
                f"SELECT func_id, version, kind, count(*) FROM delivery WHERE id IN ({doomed})"
                " GROUP BY func_id, version, kind",
                (before_s, kept_max),
            ).fetchall()
            if found:
                connection.execute(f"DELETE FROM delivery WHERE id IN ({doomed})", (before_s, kept_max))
            return found

        rows = await self._freeing(work)
        return {(row[0], row[1], row[2]): row[3] for row in rows}

    async def count_failed(self) -> int:
        """Failed deliveries that are kept, of all functions."""

        def work(connection: sqlite3.Connection) -> int:
            return int(connection.execute("SELECT count(*) FROM delivery WHERE state=1").fetchone()[0])

        return await self._database.read(work)


def _stored(row: Any) -> StoredDelivery:
    number, func_id, version, request_id, state, success, *others = row
    return StoredDelivery(number, func_id, version, request_id, state, bool(success), *others)


def _json(ids: Iterable[int]) -> str:
    return msgspec.json.encode(list(ids)).decode()
