"""Room on the disk that is kept free by a file of its own, for the work that has to go on when the disk is full.

Theory of operation: a WAL database needs room even to delete. When the disk is full the file is removed, the WAL is
folded into the database and emptied, and then results can be written, whose events make room for others. How much
is enough: the WAL is folded when it has a quarter of the reserve and a transaction has a quarter at most; if the disk
fills up so that folding fails, the WAL at most doubles until it cannot grow either. So folding it needs the reserve at
most. (A single larger transaction may need more; then work goes on when somebody else makes room.)
"""

import contextlib
import os
from pathlib import Path

_WANTED_BYTES = 8 * 1024 * 1024
_LEAST_BYTES = 64 * 1024


class Reserve:
    """A file that holds nothing but its place: 8 MiB, or an eighth of what is free where that is less."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size_bytes = _LEAST_BYTES

    def make(self) -> None:
        """Makes the file if it is not there and the disk has room; if it has not, there is none for now."""
        with contextlib.suppress(OSError):
            if self._path.exists():
                self.size_bytes = max(_LEAST_BYTES, self._path.stat().st_size)
                return
            disk = os.statvfs(self._path.parent)
            size = min(_WANTED_BYTES, disk.f_bavail * disk.f_frsize // 8)
            if size < _LEAST_BYTES:
                return
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, size)
                self.size_bytes = size
            except OSError:
                self.release()
            finally:
                os.close(fd)

    def release(self) -> None:
        """Gives the room to whoever needs it now."""
        with contextlib.suppress(OSError):
            self._path.unlink()
