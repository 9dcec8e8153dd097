"""What a function sees as its code: its package, or one tree of its package and its dependencies.

Theory of operation: packages are unpacked once, each into a folder that never changes. A function with dependencies
gets an overlay of their folders with its code on top, so that imports work as if all files lay beside the handler. The
overlay is made for the first instance of a combination; later ones get a clone of that mount, and share what the kernel
remembers of names and files. It is attached nowhere on the host. A combination that no start asked for in a while is
let go, so that the disk space of packages that were deleted comes back.
"""

import errno
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack

from fgd.linux import libc
from fgd.linux.mounts import merged_view, read_only_view
from fgd.sandbox.guard import CodeRoot

KEPT_MAX = 256
KEPT_S = 300.0

#: Device and inode of each folder; they stay taken for as long as the overlay is there.
type _Combination = tuple[tuple[int, int], ...]


class CodeViews:
    """Detached mounts by digests; the launcher attaches none of them itself."""

    def __init__(self, root: CodeRoot, after: Callable[[float, Callable[[], None]], object],
                 now_s: Callable[[], float] = time.monotonic) -> None:  # fmt: skip
        """`after(seconds, callback)` has something done later."""
        self._root = root
        self._after = after
        self._now_s = now_s
        #: Whether a call of `expire` is to come.
        self._armed = False
        #: Mount and time of the last use, the longest unused first.
        self._kept: OrderedDict[_Combination, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        """How many overlays are kept."""
        return len(self._kept)

    def open(self, code: str, dependencies: tuple[str, ...]) -> int:
        """A detached read-only mount, which the caller closes.

        Raises:
            OSError: a package is not there, or the kernel refused the overlay.
        """
        if not dependencies:
            folder = self._root.open(code)
            try:
                return read_only_view(folder)
            finally:
                os.close(folder)
        with ExitStack() as stack:
            folders = []
            for digest in (code, *dependencies):
                folders.append(self._root.open(digest))
                stack.callback(os.close, folders[-1])
            # By what they are, not by their names: a package may have been removed and stored again meanwhile.
            combination = tuple((status.st_dev, status.st_ino) for status in map(os.fstat, folders))
            kept = self._kept.pop(combination, None)
            view = merged_view(folders) if kept is None else kept[0]
        try:
            clone = libc.clone_mount("", view)
        except OSError as error:
            if error.errno == errno.EINVAL:
                # Before Linux 6.15 a mount that is attached nowhere cannot be cloned: each instance has its own.
                return view
            os.close(view)
            raise
        self._keep(combination, view)
        return clone

    def _keep(self, combination: _Combination, view: int) -> None:
        if not self._armed:
            self._armed = True
            self._after(KEPT_S, self.expire)
        self._kept[combination] = (view, self._now_s())
        if len(self._kept) > KEPT_MAX:
            os.close(self._kept.popitem(last=False)[1][0])

    def expire(self) -> None:
        """Lets go of what was not asked for in a while."""
        last_s = self._now_s() - KEPT_S
        self._armed = False
        while self._kept:
            combination, (view, used_s) = next(iter(self._kept.items()))
            if used_s > last_s:
                self._armed = True
                self._after(KEPT_S, self.expire)
                return
            del self._kept[combination]
            os.close(view)
