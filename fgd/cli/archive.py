"""A folder or file as a code package. The same content gives the same bytes, so a digest tells whether code changed."""

import fnmatch
import io
import os
import stat
import zipfile
from pathlib import Path

from fgd.cli.report import UsageError

IGNORE_FILE = ".fgdignore"
#: Bytes of the archive that the API takes (its Base64 must fit into a request).
MAX_ARCHIVE_BYTES = 50 * 1024 * 1024
#: Never part of a function.
_ALWAYS = (".git/", ".venv/", IGNORE_FILE)
_BYTECODE = ("__pycache__/", "*.pyc")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(source: Path, *, bytecode: bool = False) -> bytes:
    """A ZIP of a folder's content, of one file, or the file itself when it is a ZIP.

    `.fgdignore` holds one pattern per line: `*.log` matches names anywhere, `data/*.bin` paths from the top,
    a `/` at the end only folders, `#` begins a comment. Modes keep their execute bit; times and owners are left out.

    Args:
        bytecode: take what Python has compiled, too.

    Raises:
        UsageError: nothing there, nothing in it, a link that leaves the folder, or something unreadable.
    """
    try:
        if source.is_dir():
            patterns = _patterns(source) + ([] if bytecode else list(_BYTECODE))
            entries = _files(source, patterns)
            if not entries:
                raise UsageError(f"{source}: no files in it (after {IGNORE_FILE})")
            return _zip(entries)
        data = source.read_bytes()
        if data.startswith(b"PK\x03\x04"):
            return data
        return _zip([(source.name, source)])
    except FileNotFoundError:
        raise UsageError(f"{source}: there is no such file or folder") from None
    except OSError as error:
        raise UsageError(f"{error.filename or source}: cannot be read: {error.strerror}") from None


def _patterns(folder: Path) -> list[str]:
    file = folder / IGNORE_FILE
    own = file.read_text("utf-8").splitlines() if file.is_file() else []
    stripped = (line.strip() for line in own)
    return [*_ALWAYS, *(line for line in stripped if line and not line.startswith("#"))]


def _ignored(relative: str, is_dir: bool, patterns: list[str]) -> bool:
    name = relative.rpartition("/")[2]
    for pattern in patterns:
        if pattern.endswith("/") and not is_dir:
            continue
        bare = pattern.strip("/")
        if fnmatch.fnmatchcase(relative if "/" in pattern.rstrip("/") else name, bare):
            return True
    return False


def _files(folder: Path, patterns: list[str]) -> list[tuple[str, Path]]:
    """Names and files, sorted by name; links inside of the folder are followed, others refused."""
    top = folder.resolve()
    found: list[tuple[str, Path]] = []
    for place, folders, names in os.walk(top):
        base = Path(place)
        folders[:] = [
            name for name in folders if not _ignored((base / name).relative_to(top).as_posix(), True, patterns)
        ]
        links = [name for name in folders if (base / name).is_symlink()]
        for name in links:
            raise UsageError(f"{base / name}: a link to a folder cannot be packed; copy the folder or ignore the link")
        for name in names:
            path = base / name
            relative = path.relative_to(top).as_posix()
            if _ignored(relative, False, patterns):
                continue
            if not path.resolve().is_relative_to(top):
                raise UsageError(f"{path}: the link leads out of the folder; copy the file or ignore the link")
            if not stat.S_ISREG(path.stat().st_mode):
                raise UsageError(f"{path}: only files and folders can be packed; name it in {IGNORE_FILE}")
            found.append((relative, path))
    return sorted(found)


def _zip(entries: list[tuple[str, Path]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, path in entries:
            info = zipfile.ZipInfo(name, _EPOCH)
            executable = path.stat().st_mode & 0o111
            info.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
            info.create_system = 3  # Unix, wherever it is packed
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, path.read_bytes())
    return buffer.getvalue()
