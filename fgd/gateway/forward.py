"""Hands a request that is no invocation to the control plane and its answer back to the client.

Theory of operation: the request line and the headers go on as they came (a signature covers them), without what
belongs to one hop only and without any `X-Fgd-` header of the client; `X-Fgd-Client` (address) and, for administrators
of the admin socket, `X-Fgd-Peer` (name) are added. The body streams both ways with the back-pressure of the sockets.
A body in chunks is decoded and written in chunks of our own, so that no reading of it but ours reaches the other side.
Every request has its own connection to the control plane, which therefore never sees two clients on one connection.
"""

import logging
import socket
from time import perf_counter
from typing import Final

import trio

from fgd.errors import BadParameter, BodyTooLarge, FgdError, GatewayTimeout, RequestTimeout, Unavailable
from fgd.gateway.chunked import ChunkedReader
from fgd.gateway.head import HEAD_END, BadHttp, Head
from fgd.gateway.hop import AnswerHead, forwarded_head, parse_answer_head
from fgd.gateway.http import UNKNOWN_BODY_MAX_BYTES, Connection
from fgd.gateway.hub import Hub
from fgd.units import MIB

_LOG = logging.getLogger("fgd.gateway")
_READ_BYTES: Final = 65536
_ANSWER_HEAD_MAX_BYTES: Final = 65536
#: The control plane must have begun its answer within this of the request's end.
_ANSWER_TIMEOUT_S: Final = 300.0
#: A client that closed its side but wants the answer gets it if it comes within this.
_HALF_CLOSED_S: Final = 5.0
#: A client may take longer than `body_timeout_s` if it sends at least this much per second.
_LEAST_BYTES_PER_S: Final = 131072


class Forwarding:
    """One forwarded request."""

    def __init__(self, hub: Hub, connection: Connection, head: Head, rest: bytes, control_path: str) -> None:
        self._hub = hub
        self._connection = connection
        self._head = head
        self._rest = rest
        self._control_path = control_path
        self._sock = connection.sock
        self._failure: FgdError | None = None
        self._gone = False
        #: Whether nothing of the request is left in the client's socket, so that the next one can be read.
        self._body_taken = False
        self._answer_begun = False
        self._keep = head.keep_alive
        self._answer_scope = trio.CancelScope()

    async def run(self) -> None:
        """Runs until the client has its answer, then gives the connection back; only cancellation is raised."""
        try:
            await self._run()
        except Exception:  # a fault of ours costs this one connection
            _LOG.exception("forwarded request given up")
            self._connection.close()

    async def _run(self) -> None:
        connection = self._connection
        complete = False
        try:
            try:
                upstream = await trio.open_unix_socket(self._control_path)
            except OSError:
                self._failure = Unavailable("the control plane does not answer; try again")
            else:
                async with upstream:
                    complete = await self._exchange(upstream)
        finally:
            if self._failure is not None and not self._answer_begun:
                connection.resume_failed(self._failure)
            elif not complete or self._gone:
                connection.close()
            elif self._keep and self._body_taken:
                connection.resume(self._rest)
            else:
                connection.resume_ended()

    async def _exchange(self, upstream: trio.SocketStream) -> bool:
        """Both directions at once; tells whether the answer went out whole."""
        complete = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_request, upstream, nursery.cancel_scope)
            try:
                complete = await self._pass_answer(upstream)
            except (trio.BrokenResourceError, OSError, BadHttp):
                self._fail(Unavailable("the control plane ended the connection; try again"))
            nursery.cancel_scope.cancel()
        return complete

    def _fail(self, error: FgdError) -> None:
        if self._failure is None:
            self._failure = error

    # Client -> control plane

    async def _send_request(self, upstream: trio.SocketStream, scope: trio.CancelScope) -> None:
        head = self._head
        self._body_taken = not head.content_length
        try:
            await upstream.send_all(forwarded_head(head, self._connection.address, self._peer_name()))
            if head.expects_continue and head.content_length and not self._rest:
                await self._to_client(b"HTTP/1.1 100 Continue\r\n\r\n")
            if head.content_length < 0:
                await self._send_chunked(upstream)
            else:
                await self._send_counted(upstream, head.content_length)
            self._answer_scope.deadline = trio.current_time() + _ANSWER_TIMEOUT_S
            await self._watch_client()
        except FgdError as error:
            self._fail(error)
        except BadHttp as error:
            self._fail(BadParameter(str(error)))
        except ConnectionError:
            self._gone = True
        except trio.BrokenResourceError:
            return  # the control plane answers before it has read everything; its answer is on the way
        scope.cancel()

    def _peer_name(self) -> str | None:
        peer = self._connection.peer
        return peer.name if peer is not None else None

    async def _send_counted(self, upstream: trio.SocketStream, length: int) -> None:
        began_s = perf_counter()
        left = length - len(piece := self._rest[:length])
        self._rest = self._rest[length:]
        while True:
            self._body_taken = not left
            if piece:
                await upstream.send_all(piece)
            if not left:
                return
            piece = await self._from_client(min(_READ_BYTES, left), began_s, length - left)
            left -= len(piece)

    async def _send_chunked(self, upstream: trio.SocketStream) -> None:
        began_s, received = perf_counter(), 0
        reader = ChunkedReader()
        limit_bytes = self._hub.config.upload_max_mib * MIB
        data, self._rest = self._rest, b""
        known = self._connection.peer is not None
        while True:
            piece = reader.feed(data)
            received += len(piece)
            if received > limit_bytes:
                raise BodyTooLarge(f"body: must not be larger than {self._hub.config.upload_max_mib} MiB")
            if received > UNKNOWN_BODY_MAX_BYTES and not known:
                self._hub.router.precheck(self._head)
                known = True
            if reader.done:
                self._rest = reader.rest
                self._body_taken = True
            if piece:
                await upstream.send_all(b"%x\r\n%b\r\n" % (len(piece), piece))
            if reader.done:
                await upstream.send_all(b"0\r\n\r\n")
                return
            data = await self._from_client(_READ_BYTES, began_s, received)

    async def _from_client(self, size: int, began_s: float, received: int) -> bytes:
        config = self._hub.config
        # Who has not shown credentials gets no more patience for a small body than for a head.
        known = self._connection.peer is not None or self._head.content_length > UNKNOWN_BODY_MAX_BYTES
        known = known or received > UNKNOWN_BODY_MAX_BYTES
        limit_s = config.body_timeout_s if known else min(config.header_timeout_s, config.body_timeout_s)
        with trio.move_on_after(began_s + limit_s + received / _LEAST_BYTES_PER_S - perf_counter()):
            while True:
                await trio.lowlevel.wait_readable(self._sock)
                try:
                    data = self._sock.recv(size)
                except BlockingIOError:
                    continue
                if not data:
                    raise ConnectionResetError
                return data
        raise RequestTimeout(f"the body was not sent within {limit_s:g} s")

    async def _watch_client(self) -> None:
        """Returns when the client has gone away; what it sends ahead is left for later."""
        await trio.lowlevel.wait_readable(self._sock)
        try:
            if self._rest or self._sock.recv(1, socket.MSG_PEEK):
                await trio.sleep_forever()
        except BlockingIOError:
            await trio.sleep_forever()
        self._keep = False
        await trio.sleep(_HALF_CLOSED_S)
        self._gone = True

    # Control plane -> client

    async def _pass_answer(self, upstream: trio.SocketStream) -> bool:
        buffer = b""
        with self._answer_scope:
            while True:
                while (end := buffer.find(HEAD_END)) < 0:
                    data = await upstream.receive_some(_READ_BYTES)
                    if not data or len(buffer) > _ANSWER_HEAD_MAX_BYTES:
                        raise trio.BrokenResourceError("no answer")
                    buffer += data
                end += len(HEAD_END)
                answer = parse_answer_head(buffer[:end], self._head.method)
                buffer = buffer[end:]
                if answer.status >= 200:
                    break
        if self._answer_scope.cancelled_caught:
            self._fail(GatewayTimeout("the control plane did not answer in time"))
            return False
        return await self._pass_body(upstream, answer, buffer)

    async def _pass_body(self, upstream: trio.SocketStream, answer: AnswerHead, data: bytes) -> bool:
        """Passes the answer on as it comes; tells whether it came whole."""
        until_end = answer.content_length is None and not answer.chunked
        if until_end or self._hub.draining or not self._body_taken:
            self._keep = False
        self._answer_begun = True
        head = answer.lines + (b"\r\n" if self._keep else b"Connection: close\r\n\r\n")
        left = answer.content_length or 0
        reader = ChunkedReader() if answer.chunked else None
        piece, done = self._cut(data, left, reader, until_end)
        await self._to_client(head + piece)
        left -= len(piece)
        while not done:
            data = await upstream.receive_some(_READ_BYTES)
            if not data:
                return until_end
            piece, done = self._cut(data, left, reader, until_end)
            left -= len(piece)
            await self._to_client(piece)
        return True

    @staticmethod
    def _cut(data: bytes, left: int, reader: ChunkedReader | None, until_end: bool) -> tuple[bytes, bool]:
        """The part of these bytes that belongs to the answer, and whether it ends there."""
        if until_end:
            return data, False
        if reader is None:
            return data[:left], len(data) >= left
        reader.feed(data)
        return data[: len(data) - len(reader.rest)], reader.done

    async def _to_client(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                with trio.move_on_after(self._hub.config.body_timeout_s) as scope:
                    await trio.lowlevel.wait_writable(self._sock)
                if scope.cancelled_caught:
                    raise ConnectionResetError from None
