# Names out of an archive stay plain strings: a Path would normalise what has to be checked.
# ruff: noqa: PTH101, PTH102, PTH118, PTH211
"""Unpacks one ZIP into an empty folder, as a program of its own: `python -I -S unpack.py ORDER` (ORDER is JSON).

Theory of operation: an archive comes from a stranger. So it is read by a process that holds no secrets, has the
daemon's unprivileged uid and tight rlimits, and may die without harm. Budgets are counted while bytes come out of the
decompressor, never taken from headers. Names are checked as they are in the archive. Links are made last, so that
no file is ever written through one. One line of JSON on stdout: {"files", "bytes"} or {"error"}.

Decisions: entries with the same name are refused, names that differ only in case or Unicode form are different files
(as Linux has it). Relative symbolic links that stay inside are kept (npm and virtualenv make them); all others are
refused. Set-id and sticky bits are not applied; an entry that is executable by anyone becomes 0755, the rest 0644.
Only stored and deflated entries; bytes before the first entry and entries that overlap are refused.

Stdlib only. Source for the limits: threat-model figures; APPNOTE.TXT 6.3.10 for the format.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import stat
import sys
import zipfile
import zlib
from collections.abc import Iterator

MAX_DEPTH = 100
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 1024
_BLOCK_BYTES = 256 * 1024
_ADDRESS_SPACE_BYTES = 768 * 1024 * 1024
#: Beyond so many files one syncfs of the whole file system is cheaper than an fsync for each.
_FSYNC_EACH = 32
_LOCAL_HEADER_BYTES = 30
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class BadArchive(Exception):
    """The archive is broken or breaks a rule; the message names the entry and the rule."""


def shown(name: str) -> str:
    """An entry's name for a message: quoted, control characters escaped, not too long."""
    return ascii(name if len(name) <= 120 else name[:117] + "...")


def check_name(name: str) -> tuple[str, ...]:
    """The parts of an entry's name, `.` and empty ones left out.

    Raises:
        BadArchive: absolute, leaves the folder, or has a character or length that no name may have.
    """
    if "\0" in name:
        raise BadArchive(f"{shown(name)}: the name has a NUL character")
    if "\\" in name:
        raise BadArchive(f"{shown(name)}: the name has a backslash; make the archive with forward slashes")
    if name.startswith("/"):
        raise BadArchive(f"{shown(name)}: the name is absolute")
    if any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) <= 0xDFFF for char in name):
        raise BadArchive(f"{shown(name)}: the name has a control character")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise BadArchive(f"{shown(name)}: the name leaves the folder (..)")
    if not parts and not name.endswith("/"):
        raise BadArchive(f"{shown(name)}: the name is empty")
    if len(parts) > MAX_DEPTH:
        raise BadArchive(f"{shown(name)}: {len(parts)} folders deep; {MAX_DEPTH} is the limit")
    if any(len(part.encode()) > MAX_NAME_BYTES for part in parts) or len("/".join(parts).encode()) > MAX_PATH_BYTES:
        raise BadArchive(
            f"{shown(name)}: the name is too long; {MAX_NAME_BYTES} bytes a part, {MAX_PATH_BYTES} in all are the limit"
        )
    return parts


class Unpacker:
    """Writes the entries of one archive below one folder within the budgets."""

    def __init__(self, target: str, max_bytes: int, max_files: int) -> None:
        self._target = target
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._bytes = 0
        self._kinds: dict[tuple[str, ...], str] = {}
        self._links: list[tuple[str, str, str]] = []
        self._written: list[str] = []

    def unpack(self, archive: zipfile.ZipFile) -> dict[str, int]:
        """Unpacks everything; gives the number of files, folders and links, and the bytes of the files."""
        entries = archive.infolist()
        if not entries:
            raise BadArchive("the archive is empty")
        self._count_entries(len(entries))
        if sum(entry.file_size for entry in entries) > self._max_bytes:
            self._too_large()
        self._check_layout(entries, archive.start_dir)
        for entry in entries:
            self._entry(archive, entry)
        self._make_links()
        self._sync()
        return {"files": len(self._kinds), "bytes": self._bytes}

    def _check_layout(self, entries: list[zipfile.ZipInfo], end: int) -> None:
        """No bytes before the first entry, no entry that begins within another (a bomb of overlapping entries)."""
        ordered = sorted(entries, key=lambda entry: entry.header_offset)
        if ordered[0].header_offset != 0:
            raise BadArchive("the archive begins with bytes that are not part of it")
        for entry, after in zip(ordered, [*(item.header_offset for item in ordered[1:]), end], strict=True):
            name_bytes = len(entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437", "replace"))
            if entry.header_offset + _LOCAL_HEADER_BYTES + name_bytes + entry.compress_size > after:
                raise BadArchive(f"{shown(entry.filename)}: overlaps another entry")

    def _entry(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
        parts = check_name(entry.orig_filename)
        mode = entry.external_attr >> 16
        kind = stat.S_IFMT(mode)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            raise BadArchive(f"{shown(entry.filename)}: is a device, pipe or socket")
        if entry.flag_bits & 0x1:
            raise BadArchive(f"{shown(entry.filename)}: is encrypted")
        if entry.compress_type not in _METHODS:
            raise BadArchive(
                f"{shown(entry.filename)}: is compressed by method {entry.compress_type}, not stored or deflated"
            )
        if entry.orig_filename.endswith("/") or kind == stat.S_IFDIR:
            self._folder(parts, entry.filename)
            return
        self._folder(parts[:-1], entry.filename)
        if parts in self._kinds:
            raise BadArchive(f"{shown(entry.filename)}: is in the archive twice")
        path = os.path.join(self._target, *parts)
        if kind == stat.S_IFLNK:
            self._note(parts, "link")
            self._links.append((path, self._link_target(archive, entry), entry.filename))
            return
        self._note(parts, "file")
        self._file(archive, entry, path, 0o755 if mode & 0o111 else 0o644)

    def _folder(self, parts: tuple[str, ...], name: str) -> None:
        for depth in range(1, len(parts) + 1):
            known = self._kinds.get(parts[:depth])
            if known is None:
                self._note(parts[:depth], "folder")
                path = os.path.join(self._target, *parts[:depth])
                os.mkdir(path, 0o755)
            elif known != "folder":
                raise BadArchive(f"{shown(name)}: lies below {shown('/'.join(parts[:depth]))}, which is no folder")

    def _note(self, parts: tuple[str, ...], kind: str) -> None:
        self._kinds[parts] = kind
        self._count_entries(len(self._kinds))

    def _count_entries(self, count: int) -> None:
        if count > self._max_files:
            raise BadArchive(f"the archive has more than {self._max_files} files and folders")

    def _too_large(self) -> None:
        raise BadArchive(f"the archive unpacks to more than {self._max_bytes // (1024 * 1024)} MiB")

    def _blocks(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        try:
            with archive.open(entry) as source:
                while block := source.read(_BLOCK_BYTES):
                    self._bytes += len(block)
                    if self._bytes > self._max_bytes:
                        self._too_large()
                    yield block
                if source.tell() != entry.file_size:
                    raise BadArchive(f"{shown(entry.filename)}: is shorter than the archive says")
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise BadArchive(f"{shown(entry.filename)}: {error or 'ends too early'}") from error

    def _file(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: str, mode: int) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as target:
            for block in self._blocks(archive, entry):
                target.write(block)
        os.chmod(path, mode)
        self._written.append(path)

    def _link_target(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
        if entry.file_size > MAX_PATH_BYTES:
            raise BadArchive(f"{shown(entry.filename)}: the link's target is too long")
        try:
            target = b"".join(self._blocks(archive, entry)).decode()
        except UnicodeDecodeError as error:
            raise BadArchive(f"{shown(entry.filename)}: the link's target is not UTF-8") from error
        if not target or "\0" in target or target.startswith("/"):
            raise BadArchive(f"{shown(entry.filename)}: the link's target is empty, absolute or has a NUL character")
        return target

    def _make_links(self) -> None:
        root = os.path.realpath(self._target)
        for path, target, _ in self._links:
            os.symlink(target, path)
        for path, target, name in self._links:
            # Resolved with all other links in place, since a chain of them can leave where each alone does not.
            if not (os.path.realpath(path) + "/").startswith(root + "/"):
                raise BadArchive(f"{shown(name)}: the link to {shown(target)} leaves the folder")

    def _sync(self) -> None:
        folders = [self._target, *(os.path.join(self._target, *p) for p, k in self._kinds.items() if k == "folder")]
        paths = self._written + folders
        if len(paths) > _FSYNC_EACH:
            fd = os.open(self._target, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), self._target)
            finally:
                os.close(fd)
            return
        for path in paths:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def restrict(cpu_s: int, max_bytes: int) -> None:
    """Puts this process under its limits; nothing of the archive has been read before."""

    def out_of_time(_number: int, _frame: object) -> None:
        raise BadArchive(f"unpacking takes more than {cpu_s} s")

    signal.signal(signal.SIGXCPU, out_of_time)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for limit, soft, hard in (
        (resource.RLIMIT_AS, _ADDRESS_SPACE_BYTES, _ADDRESS_SPACE_BYTES),
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),
        (resource.RLIMIT_FSIZE, max_bytes + _BLOCK_BYTES, max_bytes + _BLOCK_BYTES),
        (resource.RLIMIT_NOFILE, 64, 64),
        (resource.RLIMIT_NPROC, 0, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        _, most = resource.getrlimit(limit)
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(limit, (soft, hard))


def main(order: dict[str, int | str]) -> dict[str, int | str]:
    """Carries out an order: archive, target, max_bytes, max_files, cpu_s."""
    restrict(int(order["cpu_s"]), int(order["max_bytes"]))
    os.umask(0o022)
    try:
        with zipfile.ZipFile(str(order["archive"])) as archive:
            unpacker = Unpacker(str(order["target"]), int(order["max_bytes"]), int(order["max_files"]))
            return {**unpacker.unpack(archive)}
    except BadArchive as error:
        return {"error": str(error)}
    except zipfile.BadZipFile as error:
        return {"error": f"not a ZIP archive, or a broken one: {error}"}
    except MemoryError:
        return {"error": "the archive's directory needs too much memory"}
    except OSError as error:
        return {"errno": error.errno or 0, "error": error.strerror or str(error)}
    except (ValueError, NotImplementedError, OverflowError, IndexError, KeyError, RuntimeError) as error:
        # zipfile lets these out of damaged headers; in this process they cannot come from anything else
        return {"error": f"not a ZIP archive, or a broken one: {error}"}


if __name__ == "__main__":
    answer = main(json.loads(sys.argv[1]))
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(answer), flush=True)
