"""One event given to one version (`Call`), and what it came to (`Outcome`).

Both are made for every request on the hot path: slotted, mutable, and filled in by whoever knows the field.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from fgd.model import Function


class CallOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a request asks for beside the version that runs it; kept with an asynchronous event."""

    #: The alias by which the version was named, without "!"; "" for none.
    alias: str = ""
    #: Memory of the instance that it shall run on; 0: the function's own.
    memory_mib: int = 0
    #: Ids of the functions whose notifications led to this event; see `fgd.destination`.
    chain: tuple[str, ...] = ()


PLAIN: Final = CallOptions()


class Call:
    """One invocation on its way. Slotted and mutable: it is made for every request on the hot path.

    Times are seconds of `time.perf_counter()`; 0.0 means not reached.
    """

    __slots__ = (
        "async_",
        "attempts",
        "call_id",
        "cold",
        "done",
        "event",
        "extras",
        "function",
        "instance",
        "options",
        "received_s",
        "request_id",
        "sent_s",
        "started_s",
        "submitted_s",
        "tail",
        "want_tail",
    )

    def __init__(
        self,
        function: Function,
        request_id: str,
        event: bytes,
        done: "Callable[[Call, Outcome], None]",
        *,
        received_s: float,
        async_: bool = False,
        want_tail: bool = False,
        extras: bytes = b"",
        options: CallOptions = PLAIN,
    ) -> None:
        self.function = function
        self.request_id = request_id
        #: The event: JSON bytes, checked to be well-formed.
        self.event = event
        #: Called exactly once, from inside the loop, never from inside `submit`.
        self.done = done
        #: When its first byte arrived, when it was handed to the invoker, when an instance got it, when that began.
        self.received_s = received_s
        self.submitted_s = 0.0
        self.sent_s = 0.0
        self.started_s = 0.0
        self.async_ = async_
        #: Whether the outcome shall carry the end of the log.
        self.want_tail = want_tail
        self.tail: list[bytes] | None = None
        self.extras = extras
        self.options = options
        self.call_id = 0
        self.cold = False
        #: Instances that failed to start for it.
        self.attempts = 0
        self.instance: object = None


class Outcome:
    """What an invocation came to. `code` 0 is success, 4001... a failure of the function or of its limits.

    `body` is the result's bytes, or the error JSON. `text` tells that the result was a string.
    `function_error` tells whether the user's code is to blame. Durations in microseconds.
    """

    __slots__ = (
        "body", "code", "dispatch_us", "duration_us", "frontend_us", "function_error", "instance_id",
        "log_tail", "memory_bytes", "queue_us", "text",
    )  # fmt: skip

    def __init__(
        self,
        code: int,
        body: bytes,
        text: bool = False,
        function_error: bool = False,
        duration_us: int = 0,
        memory_bytes: int = 0,
    ) -> None:
        self.code = code
        self.body = body
        self.text = text
        self.function_error = function_error
        #: Time inside the runtime (`runtime` of performance.md).
        self.duration_us = duration_us
        self.memory_bytes = memory_bytes
        self.frontend_us = 0
        self.queue_us = 0
        self.dispatch_us = 0
        self.instance_id = ""
        #: The end of the log as text bytes, when the call asked for it.
        self.log_tail = b""
