"""What fgd last saw in buckets of other object stores, so that a new look tells what changed there meanwhile.

Theory of operation: a store is asked for the list of a bucket, page by page in the order of keys. A page is compared
with the rows between its first and its last key; one transaction writes the differences into the journal and the new
rows, so that a change is told and never forgotten, also by a crash. The first look tells nothing.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from fgd.store.object_types import ObjectEvent

#: Rows of one transaction.
_STEP: Final = 2000
MIGRATION: Final = (
    "CREATE TABLE mirror (project TEXT, stream TEXT, seen_s REAL, PRIMARY KEY (project, stream)) WITHOUT ROWID",
    "CREATE TABLE mirrored (project TEXT, stream TEXT, key TEXT, etag TEXT, modified TEXT, size INTEGER,"
    " PRIMARY KEY (project, stream, key)) WITHOUT ROWID",
)


class Seen(msgspec.Struct, frozen=True):
    """An object as a list has it."""

    key: str
    etag: str
    modified: str
    size: int


def seen_s(one: sqlite3.Connection, project_id: str, stream: str) -> float | None:
    """When the last whole look was, epoch seconds; None where there was none."""
    row = one.execute("SELECT seen_s FROM mirror WHERE project=? AND stream=?", (project_id, stream)).fetchone()
    return None if row is None else float(row[0])


def drop(one: sqlite3.Connection, project_id: str, stream: str) -> None:
    """Begins anew."""
    for table in ("mirrored", "mirror"):
        one.execute(f"DELETE FROM {table} WHERE project=? AND stream=?", (project_id, stream))


def take(
    one: sqlite3.Connection, project_id: str, stream: str, bucket: str, after: str, page: Sequence[Seen], *,
    last: bool, now_s: float,
) -> tuple[list[ObjectEvent], str | None]:  # fmt: skip
    """Takes a page over, or a piece of it; gives what changed, to be written into the journal in the same transaction,
    and after which key to go on, None when the page is done.

    Args:
        after: the last key that was taken over, "" for none.
        page: in the order of keys; what was seen between them and is missing is gone.
        last: the page is the list's last.
    """
    end = () if last else (page[-1].key if page else after,)
    rows = one.execute(
        f"SELECT key, etag, modified, size FROM mirrored WHERE project=? AND stream=? AND key>?"
        f"{' AND key<=?' if end else ''} ORDER BY key LIMIT {_STEP}",
        (project_id, stream, after, *end),
    ).fetchall()
    upto = str(rows[-1][0]) if len(rows) == _STEP else None
    old = {row[0]: Seen(*row) for row in rows}
    new = {row.key: row for row in page if row.key > after and (upto is None or row.key <= upto)}
    changes = [("ObjectRemoved:Delete", row) for key, row in old.items() if key not in new]
    changes += [("ObjectCreated:Put", row) for key, row in new.items() if old.get(key) != row]
    one.executemany(
        "DELETE FROM mirrored WHERE project=? AND stream=? AND key=?",
        [(project_id, stream, row.key) for _, row in changes],
    )
    one.executemany(
        "INSERT INTO mirrored VALUES (?,?,?,?,?,?)",
        [(project_id, stream, row.key, row.etag, row.modified, row.size) for name, row in changes if row.key in new],
    )
    events = [
        ObjectEvent(
            seq=0, name=name, bucket=bucket, key=row.key, etag=row.etag, size=row.size, at_s=now_s,
            project_id=project_id, principal="", address="", request_id="",
        )
        for name, row in changes
    ]  # fmt: skip
    return events, upto


def finish(one: sqlite3.Connection, project_id: str, stream: str, now_s: float) -> None:
    """The look is whole."""
    one.execute("INSERT OR REPLACE INTO mirror VALUES (?,?,?)", (project_id, stream, now_s))


def forget(one: sqlite3.Connection, wanted: set[tuple[str, str]]) -> None:
    """Removes what was seen for those that nobody follows any more."""
    streams = set(
        one.execute("SELECT project, stream FROM mirror UNION SELECT project, stream FROM mirrored").fetchall()
    )
    for project_id, stream in streams - wanted:
        drop(one, project_id, stream)
