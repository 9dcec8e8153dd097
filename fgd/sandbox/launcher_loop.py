"""The launcher's event loop: descriptors with callbacks, timers, and the ends of children. One thread, no surprises."""

import heapq
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count

type Callback = Callable[[], None]


class Timer:
    """A callback at a moment; `cancel` may be called at any time."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """Calls back when a descriptor can be read (or its other end is gone) and when a time has come."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = count()
        self._children: dict[int, Callable[[int], None]] = {}
        self.running = True
        self._signalled, wake = socket.socketpair()
        for end in (self._signalled, wake):
            end.setblocking(False)
        self._wake = wake
        self.watch(self._signalled.fileno(), self._reap)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def watch_child(self, pid: int, callback: Callable[[int], None]) -> None:
        """Calls back once with the wait status of a child. Children that nobody watches are only reaped."""
        self._children[pid] = callback

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            self._signalled.recv(4096)
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                callback = self._children.pop(pid, None)
                if callback is not None:
                    callback(status)

    def watch(self, fd: int, callback: Callback) -> None:
        self._callbacks[fd] = callback
        self._epoll.register(fd, select.EPOLLIN)

    def forget(self, fd: int) -> None:
        """Call it before closing the descriptor; unknown ones are fine."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def after(self, seconds: float, callback: Callback) -> Timer:
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._count), timer))
        return timer

    def _run_timers(self) -> float:
        """Runs what is due; gives the seconds until the next, -1 for none."""
        while self._timers:
            moment, _, timer = self._timers[0]
            if timer.callback is not None and moment > time.monotonic():
                return moment - time.monotonic()
            heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
        return -1

    def run(self) -> None:
        """Runs until `running` is False."""
        while self.running:
            wait_s = self._run_timers()
            if not self.running:
                return
            for fd, _ in self._epoll.poll(max(wait_s, 0.0005) if wait_s >= 0 else -1):
                callback = self._callbacks.get(fd)
                if callback is not None:  # an earlier callback may have closed it
                    callback()
