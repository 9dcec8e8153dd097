"""What the asynchronous queue has in memory: events that were claimed, and the line of each function version."""

from collections import deque

import msgspec

from fgd.call import PLAIN, Call, CallOptions
from fgd.store.queue import ClaimedEvent, Key

_PAUSE_FIRST_S = 0.05
_PAUSE_MAX_S = 5.0
_OPTIONS = msgspec.json.Decoder(CallOptions)


class Held:
    """A claimed event: ready to run, or running when it has a `call`."""

    __slots__ = (
        "call", "cancelled", "enqueued_s", "error_code", "error_message", "event", "id", "line", "options",
        "request_id", "start_s", "tries",
    )  # fmt: skip

    def __init__(self, line: "Line", claimed: ClaimedEvent) -> None:
        self.line = line
        self.id = claimed.id
        self.request_id = claimed.request_id
        self.event = claimed.event
        self.tries = claimed.tries
        self.enqueued_s = claimed.enqueued_s
        self.start_s = claimed.start_s
        self.options = _OPTIONS.decode(claimed.options) if claimed.options else PLAIN
        self.call: Call | None = None
        self.cancelled = False
        self.error_code = 0
        self.error_message = ""


class Line:
    """Events of one function version."""

    __slots__ = ("_pause_s", "in_turn", "key", "paused_until_s", "ready", "running", "waiting")

    def __init__(self, key: Key) -> None:
        self.key = key
        #: Events on disk that nobody has claimed.
        self.waiting = 0
        #: Claimed events, in order.
        self.ready: deque[Held] = deque()
        self.running = 0
        #: Whether the line is in the round of lines with ready events.
        self.in_turn = False
        #: Epoch seconds before which nothing is submitted; 0 when the invoker takes events.
        self.paused_until_s = 0.0
        self._pause_s = _PAUSE_FIRST_S

    @property
    def held(self) -> int:
        return len(self.ready) + self.running

    def pause(self, now_s: float) -> float:
        """The invoker has no room: nothing is submitted for a while, longer each time. Gives the moment it ends."""
        self.paused_until_s = now_s + self._pause_s
        self._pause_s = min(_PAUSE_MAX_S, self._pause_s * 2)
        return self.paused_until_s

    def flows(self) -> None:
        """The invoker took an event."""
        self.paused_until_s = 0.0
        self._pause_s = _PAUSE_FIRST_S
