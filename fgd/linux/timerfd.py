"""A descriptor that becomes readable when somebody sets the system's clock: timerfd_create(2), TFD_TIMER_CANCEL_ON_SET.

The end of a suspension of the machine counts as setting it; the small steps of a time server's slewing do not.
"""

import ctypes
import os
import time
from contextlib import suppress
from typing import Final

_libc = ctypes.CDLL(None, use_errno=True)
_CLOCK_REALTIME: Final = time.CLOCK_REALTIME
_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK and TFD_CLOEXEC are the same bits
_ABSTIME: Final = 1
_CANCEL_ON_SET: Final = 2
#: About the year 36812: it never expires.
_NEVER_S: Final = 1 << 40


class _ITimerSpec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class ClockWatch:
    """Readable after the system's clock was set, until `clear`."""

    def __init__(self) -> None:
        """
        Raises:
            OSError: the kernel does not let us.
        """
        self._fd = _check(_libc.timerfd_create(_CLOCK_REALTIME, _FLAGS))
        try:
            self._arm()
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        return self._fd

    def clear(self) -> None:
        """Waits for the next time."""
        with suppress(OSError):  # ECANCELED is the news itself, EAGAIN that there is none
            os.read(self._fd, 8)
        self._arm()

    def close(self) -> None:
        """Releases the descriptor; may be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _arm(self) -> None:
        when = _ITimerSpec(0, 0, _NEVER_S, 0)
        _check(_libc.timerfd_settime(self._fd, _ABSTIME | _CANCEL_ON_SET, ctypes.byref(when), None))


def _check(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
