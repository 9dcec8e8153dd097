"""An event on its way in: counted against its limit and against what all events in transfer may hold together."""

import socket
from typing import Final, Protocol

from fgd.gateway.chunked import ChunkedReader
from fgd.gateway.head import Head

_READ_BYTES: Final = 65536


class Ledger(Protocol):
    """Bytes that all bodies in transfer hold."""

    body_bytes: int


class Body:
    """Collects one body, by length or in chunks. `done` when it is whole, `over` when it is over its limit."""

    __slots__ = ("_charged", "_chunks", "_got", "_ledger", "_limit", "_reader", "_view", "done", "over", "rest")

    def __init__(self, ledger: Ledger, head: Head, limit_bytes: int) -> None:
        self._ledger = ledger
        self._limit = limit_bytes
        self._got = 0
        self._charged = 0
        self.done = False
        self.over = False
        #: What came behind the body.
        self.rest = b""
        self._chunks: list[bytes] = []
        self._reader: ChunkedReader | None = None
        self._view = memoryview(b"")
        if head.content_length < 0:
            self._reader = ChunkedReader()
        else:
            # Zero pages of the kernel until something is written to them, so a promise alone costs nothing.
            self._view = memoryview(bytearray(head.content_length))
            self._charge(head.content_length)

    def _charge(self, count: int) -> None:
        self._charged += count
        self._ledger.body_bytes += count

    def read(self, sock: socket.socket) -> bool:
        """Reads once; False when the client has closed its side.

        Raises:
            BlockingIOError, OSError: from the socket.
            BadHttp: malformed chunks.
        """
        if self._reader is None:
            count = sock.recv_into(self._view[self._got :])
            self._got += count
            self.done = self._got == len(self._view)
            return count > 0
        data = sock.recv(_READ_BYTES)
        if data:
            self.feed(data)
        return bool(data)

    def feed(self, data: bytes) -> None:
        """Takes bytes that were read already.

        Raises:
            BadHttp: malformed chunks.
        """
        if self._reader is None:
            count = min(len(data), len(self._view) - self._got)
            self._view[self._got : self._got + count] = data[:count]
            self._got += count
            self.rest = data[count:]
            self.done = self._got == len(self._view)
            return
        piece = self._reader.feed(data)
        if piece:
            self._got += len(piece)
            self._charge(len(piece))
            self._chunks.append(piece)
        self.over = self._got > self._limit
        if self._reader.done:
            self.done = True
            self.rest = self._reader.rest

    def take(self) -> bytes:
        """The whole body; it is no longer counted."""
        self.release()
        return bytes(self._view) if self._reader is None else b"".join(self._chunks)

    def release(self) -> None:
        """Gives back what was counted; may be called twice."""
        self._ledger.body_bytes -= self._charged
        self._charged = 0
