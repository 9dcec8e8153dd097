"""Wall time and request ids.

Wall time is derived from the run's clock, so that a test that jumps a day jumps here too.
"""

import os
import time
from datetime import UTC, datetime

import trio


def monotonic_s() -> float:
    """Seconds of the monotonic clock; only differences mean something. Usable outside of a trio run."""
    return time.monotonic()


class Clock:
    """Wall time anchored once to the clock of the running trio loop."""

    __slots__ = ("_offset_s",)

    def __init__(self) -> None:
        self._offset_s = time.time() - trio.current_time()

    def time_s(self) -> float:
        """Seconds since the epoch."""
        return trio.current_time() + self._offset_s


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
