"""The embedded object store: buckets of projects, objects by key, and a journal of what changed.

Theory of operation: an index in SQLite (`objects.db`) says which file holds the bytes of which object
(`fgd/store/blobs.py`). An object is written aside, put on disk, renamed into its bucket's folder; then one transaction
names it in the index, writes the event into the journal and forgets the object that had the key. So an object is there
whole or not at all, an object that was acknowledged has its event, and a key is never the name of a file. What a crash
leaves between the rename and the transaction is named by nothing and removed after the next start.
"""

import logging
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, Final, Self

import msgspec
import trio

from fgd.errors import PlatformError, StorageFull
from fgd.store import object_mirror
from fgd.store.blobs import DIGITS, Blobs, BlobWriter
from fgd.store.object_incoming import Incoming
from fgd.store.object_journal import ObjectJournal, note_event
from fgd.store.object_rows import find_object, list_page
from fgd.store.object_types import (
    BUCKETS_MAX,
    LIST_MAX,
    NO_CONDITIONS,
    ROOM_MIN_BYTES,
    Actor,
    Bucket,
    Conditions,
    ObjectError,
    Page,
    StoredObject,
    check_bucket,
    check_key,
    check_project,
    room_of,
)
from fgd.store.sqlite import Database, storage_error
from fgd.units import MIB

log = logging.getLogger(__name__)

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
        "CREATE INDEX object_blob ON object (blob)",
        "CREATE INDEX part_blob ON part (blob)",
        "CREATE INDEX event_bucket ON event (project, bucket, seq)",
        *object_mirror.MIGRATION,
    ),
)
_TIDY_S: Final = 300.0
#: Clocks of files and of the daemon may differ a little.
_YOUNG_S: Final = 2.0
_WRITES_AT_ONCE: Final = 16


class ObjectStore:
    """Buckets and objects of all projects."""

    def __init__(self, database: Database, blobs: Blobs, now_s: Callable[[], float], quota_mib: int) -> None:
        self.database = database
        self.blobs = blobs
        self.now_s = now_s
        self._quota_bytes = quota_mib * MIB
        self._used: dict[str, int] = {}
        self._threads = trio.CapacityLimiter(_WRITES_AT_ONCE)
        self._opened_s = time.time()
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
        self = cls(await Database.open(state_dir / "objects.db", MIGRATIONS), blobs, now_s, quota_mib)
        used = f"SELECT project, sum(max(size, {ROOM_MIN_BYTES})) FROM object GROUP BY project"
        parts = (
            f"SELECT project, sum(max(size, {ROOM_MIN_BYTES})) FROM part JOIN upload ON upload.id = part.upload"
            " GROUP BY project"
        )
        for sql in (used, parts):
            for project_id, size in await self.database.read(lambda one, sql=sql: one.execute(sql).fetchall()):  # type: ignore[misc]
                self._used[project_id] = self._used.get(project_id, 0) + size
        await self.journal.load()
        return self

    async def aclose(self) -> None:
        await self.database.aclose()

    async def run(self) -> None:
        """Removes what nothing names, what has expired, and events that everybody has; runs until cancelled."""
        swept = False
        while True:
            try:
                if not swept:
                    await self._sweep_blobs()
                    swept = True
                await self.tidy()
            except (PlatformError, OSError) as error:
                log.error("objects: what has expired and what nothing names stays for now: %s", error)
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

        def work(one: sqlite3.Connection) -> None:
            if _has_bucket(one, project_id, bucket):
                if not may_exist:
                    raise ObjectError("BucketAlreadyOwnedByYou", 409, f"bucket: {bucket} is there already")
                return
            [count] = one.execute("SELECT count(*) FROM bucket WHERE project=?", (project_id,)).fetchone()
            if count >= BUCKETS_MAX:
                raise ObjectError("TooManyBuckets", 400, f"bucket: the project has {BUCKETS_MAX} buckets")
            one.execute("INSERT INTO bucket VALUES (?,?,?)", (project_id, bucket, now_s))

        await self.database.run(work)
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
            row = find_object(one, project_id, bucket, key)
            if row is None:
                raise ObjectError("NoSuchKey", 404, "key: there is no such object")
            return row

        return await self.database.read(work)

    async def open_blob(self, project_id: str, bucket: str, key: str) -> tuple[StoredObject, BinaryIO]:
        """An object and its file, which stays readable when the object goes; the caller closes it."""
        while True:
            found = await self.head(project_id, bucket, key)
            try:
                return found, await self.in_thread(self.blobs.path(project_id, found.blob).open, "rb")
            except FileNotFoundError:
                if (await self.head(project_id, bucket, key)).blob == found.blob:
                    raise

    async def hold(self, project_id: str, bucket: str, key: str) -> tuple[StoredObject, Path]:
        """An object and a file with its bytes, which the caller removes."""
        while True:
            found = await self.head(project_id, bucket, key)
            try:
                return found, await self.in_thread(self.blobs.link, project_id, found.blob)
            except FileNotFoundError:
                if (await self.head(project_id, bucket, key)).blob == found.blob:
                    raise

    @asynccontextmanager
    async def incoming(self, project_id: str) -> AsyncIterator[Incoming]:
        """Room for bytes; what was not put in place by the end of the block is removed."""
        writer = await self.in_thread(self.blobs.create)
        incoming = Incoming(self, writer, project_id)
        try:
            incoming.account(ROOM_MIN_BYTES)
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
        self.journal.check_room(project_id)
        if not await self.has_bucket(project_id, bucket):
            raise _no_bucket(bucket)
        gone: list[str] = []
        freed = 0
        now_s = self.now_s()
        with trio.CancelScope(shield=True):
            blob = await self.in_thread(self.blobs.place, writer, project_id)
            new = StoredObject(
                key=key, blob=blob, size=writer.size, etag=etag or writer.md5,
                content_type=content_type or "application/octet-stream", meta=dict(meta or {}), modified_s=now_s,
            )  # fmt: skip

            def work(one: sqlite3.Connection) -> None:
                nonlocal freed
                self.need_bucket(one, project_id, bucket)
                old = find_object(one, project_id, bucket, key)
                conditions.check(None if old is None else old.etag)
                if also is not None:
                    gone.extend(also(one))
                if old is not None:
                    gone.append(old.blob)
                    freed = room_of(old.size)
                one.execute(
                    "INSERT OR REPLACE INTO object VALUES (?,?,?,?,?,?,?,?,?,?)",
                    (project_id, bucket, key, blob, new.size, new.etag, new.content_type,
                     msgspec.json.encode(new.meta).decode(), new.modified_s, expires_s),
                )  # fmt: skip
                note_event(one, now_s, project_id, bucket, f"ObjectCreated:{how}", new, actor)

            try:
                await self.database.run(work)
            except BaseException:
                await self.discard(project_id, [blob])
                raise
            self.count(project_id, room_of(new.size) - freed)
            self.journal.added(project_id, bucket)
            await self.discard(project_id, gone)
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

        self.journal.check_room(project_id)
        now_s = self.now_s()

        def work(one: sqlite3.Connection) -> StoredObject | None:
            self.need_bucket(one, project_id, bucket)
            old = find_object(one, project_id, bucket, key)
            conditions.check(None if old is None else old.etag)
            if old is not None:
                one.execute("DELETE FROM object WHERE project=? AND bucket=? AND key=?", (project_id, bucket, key))
                how = "Delete" if version else "DeleteMarkerCreated"
                note_event(one, now_s, project_id, bucket, f"ObjectRemoved:{how}", old, actor)
            return old

        with trio.CancelScope(shield=True):
            old = await self.database.run(work)
            if old is not None:
                self.count(project_id, -room_of(old.size))
                self.journal.added(project_id, bucket)
                await self.discard(project_id, [old.blob])

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

        def work(one: sqlite3.Connection) -> Page:
            self.need_bucket(one, project_id, bucket)
            return list_page(one, project_id, bucket, prefix, after, delimiter, min(most, LIST_MAX))

        return await self.database.read(work)

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

    async def discard(self, project_id: str, blobs: Sequence[str]) -> None:
        """Removes blobs that nothing names any more. What cannot be removed now is removed after the next start."""
        try:
            await trio.to_thread.run_sync(self.blobs.remove, project_id, blobs)
        except OSError as error:
            log.error("objects: files that nothing names stay until the next start: %s", error)

    def need_bucket(self, one: sqlite3.Connection, project_id: str, bucket: str) -> None:
        """Raises ObjectError where there is no such bucket."""
        if not _has_bucket(one, project_id, bucket):
            raise _no_bucket(bucket)

    async def _sweep_blobs(self) -> None:
        """Piece by piece, so that it takes no memory for all objects at once."""
        # What was placed since the store was opened may not be in the index yet.
        before_s = self._opened_s - _YOUNG_S
        for number in range(16**DIGITS):
            digits = f"{number:0{DIGITS}x}"

            def work(one: sqlite3.Connection, digits: str = digits) -> set[str]:
                names: set[str] = set()
                for table in ("object", "part"):
                    rows = one.execute(f"SELECT blob FROM {table} WHERE blob >= ? AND blob < ?", (digits, digits + "g"))
                    names |= {row[0] for row in rows}
                return names

            known = await self.database.read(work)
            await self.in_thread(self.blobs.sweep, digits, known, before_s)


def _has_bucket(one: sqlite3.Connection, project_id: str, bucket: str) -> bool:
    return one.execute("SELECT 1 FROM bucket WHERE project=? AND name=?", (project_id, bucket)).fetchone() is not None


def _no_bucket(bucket: str) -> ObjectError:
    return ObjectError("NoSuchBucket", 404, f"bucket: there is no bucket {bucket[:63]!r}")


def read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """A piece of a blob. Blocks."""
    return os.pread(file.fileno(), size, offset)
