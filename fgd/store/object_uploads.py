"""Uploads in parts: parts are blobs of their own until `complete` makes one object of them."""

import hashlib
import logging
import re
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import trio

from fgd.errors import PlatformError
from fgd.store.blobs import BlobWriter
from fgd.store.object_types import (
    PART_MAX,
    PART_MIN_BYTES,
    UPLOADS_MAX,
    Actor,
    Conditions,
    ObjectError,
    StoredObject,
    check_key,
    room_of,
)
from fgd.store.objects import ObjectStore

log = logging.getLogger(__name__)

#: An upload that is not completed is given up after this.
MAX_AGE_S: Final = 7 * 86400.0
_TIDY_S: Final = 3600.0
_ID: Final = re.compile(r"[0-9a-f]{32}\Z")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A stored part."""

    number: int
    blob: str
    size: int
    etag: str
    modified_s: float


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """An upload that is not completed."""

    id: str
    key: str
    content_type: str
    meta: dict[str, str]
    started_s: float


class Uploads:
    """The operations on them."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def start(self, project_id: str, bucket: str, key: str, content_type: str, meta: Mapping[str, str]) -> str:
        """Begins one; gives its id."""
        check_key(key)
        upload_id = secrets.token_hex(16)
        row = (upload_id, project_id, bucket, key, content_type, msgspec.json.encode(dict(meta)).decode(),
               self._store.now_s())  # fmt: skip

        def work(one: sqlite3.Connection) -> None:
            self._store.need_bucket(one, project_id, bucket)
            [count] = one.execute("SELECT count(*) FROM upload WHERE project=?", (project_id,)).fetchone()
            if count >= UPLOADS_MAX:
                raise ObjectError(
                    "TooManyUploads", 400, f"the project has {UPLOADS_MAX} uploads that are not completed"
                )
            one.execute("INSERT INTO upload VALUES (?,?,?,?,?,?,?)", row)

        await self._store.database.run(work)
        return upload_id

    async def open_ones(self, project_id: str, bucket: str) -> list[Upload]:
        """Those of a bucket, by key."""

        def work(one: sqlite3.Connection) -> list[tuple[str, str, str, str, float]]:
            self._store.need_bucket(one, project_id, bucket)
            return one.execute(
                "SELECT id, key, type, meta, started_s FROM upload WHERE project=? AND bucket=? ORDER BY key, id",
                (project_id, bucket),
            ).fetchall()

        return [
            Upload(id=row[0], key=row[1], content_type=row[2], meta=msgspec.json.decode(row[3]), started_s=row[4])
            for row in await self._store.database.read(work)
        ]

    async def put_part(
        self, project_id: str, bucket: str, key: str, upload_id: str, number: int, writer: BlobWriter
    ) -> str:
        """Keeps a finished part, in the place of one of its number; gives its etag."""
        if not 1 <= number <= PART_MAX:
            raise ObjectError("InvalidArgument", 400, f"partNumber: must be 1 to {PART_MAX}, not {number}")
        await self.find(project_id, bucket, key, upload_id)
        store = self._store
        with trio.CancelScope(shield=True):
            blob = await store.in_thread(store.blobs.place, writer, project_id)
            row = (upload_id, number, blob, writer.size, writer.md5, store.now_s())

            def work(one: sqlite3.Connection) -> list[tuple[str, int]]:
                _find(one, project_id, bucket, key, upload_id)
                old = one.execute("SELECT blob, size FROM part WHERE upload=? AND number=?", row[:2]).fetchall()
                one.execute("INSERT OR REPLACE INTO part VALUES (?,?,?,?,?,?)", row)
                return old

            try:
                old = await store.database.run(work)
            except BaseException:
                await store.discard(project_id, [blob])
                raise
            store.count(project_id, room_of(writer.size) - sum(room_of(size) for _, size in old))
            await store.discard(project_id, [blob for blob, _ in old])
        return writer.md5

    async def find(self, project_id: str, bucket: str, key: str, upload_id: str) -> Upload:
        """One of a key.

        Raises:
            ObjectError: there is none.
        """
        return await self._store.database.read(lambda one: _find(one, project_id, bucket, key, upload_id))

    async def parts(self, project_id: str, bucket: str, key: str, upload_id: str) -> list[Part]:
        """Its parts, by number."""

        def work(one: sqlite3.Connection) -> list[Part]:
            _find(one, project_id, bucket, key, upload_id)
            return _parts(one, upload_id)

        return await self._store.database.read(work)

    async def complete(
        self,
        project_id: str,
        bucket: str,
        key: str,
        upload_id: str,
        wanted: Sequence[tuple[int, str]],
        actor: Actor,
        conditions: Conditions,
    ) -> StoredObject:
        """Makes the object of these parts, number and etag each.

        Raises:
            ObjectError: a part is missing, another one, too small, or out of order; the upload stays.
        """
        store = self._store
        upload = await self.find(project_id, bucket, key, upload_id)
        known = {part.number: part for part in await self.parts(project_id, bucket, key, upload_id)}
        if not wanted or [number for number, _ in wanted] != sorted({number for number, _ in wanted}):
            raise ObjectError("InvalidPartOrder", 400, "parts: must be at least one, each once, by their numbers")
        chosen: list[Part] = []
        for number, etag in wanted:
            part = known.get(number)
            if part is None or part.etag != etag:
                raise ObjectError("InvalidPart", 400, f"part {number}: was not uploaded, or has another ETag")
            chosen.append(part)
        if any(part.size < PART_MIN_BYTES for part in chosen[:-1]):
            raise ObjectError("EntityTooSmall", 400, "parts: all but the last must be at least 5 MiB")
        sums = b"".join(bytes.fromhex(part.etag) for part in chosen)
        etag = f"{hashlib.md5(sums, usedforsecurity=False).hexdigest()}-{len(chosen)}"
        freed = 0

        def also(one: sqlite3.Connection) -> list[str]:
            nonlocal freed
            _find(one, project_id, bucket, key, upload_id)
            parts = _parts(one, upload_id)
            freed = sum(room_of(part.size) for part in parts)
            _forget(one, upload_id)
            return [part.blob for part in parts]

        async with store.incoming(project_id) as incoming:
            try:
                writer = await incoming.copy([store.blobs.path(project_id, part.blob) for part in chosen])
            except FileNotFoundError:
                raise ObjectError("NoSuchUpload", 404, "uploadId: it was completed or given up meanwhile") from None
            made = await store.put(
                project_id, bucket, key, writer, actor, how="CompleteMultipartUpload",
                content_type=upload.content_type, meta=upload.meta, etag=etag, conditions=conditions, also=also,
            )  # fmt: skip
        store.count(project_id, -freed)
        return made

    async def abort(self, project_id: str, bucket: str, key: str, upload_id: str) -> None:
        """Gives one up with its parts."""
        store = self._store

        def work(one: sqlite3.Connection) -> list[Part]:
            _find(one, project_id, bucket, key, upload_id)
            parts = _parts(one, upload_id)
            _forget(one, upload_id)
            return parts

        with trio.CancelScope(shield=True):
            parts = await store.database.run(work)
            store.count(project_id, -sum(room_of(part.size) for part in parts))
            await store.discard(project_id, [part.blob for part in parts])

    async def run(self) -> None:
        """Gives up what is a week old; runs until cancelled."""
        while True:
            try:
                await self.tidy(self._store.now_s() - MAX_AGE_S)
            except (PlatformError, OSError) as error:
                log.error("objects: uploads that nobody completes stay for now: %s", error)
            await trio.sleep(_TIDY_S)

    async def tidy(self, before_s: float) -> None:
        """Gives up those that began before a moment, epoch seconds."""
        old = await self._store.database.read(
            lambda one: one.execute(
                "SELECT project, bucket, key, id FROM upload WHERE started_s < ?", (before_s,)
            ).fetchall()
        )
        for project_id, bucket, key, upload_id in old:
            try:
                await self.abort(project_id, bucket, key, upload_id)
            except ObjectError:
                continue  # it was completed meanwhile


def _find(one: sqlite3.Connection, project_id: str, bucket: str, key: str, upload_id: str) -> Upload:
    row = None
    if _ID.match(upload_id):
        row = one.execute(
            "SELECT type, meta, started_s FROM upload WHERE id=? AND project=? AND bucket=? AND key=?",
            (upload_id, project_id, bucket, key),
        ).fetchone()
    if row is None:
        raise ObjectError("NoSuchUpload", 404, "uploadId: there is no such upload of this key")
    return Upload(id=upload_id, key=key, content_type=row[0], meta=msgspec.json.decode(row[1]), started_s=row[2])


def _parts(one: sqlite3.Connection, upload_id: str) -> list[Part]:
    rows = one.execute(
        "SELECT number, blob, size, etag, modified_s FROM part WHERE upload=? ORDER BY number", (upload_id,)
    ).fetchall()
    return [Part(number=row[0], blob=row[1], size=row[2], etag=row[3], modified_s=row[4]) for row in rows]


def _forget(one: sqlite3.Connection, upload_id: str) -> None:
    one.execute("DELETE FROM part WHERE upload=?", (upload_id,))
    one.execute("DELETE FROM upload WHERE id=?", (upload_id,))
