"""One running instance: a sandbox bound to a function version, and the calls it is working on.

States and what may follow:
    STARTING  -> READY (READY frame), DEAD
    READY     -> DRAINING (replaced, too old, a call that would not stop), RESIZING, STOPPING, DEAD
    RESIZING  -> READY (it has other limits, or the kernel refused them), DEAD
    DRAINING  -> STOPPING, DEAD (its last call is over)
    STOPPING  -> DEAD (its pre-stop handler was called, or took too long)
    DEAD      final
"""

import os
import struct
import time
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from fgd.call import Call, Outcome
from fgd.instance.channel import Channel
from fgd.instance.codes import INIT_FAILED, RUNTIME_CODES, is_function_error
from fgd.instance.heartbeat import Heartbeat
from fgd.instance.logtap import LogTap
from fgd.linux.reactor import Reactor
from fgd.model import Function
from fgd.sandbox.api import Sandbox
from fgd.wire import frames

if TYPE_CHECKING:
    from fgd.instance.pool import Pool
    from fgd.instance.prestop import Farewell
    from fgd.instance.standby import Standby

_OUTPUT_READ_BYTES: Final = 64 * 1024
#: Why a sandbox is killed whose process has most likely ended by itself.
CHANNEL_ENDED: Final = "its channel ended"
_perf = time.perf_counter
# Global names are looked up faster than attributes of a module; these are used for every call.
_RESULT: Final = frames.RESULT
_ANSWERS: Final = (frames.RESULT, frames.ERROR)
_FLAG_TEXT: Final = frames.FLAG_TEXT
_RESULT_HEAD_BYTES: Final = frames.RESULT_HEAD.size
_unpack_head = frames.RESULT_HEAD.unpack_from


class State(IntEnum):
    """See the module's table."""

    STARTING = 0
    READY = 1
    DRAINING = 2
    DEAD = 3
    RESIZING = 4
    STOPPING = 5


_NEXT: Final = {
    State.STARTING: {State.READY, State.DEAD},
    State.READY: {State.DRAINING, State.RESIZING, State.STOPPING, State.DEAD},
    State.RESIZING: {State.READY, State.DEAD},
    State.DRAINING: {State.STOPPING, State.DEAD},
    State.STOPPING: {State.DEAD},
    State.DEAD: set[State](),
}


#: Small enough for whatever stores or sums it: the figures are the runtime's word.
type _Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 48)]


class ReadyReport(msgspec.Struct):
    """Body of a READY frame: microseconds that loading and the initializer took, memory, and the runtime's time.

    All of it is the runtime's word: used within what is possible only.
    """

    load_us: _Count = 0
    init_us: _Count = 0
    memory_bytes: _Count = 0
    ready_s: float = 0.0

    def ago_s(self) -> float:
        """How long ago it was sent, so that the log's lines come in the order in which things happened."""
        ago_s = time.time() - self.ready_s
        return ago_s if 0.0 <= ago_s < 1.0 else 0.0


class _CallIds:
    """Random call ids, 512 for one system call."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: list[int] = []

    def next(self) -> int:
        if not self._ids:
            block = memoryview(os.urandom(4096)).cast("Q")
            self._ids = [value for value in block if value]
        return self._ids.pop()


#: A random id for a call, or for whatever else the runtime shall answer.
draw_id = _CallIds().next
_next_call_id = draw_id


class Instance:
    """Lives from the moment its sandbox is bound until everything of it is gone."""

    __slots__ = (
        "_abandoned", "_channel", "_memory_max_bytes", "_output_fd", "_reactor", "_wall_offset_s", "assigned", "calls",
        "capacity", "end_code", "end_reason", "farewell", "frozen", "function", "heartbeat", "id", "idle_since_s",
        "init_request_id", "last_request_id", "load_request_id", "loaded_s", "pool", "pooled", "promised_mib", "ready",
        "ready_s", "refused_mib", "reserved", "retiring", "sandbox", "sandbox_us", "standby", "started_s", "state",
        "tap",
    )  # fmt: skip

    def __init__(self, pool: "Pool", function: Function, sandbox: Sandbox, reactor: Reactor, tap: LogTap) -> None:
        self.pool = pool
        self.function = function
        self.sandbox = sandbox
        self.id = sandbox.id
        self.state = State.STARTING
        #: Calls at work here, by call id, in the order in which they were sent.
        self.calls: dict[int, Call] = {}
        #: Calls that were answered by a timeout or a cancel while the runtime still works on them: id -> since when.
        self._abandoned: dict[int, float] = {}
        self.capacity = function.concurrent_num
        #: Whether it got a call before it was READY.
        self.assigned = False
        #: Whether it shall take no more calls once it is READY.
        self.retiring = False
        self.frozen = False
        #: Whether it is one of those that are kept: it is neither ended for being idle nor evicted for others.
        self.reserved = False
        #: While it waits for a change of its function to be in force, who waits with it.
        self.standby: Standby | None = None
        self.ready_s = 0.0
        self.idle_since_s = 0.0
        self.started_s = _perf()
        #: When the initializer began.
        self.loaded_s = 0.0
        self.last_request_id = ""
        self.load_request_id = ""
        self.init_request_id = ""
        self.pooled = False
        self.ready = ReadyReport()
        #: What of the start was neither loading nor the initializer.
        self.sandbox_us = 0
        self.end_reason = ""
        #: What its calls get when it is killed; 0: follows from how it ended.
        self.end_code = 0
        #: Its token of the node's budget.
        self.promised_mib = function.memory_mib
        #: Sizes that the kernel has refused it.
        self.refused_mib: tuple[int, ...] = ()
        self.heartbeat: Heartbeat | None = None
        #: Set while it stops.
        self.farewell: Farewell | None = None
        self.tap = tap
        self._reactor = reactor
        self._wall_offset_s = time.time() - _perf()
        self._memory_max_bytes = function.memory_mib << 20
        self._output_fd = sandbox.output_fd
        self._channel = Channel(reactor, sandbox.channel, self._on_frame, self._on_end)
        reactor.register(self._output_fd, self._on_output)

    @property
    def free_slots(self) -> int:
        return self.capacity - len(self.calls) - len(self._abandoned)

    @property
    def is_idle(self) -> bool:
        """Whether it could take a call and has none, nor one that would not stop."""
        return self.state is State.READY and not self.calls and not self._abandoned

    def move_to(self, state: State) -> None:
        """Changes the state; a transition that is not in the table is a mistake of ours."""
        if state not in _NEXT[self.state]:
            raise RuntimeError(f"instance {self.id}: no way from {self.state.name} to {state.name}")
        self.state = state

    def begin(self, init_frame: bytes) -> None:
        """Sends INIT; calls sent before READY wait inside the channel."""
        self._channel.send(init_frame)

    def send(self, call: Call) -> None:
        """Hands a call to the runtime."""
        call_id = call.call_id = _next_call_id()
        self.calls[call_id] = call
        call.instance = self
        call.sent_s = now = _perf()
        if self.frozen:
            self.frozen = False
            self.sandbox.thaw()
        # Deadline 0 before READY: the runtime counts the timeout from the moment it begins.
        deadline_s = now + self._wall_offset_s + self.function.timeout_s if self.state is State.READY else 0.0
        self._channel.send(frames.invoke_frame(call_id, call.request_id, deadline_s, call.event, call.extras))

    def abandon(self, call: Call, now: float) -> None:
        """Stops waiting for a call and asks the runtime to stop it; its slot stays taken until it answers."""
        if self.calls.pop(call.call_id, None) is not None:
            self._abandoned[call.call_id] = now
            self._channel.send(frames.frame(frames.CANCEL, call.call_id))

    def abandoned_since(self, before_s: float) -> bool:
        """Whether a call was told to stop before that moment and has not done so."""
        return any(since < before_s for since in self._abandoned.values())

    def freeze(self) -> None:
        """Stops its CPU until the next call."""
        if not self.frozen:
            self.frozen = True
            if self.heartbeat is not None:
                self.heartbeat.forget()
            self.sandbox.freeze()

    def thaw(self) -> None:
        """Gives it its CPU back."""
        if self.frozen:
            self.frozen = False
            self.sandbox.thaw()

    def resize(self, function: Function) -> None:
        """Its sandbox has the limits of another size: from now on it is an instance of this function, and knows it."""
        self.function = function
        self._memory_max_bytes = function.memory_mib << 20
        size = {"memory_mib": function.memory_mib, "cpu_mcpu": function.cpu_mcpu}
        self._channel.send(frames.frame(frames.SIZE, 0, msgspec.json.encode(size)))

    def ask_heartbeat(self, question: int) -> None:
        """Has the runtime call the heartbeat function."""
        self._channel.send(frames.frame(frames.HEARTBEAT, question))

    def stop(self, farewell: "Farewell") -> None:
        """Has the runtime call the pre-stop handler; `farewell` hears of the answer."""
        self.farewell = farewell
        self.thaw()
        deadline_s = farewell.deadline_s + self._wall_offset_s
        self._channel.send(frames.stop_frame(farewell.call_id, farewell.request_id, deadline_s, farewell.extras))

    def kill(self, reason: str) -> None:
        """Ends it now. The pool hears of it through `ended`, also when this is called from inside the pool."""
        if self.state is not State.DEAD:
            self._on_end(reason)

    def close(self) -> None:
        """Reads what was still printed, then lets go of both descriptors."""
        self._channel.close()
        if self._output_fd >= 0:
            self._reactor.unregister(self._output_fd)
            self._drain_output()
            self.tap.finish(self.last_request_id)
            os.close(self._output_fd)
            self._output_fd = -1

    def _drain_output(self) -> None:
        # Bounded: somebody else may hold the other end and write for ever.
        for _ in range(16):
            try:
                data = os.read(self._output_fd, _OUTPUT_READ_BYTES)
            except OSError:
                return
            if not data:
                return
            self.tap.raw(self.last_request_id, data)

    def _on_output(self, events: int) -> None:
        try:
            data = os.read(self._output_fd, _OUTPUT_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            call = next(iter(self.calls.values()), None)
            if call is not None:
                self.last_request_id = call.request_id
            self.tap.raw(self.last_request_id, data)
        else:  # every process inside has closed it; the channel tells about the instance's end
            self._reactor.unregister(self._output_fd)

    def _on_end(self, reason: str) -> None:
        if self.state is State.DEAD:
            return
        self.end_reason = reason
        before = self.state
        self.move_to(State.DEAD)
        self.sandbox.kill(reason or CHANNEL_ENDED)
        self._channel.close()
        self.pool.ended(self, before)

    def _on_frame(self, kind: int, flags: int, call_id: int, body: bytes) -> None:
        if self.state is State.DEAD:
            return
        if kind in _ANSWERS:
            call = self.calls.pop(call_id, None)
            if call is None:
                self._on_stray_answer(kind, call_id, body)
                return
            now = _perf()
            try:
                code, memory_bytes, duration_us = _unpack_head(body)
            except struct.error:
                self.calls[call_id] = call
                self._on_end("broken frame: an answer without its head")
                return
            if (kind == _RESULT) != (code == 0) or (code and code not in RUNTIME_CODES):
                self.calls[call_id] = call
                self._on_end(f"broken frame: answer of type {kind} with code {code}")
                return
            # Its own figures are only believed within what is possible.
            if memory_bytes > self._memory_max_bytes:
                memory_bytes = self._memory_max_bytes
            elapsed_us = int((now - call.sent_s) * 1e6)
            if duration_us > elapsed_us:
                duration_us = elapsed_us
            self.last_request_id = call.request_id
            self.pool.finished(
                self,
                call,
                Outcome(
                    code,
                    body[_RESULT_HEAD_BYTES:],
                    flags & _FLAG_TEXT != 0,
                    code != 0 and is_function_error(code),
                    duration_us,
                    memory_bytes,
                ),
                now,
            )
        elif kind == frames.LOG:
            self._on_log(call_id, body)
        elif kind == frames.READY and self.state is State.STARTING:
            try:
                self.ready = msgspec.json.decode(body, type=ReadyReport)
            except (msgspec.MsgspecError, RecursionError):
                self._on_end("broken frame: READY")
                return
            self.move_to(State.READY)
            if self.function.heartbeat_handler:
                self.heartbeat = Heartbeat(draw_id, _perf())
            self.pool.became_ready(self)
        elif kind == frames.HEARTBEAT:
            reason = None if self.heartbeat is None else self.heartbeat.answered(call_id, body)
            if reason is None:
                self._on_end("broken frame: an answer to a heartbeat that nobody asked for")
            elif reason and self.state is not State.STOPPING:
                self.pool.heartbeat_failed(self, reason)
        elif kind == frames.LOADED and self.state is State.STARTING:
            self.loaded_s = _perf()
        else:
            self._on_end(f"broken frame: type {kind} out of place")

    def _on_stray_answer(self, kind: int, call_id: int, body: bytes) -> None:
        if self._abandoned.pop(call_id, None) is not None:
            self.pool.slot_freed(self, _perf())
        elif self.farewell is not None and call_id == self.farewell.call_id:
            self.farewell.answered(self, body)
        elif call_id == 0 and kind == frames.ERROR and self.state is State.STARTING:
            code = 0
            if len(body) >= frames.RESULT_HEAD.size:
                code = frames.RESULT_HEAD.unpack_from(body)[0]
            if code not in RUNTIME_CODES:
                code = INIT_FAILED
            self.pool.start_failed(
                self, Outcome(code, body[frames.RESULT_HEAD.size :], function_error=is_function_error(code))
            )
        else:
            self._on_end("broken frame: an answer to a call that nobody made")

    def _on_log(self, call_id: int, body: bytes) -> None:
        if len(body) < frames.LOG_HEAD.size:
            self._on_end("broken frame: a log without its head")
            return
        level, time_s = frames.LOG_HEAD.unpack_from(body)
        text = body[frames.LOG_HEAD.size :]
        call = self.calls.get(call_id)
        if call is None:
            if self.state is State.STARTING:
                request_id = self.load_request_id
            elif self.farewell is not None and call_id == self.farewell.call_id:
                request_id = self.farewell.request_id
            else:
                request_id = self.last_request_id
        else:
            request_id = call.request_id
            if call.want_tail:
                if call.tail is None:
                    call.tail = []
                call.tail.append(self.pool.tail_line(call, level, time_s, text))
                if len(call.tail) > 64:  # the end of the log is what is asked for
                    call.tail = [b"".join(call.tail)[-8192:]]
        self.tap.text(request_id, level, time_s, text)
