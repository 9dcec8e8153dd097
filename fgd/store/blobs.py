"""Bytes of objects in files: written aside, put in place by a rename, removed when nothing names them.

    <root>/.tmp/<id>                       being written; removed when the store is opened
    <root>/<project>/<2 digits>/<id>       the bytes of an object, or of a part of an upload; the digits are the id's

An id is random and never used twice, so what is in place never changes, whatever the bucket and key of the object are.
"""

import base64
import contextlib
import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from fgd.store.files import remove_tree, sync_folder

_COPY_BYTES = 1 << 20
#: So many digits of an id are the name of its folder.
DIGITS: Final = 2


class BlobWriter:
    """A file being written. All methods block: call them in a thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._file = path.open("xb", buffering=0)
        self._md5 = hashlib.md5(usedforsecurity=False)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._md5.update(data)
        self.size += len(data)

    def copy(self, source: Path) -> None:
        """Appends another blob."""
        with source.open("rb") as file:
            while data := file.read(_COPY_BYTES):
                self.write(data)

    def append(self, file: BinaryIO, size: int) -> None:
        """Appends so much of an open file."""
        while size and (data := file.read(min(size, _COPY_BYTES))):
            self.write(data)
            size -= len(data)

    def sync(self) -> None:
        """Puts what was written on disk and ends the writing."""
        os.fsync(self._file.fileno())
        self._file.close()

    def drop(self) -> None:
        """Gives it up; nothing happens where it was put in place."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    @property
    def md5(self) -> str:
        return self._md5.hexdigest()

    @property
    def md5_base64(self) -> str:
        return base64.b64encode(self._md5.digest()).decode()


class Blobs:
    """The folder. All methods block: call them in a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tmp = root / ".tmp"
        self._tmp.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)
        for left in list(self._tmp.iterdir()):
            remove_tree(left)
        #: Folders whose names are durable.
        self._durable: set[Path] = set()

    def create(self) -> BlobWriter:
        return BlobWriter(self._tmp / secrets.token_hex(16))

    def path(self, project_id: str, blob: str) -> Path:
        return self._root / project_id / blob[:DIGITS] / blob

    def place(self, writer: BlobWriter, project_id: str) -> str:
        """Puts a finished file into its folder, durably; gives its id."""
        path = self.path(project_id, writer.path.name)
        folder = path.parent
        if folder not in self._durable:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(folder.parent)
            sync_folder(self._root)
            self._durable.add(folder)
        writer.path.rename(path)
        sync_folder(folder)
        return writer.path.name

    def remove(self, project_id: str, blobs: Sequence[str]) -> None:
        for blob in blobs:
            self.path(project_id, blob).unlink(missing_ok=True)

    def link(self, project_id: str, blob: str) -> Path:
        """Another name for a blob, which stays when the object goes; the caller removes it."""
        held = self._tmp / secrets.token_hex(16)
        os.link(self.path(project_id, blob), held)
        return held

    def sweep(self, digits: str, known: set[str], before_s: float) -> int:
        """Removes files that nothing names, of those whose ids begin so; gives their number.

        Args:
            known: ids that are named.
            before_s: younger files stay, epoch seconds.
        """
        removed = 0
        for folder in self._root.glob(f"*/{digits}"):
            for file in list(folder.iterdir()):
                with contextlib.suppress(FileNotFoundError):  # others remove files too
                    if file.name not in known and file.stat().st_mtime < before_s:
                        file.unlink()
                        removed += 1
        return removed
