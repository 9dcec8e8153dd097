"""One client connection: HTTP/1.1 as a state machine that the reactor calls.

Theory of operation: a connection works on one request at a time. `on_event` reads; in the usual case one read holds a
whole request whose head is byte for byte that of the request before, and then nothing is parsed at all. While a
request is in work, what the client sends ahead is read once and then left in the kernel. There is no task and no timer
per connection: each has a `deadline_s`, and the server looks at all of them a few times a second. Requests that are no
invocation leave the reactor and belong to a task of `fgd.gateway.forward` until they are answered.

    HEAD -> BODY -> BUSY -> (WRITING) -> HEAD ...        LINGER: answered, waits for the client to close
    HEAD -> FORWARD -> HEAD                              CLOSED
"""

import logging
import socket
from collections.abc import Callable
from time import perf_counter
from typing import Final

from fgd.call import Call, Outcome
from fgd.clock import new_request_id
from fgd.errors import BodyTooLarge, FgdError, Overloaded, RequestTimeout, Unauthorized
from fgd.gateway.answers import CONTINUE, error_answer, invocation_answer, timing_header
from fgd.gateway.api import PLAIN_ENTRANCE, Entrance
from fgd.gateway.body import Body
from fgd.gateway.head import HEAD_END, BadHttp, Head, check_partial, parse_head
from fgd.gateway.hub import Hub
from fgd.gateway.stream import BODY, BUSY, FORWARD, HEAD, LINGER, READ_BYTES, WRITING, Stream
from fgd.model import Principal
from fgd.units import MIB

_LOG = logging.getLogger("fgd.gateway")
#: Bodies up to this size are read from clients that have not shown credentials, for requests that need none.
UNKNOWN_BODY_MAX_BYTES: Final = 65536
_BROKEN: Final = 0x010 | 0x008  # EPOLLHUP, EPOLLERR


class Connection(Stream):
    """A client. `peer` is set for administrators of the admin socket, who need no credentials. `address` is "" for them
    and `SANDBOX@NETWORK` for a client inside of a sandbox.
    """

    __slots__ = (
        "_body", "_buffer", "_feeding", "_hub", "_memo", "_memo_total", "_router", "_waiting", "address", "done",
        "head", "peer", "port", "received_s", "secure",
    )  # fmt: skip

    def __init__(
        self,
        hub: Hub,
        sock: socket.socket,
        address: str,
        peer: Principal | None,
        entrance: Entrance = PLAIN_ENTRANCE,
    ) -> None:
        super().__init__(hub, sock)
        self._hub = hub
        self._router = hub.api_router if entrance.apis_only else hub.router
        self.address = address
        self.port = entrance.port
        self.secure = entrance.secure
        self.peer = peer
        self.head: Head | None = None
        self.received_s = 0.0
        #: What an invocation shall call with its outcome.
        self.done: Callable[[Call, Outcome], None] = self._on_done
        self._buffer = b""
        self._body: Body | None = None
        self._feeding = False
        #: Head of the last invocation and the length of a whole request with it.
        self._memo: Head | None = None
        self._memo_total = 0
        #: The call (or the request id of an asynchronous one) whose outcome is to be answered.
        self._waiting: Call | str | None = None
        hub.reactor.register(self.fd, self.on_event)

    # Reading

    def on_event(self, events: int) -> None:
        """Called by the reactor; never raises, for that would end the daemon."""
        try:
            self._on_event(events)
        except Exception:  # a fault of ours costs this one connection
            _LOG.exception("connection given up")
            self.close()

    def _on_event(self, events: int) -> None:
        if self.state:
            self._other_event(events)
            return
        try:
            data = self._recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self.close()
            return
        if self._buffer:
            self._feed(self._buffer + data)
            return
        self.received_s = perf_counter()
        memo = self._memo
        if memo is not None and len(data) == self._memo_total and data.startswith(memo.raw):
            self._begin(memo, data[len(memo.raw) :])
            return
        self._feed(data)

    def _other_event(self, events: int) -> None:
        state = self.state
        if events & _BROKEN:
            self.close()
        elif state == WRITING:
            self._flush()
        elif state == BODY:
            self._read_body()
        elif state == BUSY:
            self._read_ahead()
        elif state == LINGER:
            self._discard()

    def _read_ahead(self) -> None:
        """A client that sends before it got its answer: one read is kept, the rest stays in the kernel."""
        try:
            data = self._recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self._keep = False  # it may have closed its side only, and still wait for the answer
        self._buffer += data
        self._paused = True
        self._hub.reactor.modify(self.fd, 0)

    def _feed(self, data: bytes) -> None:
        """Takes bytes that begin with a request; works until one is incomplete or in work."""
        self._feeding = True
        try:
            while data and self.state == HEAD:
                self._buffer = b""
                end = data.find(HEAD_END)
                if end < 0:
                    check_partial(data)
                    self._buffer = data
                    self.deadline_s = self.received_s + self._hub.config.header_timeout_s
                    break
                end += len(HEAD_END)
                self._start(parse_head(data[:end]), data[end:])
                data = self._buffer
        except BadHttp as error:
            self.refuse(error)
        finally:
            self._feeding = False

    def _start(self, head: Head, rest: bytes) -> None:
        self.head = head
        self._keep = head.keep_alive
        limit = self._router.classify(head)
        if limit is None:
            self._start_forward(head, rest)
            return
        need = head.content_length
        if need > limit:
            self.fail(self._router.too_large(head), keep=False)
            return
        if 0 <= need <= len(rest):
            self._buffer = rest[need:]
            self._memo = head
            self._memo_total = len(head.raw) + need
            self._begin(head, rest[:need])
            return
        if self._allowed(head):
            self._body = body = Body(self._hub, head, limit)
            self.state = BODY
            self.deadline_s = self.received_s + self._hub.config.body_timeout_s
            if head.expects_continue and not rest:
                self._say_continue()
            if rest:
                body.feed(rest)
                self._body_progress(body)

    def _allowed(self, head: Head) -> bool:
        """Whether to read a body: nobody's is read in memory before the credentials look right."""
        hub = self._hub
        if self.peer is None:
            try:
                self._router.precheck(head)
            except FgdError as error:
                self.fail(error, keep=False)
                return False
        held, most = hub.body_bytes + max(head.content_length, 0), hub.body_bytes_max
        # Of the second half only those get something who have shown credentials.
        if held > most or (held > most // 2 and self.peer is None and self._router.anonymous(head)):
            self.fail(Overloaded(), keep=False)
            return False
        return True

    def _start_forward(self, head: Head, rest: bytes) -> None:
        if head.content_length > self._hub.config.upload_max_mib * MIB:
            limit_mib = self._hub.config.upload_max_mib
            self.fail(BodyTooLarge(f"body: must not be larger than {limit_mib} MiB"), keep=False)
            return
        if head.content_length > UNKNOWN_BODY_MAX_BYTES and self.peer is None:
            try:
                self._router.precheck(head)
            except Unauthorized as error:
                self.fail(error, keep=False)
                return
        self.state = FORWARD
        self.deadline_s = float("inf")
        self._hub.reactor.unregister(self.fd)
        self._hub.forward(self, head, rest)

    def _say_continue(self) -> None:
        try:
            self._send(CONTINUE)
        except OSError:
            self.close()

    def _read_body(self) -> None:
        body = self._body
        assert body is not None
        try:
            more = body.read(self.sock)
        except BlockingIOError:
            return
        except OSError:
            more = False
        except BadHttp as error:
            self.refuse(error)
            return
        if not more:
            self.close()
            return
        try:
            self._body_progress(body)
        except BadHttp as error:
            self.refuse(error)

    def _body_progress(self, body: Body) -> None:
        head = self.head
        assert head is not None
        if body.over:
            self.fail(self._router.too_large(head), keep=False)
        elif body.done:
            self._body = None
            self._buffer = body.rest
            event = body.take()
            self._begin(head, event)

    def _begin(self, head: Head, body: bytes) -> None:
        hub = self._hub
        self.state = BUSY
        self.head = head
        self._keep = head.keep_alive
        self.deadline_s = hub.now_s + hub.config.sync_timeout_s
        if hub.body_bytes + len(body) > hub.body_bytes_max:
            self.fail(Overloaded())
            return
        self._router.invoke(self, head, body)

    # Answering

    def wait_for(self, call: Call | str) -> None:
        """The answer comes by `done` with this call, or by `enqueued` with this request id."""
        self._waiting = call

    def _on_done(self, call: Call, outcome: Outcome) -> None:
        self.let_go(len(call.event))
        try:
            self._answer_call(call, outcome)
        except Exception:  # the invoker must not suffer from what happens here
            _LOG.exception("answer of %s was not written", call.request_id)
            self.close()

    def _answer_call(self, call: Call, outcome: Outcome) -> None:
        hub = self._hub
        if self._waiting is not call:  # answered with 504 meanwhile, or the client is gone
            hub.record(call, outcome, 0)
            return
        self._waiting = None
        began_s = perf_counter()
        head = self.head
        assert head is not None
        extra = b""
        if head.timing:
            extra = timing_header(call, outcome, hub.cold_parts)
        keep = self._keep and not hub.draining
        if not keep:
            extra += b"Connection: close\r\n"
        self._write(invocation_answer(call, outcome, hub.date, head.version1, extra), keep)
        hub.record(call, outcome, int((perf_counter() - began_s) * 1e6))

    def is_waiting_for(self, call: Call | str) -> bool:
        return self._waiting is call

    def respond(self, answer: Callable[[bytes, bool], bytes]) -> None:
        """Writes what `answer(header lines, keep alive)` gives."""
        self._waiting = None
        keep = self._keep and not self._hub.draining
        lines = self._hub.date if keep else self._hub.date + b"Connection: close\r\n"
        self._write(answer(lines, keep), keep)

    def fail(self, error: FgdError, *, request_id: str = "", keep: bool = True) -> None:
        """Answers with one of our errors; `keep=False` where unread bytes of the request are still under way."""
        self._fail(error.status_hint, error.code, str(error), request_id, keep)

    def refuse(self, error: BadHttp) -> None:
        """The one answer that malformed bytes get; then the connection ends."""
        self.head = None
        self._fail(error.status, "FSS.0400", str(error), "", False)

    def _fail(self, status: int, code: str, message: str, request_id: str, keep: bool) -> None:
        self._waiting = None
        self._release()
        keep = keep and self._keep and not self._hub.draining
        if not keep:
            self._buffer = b""
        self._write(
            error_answer(
                status,
                code,
                message,
                request_id or new_request_id(),
                headers=self._hub.date,
                keep_alive=keep,
                head_only=self.head is not None and self.head.method == "HEAD",
            ),
            keep,
        )

    # Forwarded requests

    def resume(self, rest: bytes) -> None:
        """Back from the forwarder, which answered; `rest` is what the client sent behind its request."""
        if not self._take_back():
            return
        self._buffer = rest
        self._keep = not self._hub.draining
        self._written()

    def resume_failed(self, error: FgdError) -> None:
        """Back from the forwarder, which could not: answers, then ends the connection."""
        if self._take_back():
            self.fail(error, keep=False)

    def resume_ended(self) -> None:
        """Back from the forwarder, which answered, with bytes of the request unread: ends the connection."""
        if self._take_back():
            self.linger()

    def _take_back(self) -> bool:
        if self.state != FORWARD:
            return False
        self.state = BUSY
        self._hub.reactor.register(self.fd, self.on_event)
        return True

    # Ending

    def on_deadline(self) -> None:
        """Called by the server when `deadline_s` has passed."""
        state = self.state
        config = self._hub.config
        if state == BUSY:
            waiting, head = self._waiting, self.head
            assert head is not None
            request_id = waiting.request_id if isinstance(waiting, Call) else waiting or ""
            self.fail(self._router.late(head, waiting), request_id=request_id)
        elif state == BODY:
            self.fail(RequestTimeout(f"the event was not sent within {config.body_timeout_s:g} s"), keep=False)
        elif state == HEAD and self._buffer:
            self.fail(RequestTimeout(f"the head was not sent within {config.header_timeout_s:g} s"), keep=False)
        else:
            self.close()

    @property
    def reading(self) -> bool:
        """Whether a part of a request has arrived."""
        return bool(self._buffer)

    @property
    def evictable(self) -> bool:
        """Whether a new client may take its place: it has no request in work."""
        return self.state == HEAD or self.state == LINGER

    def _release(self) -> None:
        if self._body is not None:
            self._body.release()
            self._body = None

    # What the stream calls

    def _answered(self) -> None:
        self.deadline_s = self._hub.now_s + self._hub.config.idle_timeout_s
        if self._buffer and not self._feeding:
            self.received_s = perf_counter()
            self._feed(self._buffer)

    def _ended(self) -> None:
        self._release()
        self._waiting = None
        self._memo = self.head = None
        self.done = _unheard  # was a method of this object, which would keep the object alive
        self._hub.forget(self)


def _unheard(_call: Call, _outcome: Outcome) -> None:
    """Stands where a closed connection's `done` was; calls in work have their own reference to that."""
