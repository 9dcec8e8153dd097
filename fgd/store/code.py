"""Content-addressed code packages.

    <state>/packages/<digest>.zip    the archive as it came, for download
    <state>/packages/<digest>.json   its `CodePackage`
    <state>/packages/<digest>.names  its files, where somebody asked for them (`fgd/store/names.py`)
    <state>/code/<digest>/           what it unpacks to; its being there means that all three are complete
    <state>/tmp/<random>/            work under way; removed when the store is opened

The digest is the SHA-512 of the archive, in hex. `fgd/store/unpack.py` unpacks it in a process of its own. Folders
are 0755 and files 0644 or 0755, so that an instance's mapped uid may read them; the state directory itself is closed
to others, only the launcher mounts a code folder into a sandbox.
"""

import errno
import hashlib
import io
import os
import secrets
import sys
import time
import zipfile
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import trio

from fgd.errors import BadCode, PlatformError, StorageFull
from fgd.store import unpack
from fgd.store.api import CodePackage
from fgd.store.files import copy_durably, remove_tree, sync_folder, write_durably
from fgd.store.unpacking import Answer, unpack_apart
from fgd.units import MIB

#: CPU seconds and wall seconds that unpacking may take; the wall's are more because a busy disk is no one's fault.
_UNPACK_CPU_S = 4
_UNPACK_WALL_S = 30.0
#: Where there may be more entries than the setting says: 30,000 files took 1.4 s on an idle machine, 4 s on a busy one.
_MANY_ENTRIES_CPU_S = 8
#: The same for an archive of the object store, of up to 300 MB.
_OBJECT_CPU_S = 30
_OBJECT_WALL_S = 180.0
#: The same for an archive of the operator's.
_OPERATORS_CPU_S = 120
_OPERATORS_WALL_S = 600.0
_UNPACKING_AT_ONCE = 2
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


type Placer = Callable[[Path], Awaitable[Answer]]


class Limits(NamedTuple):
    """What unpacking one archive may take."""

    entries: int
    cpu_s: int
    wall_s: float


class FolderCodeStore:
    """`fgd.store.api.CodeStore` in the state directory."""

    def __init__(
        self,
        state_dir: Path,
        *,
        unpacked_max_mib: int,
        unpacked_max_files: int,
        grace_s: float = 600.0,
        python: str = sys.executable,
    ) -> None:
        """Makes the folders and removes what an interrupted run left.

        Args:
            grace_s: `sweep` leaves packages alone that were added so recently; their function may not be stored yet.
            python: interpreter for the unpacking process.

        Raises:
            StorageFull: the folders cannot be made.
        """
        self._code = state_dir / "code"
        self._packages = state_dir / "packages"
        self._tmp = state_dir / "tmp"
        self._max_bytes = unpacked_max_mib * MIB
        self._max_files = unpacked_max_files
        self._grace_s = grace_s
        self._python = python
        self._unpacking = trio.CapacityLimiter(_UNPACKING_AT_ONCE)
        self._known: dict[str, CodePackage] = {}
        try:
            for folder in (self._code, self._packages, self._tmp):
                folder.mkdir(mode=0o755 if folder == self._code else 0o700, exist_ok=True)
            sync_folder(state_dir)
        except OSError as error:
            raise StorageFull(f"{state_dir}: {error.strerror}") from error
        self.sweep_temporary()

    def sweep_temporary(self) -> int:
        """Removes work that was under way when fgd last ended; gives the number of pieces."""
        left = list(self._tmp.iterdir())
        for path in left:
            remove_tree(path)
        return len(left)

    def folder(self, digest: str) -> Path:
        """Where a package is unpacked."""
        return self._code / digest

    async def add_zip(self, archive: bytes, *, max_entries: int = 0) -> CodePackage:
        """See `fgd.store.api.CodeStore`.

        Args:
            max_entries: files and folders at most; 0 means the setting.
        """
        cpu_s = _MANY_ENTRIES_CPU_S if max_entries > self._max_files else _UNPACK_CPU_S
        limits = Limits(max_entries or self._max_files, cpu_s, _UNPACK_WALL_S)
        return await self._add(archive, partial(self._unpack, limits=limits))

    async def add_file(self, archive: Path, *, max_entries: int = 0) -> CodePackage:
        """The same for an archive on the host, which may be larger and take longer: its author is the operator.

        Raises:
            BadCode: also when it changed while it was read.
            OSError: it cannot be read.
        """
        limits = Limits(max_entries or self._max_files, _OPERATORS_CPU_S, _OPERATORS_WALL_S)
        return await self._add(archive, partial(self._unpack, limits=limits))

    async def add_object(self, archive: Path, *, max_entries: int = 0) -> CodePackage:
        """The same for an archive of the object store: six times as large as one that is sent."""
        limits = Limits(max_entries or self._max_files, _OBJECT_CPU_S, _OBJECT_WALL_S)
        return await self._add(archive, partial(self._unpack, limits=limits))

    async def add_inline(self, filename: str, source: bytes) -> CodePackage:
        """A package of one file, stored as the ZIP that would hold it; the same file makes the same digest.

        Raises:
            BadCode: the name breaks a rule that names in archives have to obey.
            StorageFull: no room; nothing is left behind.
        """
        try:
            parts = unpack.check_name(filename)
        except unpack.BadArchive as error:
            raise BadCode(f"code_filename: {error}") from error
        if not parts:
            raise BadCode("code_filename: must name a file")

        async def place(work: Path) -> Answer:
            await trio.to_thread.run_sync(_place_inline, work / "tree", parts, source)
            return Answer(files=len(parts), bytes=len(source))

        return await self._add(_inline_zip("/".join(parts), source), place)

    async def archive(self, digest: str) -> bytes:
        try:
            return await trio.to_thread.run_sync((self._packages / f"{digest}.zip").read_bytes)
        except FileNotFoundError:
            raise KeyError(digest) from None

    def package(self, digest: str) -> CodePackage:
        """What is known of a stored package.

        Raises:
            KeyError: no such package.
        """
        known = self._known.get(digest)
        if known is None:
            try:
                if not self.folder(digest).is_dir():
                    raise KeyError(digest)
                text = (self._packages / f"{digest}.json").read_bytes()
                known = self._known[digest] = msgspec.json.decode(text, type=CodePackage)
            except (FileNotFoundError, msgspec.DecodeError):
                raise KeyError(digest) from None
        return known

    def archive_bytes(self, digests: Iterable[str]) -> int:
        """Bytes of the archives of these packages, each counted once: what counts against a project's quota.

        Packages that are not stored count nothing.
        """
        total = 0
        for digest in set(digests):
            try:
                total += self.package(digest).size_bytes
            except KeyError:
                continue
        return total

    async def sweep(self, used: set[str]) -> int:
        """Removes packages that nothing uses any more; gives their number.

        `used` must name those of running instances too: a folder may be mounted, and Python imports late.
        """
        return await trio.to_thread.run_sync(self._sweep, set(used))

    def _sweep(self, used: set[str]) -> int:
        removed = 0
        young_s = time.time() - self._grace_s
        for folder in list(self._code.iterdir()):
            digest = folder.name
            if digest in used or self._touched_s(digest) > young_s:
                continue
            self._known.pop(digest, None)
            doomed = self._tmp / secrets.token_hex(8)
            folder.rename(doomed)  # at once out of sight, whatever becomes of the rest
            remove_tree(doomed)
            removed += 1
        for path in list(self._packages.iterdir()):
            if not (self._code / path.stem).is_dir() and path.stat().st_mtime <= young_s:
                path.unlink(missing_ok=True)
        return removed

    def _touched_s(self, digest: str) -> float:
        try:
            return (self._packages / f"{digest}.json").stat().st_mtime
        except FileNotFoundError:
            return 0.0

    async def _add(self, archive: bytes | Path, place: Placer) -> CodePackage:
        digest = await trio.to_thread.run_sync(_digest, archive)
        known = await trio.to_thread.run_sync(self._touch, digest)
        if known is not None:
            return known
        work = self._tmp / secrets.token_hex(8)
        try:
            async with self._unpacking:
                size_bytes = await trio.to_thread.run_sync(_begin, work, archive, digest)
                answer = await place(work)
                if answer.errno in _NO_ROOM:
                    raise StorageFull(f"code package: {answer.error}; nothing was stored")
                if answer.errno:
                    raise PlatformError(f"code package: cannot be unpacked: {answer.error}")
                if answer.error:
                    raise BadCode(f"code package: {answer.error}")
                package = CodePackage(
                    digest=digest, size_bytes=size_bytes, unpacked_bytes=answer.bytes, files=answer.files
                )
                await trio.to_thread.run_sync(self._publish, work, package)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise StorageFull(f"code package: {error.strerror}; nothing was stored") from error
            raise PlatformError(f"code package: {error}") from error
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(remove_tree, work)
        return package

    def _touch(self, digest: str) -> CodePackage | None:
        """The package if it is stored, and young again so that no sweep takes it."""
        try:
            package = self.package(digest)
            os.utime(self._packages / f"{digest}.json")
        except (KeyError, FileNotFoundError):
            return None
        return package

    async def _unpack(self, work: Path, limits: Limits) -> Answer:
        return await unpack_apart(
            self._python, work, max_bytes=self._max_bytes, max_files=limits.entries, cpu_s=limits.cpu_s,
            wall_s=limits.wall_s,
        )  # fmt: skip

    def _publish(self, work: Path, package: CodePackage) -> None:
        """Moves the pieces in place; the code folder last, since it stands for all."""
        write_durably(work / "package.json", msgspec.json.encode(package))
        (work / "archive.zip").rename(self._packages / f"{package.digest}.zip")
        (work / "package.json").rename(self._packages / f"{package.digest}.json")
        sync_folder(self._packages)
        try:
            (work / "tree").rename(self.folder(package.digest))
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # another request stored the same
                raise
        sync_folder(self._code)
        self._known[package.digest] = package


def _digest(archive: bytes | Path) -> str:
    if isinstance(archive, bytes):
        return hashlib.sha512(archive).hexdigest()
    with archive.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()


def md5_of(archive: bytes | Path) -> str:
    """MD5 of an archive, hex: the `etag` of dependencies."""
    if isinstance(archive, bytes):
        return hashlib.md5(archive, usedforsecurity=False).hexdigest()
    with archive.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def _begin(work: Path, archive: bytes | Path, digest: str) -> int:
    """Makes the folder of a piece of work with the archive in it; gives the archive's size."""
    work.mkdir(mode=0o700)
    (work / "tree").mkdir()
    (work / "tree").chmod(0o755)
    file = work / "archive.zip"
    if isinstance(archive, bytes):
        write_durably(file, archive)
        return len(archive)
    copy_durably(archive, file)
    if _digest(file) != digest:
        raise BadCode("it changed while it was read")
    return file.stat().st_size


def _inline_zip(name: str, source: bytes) -> bytes:
    """A ZIP of one file. Stored, not deflated: another zlib would make other bytes and so another digest."""
    info = zipfile.ZipInfo(name, _ZIP_EPOCH)
    info.create_system = 3  # Unix, wherever this runs
    info.external_attr = 0o100644 << 16
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(info, source)
    return target.getvalue()


def _place_inline(tree: Path, parts: tuple[str, ...], source: bytes) -> None:
    folder = tree
    for part in parts[:-1]:
        folder = folder / part
        folder.mkdir()
        folder.chmod(0o755)
    write_durably(folder / parts[-1], source, 0o644)
    (folder / parts[-1]).chmod(0o644)
    while True:
        sync_folder(folder)
        if folder == tree:
            return
        folder = folder.parent
