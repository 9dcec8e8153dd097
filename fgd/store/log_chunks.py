"""Log records on disk: a database per day (UTC), in which one row holds up to 255 records of one function.

Theory of operation: a row per record cost 10 to 18 us of CPU each (three B-trees, binding, a transaction's share), and
kept the main thread from the GIL three quarters of the time; MessagePack chunks cost 0.6 us and are written by
one statement for hundreds of records. A chunk is found by its function; one record in it by scanning the encoded
bytes for its request id (`instr`), which needs no index and only runs when somebody asks. The words of user lines
are in an FTS5 index per chunk (no positions, no copy of the text); the exact line is picked out after decoding.

Chunk ids grow with the order of writing, over all days: they begin at the milliseconds of the clock and go up by one at
least. A cursor is a chunk id times 1024 plus the number of lines of that chunk that are behind it; it stays below
2**53, so that any JSON reader keeps it whole.
"""

import re
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from fgd.store.api import InvocationRecord, LogLine, StartRecord
from fgd.store.sqlite import Migrations, connect, slices, values_sql

LINES: Final = 0
INVOCATIONS: Final = 1
STARTS: Final = 2
CURSOR_STEP: Final = 1024
#: A start has four lines, so that a chunk always has less than CURSOR_STEP.
CHUNK_MAX: Final = 255

MIGRATIONS: Migrations = (
    (
        "CREATE TABLE chunk (id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, func_id TEXT NOT NULL, body BLOB NOT NULL)",
        "CREATE INDEX chunk_function ON chunk (func_id, kind)",
        "CREATE VIRTUAL TABLE words USING"
        " fts5(text, content='', detail=none, columnsize=0, tokenize='unicode61 remove_diacritics 0')",
    ),
)
_FILE = re.compile(r"logs-(\d{8})\.db\Z")
_WORD = re.compile(r"[^\W_]+")

type Record = LogLine | InvocationRecord | StartRecord
#: id, kind, func_id, body
type Row = tuple[int, int, str, bytes]

_encode = msgspec.msgpack.Encoder().encode
_decoders: Final[dict[int, Any]] = {
    LINES: msgspec.msgpack.Decoder(list[LogLine]),
    INVOCATIONS: msgspec.msgpack.Decoder(list[InvocationRecord]),
    STARTS: msgspec.msgpack.Decoder(list[StartRecord]),
}


def day_path(state_dir: Path, time_s: float) -> Path:
    """The file of the day a moment is in."""
    return state_dir / f"logs-{datetime.fromtimestamp(time_s, UTC):%Y%m%d}.db"


def day_paths(state_dir: Path) -> list[Path]:
    """The files there are, oldest first."""
    return sorted(path for path in state_dir.iterdir() if _FILE.match(path.name))


def remove_day(path: Path) -> None:
    """Removes a day's file and what belongs to it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def words(text: str) -> set[str]:
    """The words of a text as the index knows them: runs of letters and digits, in lower case."""
    return set(_WORD.findall(text.lower()))


def decode(kind: int, body: bytes) -> Sequence[Any]:
    """The records of a chunk: LogLine, InvocationRecord or StartRecord, by its kind."""
    records: Sequence[Any] = _decoders[kind].decode(body)
    return records


def open_day(path: Path) -> sqlite3.Connection:
    """A connection to a day's file; raises as `fgd.store.sqlite.connect`."""
    return connect(path, MIGRATIONS, "NORMAL")


def write(connection: sqlite3.Connection, kind: int, records: Sequence[Record], next_id: int) -> int:
    """Writes records as chunks by function, in the caller's transaction; gives the next free id."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        func_id = record.func_id
        try:
            groups[func_id].append(record)
        except KeyError:
            groups[func_id] = [record]
    rows: list[object] = []
    texts: list[object] = []
    for func_id, group in groups.items():
        for at in range(0, len(group), CHUNK_MAX):
            part = group[at : at + CHUNK_MAX]
            rows += (next_id, kind, func_id, _encode(part))
            if kind == LINES:
                texts += (next_id, "\n".join([line.text for line in part]))  # type: ignore[union-attr]  # lines
            next_id += 1
    _insert(connection, "INSERT INTO chunk (id, kind, func_id, body) VALUES ", 4, rows)
    _insert(connection, "INSERT INTO words (rowid, text) VALUES ", 2, texts)
    return next_id


def _insert(connection: sqlite3.Connection, sql: str, columns: int, values: list[object]) -> None:
    at = 0
    for size in slices(len(values) // columns):
        stop = at + size * columns
        connection.execute(sql + values_sql(columns, size), values[at:stop])
        at = stop


def last_id(connection: sqlite3.Connection) -> int:
    """The highest chunk id of a day; 0 when it has none."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM chunk").fetchone()[0])


def read(
    connection: sqlite3.Connection, func_id: str, *, kind: int, first: int, last: int, newest_first: bool,
    request_id: str = "", match: Iterable[str] = (),
) -> Iterable[Row]:  # fmt: skip
    """The chunks of a function from id `first` to `last` that may hold what is asked for; the caller looks closer."""
    where = ["func_id=?", "kind=?", "id>=?", "id<=?"]
    values: list[object] = [func_id, kind, first, last]
    if request_id:
        where.append("instr(body, CAST(? AS BLOB)) > 0")
        values.append(request_id)
    if match:
        where.append("id IN (SELECT rowid FROM words WHERE words MATCH ?)")
        values.append(" AND ".join(f'"{word}"' for word in match))
    order = "DESC" if newest_first else "ASC"
    sql = f"SELECT id, kind, func_id, body FROM chunk WHERE {' AND '.join(where)} ORDER BY id {order}"
    return connection.execute(sql, values)
