"""Ranges of uids for the daemons of tests and benches. Those that run at the same time on one machine share none, in
whatever process they were made: whoever has a uid of a range is of the daemon that the range belongs to.
"""

import fcntl
import os
import secrets
import tempfile
from pathlib import Path
from typing import Final

from fgd.testing.client import HarnessError

#: Inside a sandbox functions run as 1003; uid blocks have 65,536 ids and begin at a multiple of it.
BLOCK: Final = 65536
_FIRST: Final = 0x1000_0000
_SLOT_BLOCKS: Final = 64
_SLOTS: Final = (0x6800_0000 - _FIRST) // (_SLOT_BLOCKS * BLOCK)


class UidRange:
    """Belongs to whoever made it for as long as the object is there, and no longer than the process.

    Theory of operation: the uids are cut into slots, each with a file that is locked by who has the slot. The kernel
    lets go of the lock when the process ends, however it ends.
    """

    def __init__(self, blocks: int) -> None:
        """
        Args:
            blocks: how many blocks of 65,536 uids it shall have at least.

        Raises:
            HarnessError: so many in a row are not free.
        """
        folder = Path(tempfile.gettempdir(), "fgd-test-uids")
        folder.mkdir(mode=0o700, exist_ok=True)
        self._locks: list[int] = []
        slots = -(-blocks // _SLOT_BLOCKS)
        begin = secrets.randbelow(_SLOTS)
        for number in range(_SLOTS):
            slot = (begin + number) % _SLOTS
            if slot + slots <= _SLOTS and self._take(folder, range(slot, slot + slots)):
                self.first = _FIRST + slot * _SLOT_BLOCKS * BLOCK
                return
        raise HarnessError(f"{blocks} blocks of uids in a row are not free; which are taken: lslocks | grep {folder}")

    def _take(self, folder: Path, slots: range) -> bool:
        for slot in slots:
            lock = os.open(folder / str(slot), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._locks.append(lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._release()
                return False
        return True

    def _release(self) -> None:
        while self._locks:
            os.close(self._locks.pop())

    def __del__(self) -> None:
        self._release()
