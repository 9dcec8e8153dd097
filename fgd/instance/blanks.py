"""A pool of blank sandboxes for each runtime and network, refilled beside the path of requests.

The target grows when a start finds the pool empty and shrinks again when it has not for a while.
"""

import logging
import math
import os

import trio

from fgd.errors import SandboxError
from fgd.sandbox.api import Sandbox, SandboxHost

log = logging.getLogger(__name__)

#: Refilling waits this long after a blank was taken, so as not to compete with the start it was taken for.
_PAUSE_S = 0.02
_SHRINK_AFTER_S = 10.0
_RETRY_FIRST_S = 0.2
_RETRY_MAX_S = 10.0


class _Shelf:
    __slots__ = ("blanks", "missed_s", "target", "wake")

    def __init__(self, target: int) -> None:
        self.blanks: list[Sandbox] = []
        self.target = target
        self.missed_s = -math.inf
        self.wake = trio.Event()


class BlankPool:
    """Blanks by runtime and network. Such a pair has a shelf from its first `want` on."""

    def __init__(self, host: SandboxHost, nursery: trio.Nursery, size: int, size_max: int) -> None:
        self._host = host
        self._nursery = nursery
        self._size = size
        self._size_max = max(size, size_max)
        self._shelves: dict[tuple[str, str], _Shelf] = {}
        self._closed = False

    def resize(self, size: int, size_max: int) -> None:
        """New settings; takes effect with the next refill."""
        self._size, self._size_max = size, max(size, size_max)
        for shelf in self._shelves.values():
            shelf.target = size
            shelf.wake.set()

    def want(self, runtime: str, network: str) -> None:
        """Begins to keep blanks of a runtime on a network, if it does not yet."""
        if (runtime, network) not in self._shelves and self._size and not self._closed:
            shelf = self._shelves[runtime, network] = _Shelf(self._size)
            self._nursery.start_soon(self._refill, runtime, network, shelf)

    def take(self, runtime: str, network: str) -> Sandbox | None:
        """A blank, at once, or None when the shelf is empty."""
        self.want(runtime, network)
        shelf = self._shelves.get((runtime, network))
        if shelf is None:
            return None
        while shelf.blanks:
            sandbox = shelf.blanks.pop(0)  # the oldest: it has had time to warm up
            if sandbox.exit_report is None:
                shelf.wake.set()
                return sandbox
            self._nursery.start_soon(discard, sandbox)
        shelf.missed_s = trio.current_time()
        shelf.target = min(max(shelf.target * 2, 1), self._size_max)
        shelf.wake.set()
        return None

    def count(self) -> dict[str, int]:
        """Blanks on the shelves, by runtime."""
        counts: dict[str, int] = {}
        for (runtime, _), shelf in self._shelves.items():
            counts[runtime] = counts.get(runtime, 0) + len(shelf.blanks)
        return counts

    def give_up(self, number: int) -> int:
        """Ends up to `number` blanks to make room for instances; gives how many."""
        ended = 0
        for shelf in self._shelves.values():
            while shelf.blanks and ended < number:
                self._nursery.start_soon(discard, shelf.blanks.pop())
                ended += 1
        return ended

    def close(self) -> None:
        """Ends all blanks and makes no more."""
        self._closed = True
        self.give_up(1 << 30)

    async def _refill(self, runtime: str, network: str, shelf: _Shelf) -> None:
        retry_s = _RETRY_FIRST_S
        while not self._closed:
            if len(shelf.blanks) >= shelf.target:
                shelf.wake = trio.Event()
                with trio.move_on_after(_SHRINK_AFTER_S):
                    await shelf.wake.wait()
                    await trio.sleep(_PAUSE_S if shelf.blanks else 0)
                if shelf.target > self._size and trio.current_time() - shelf.missed_s > _SHRINK_AFTER_S:
                    shelf.target = max(self._size, shelf.target // 2)
                    while len(shelf.blanks) > shelf.target:
                        await discard(shelf.blanks.pop(0))
                continue
            try:
                sandbox = await self._host.open(runtime, network=network)
            except SandboxError as error:
                log.warning("no blank sandbox for %s, %s: %s; trying again in %.1f s", runtime, network, error, retry_s)
                await trio.sleep(retry_s)
                retry_s = min(retry_s * 2, _RETRY_MAX_S)
                continue
            retry_s = _RETRY_FIRST_S
            if self._closed:
                await discard(sandbox)
            else:
                shelf.blanks.append(sandbox)


async def discard(sandbox: Sandbox) -> None:
    """Ends a sandbox that never became an instance, and closes what came with it."""
    sandbox.kill("no longer needed")
    sandbox.channel.close()
    os.close(sandbox.output_fd)
    with trio.CancelScope(shield=True), trio.move_on_after(10):
        await sandbox.wait()
