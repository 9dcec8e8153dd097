"""The embedded object store: buckets of projects, objects by key, and a journal of what changed.

Theory of operation: an index in SQLite (`objects.sqlite`) says which file holds the bytes of which object
(`fgd/store/blobs.py`). An object is written aside, put on disk, renamed into its bucket's folder; then one transaction
names it in the index, writes the event into the journal and forgets the object that had the key. So an object is there
whole or not at all, an object that was acknowledged has its event, and a key is never the name of a file. What a crash
leaves between the rename and the transaction is named by nothing and removed after the next start.
"""

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Final, Self

import msgspec
import trio

from fgd.errors import StorageFull
from fgd.store.blobs import Blobs, BlobWriter
from fgd.store.object_journal import ObjectJournal, note_event
from fgd.store.object_types import (
    LIST_MAX,
    NO_CONDITIONS,
    Actor,
    Bucket,
    Conditions,
    ObjectError,
    Page,
    StoredObject,
    after_prefix,
    check_bucket,
    check_key,
    check_project,
)
from fgd.store.sqlite import Database, storage_error
from fgd.units import MIB

MIGRATIONS: Final = (
    (
        "CREATE TABLE bucket (project TEXT, name TEXT, created_s REAL, PRIMARY KEY (project, name)) WITHOUT ROWID",
        "CREATE TABLE object (project TEXT, bucket TEXT, key TEXT, blob TEXT, size INTEGER, etag TEXT, type TEXT,"
        " meta TEXT, modified_s REAL, expires_s REAL, PRIMARY KEY (project, bucket, key)) WITHOUT ROWID",
        "CREATE INDEX object_expiry ON object (expires_s) WHERE expires_s > 0",
        "CREATE TABLE upload (id TEXT PRIMARY KEY, project TEXT, bucket TEXT, key TEXT, type TEXT, meta TEXT,"
        " started_s REAL) WITHOUT ROWID",
        "CREATE TABLE part (upload TEXT, number INTEGER, blob TEXT, size INTEGER, etag TEXT, modified_s REAL,"
        " PRIMARY KEY (upload, number)) WITHOUT ROWID",
        "CREATE TABLE event (seq INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT, bucket TEXT, at_s REAL, body TEXT)",
        "CREATE INDEX event_bucket ON event (project, bucket, seq)",
    ),
)
_TIDY_S: Final = 300.0
_ROW: Final = "key, blob, size, etag, type, meta, modified_s"
_WRITES_AT_ONCE: Final = 16
#: With common prefixes, most rows may have to be skipped.
_ROWS_AT_ONCE: Final = 128
_BUFFER_BYTES: Final = 256 * 1024


class Incoming:
    """Bytes on their way in; made by `ObjectStore.incoming`."""

    def __init__(self, store: "ObjectStore", writer: BlobWriter, project_id: str) -> None:
        self._store = store
        self._writer = writer
        self._project_id = project_id
        self._buffer = bytearray()
        self.reserved = 0

    async def write(self, data: bytes) -> None:
        """Appends.

        Raises:
            ObjectError: over the quota of the project.
            StorageFull: no room.
        """
        self.account(len(data))
        self._buffer += data
        if len(self._buffer) >= _BUFFER_BYTES:
            await self._flush()

    def account(self, size: int) -> None:
        """Counts bytes against the project's quota as long as this block lasts; raises as `write`."""
        self.reserved += size
        self._store.reserve(self._project_id, size)

    async def finish(self) -> BlobWriter:
        """Puts it on disk; what is read of the result is its size and hashes."""
        await self._flush()
        await self._store.in_thread(self._writer.sync)
        return self._writer

    async def copy(self, sources: Sequence[Path]) -> BlobWriter:
        """The same with the contents of other blobs."""

        def work() -> None:
            for source in sources:
                self._writer.copy(source)
            self._writer.sync()

        await self._store.in_thread(work)
        return self._writer

    async def copy_from(self, project_id: str, bucket: str, found: StoredObject, offset: int, size: int) -> None:
        """Appends a piece of an object.

        Raises:
            ObjectError: it went away meanwhile; and as `write`.
        """
        self.account(size)

        def work() -> None:
            try:
                with self._store.blobs.path(project_id, bucket, found.blob).open("rb") as file:
                    file.seek(offset)
                    self._writer.append(file, size)
            except FileNotFoundError:
                raise ObjectError("NoSuchKey", 404, "x-amz-copy-source: it was changed meanwhile") from None

        await self._store.in_thread(work)

    async def _flush(self) -> None:
        data, self._buffer = bytes(self._buffer), bytearray()
        await self._store.in_thread(lambda: self._writer.write(data))


class ObjectStore:
    """Buckets and objects of all projects."""

    def __init__(self, database: Database, blobs: Blobs, now_s: Callable[[], float], quota_mib: int) -> None:
        self.database = database
        self.blobs = blobs
        self.now_s = now_s
        self._quota_bytes = quota_mib * MIB
        self._used: dict[str, int] = {}
        self._threads = trio.CapacityLimiter(_WRITES_AT_ONCE)
        self.journal = ObjectJournal(database, now_s)

    @classmethod
    async def open(cls, state_dir: Path, root: Path, now_s: Callable[[], float], quota_mib: int) -> Self:
        """Opens or makes it.

        Raises:
            StorageFull, StateError: the folder or the index cannot be used.
        """
        try:
            blobs = await trio.to_thread.run_sync(Blobs, root)
        except OSError as error:
            raise StorageFull(f"{root}: {error.strerror}") from error
        self = cls(await Database.open(state_dir / "objects.sqlite", MIGRATIONS), blobs, now_s, quota_mib)
        used = "SELECT project, sum(size) FROM object GROUP BY project"
        parts = "SELECT project, sum(size) FROM part JOIN upload ON upload.id = part.upload GROUP BY project"
        for sql in (used, parts):
            for project_id, size in await self.database.read(lambda one, sql=sql: one.execute(sql).fetchall()):  # type: ignore[misc]
                self._used[project_id] = self._used.get(project_id, 0) + size
        return self

    async def aclose(self) -> None:
        await self.database.aclose()

    async def run(self) -> None:
        """Removes what nothing names, what has expired, and events that everybody has; runs until cancelled."""
        await self._sweep_blobs()
        while True:
            await self.tidy()
            await trio.sleep(_TIDY_S)

    async def tidy(self) -> None:
        """One round of it."""
        now_s = self.now_s()
        expired = await self.database.read(
            lambda one: one.execute(
                "SELECT project, bucket, key, etag FROM object WHERE expires_s > 0 AND expires_s <= ?", (now_s,)
            ).fetchall()
        )
        for project_id, bucket, key, etag in expired:
            try:
                await self.delete(project_id, bucket, key, "", Actor(principal="fgd"), Conditions(match=(etag,)))
            except ObjectError:
                continue  # it is another one meanwhile
        await self.journal.trim(now_s)

    # Buckets

    async def buckets(self, project_id: str) -> list[Bucket]:
        rows = await self.database.read(
            lambda one: one.execute(
                "SELECT name, created_s FROM bucket WHERE project=? ORDER BY name", (project_id,)
            ).fetchall()
        )
        return [Bucket(name=name, created_s=created_s) for name, created_s in rows]

    async def has_bucket(self, project_id: str, bucket: str) -> bool:
        return bool(await self.database.read(lambda one: _has_bucket(one, project_id, bucket)))

    async def create_bucket(self, project_id: str, bucket: str, *, may_exist: bool = False) -> None:
        """Makes one.

        Raises:
            ObjectError: the name is none, or is taken.
        """
        check_project(project_id)
        check_bucket(bucket)
        now_s = self.now_s()  # the database's thread has no clock
        made = await self.database.run(
            lambda one: one.execute("INSERT OR IGNORE INTO bucket VALUES (?,?,?)", (project_id, bucket, now_s)).rowcount
        )
        if not made and not may_exist:
            raise ObjectError("BucketAlreadyOwnedByYou", 409, f"bucket: {bucket} is there already")
        self.journal.wake(project_id, bucket)

    async def delete_bucket(self, project_id: str, bucket: str) -> None:
        """Deletes an empty one.

        Raises:
            ObjectError: there is none, or it has objects or uploads.
        """

        def work(one: sqlite3.Connection) -> None:
            self.need_bucket(one, project_id, bucket)
            for table in ("object", "upload"):
                row = (project_id, bucket)
                if one.execute(f"SELECT 1 FROM {table} WHERE project=? AND bucket=? LIMIT 1", row).fetchone():
                    raise ObjectError("BucketNotEmpty", 409, f"bucket: {bucket} is not empty")
            one.execute("DELETE FROM bucket WHERE project=? AND name=?", (project_id, bucket))

        await self.database.run(work)

    # Objects

    async def head(self, project_id: str, bucket: str, key: str) -> StoredObject:
        """What is known of an object.

        Raises:
            ObjectError: no such bucket or key.
        """

        def work(one: sqlite3.Connection) -> StoredObject:
            self.need_bucket(one, project_id, bucket)
            row = _find(one, project_id, bucket, key)
            if row is None:
                raise ObjectError("NoSuchKey", 404, "key: there is no such object")
            return row

        return await self.database.read(work)

    async def open_blob(self, project_id: str, bucket: str, key: str) -> tuple[StoredObject, BinaryIO]:
        """An object and its file, which stays readable when the object goes; the caller closes it."""
        while True:
            found = await self.head(project_id, bucket, key)
            try:
                return found, await self.in_thread(self.blobs.path(project_id, bucket, found.blob).open, "rb")
            except FileNotFoundError:
                if (await self.head(project_id, bucket, key)).blob == found.blob:
                    raise

    async def hold(self, project_id: str, bucket: str, key: str) -> tuple[StoredObject, Path]:
        """An object and a file with its bytes, which the caller removes."""
        while True:
            found = await self.head(project_id, bucket, key)
            try:
                return found, await self.in_thread(self.blobs.link, project_id, bucket, found.blob)
            except FileNotFoundError:
                if (await self.head(project_id, bucket, key)).blob == found.blob:
                    raise

    @asynccontextmanager
    async def incoming(self, project_id: str) -> AsyncIterator[Incoming]:
        """Room for bytes; what was not put in place by the end of the block is removed."""
        writer = await self.in_thread(self.blobs.create)
        incoming = Incoming(self, writer, project_id)
        try:
            yield incoming
        finally:
            self.reserve(project_id, -incoming.reserved)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(writer.drop)

    async def put(
        self,
        project_id: str,
        bucket: str,
        key: str,
        writer: BlobWriter,
        actor: Actor,
        *,
        how: str = "Put",
        content_type: str = "",
        meta: Mapping[str, str] | None = None,
        conditions: Conditions = NO_CONDITIONS,
        expires_s: float = 0.0,
        etag: str = "",
        also: Callable[[sqlite3.Connection], Sequence[str]] | None = None,
    ) -> StoredObject:
        """Names finished bytes as an object; it and its event are on disk when this returns.

        Args:
            how: how it came, as the event says: Put, Post, Copy, CompleteMultipartUpload.
            expires_s: when it goes by itself, epoch seconds; 0: never.
            also: more steps of the same transaction; gives blobs that nothing names after it.

        Raises:
            ObjectError: no such bucket, or a condition is not met; nothing has changed.
        """
        check_key(key)
        if not await self.has_bucket(project_id, bucket):
            raise _no_bucket(bucket)
        gone: list[str] = []
        freed = 0
        now_s = self.now_s()
        with trio.CancelScope(shield=True):
            blob = await self.in_thread(self.blobs.place, writer, project_id, bucket)
            new = StoredObject(
                key=key, blob=blob, size=writer.size, etag=etag or writer.md5,
                content_type=content_type or "application/octet-stream", meta=dict(meta or {}), modified_s=now_s,
            )  # fmt: skip

            def work(one: sqlite3.Connection) -> None:
                nonlocal freed
                self.need_bucket(one, project_id, bucket)
                old = _find(one, project_id, bucket, key)
                conditions.check(None if old is None else old.etag)
                if also is not None:
                    gone.extend(also(one))
                if old is not None:
                    gone.append(old.blob)
                    freed = old.size
                one.execute(
                    "INSERT OR REPLACE INTO object VALUES (?,?,?,?,?,?,?,?,?,?)",
                    (project_id, bucket, key, blob, new.size, new.etag, new.content_type,
                     msgspec.json.encode(new.meta).decode(), new.modified_s, expires_s),
                )  # fmt: skip
                note_event(one, now_s, project_id, bucket, f"ObjectCreated:{how}", new, actor)

            try:
                await self.database.run(work)
            except BaseException:
                await trio.to_thread.run_sync(self.blobs.remove, project_id, bucket, [blob])
                raise
            self._used[project_id] = self._used.get(project_id, 0) + new.size - freed
            self.journal.wake(project_id, bucket)
            await trio.to_thread.run_sync(self.blobs.remove, project_id, bucket, gone)
        return new

    async def put_bytes(
        self, project_id: str, bucket: str, key: str, data: bytes, actor: Actor, *, content_type: str, expires_s: float
    ) -> None:
        """Makes a small object, and its bucket where there is none."""
        await self.create_bucket(project_id, bucket, may_exist=True)
        async with self.incoming(project_id) as incoming:
            await incoming.write(data)
            writer = await incoming.finish()
            await self.put(
                project_id, bucket, key, writer, actor, content_type=content_type, expires_s=expires_s
            )  # fmt: skip

    async def delete(
        self, project_id: str, bucket: str, key: str, version: str, actor: Actor, conditions: Conditions = NO_CONDITIONS
    ) -> None:
        """Deletes an object; one that is not there is fine.

        Args:
            version: "null" where the caller named the version, which the event tells; "" where not.

        Raises:
            ObjectError: no such bucket or version, or a condition is not met.
        """
        if version not in ("", "null"):
            raise ObjectError("NoSuchVersion", 404, "versionId: objects have the version null only")

        now_s = self.now_s()

        def work(one: sqlite3.Connection) -> StoredObject | None:
            self.need_bucket(one, project_id, bucket)
            old = _find(one, project_id, bucket, key)
            conditions.check(None if old is None else old.etag)
            if old is not None:
                one.execute("DELETE FROM object WHERE project=? AND bucket=? AND key=?", (project_id, bucket, key))
                how = "Delete" if version else "DeleteMarkerCreated"
                note_event(one, now_s, project_id, bucket, f"ObjectRemoved:{how}", old, actor)
            return old

        with trio.CancelScope(shield=True):
            old = await self.database.run(work)
            if old is not None:
                self._used[project_id] = self._used.get(project_id, 0) - old.size
                self.journal.wake(project_id, bucket)
                await trio.to_thread.run_sync(self.blobs.remove, project_id, bucket, [old.blob])

    async def page(
        self,
        project_id: str,
        bucket: str,
        *,
        prefix: str = "",
        after: str = "",
        delimiter: str = "",
        most: int = LIST_MAX,
    ) -> Page:
        """A part of a bucket's list.

        Args:
            after: keys up to this one are left out, and so is what begins with it where it is a common prefix.
            delimiter: what follows the prefix up to it is a common prefix, which stands for all of its keys.
        """
        return await self.database.read(
            lambda one: self._list(one, project_id, bucket, prefix, after, delimiter, min(most, LIST_MAX))
        )

    def _list(
        self, one: sqlite3.Connection, project: str, bucket: str, prefix: str, after: str, delimiter: str, most: int
    ) -> Page:
        self.need_bucket(one, project, bucket)
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

    # Within

    def used_bytes(self, project_id: str) -> int:
        """All objects and parts of a project."""
        return self._used.get(project_id, 0)

    def count(self, project_id: str, size: int) -> None:
        """Counts bytes that came or went."""
        self._used[project_id] = self._used.get(project_id, 0) + size

    def reserve(self, project_id: str, size: int) -> None:
        """Counts bytes that are being written.

        Raises:
            ObjectError: over the quota; they are counted all the same, until the writer gives up.
        """
        used = self._used[project_id] = self._used.get(project_id, 0) + size
        if size > 0 and used > self._quota_bytes:
            raise ObjectError(
                "QuotaExceeded", 403, f"the project's objects would be over {self._quota_bytes // MIB} MiB"
            )

    async def in_thread[*Args, T](self, work: Callable[[*Args], T], *args: *Args) -> T:
        """Disk work; not abandoned when cancelled."""
        try:
            return await trio.to_thread.run_sync(work, *args, limiter=self._threads)
        except OSError as error:
            raise storage_error(error, Path("objects")) or error from error

    def need_bucket(self, one: sqlite3.Connection, project_id: str, bucket: str) -> None:
        """Raises ObjectError where there is no such bucket."""
        if not _has_bucket(one, project_id, bucket):
            raise _no_bucket(bucket)

    async def _sweep_blobs(self) -> None:
        before_s = time.time()
        known = await self.database.read(
            lambda one: {row[0] for row in one.execute("SELECT blob FROM object UNION ALL SELECT blob FROM part")}
        )
        # Files that are being placed now are young.
        await self.in_thread(self.blobs.sweep, known, before_s - 60.0)


def _has_bucket(one: sqlite3.Connection, project_id: str, bucket: str) -> bool:
    return one.execute("SELECT 1 FROM bucket WHERE project=? AND name=?", (project_id, bucket)).fetchone() is not None


def _no_bucket(bucket: str) -> ObjectError:
    return ObjectError("NoSuchBucket", 404, f"bucket: there is no bucket {bucket[:63]!r}")


def _find(one: sqlite3.Connection, project_id: str, bucket: str, key: str) -> StoredObject | None:
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


def read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """A piece of a blob. Blocks."""
    return os.pread(file.fileno(), size, offset)
