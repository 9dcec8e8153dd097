"""Lines of log streams on disk: one row of `streams.db` holds up to 1,000 lines of one stream.

Theory of operation: lines are appended in groups, as clients send them, and all groups that wait while one is being
written go into the next transaction together (group commit). A commit survives the end of the process at once and a
power cut after some seconds (see `fgd.store.sqlite`). Ids of rows grow with the order of writing: they begin at the
milliseconds of the clock and go up by one at least. A position is such an id times 1,024 plus the number of the line
in its row; "after" a position are the lines with a higher one. Positions stay below 2**53, so that any JSON reader
keeps them whole.

Lines that come from a function's own log carry where that log was read up to (`Progress`), in the same transaction.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self

import msgspec
import trio

from fgd.errors import FgdError
from fgd.store.sqlite import Database, Migrations, values_sql

POSITION_STEP: Final = 1024
CHUNK_MAX: Final = 1000
#: Groups of lines that one transaction takes.
_AT_ONCE: Final = 256
_ROWS_AT_ONCE: Final = 64
_CHUNK_CHARS: Final = 512 * 1024
_READ_ROWS: Final = 32
_READ_BYTES: Final = 4 * 1024 * 1024

MIGRATIONS: Migrations = (
    (
        """CREATE TABLE chunk (
            id INTEGER PRIMARY KEY, stream_id TEXT NOT NULL, bytes INTEGER NOT NULL, body BLOB NOT NULL
        )""",
        "CREATE INDEX chunk_stream ON chunk (stream_id, id, bytes)",
        "CREATE TABLE progress (func_id TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID",
    ),
)


class StreamLine(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line of a log stream. `time_ms`: epoch milliseconds, as whoever wrote it says."""

    time_ms: int
    text: str
    host: str = ""
    ip: str = ""
    path: str = ""


#: A function and the cursor of the log book up to which its lines are in streams.
type Progress = tuple[str, int]


@dataclass(slots=True)
class _Entry:
    """What one call of `append` gave."""

    parts: Sequence[tuple[str, Sequence[StreamLine]]]
    progress: Progress | None
    done: bool = False
    error: FgdError | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[StreamLine]).decode


class StreamStore:
    """Lines of all streams. Make it with `open`; close it with `aclose`."""

    def __init__(self, database: Database, now_s: Callable[[], float], last_id: int) -> None:
        self._database = database
        self._now_s = now_s
        self._waiting: list[_Entry] = []
        self._writing = trio.Lock()
        self._last_id = last_id

    @classmethod
    async def open(cls, state_dir: Path, now_s: Callable[[], float]) -> Self:
        """Opens `streams.db`; raises as `Database.open`."""
        database = await Database.open(state_dir / "streams.db", MIGRATIONS, synchronous="NORMAL")
        last_id = await database.read(
            lambda connection: connection.execute("SELECT coalesce(max(id), 0) FROM chunk").fetchone()[0]
        )
        return cls(database, now_s, last_id)

    async def aclose(self) -> None:
        """Closes the file. May be called twice."""
        await self._database.aclose()

    async def append(self, parts: Sequence[tuple[str, Sequence[StreamLine]]], progress: Progress | None = None) -> None:
        """Adds lines to streams, by the streams' ids; they are on disk when this returns.

        Raises:
            StorageFull, StateError: nothing of it was stored.
        """
        entry = _Entry(parts, progress)
        self._waiting.append(entry)
        with trio.CancelScope(shield=True):
            async with self._writing:
                while not entry.done:
                    await self._write_some()
        if entry.error is not None:
            raise entry.error

    async def _write_some(self) -> None:
        batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
        first = max(self._last_id + 1, int(self._now_s() * 1000))
        try:
            self._last_id = await self._database.run(lambda connection: _write(connection, batch, first))
        except FgdError as error:
            for entry in batch:
                entry.error = error
        finally:
            for entry in batch:
                entry.done = True

    async def read(
        self, stream_id: str, after: int, most: int, *, newest: bool = False
    ) -> list[tuple[int, StreamLine]]:
        """Lines behind a position with their own, in order; with `newest` the last ones instead of the first."""

        def work(connection: sqlite3.Connection) -> list[tuple[int, bytes]]:
            order = "DESC" if newest else "ASC"
            cursor = connection.execute(
                f"SELECT id, body FROM chunk WHERE stream_id=? AND id>=? ORDER BY id {order} LIMIT {_READ_ROWS}",
                (stream_id, after // POSITION_STEP),
            )
            rows: list[tuple[int, bytes]] = []
            lines = size = 0
            while lines < most + CHUNK_MAX and size < _READ_BYTES and (row := cursor.fetchone()):
                rows.append(row)
                size += len(row[1])
                lines += _count(row[1])
            return rows

        found: list[tuple[int, StreamLine]] = []
        rows = await self._database.read(work)
        for row_id, body in reversed(rows) if newest else rows:
            for number, line in enumerate(_decode(body)):
                position = row_id * POSITION_STEP + number
                if position > after:
                    found.append((position, line))
        return found[-most:] if newest else found[:most]

    async def end(self, stream_id: str) -> int:
        """The highest position that a line of the stream may have now; 0 for an empty stream."""
        last = await self._database.read(
            lambda connection: connection.execute(
                "SELECT max(id) FROM chunk WHERE stream_id=?", (stream_id,)
            ).fetchone()[0]
        )
        return 0 if last is None else int(last) * POSITION_STEP + POSITION_STEP - 1

    async def progress(self) -> dict[str, int]:
        """Cursors of the log book by function."""
        rows = await self._database.read(
            lambda connection: connection.execute("SELECT func_id, position FROM progress").fetchall()
        )
        return dict(rows)

    async def trim(self, keep: Mapping[str, float], most_bytes: int) -> None:
        """Removes what is too old or too much, oldest first, and everything of streams that are not named.

        Args:
            keep: by stream, the epoch seconds from which on its lines are kept.
            most_bytes: of one stream.
        """
        known = await self._database.read(
            lambda connection: connection.execute("SELECT DISTINCT stream_id FROM chunk").fetchall()
        )
        for (stream_id,) in known:
            first = int(keep[stream_id] * 1000) if stream_id in keep else self._last_id + 1
            await self._database.run(partial(_trim, stream_id=stream_id, first=first, most_bytes=most_bytes))

    async def forget(self, func_ids: Collection[str]) -> None:
        """Forgets how far the logs of functions were read, that are gone or have no stream any more."""
        rows = [(func_id,) for func_id in func_ids]
        if rows:
            await self._database.run(
                lambda connection: connection.executemany("DELETE FROM progress WHERE func_id=?", rows)
            )


def _count(body: bytes) -> int:
    """Lines of a chunk, from the head of its MessagePack array."""
    return body[0] & 0x0F if body[0] < 0xA0 else int.from_bytes(body[1:3], "big")


def _write(connection: sqlite3.Connection, batch: Iterable[_Entry], next_id: int) -> int:
    """Writes in the caller's transaction; gives the last id."""
    streams: dict[str, list[StreamLine]] = {}
    for entry in batch:
        for stream_id, lines in entry.parts:
            streams.setdefault(stream_id, []).extend(lines)
        if entry.progress is not None:
            connection.execute("INSERT OR REPLACE INTO progress VALUES (?,?)", entry.progress)
    rows: list[tuple[object, ...]] = []
    for stream_id, all_lines in streams.items():
        for part in _cut(all_lines):
            body = _encode(part)
            rows.append((next_id, stream_id, len(body), body))
            next_id += 1
    for at in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[at : at + _ROWS_AT_ONCE]
        sql = f"INSERT INTO chunk (id, stream_id, bytes, body) VALUES {values_sql(4, len(some))}"
        connection.execute(sql, [value for row in some for value in row])
    return next_id - 1


def _cut(lines: Sequence[StreamLine]) -> Iterator[Sequence[StreamLine]]:
    """Pieces of at most CHUNK_MAX lines, and of little more than _CHUNK_CHARS where they have several."""
    start = size = 0
    for number, line in enumerate(lines):
        if number - start == CHUNK_MAX or (size > _CHUNK_CHARS and number > start):
            yield lines[start:number]
            start, size = number, 0
        size += len(line.text)
    if start < len(lines):
        yield lines[start:]


def _trim(connection: sqlite3.Connection, stream_id: str, first: int, most_bytes: int) -> None:
    connection.execute("DELETE FROM chunk WHERE stream_id=? AND id<?", (stream_id, first))
    over = connection.execute(
        """SELECT max(id) FROM (
            SELECT id, sum(bytes) OVER (ORDER BY id DESC) AS total FROM chunk WHERE stream_id=?
        ) WHERE total > ?""",
        (stream_id, most_bytes),
    ).fetchone()[0]
    if over is not None:
        connection.execute("DELETE FROM chunk WHERE stream_id=? AND id<=?", (stream_id, over))
