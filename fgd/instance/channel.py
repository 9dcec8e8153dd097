"""The daemon's end of an instance's channel: frames in and out on the reactor, never blocking."""

import logging
import socket
from collections.abc import Callable

from fgd.linux.reactor import READ, WRITE, Reactor
from fgd.wire.frames import FrameReader, WireError

log = logging.getLogger(__name__)

#: Below the threshold from which malloc maps memory anew for every read.
_READ_BYTES = 64 * 1024
#: A runtime that sends many small frames at once is read in small portions, so that others have their turn in between.
_MANY_FRAMES = 256
_FLOOD_READ_BYTES = 4096
#: A runtime that lets this much pile up unread is stuck or hostile.
_BACKLOG_BYTES = 64 * 1024 * 1024

type FrameHandler = Callable[[int, int, int, bytes], None]


class Channel:
    """Owns the socket. `on_frame(kind, flags, call_id, body)` for each frame, `on_end(reason)` once at its end."""

    __slots__ = ("_fd", "_on_end", "_on_frame", "_reactor", "_read_bytes", "_reader", "_socket", "_unsent", "closed")

    def __init__(
        self, reactor: Reactor, sock: socket.socket, on_frame: FrameHandler, on_end: Callable[[str], None]
    ) -> None:
        self._reactor = reactor
        self._socket = sock
        self._fd = sock.fileno()
        self._on_frame = on_frame
        self._on_end = on_end
        self._reader = FrameReader()
        self._read_bytes = _READ_BYTES
        self._unsent = bytearray()
        self.closed = False
        reactor.register(self._fd, self._ready)

    def send(self, data: bytes) -> None:
        """Sends now what the socket takes, the rest when it can. After the end it does nothing."""
        if self.closed:
            return
        if self._unsent:
            self._unsent += data
            if len(self._unsent) > _BACKLOG_BYTES:
                self._end("does not read its channel")
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # its end is readable too, and is handled there with what it still had to say
        if sent < len(data):
            self._unsent += memoryview(data)[sent:]
            self._reactor.modify(self._fd, READ | WRITE)

    def close(self) -> None:
        """Forgets the socket without calling `on_end`. May be called twice."""
        if not self.closed:
            self.closed = True
            self._reactor.unregister(self._fd)
            self._socket.close()
            self._unsent.clear()

    def _end(self, reason: str) -> None:
        if not self.closed:
            self.close()
            self._on_end(reason)

    def _ready(self, events: int) -> None:
        try:
            if events & WRITE:
                self._flush()
            if events & ~WRITE:
                self._receive()
        except Exception:  # a mistake of ours must end this instance, not the loop that serves all of them
            log.exception("an instance is ended because of an error of fgd's own")
            self._end("broken by an error of fgd's own")

    def _receive(self) -> None:
        if self.closed:
            return
        try:
            data = self._socket.recv(self._read_bytes)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""  # it ended, and had not read all that we sent
        except OSError as error:
            self._end(f"channel failed: {error.strerror}")
            return
        if not data:
            self._end("")
            return
        try:
            frames = self._reader.feed(data)
        except WireError as error:
            self._end(f"broken frame: {error}")
            return
        on_frame = self._on_frame
        for kind, flags, call_id, body in frames:
            on_frame(kind, flags, call_id, body)
        if len(frames) > _MANY_FRAMES:
            self._read_bytes = _FLOOD_READ_BYTES
        elif len(data) < _FLOOD_READ_BYTES:
            self._read_bytes = _READ_BYTES

    def _flush(self) -> None:
        if self.closed or not self._unsent:
            return
        try:
            sent = self._socket.send(memoryview(self._unsent)[: 1024 * 1024])
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()
            self._reactor.modify(self._fd, READ)
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._reactor.modify(self._fd, READ)
