"""A client that speaks HTTP/2: frames on one side, connections of the gateway on the other.

Theory of operation: `h2` keeps the protocol's state and does no I/O. One task reads, one writes, and every stream goes
through a connection of HTTP/1.1 like any other (`http2_inner`), so that limits, credentials, framing, throttling and
answers are decided in one place. Nothing is collected: of a request as much waits as its window lets in, of an answer
as little as was read before the windows closed, and a client that takes nothing is at last not read any more.

A client is ended that stays without a stream for `idle_timeout_s`, that takes nothing for `body_timeout_s`, or that
gives up more streams than it lets be answered (each costs an invocation, and no wait).

Hypercorn has a server of this kind; it cannot be ended while a client does not read, and bounds none of the floods
that `http2_frames` and this do.
"""

import contextlib
import logging
import socket
from collections.abc import Callable
from time import perf_counter
from typing import Final

import trio
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError

from fgd.clock import new_request_id
from fgd.gateway.answers import error_answer
from fgd.gateway.head import HEAD_END, BadHttp
from fgd.gateway.http2_frames import ENHANCE_YOUR_CALM, FRAME_MAX_BYTES, Allowance, BadFrame, FrameScan
from fgd.gateway.http2_head import AnswerFields, request_head
from fgd.gateway.http2_inner import CANCEL, INTERNAL_ERROR, NO_ERROR, Gone, Inner
from fgd.gateway.http2_state import State
from fgd.gateway.hub import Hub

_LOG = logging.getLogger("fgd.gateway")
_READ_BYTES: Final = 16384
#: When more frames than this begin in what was read, it is taken in portions.
_MANY_FRAMES: Final = 64
_PORTION_BYTES: Final = 2048
#: While so much waits to go out, bodies of answers wait; while so much does (answers to frames), nothing is read.
_OUT_MAX_BYTES: Final = 65536
_UNREAD_MAX_BYTES: Final = 262144
_IDLE_MAX: Final = 8
#: Streams that were given up more than were answered.
_CANCELLED_MAX: Final = 100
_EARNED_BY_ANSWER: Final = 10
_EARNED_BY_FRAME: Final = 2
_FAREWELL_S: Final = 1.0
_REFUSED_STREAM: Final = 0x7
_PROTOCOL_ERROR: Final = 0x1
_NO_ROOM: Final = (503, "FSS.0503", "too many connections; try again")


class Http2Client:
    """One client, from after the handshake to its end."""

    def __init__(
        self, hub: Hub, secure: "trio.SSLStream[trio.SocketStream]", connect: Callable[[], socket.socket | None]
    ) -> None:
        """
        Args:
            connect: makes a connection of the gateway for this client; None when there is no room.
        """
        self._hub = hub
        self._secure = secure
        self._connect = connect
        self._h2 = State()
        now_s = perf_counter()
        #: When it has been without a stream for too long.
        self.deadline_s = now_s + hub.config.idle_timeout_s
        self._scan = FrameScan()
        self._allowance = Allowance(now_s)
        self._cancelled = 0
        self._streams: dict[int, Inner] = {}
        self._last_taken = 0
        self._idle: list[Inner] = []
        self._dirty: list[Inner] = []
        self._blocked: set[Inner] = set()
        self._windows_moved = False
        self._out = bytearray()
        self._more = trio.Event()
        self._drained = trio.Event()
        self._sending = trio.CancelScope()
        self._draining = False
        self._ending = False
        self._nursery: trio.Nursery

    async def serve(self) -> None:
        """Runs until the client goes, is ended, or has got all answers after `drain`."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._write)
            self._h2.begin()
            self._flush()
            if self._hub.draining:
                self.drain()
            await self._read()
            if self._ending:  # the writer says good-bye, and ends this
                await trio.sleep_forever()
            nursery.cancel_scope.cancel()

    def drain(self) -> None:
        """Takes no more streams; the connection ends with the last answer that is under way.

        GOAWAY goes out then and not before: clients made of `h2` take nothing after it.
        """
        self._draining = True
        self._end_if_done()

    def end(self, error_code: int = NO_ERROR) -> None:
        """Says good-bye and closes, whatever is under way."""
        if not self._ending:
            self._h2.close_connection(error_code, last_stream_id=self._last_taken)
            self._leave()

    def _leave(self) -> None:
        """What is to go out goes out, if the client takes it soon; then the writer ends everything."""
        self._ending = True
        self._flush()
        self._more.set()
        self._drained.set()
        self._sending.deadline = min(self._sending.deadline, trio.current_time() + _FAREWELL_S)

    def _end_if_done(self) -> None:
        if not self._streams:
            if self._draining:
                self.end()
            self.deadline_s = perf_counter() + self._hub.config.idle_timeout_s

    # Reading

    async def _read(self) -> None:
        while not self._ending:
            try:
                data = bytes(await self._secure.receive_some(_READ_BYTES))
            except trio.BrokenResourceError:
                return
            if not data:
                return
            try:
                count = self._scan.feed(data)
                wait_s = self._allowance.take(count, perf_counter())
                if wait_s:
                    await trio.sleep(wait_s)
                # Many small frames hold up everybody else only for a few milliseconds at a time.
                step = _READ_BYTES if count < _MANY_FRAMES else _PORTION_BYTES
                for at in range(0, len(data), step):
                    if at:
                        await trio.lowlevel.checkpoint()
                    while len(self._out) > _UNREAD_MAX_BYTES and not self._ending:
                        self._drained = trio.Event()
                        await self._drained.wait()
                    if self._ending:
                        return
                    self._take(data[at : at + step])
            except BadFrame as error:
                self.end(error.error_code)
                return
            except ProtocolError:  # h2 has written the GOAWAY
                self._leave()
                return

    def _take(self, data: bytes) -> None:
        """Does what some bytes ask for. ProtocolError, also when the connection was ended meanwhile."""
        for event in self._h2.receive_data(data):
            self._handle(event)
            if self._cancelled > _CANCELLED_MAX:
                self.end(ENHANCE_YOUR_CALM)
                break
        if not self._ending:
            for inner in self._dirty:
                inner.push()
        self._dirty.clear()
        if self._windows_moved:
            self._windows_moved = False
            self._wake()
        self._flush()

    def _handle(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._begin(event)
        elif isinstance(event, DataReceived):
            self._feed(event)
        elif isinstance(event, StreamEnded):
            inner = self._streams.get(event.stream_id)
            if inner is not None:
                if not inner.finish():
                    self._reset(event.stream_id, _PROTOCOL_ERROR)
                self._dirty.append(inner)
        elif isinstance(event, StreamReset):
            inner = self._streams.pop(event.stream_id, None)
            if inner is not None:
                self._cancelled += 1
                inner.close()
                self._end_if_done()
        elif isinstance(event, WindowUpdated | RemoteSettingsChanged):
            self._windows_moved = True
        elif isinstance(event, ConnectionTerminated):  # h2 sends nothing after that
            self._leave()

    def _begin(self, event: RequestReceived) -> None:
        stream_id = event.stream_id
        if self._draining or self._ending:
            self._reset(stream_id, _REFUSED_STREAM)
            return
        try:
            head = request_head(event.headers, event.stream_ended is not None)
        except BadHttp as error:
            self._cancelled += 1
            method = next((value for name, value in event.headers if name == b":method"), b"")
            self._refuse(stream_id, method == b"HEAD", error.status, "FSS.0400", str(error))
            return
        inner = self._idle.pop() if self._idle else self._new_inner()
        if inner is None:
            self._refuse(stream_id, head.method == "HEAD", *_NO_ROOM)
            return
        self._last_taken = stream_id
        inner.begin(stream_id, head)
        self._streams[stream_id] = inner
        self._dirty.append(inner)
        self.deadline_s = float("inf")

    def _new_inner(self) -> Inner | None:
        try:
            sock = self._connect()
        except OSError as error:
            _LOG.warning("no new connections for a moment: %s", error.strerror)
            return None
        if sock is None:
            return None
        inner = Inner(self, sock)
        self._nursery.start_soon(self._run, inner)
        return inner

    async def _run(self, inner: Inner) -> None:
        try:
            await inner.run()
        except Exception:  # a fault of ours costs this one stream
            _LOG.exception("a stream was given up")
        finally:
            if inner in self._idle:
                self._idle.remove(inner)

    def _feed(self, event: DataReceived) -> None:
        inner = self._streams.get(event.stream_id)
        if inner is None:
            self.acknowledge(event.stream_id, event.flow_controlled_length)
        elif inner.feed(event.data, event.flow_controlled_length):
            self._dirty.append(inner)
        else:
            self._reset(event.stream_id, _PROTOCOL_ERROR)

    def _refuse(self, stream_id: int, head_only: bool, status: int, code: str, message: str) -> None:
        """Answers a stream that never reaches the gateway."""
        answer = error_answer(status, code, message, new_request_id(), headers=self._hub.date)
        head, _, body = answer.partition(HEAD_END)
        with contextlib.suppress(Gone):
            self.send_head(stream_id, AnswerFields(head + HEAD_END, "").fields, head_only)
            if not head_only and self.room(stream_id) >= len(body):
                self.send_body(stream_id, body, True)
        self._reset(stream_id, NO_ERROR)

    def _reset(self, stream_id: int, error_code: int) -> None:
        inner = self._streams.pop(stream_id, None)
        with contextlib.suppress(ProtocolError):  # it has ended already
            self._h2.reset_stream(stream_id, error_code)
        if inner is not None:
            inner.close()
            self._end_if_done()

    # What inner connections call

    def start_flushing(self, inner: Inner) -> None:
        self._nursery.start_soon(inner.flush)

    def lost(self, inner: Inner) -> None:
        stream_id = inner.stream_id
        other = self._new_inner()
        if other is None:
            self._refuse(stream_id, inner.method == "HEAD", *_NO_ROOM)
            return
        inner.move_to(other)
        self._streams[stream_id] = other
        other.push()

    def acknowledge(self, stream_id: int, count: int) -> None:
        if count and not self._ending:
            self._h2.acknowledge_received_data(count, stream_id)
            self._flush()

    def room(self, stream_id: int) -> int:
        if stream_id not in self._h2.streams or self._ending:
            raise Gone
        if len(self._out) > _OUT_MAX_BYTES:
            return 0
        try:
            return min(self._h2.local_flow_control_window(stream_id), FRAME_MAX_BYTES)
        except ProtocolError as error:
            raise Gone from error

    async def wait_for_room(self, inner: Inner) -> None:
        inner.wake = trio.Event()
        self._blocked.add(inner)
        with trio.move_on_after(self._hub.config.body_timeout_s) as scope:
            await inner.wake.wait()
        self._blocked.discard(inner)
        if scope.cancelled_caught:
            self._reset(inner.stream_id, CANCEL)
            self._flush()
            raise Gone

    def send_head(self, stream_id: int, fields: list[tuple[bytes, bytes]], ended: bool) -> None:
        try:
            self._h2.send_headers(stream_id, fields, ended)
        except ProtocolError as error:
            raise Gone from error
        self._flush()

    def send_body(self, stream_id: int, data: bytes, ended: bool) -> None:
        try:
            self._h2.send_data(stream_id, data, ended)
        except ProtocolError as error:
            raise Gone from error
        self._allowance.earn(_EARNED_BY_FRAME)
        self._flush()

    def answered(self, inner: Inner, keep: bool) -> None:
        stream_id = inner.stream_id
        if self._streams.pop(stream_id, None) is None:
            return
        self._allowance.earn(_EARNED_BY_ANSWER)
        self._cancelled = max(self._cancelled - 1, 0)
        if not inner.sent_whole:
            self._reset(stream_id, NO_ERROR)  # the client need not send the rest
            self._flush()
        inner.stream_id = 0
        if keep and len(self._idle) < _IDLE_MAX and not self._draining:
            self._idle.append(inner)
        else:
            inner.close()
        self._end_if_done()

    def failed(self, inner: Inner) -> None:
        if self._streams.get(inner.stream_id) is inner:
            self._reset(inner.stream_id, INTERNAL_ERROR)
            self._flush()

    # Writing

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self._out += data
            self._more.set()

    def _wake(self) -> None:
        """Lets those send who can."""
        for inner in list(self._blocked):
            try:
                ready = self.room(inner.stream_id) > 0
            except Gone:
                ready = True
            if ready:
                inner.wake.set()

    async def _write(self) -> None:
        try:
            while self._out or not self._ending:
                if not self._out:
                    self._more = trio.Event()
                    await self._more.wait()
                    continue
                data, self._out = self._out, bytearray()
                limit_s = _FAREWELL_S if self._ending else self._hub.config.body_timeout_s
                with trio.move_on_after(limit_s) as self._sending:
                    await self._secure.send_all(data)
                if self._sending.cancelled_caught:
                    break
                self._drained.set()
                self._wake()
        except trio.BrokenResourceError:
            pass  # the client is gone
        self._nursery.cancel_scope.cancel()
