"""Makes archives, honest and hostile ones."""

import io
import stat
import zipfile
from collections.abc import Mapping


def make_zip(files: Mapping[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP of names and contents."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def entry(name: str, mode: int, method: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    """An entry with a Unix mode, file type included."""
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    info.compress_type = method
    return info


def zip_of(*entries: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for info, content in entries:
            archive.writestr(info, content)
    return target.getvalue()


def link(name: str, to: str) -> tuple[zipfile.ZipInfo, bytes]:
    return entry(name, stat.S_IFLNK | 0o777), to.encode()


def file(name: str, content: bytes = b"x", mode: int = 0o644) -> tuple[zipfile.ZipInfo, bytes]:
    return entry(name, stat.S_IFREG | mode), content


def rename_in_place(archive: bytes, old: str, new: str) -> bytes:
    """Replaces a name of the same length in both headers, which zipfile itself would not write."""
    assert len(old) == len(new)
    return archive.replace(old.encode(), new.encode())
