"""Which files a stored package has, without reading its archive again.

    <state>/packages/<digest>.names   one path per line, sorted; folders end with a slash

Made when it is first asked for, from the unpacked folder, which never changes; removed with the package.
"""

import os
import secrets
from pathlib import Path

from fgd.store.files import write_durably


class PackageNames:
    """The lists. Everything here reads or writes files: call it in a worker thread."""

    def __init__(self, state_dir: Path) -> None:
        self._code = state_dir / "code"
        self._packages = state_dir / "packages"
        self._tmp = state_dir / "tmp"

    def of(self, digest: str) -> list[str]:
        """The paths of all files, links and folders of a package, relative to its top.

        Raises:
            KeyError: no such package.
            OSError: the list cannot be read or written.
        """
        file = self._packages / f"{digest}.names"
        try:
            return file.read_bytes().decode("utf-8").split("\n")
        except FileNotFoundError:
            pass
        folder = self._code / digest
        if not folder.is_dir():
            raise KeyError(digest)
        names = sorted(_below(folder))
        # Whole or not at all, whoever else is writing the same.
        work = self._tmp / f"{secrets.token_hex(8)}.names"
        write_durably(work, "\n".join(names).encode("utf-8"))
        work.rename(file)
        return names

    def content(self, digest: str, name: str) -> bytes | None:
        """The bytes of an ordinary file of a package; None if that is a link."""
        path = self._code / digest / name
        return None if path.is_symlink() else path.read_bytes()


def _below(top: Path) -> list[str]:
    names: list[str] = []
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        with os.scandir(top / prefix) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{prefix}{entry.name}/")
                    names.append(waiting[-1])
                else:
                    names.append(prefix + entry.name)
    return names
