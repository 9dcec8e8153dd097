"""A stream's way into the gateway: a socket whose other end is a connection of HTTP/1.1 like any other.

Theory of operation: one request at a time, and when it was answered whole, the next stream of the same client may have
it. What the client sends is written at once as far as the socket takes it; the rest waits here, and the client's
window opens by what was written, so that no more than a window ever waits. The answer is read by a task that lives as
long as the socket, and not further than the client's windows are open. When the client gives a stream up, the socket is
closed, which is what the gateway knows of clients that go away.
"""

import contextlib
import socket
from typing import Final, Protocol

import trio

from fgd.gateway.chunked import ChunkedReader
from fgd.gateway.head import HEAD_END, BadHttp
from fgd.gateway.http2_head import AnswerFields, RequestHead

_READ_BYTES: Final = 16384
_WRITE_BYTES: Final = 65536
_ANSWER_HEAD_MAX_BYTES: Final = 65536
NO_ERROR: Final = 0x0
INTERNAL_ERROR: Final = 0x2
CANCEL: Final = 0x8


class Gone(Exception):
    """The stream has ended meanwhile."""


class Outer(Protocol):
    """What a stream's inner side needs of the client's connection."""

    def start_flushing(self, inner: "Inner") -> None:
        """Starts a task that writes the rest of what the client sent."""

    def lost(self, inner: "Inner") -> None:
        """The socket of a connection that was kept had ended before the request was written to it."""

    def acknowledge(self, stream_id: int, count: int) -> None:
        """The client may send so many bytes more."""

    def room(self, stream_id: int) -> int:
        """How many bytes of a body can be sent now; Gone."""

    async def wait_for_room(self, inner: "Inner") -> None:
        """Returns when there may be some; Gone when the client takes too long."""

    def send_head(self, stream_id: int, fields: list[tuple[bytes, bytes]], ended: bool) -> None:
        """Gone."""

    def send_body(self, stream_id: int, data: bytes, ended: bool) -> None:
        """Gone."""

    def answered(self, inner: "Inner", keep: bool) -> None:
        """The answer is out; with `keep` the connection can take another request."""

    def failed(self, inner: "Inner") -> None:
        """The connection ended; if a stream waits for the rest of its answer, that does not come."""


class Inner:
    """One connection of the gateway, for one stream after the other. `stream_id` is 0 between them."""

    __slots__ = (
        "_chunked", "_client", "_flushing", "_left", "_out", "_sock", "_unacknowledged", "_written", "closed", "kept",
        "method", "sent_whole", "stream_id", "wake",
    )  # fmt: skip

    def __init__(self, client: Outer, sock: socket.socket) -> None:
        self._client = client
        self._sock = sock
        self.stream_id = 0
        self.closed = False
        #: Whether it has answered before.
        self.kept = False
        #: Whether all of the request is under way.
        self.sent_whole = False
        #: Set to let it look for room again.
        self.wake = trio.Event()
        self.method = ""
        self._chunked = False
        self._left = 0
        self._out = bytearray()
        self._unacknowledged = 0
        self._flushing = False
        #: Whether anything of the request has reached the socket.
        self._written = False

    # The request

    def begin(self, stream_id: int, head: RequestHead) -> None:
        """Takes a stream's head; `push` sends it."""
        self.stream_id = stream_id
        self.method = head.method
        self._chunked = head.content_length is None
        self._left = head.content_length or 0
        self.sent_whole = head.content_length == 0
        self._written = False
        self._out += head.raw

    def feed(self, data: bytes, flow_bytes: int) -> bool:
        """Takes bytes of the body, which count so much in the client's window; False if they are too many."""
        self._unacknowledged += flow_bytes
        if self._chunked:
            if data:
                self._out += b"%x\r\n%b\r\n" % (len(data), data)
            return True
        self._left -= len(data)
        if self._left < 0:
            return False
        self.sent_whole = not self._left
        self._out += data
        return True

    def finish(self) -> bool:
        """The body ends; False if there is less of it than was promised."""
        if self._chunked and not self.sent_whole:
            self._out += b"0\r\n\r\n"
            self.sent_whole = True
        return self.sent_whole

    def push(self) -> None:
        """Writes what the socket takes."""
        if self._flushing or self.closed:
            return
        self._write()
        if self._out and not self.closed:
            self._flushing = True
            self._client.start_flushing(self)

    def _write(self) -> None:
        out = self._out
        try:
            count = self._sock.send(out)
        except BlockingIOError:
            return
        except OSError:
            if self.kept and not self._written:
                self._client.lost(self)
                return
            count = len(out)  # it has answered and reads no more, or will be seen to have ended
        self._written = True
        del out[:count]
        count = min(count, self._unacknowledged) if out else self._unacknowledged
        self._unacknowledged -= count
        if count:
            self._client.acknowledge(self.stream_id, count)

    def move_to(self, other: "Inner") -> None:
        """Hands a request that was not written yet to a new connection."""
        other.stream_id, other.method, other._chunked = self.stream_id, self.method, self._chunked
        other._left, other.sent_whole = self._left, self.sent_whole
        other._out, other._unacknowledged = self._out, self._unacknowledged
        self._out, self._unacknowledged, self.stream_id = bytearray(), 0, 0

    async def flush(self) -> None:
        """Writes the rest, as the gateway reads on."""
        try:
            while self._out and not self.closed:
                await trio.lowlevel.wait_writable(self._sock)
                self._write()
        except trio.ClosedResourceError:
            return
        finally:
            self._flushing = False

    # The answer

    async def run(self) -> None:
        """Passes answers on until the connection ends or is not to be used any more."""
        try:
            while (data := await self._receive()) and self.stream_id:
                if not await self._answer(data):
                    break
        except (trio.ClosedResourceError, Gone, BadHttp):
            pass  # a stream without its whole answer is told below
        finally:
            self.close()
            self._client.failed(self)

    async def _receive(self) -> bytes:
        while True:
            if self.closed:
                raise Gone
            await trio.lowlevel.wait_readable(self._sock)
            try:
                return self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                return b""

    async def _answer(self, data: bytes) -> bool:
        """One answer, the first bytes of which are there; whether another request may follow."""
        client, stream_id = self._client, self.stream_id
        while True:
            while (end := data.find(HEAD_END)) < 0:
                more = await self._receive()
                if not more or len(data) > _ANSWER_HEAD_MAX_BYTES:
                    return False
                data += more
            end += len(HEAD_END)
            head = AnswerFields(data[:end], self.method)
            data = data[end:]
            if head.status >= 200:
                break
            client.send_head(stream_id, head.fields, False)
        bare = head.content_length == 0
        client.send_head(stream_id, head.fields, bare)
        if not bare and not await self._body(head, data):
            return False
        keep = (
            self.sent_whole and not head.close and not self._out and (head.chunked or head.content_length is not None)
        )
        self.kept = True
        if not keep:
            self._drop()
        client.answered(self, keep)
        return keep

    async def _body(self, head: AnswerFields, data: bytes) -> bool:
        """Whether the body came whole."""
        left = head.content_length
        reader = ChunkedReader() if head.chunked else None
        ended = False
        while True:
            if reader is not None:
                piece = reader.feed(data) if data else b""
                done = reader.done
            elif left is not None:
                piece = data[:left]
                left -= len(piece)
                done = not left
            else:
                piece, done = data, ended
            if piece or done:
                await self._send(piece, done)
            if done:
                return True
            data = await self._receive()
            if not data:
                if reader is not None or left is not None:
                    return False
                ended = True

    async def _send(self, data: bytes, done: bool) -> None:
        at = 0
        while at < len(data):
            room = await self._room()
            piece = data[at : at + room]
            at += len(piece)
            self._client.send_body(self.stream_id, piece, done and at == len(data))
        if done and not data:
            self._client.send_body(self.stream_id, b"", True)

    async def _room(self) -> int:
        while True:
            if self.closed:
                raise Gone
            room = self._client.room(self.stream_id)
            if room > 0:
                return room
            await self._client.wait_for_room(self)

    # Ending

    def close(self) -> None:
        """Ends the connection at once; what was in work ends as if a client had gone. May be called twice."""
        if self.closed:
            return
        self.closed = True
        self.wake.set()
        self._drop()
        with contextlib.suppress(OSError):
            trio.lowlevel.notify_closing(self._sock)
        self._sock.close()

    def _drop(self) -> None:
        self._out.clear()
        if self._unacknowledged:
            self._client.acknowledge(self.stream_id, self._unacknowledged)
            self._unacknowledged = 0
