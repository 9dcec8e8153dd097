"""Small archives from strangers, read into memory by the rules that code packages are unpacked by."""

import os
import secrets
import stat
import sys
from pathlib import Path
from typing import Final

import trio

from fgd.errors import BadCode, PlatformError
from fgd.store.files import remove_tree
from fgd.store.sqlite import storage_error
from fgd.store.unpacking import unpack_apart

_CPU_S: Final = 4
_WALL_S: Final = 30.0
_AT_ONCE: Final = 1


class ArchiveReader:
    """Unpacks in a process of its own into the code store's `tmp`, which is emptied at every start.

    Args:
        state_dir: the state directory; the code store has made its folders.
    """

    def __init__(self, state_dir: Path, *, python: str = sys.executable) -> None:
        self._tmp = state_dir / "tmp"
        self._python = python
        self._turns = trio.CapacityLimiter(_AT_ONCE)

    async def files(self, archive: bytes, *, max_bytes: int, max_files: int) -> dict[str, bytes]:
        """The files of a ZIP by their paths; links are left out.

        Args:
            max_bytes: of all files together, counted while they are unpacked.
            max_files: files and folders.

        Raises:
            BadCode: broken or hostile; names the entry and the rule.
            StorageFull: no room to unpack it. In every case nothing is left behind.
        """
        work = self._tmp / secrets.token_hex(8)
        try:
            async with self._turns:
                await trio.to_thread.run_sync(_begin, work, archive)
                answer = await unpack_apart(
                    self._python, work, max_bytes=max_bytes, max_files=max_files, cpu_s=_CPU_S, wall_s=_WALL_S
                )
                if answer.errno:
                    raise OSError(answer.errno, answer.error)
                if answer.error:
                    raise BadCode(answer.error)
                return await trio.to_thread.run_sync(_read, work / "tree")
        except OSError as error:
            raise storage_error(error, work) or PlatformError(f"the archive cannot be unpacked: {error}") from error
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(remove_tree, work)


def _begin(work: Path, archive: bytes) -> None:
    work.mkdir(mode=0o700)
    (work / "tree").mkdir()
    (work / "archive.zip").write_bytes(archive)


def _read(tree: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for folder, _, names in os.walk(tree):
        for name in names:
            path = Path(folder, name)
            if stat.S_ISREG(path.lstat().st_mode):
                found[path.relative_to(tree).as_posix()] = path.read_bytes()
    return dict(sorted(found.items()))
