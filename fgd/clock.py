"""Wall time and request ids.

Wall time is derived from the run's clock, so that a test that jumps a day jumps here too.
"""

import logging
import math
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

import trio

log = logging.getLogger(__name__)

#: Seconds between two looks at the system's clock where nothing tells of its steps.
_LOOK_S: Final = 5.0
#: Smaller differences are the inexactness of the reading.
_SAME_S: Final = 0.002
_READINGS: Final = 5


def monotonic_s() -> float:
    """Seconds of the monotonic clock; only differences mean something. Usable outside of a trio run."""
    return time.monotonic()


class Watch(Protocol):
    """Becomes readable when the system's clock was set, until cleared; `fgd.linux.timerfd.ClockWatch` is one."""

    def fileno(self) -> int: ...
    def clear(self) -> None: ...


class Clock:
    """Wall time: the clock of the running trio loop and what the wall is ahead of it.

    Both run at the same rate. They part when somebody sets the system's clock and when the machine was suspended;
    `follow` sees to that, and wakes who waits in `sleep_until`.
    """

    __slots__ = ("_highest_s", "_offset_s", "_wall_s", "_was_set")

    def __init__(self, wall_s: Callable[[], float] = time.time) -> None:
        self._wall_s = wall_s
        self._offset_s = self._highest_s = self._measured_s()
        self._was_set = trio.Event()

    def time_s(self) -> float:
        """Seconds since the epoch."""
        return trio.current_time() + self._offset_s

    def onward_s(self) -> float:
        """The same, but it never goes back: for moments that are compared with later ones."""
        return trio.current_time() + self._highest_s

    async def sleep_until(self, at_s: float) -> bool:
        """Waits until it is `at_s`, epoch seconds: True. False as soon as the clock was set meanwhile: look again."""
        was_set = self._was_set
        with trio.move_on_at(at_s - self._offset_s):
            await was_set.wait()
        return not was_set.is_set()

    async def follow(self, watch: Watch | None) -> None:
        """Keeps to the system's clock until cancelled: at once where a `watch` tells, within seconds otherwise."""
        while True:
            with trio.move_on_after(_LOOK_S):
                if watch is None:
                    await trio.sleep_forever()
                else:
                    await trio.lowlevel.wait_readable(watch)
                    watch.clear()
            self.look()

    def look(self) -> None:
        """Compares with the system's clock and goes by it."""
        offset_s = self._measured_s()
        ahead_s = offset_s - self._offset_s
        if abs(ahead_s) < _SAME_S:
            return
        log.warning("the system's clock was set by %+.3f s", ahead_s)
        self._offset_s = offset_s
        self._highest_s = max(self._highest_s, offset_s)
        was_set, self._was_set = self._was_set, trio.Event()
        was_set.set()

    def _measured_s(self) -> float:
        """What the wall is ahead, as exactly as a moment without interruption between the readings gives it."""
        best_s, least_s = 0.0, math.inf
        for _ in range(_READINGS):
            before_s = trio.current_time()
            wall_s = self._wall_s()
            took_s = trio.current_time() - before_s
            if took_s < least_s:
                best_s, least_s = wall_s - before_s - took_s / 2, took_s
        return best_s


def iso_utc(epoch_s: float, *, milliseconds: bool = False) -> str:
    """`2024-05-16T08:01:29Z`, the form of FunctionGraph's log lines and API answers."""
    moment = datetime.fromtimestamp(epoch_s, UTC)
    if milliseconds:
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
_REFILL_BYTES = 4096


class _IdSource:
    """Random UUIDs cut from blocks of kernel randomness: one system call for 256 ids, 0.5 us an id."""

    __slots__ = ("_at", "_block")

    def __init__(self) -> None:
        self._block = ""
        self._at = 0

    def next(self) -> str:
        at = self._at
        if at + 32 > len(self._block):
            self._block = os.urandom(_REFILL_BYTES).hex()
            at = 0
        self._at = at + 32
        hexes = self._block[at : at + 32]
        return f"{hexes[:8]}-{hexes[8:12]}-4{hexes[13:16]}-{_VARIANT[hexes[16]]}{hexes[17:20]}-{hexes[20:]}"


#: A random version 4 UUID as text of 36 characters. Not to be called in a forked child that keeps its parent's block.
new_request_id = _IdSource().next
