"""Rows of the index of objects: one, and lists in the order of their keys."""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from fgd.store.object_types import Page, StoredObject, after_prefix

_ROW: Final = "key, blob, size, etag, type, meta, modified_s"
#: With common prefixes, most rows may have to be skipped.
_ROWS_AT_ONCE: Final = 128


def find_object(one: sqlite3.Connection, project_id: str, bucket: str, key: str) -> StoredObject | None:
    """The object of a key, if there is one."""
    row = one.execute(
        f"SELECT {_ROW} FROM object WHERE project=? AND bucket=? AND key=?", (project_id, bucket, key)
    ).fetchone()
    return None if row is None else _stored(row)


def _stored(row: Sequence[object]) -> StoredObject:
    key, blob, size, etag, content_type, meta, modified_s = row
    return StoredObject(
        key=str(key), blob=str(blob), size=int(str(size)), etag=str(etag), content_type=str(content_type),
        meta=msgspec.json.decode(str(meta), type=dict[str, str]), modified_s=float(str(modified_s)),
    )  # fmt: skip


def list_page(
    one: sqlite3.Connection, project: str, bucket: str, prefix: str, after: str, delimiter: str, most: int
) -> Page:
    """A part of a bucket's list; see `fgd.store.objects.ObjectStore.page`."""
    objects: list[StoredObject] = []
    prefixes: list[str] = []
    last = ""
    end = after_prefix(prefix)
    at, strictly = max(prefix, after), after >= prefix and bool(after)
    if delimiter and strictly and after.startswith(prefix) and after[len(prefix) :].endswith(delimiter):
        at, strictly = after_prefix(after), False
    while most:
        compare = ">" if strictly else ">="
        rows = one.execute(
            f"SELECT {_ROW} FROM object WHERE project=? AND bucket=? AND key {compare} ?"
            f"{' AND key < ?' if end else ''} ORDER BY key LIMIT ?",
            (
                project,
                bucket,
                at,
                *((end,) if end else ()),
                min(most + 1, _ROWS_AT_ONCE if delimiter else most + 1),
            ),
        ).fetchall()
        if not rows:
            break
        for row in rows:
            if str(row[0]) < at:
                continue  # of the common prefix before it
            if len(objects) + len(prefixes) >= most:
                return Page(objects=objects, prefixes=prefixes, truncated=True, last=last)
            key = str(row[0])
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                last = key[: cut + len(delimiter)]
                prefixes.append(last)
                at, strictly = after_prefix(last), False
                if not at:
                    return Page(objects=objects, prefixes=prefixes, truncated=False, last=last)
            else:
                objects.append(_stored(row))
                last, at, strictly = key, key, True
    return Page(objects=objects, prefixes=prefixes, truncated=False, last=last)
