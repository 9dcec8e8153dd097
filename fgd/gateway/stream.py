"""The socket under a client connection: writing without waiting, and ends that do not lose the last answer.

A write that the kernel does not take whole leaves the rest here until the client reads on, for `body_timeout_s` at
most. While `_paused`, the reactor does not report readable bytes: they stay in the kernel, which slows the client down.
"""

import socket
from time import perf_counter
from typing import Final, Protocol

from fgd.config import Config
from fgd.linux.reactor import READ, WRITE, Reactor
from fgd.units import MIB

HEAD, BODY, BUSY, WRITING, LINGER, FORWARD, CLOSED = range(7)
READ_BYTES: Final = 65536
#: A refused client has this long to read the answer and close, while what it still sends is thrown away.
_LINGER_S: Final = 2.0
_LINGER_MAX_BYTES: Final = 16 * MIB


class StreamHub(Protocol):
    """What a stream needs of the gateway."""

    config: Config
    reactor: Reactor
    #: perf_counter() of the last tick.
    now_s: float
    #: Bytes of events and answers that clients and functions make us hold, and how many they may be.
    body_bytes: int
    body_bytes_max: int


class Stream:
    """One client socket. Subclasses read; `_answered` and `_ended` tell them what became of an answer."""

    __slots__ = (
        "_held_bytes",
        "_keep",
        "_lingered_bytes",
        "_out",
        "_paused",
        "_recv",
        "_send",
        "_shared",
        "deadline_s",
        "fd",
        "sock",
        "state",
    )

    def __init__(self, hub: StreamHub, sock: socket.socket) -> None:
        self._shared = hub
        self.sock = sock
        self.fd = sock.fileno()
        self.state = HEAD
        self.deadline_s = hub.now_s + hub.config.idle_timeout_s
        self._recv = sock.recv
        self._send = sock.send
        self._out: memoryview | None = None
        self._keep = True
        self._paused = False
        self._lingered_bytes = 0
        #: Of an answer that the client has not taken yet.
        self._held_bytes = 0

    def _answered(self) -> None:
        """A whole answer is out and the connection goes on."""
        raise NotImplementedError

    def _ended(self) -> None:
        """The socket is about to be closed."""
        raise NotImplementedError

    def _write(self, data: bytes, keep: bool) -> None:
        """Sends a whole answer; `keep` tells whether the connection goes on after it."""
        self._keep = keep
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent == len(data):
            self._written()
            return
        # A client that does not read makes us hold its answer; many of them must not make us hold all of theirs.
        if self._shared.body_bytes + len(data) > self._shared.body_bytes_max:
            self.close()
            return
        self._shared.body_bytes += len(data)
        self._held_bytes = len(data)
        self._out = memoryview(data)[sent:]
        self.state = WRITING
        self.deadline_s = perf_counter() + self._shared.config.body_timeout_s
        self._shared.reactor.modify(self.fd, WRITE)
        self._paused = True

    def _flush(self) -> None:
        assert self._out is not None
        try:
            sent = self._send(self._out)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._out = self._out[sent:]
        if not self._out:
            self._let_go()
            self._written()

    def hold(self, event_bytes: int) -> None:
        """An event of that size was handed on and stays in memory until it is over, whoever is gone by then."""
        self._shared.body_bytes += event_bytes

    def let_go(self, event_bytes: int) -> None:
        """The end of that."""
        self._shared.body_bytes -= event_bytes

    def _let_go(self) -> None:
        self._shared.body_bytes -= self._held_bytes
        self._held_bytes = 0
        self._out = None

    def _written(self) -> None:
        if not self._keep:
            self.linger()
            return
        self.state = HEAD
        if self._paused:
            self._paused = False
            self._shared.reactor.modify(self.fd, READ)
        self._answered()

    def linger(self) -> None:
        """Ends a connection so that the client still gets the answer: closing with unread input would reset it."""
        if self.state == CLOSED:
            return
        if self._paused:
            self._paused = False
            self._shared.reactor.modify(self.fd, READ)
        self.state = LINGER
        self.deadline_s = perf_counter() + _LINGER_S
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()

    def _discard(self) -> None:
        try:
            count = len(self._recv(READ_BYTES))
        except BlockingIOError:
            return
        except OSError:
            count = 0
        self._lingered_bytes += count
        if not count or self._lingered_bytes > _LINGER_MAX_BYTES:
            self.close()

    def close(self) -> None:
        """Ends it at once; an invocation in work goes on without it. May be called twice."""
        if self.state == CLOSED:
            return
        self.state = CLOSED
        self._let_go()
        self._ended()
        self._shared.reactor.unregister(self.fd)
        self.sock.close()
