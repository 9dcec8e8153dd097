"""Bytes on their way into the object store: counted against the quota as they come, on disk when they are all there."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from fgd.store.blobs import Blobs, BlobWriter
from fgd.store.object_types import ObjectError, StoredObject

_BUFFER_BYTES: Final = 256 * 1024


class Room(Protocol):
    """Where bytes go; the real thing is `fgd.store.objects.ObjectStore`."""

    blobs: Blobs

    def reserve(self, project_id: str, size: int) -> None: ...
    async def in_thread[*Args, T](self, work: Callable[[*Args], T], *args: *Args) -> T: ...


class Incoming:
    """Bytes on their way in; made by `ObjectStore.incoming`."""

    def __init__(self, store: Room, writer: BlobWriter, project_id: str) -> None:
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
                with self._store.blobs.path(project_id, found.blob).open("rb") as file:
                    file.seek(offset)
                    self._writer.append(file, size)
            except FileNotFoundError:
                raise ObjectError("NoSuchKey", 404, "x-amz-copy-source: it was changed meanwhile") from None

        await self._store.in_thread(work)

    async def _flush(self) -> None:
        data, self._buffer = bytes(self._buffer), bytearray()
        await self._store.in_thread(lambda: self._writer.write(data))
