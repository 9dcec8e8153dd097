"""The orderly end of an instance: its pre-stop handler is called before it is killed, within a timeout of its own.

Orderly are the ends that nobody's fault brings about: idle for too long, replaced, evicted, shut down. After a crash,
a timeout or a failed heartbeat nothing is called. An instance that stops takes no calls and belongs to no pool any
more; its memory stays promised until it has gone.
"""

import json
import time
from collections.abc import Callable
from typing import Final

from fgd.clock import new_request_id
from fgd.instance.instance import Instance, State
from fgd.model import Function
from fgd.wire import frames

_perf = time.perf_counter
_RAW, _ERROR = 0, 40
_ENDED_BY_ITSELF: Final = (State.READY, State.DRAINING)


class Farewell:
    """One instance's way out. Times are seconds of the run's clock."""

    __slots__ = ("_farewells", "began_s", "call_id", "deadline_s", "extras", "reason", "request_id")

    def __init__(self, farewells: "Farewells", call_id: int, reason: str, began_s: float, deadline_s: float) -> None:
        self._farewells = farewells
        self.call_id = call_id
        self.request_id = new_request_id()
        self.reason = reason
        self.began_s = began_s
        self.deadline_s = deadline_s
        #: Credentials and the like for its context, as with an invocation: JSON or empty.
        self.extras = b""

    def answered(self, instance: Instance, body: bytes) -> None:
        """The runtime has called the handler; `body` is that of its RESULT or ERROR."""
        self._farewells.answered(instance, self, body)


class Farewells:
    """All instances on their way out."""

    def __init__(self, draw_id: Callable[[], int], extras: Callable[[Function], bytes]) -> None:
        self._draw_id = draw_id
        self._extras = extras
        self.stopping: set[Instance] = set()

    @property
    def leaving_mib(self) -> int:
        """Memory that will be free when all of them have gone."""
        return sum(instance.promised_mib for instance in self.stopping)

    def end(self, instance: Instance, reason: str) -> None:
        """Ends an instance that has no calls: now, or when its pre-stop handler has been called."""
        function = instance.function
        if not function.pre_stop_handler or instance.state not in _ENDED_BY_ITSELF:
            instance.kill(reason)
            return
        now = _perf()
        farewell = Farewell(self, self._draw_id(), reason, now, now + function.pre_stop_timeout_s)
        farewell.extras = self._extras(function)
        instance.pool.leave(instance)
        instance.move_to(State.STOPPING)
        self.stopping.add(instance)
        _write(instance, farewell, _RAW, f"Start pre-stop request '{farewell.request_id}', version: {function.version}")
        instance.stop(farewell)

    def answered(self, instance: Instance, farewell: Farewell, body: bytes) -> None:
        """The handler has returned or raised."""
        code, text = 0, ""
        if len(body) >= frames.RESULT_HEAD.size:
            code, text = frames.RESULT_HEAD.unpack_from(body)[0], _message(body[frames.RESULT_HEAD.size :])
        if code:
            _write(instance, farewell, _ERROR, f"pre-stop handler failed: {text}")
        length_ms = (_perf() - farewell.began_s) * 1000
        _write(
            instance, farewell, _RAW, f"Finish pre-stop request '{farewell.request_id}', duration: {length_ms:.3f}ms."
        )
        instance.kill(farewell.reason)

    def tick(self, now: float) -> None:
        """Ends those whose time is up."""
        for instance in list(self.stopping):
            farewell = instance.farewell
            if farewell is not None and now > farewell.deadline_s:
                seconds = instance.function.pre_stop_timeout_s
                _write(instance, farewell, _ERROR, f"pre-stop handler timed out after {seconds} s")
                instance.kill(farewell.reason)


def _write(instance: Instance, farewell: Farewell, level: int, text: str) -> None:
    """A line of the platform in the function's log; those that a logger did not write carry their time themselves."""
    now_s = time.time()
    if level == _RAW:
        text = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(now_s))} {text}"
    instance.tap.text(farewell.request_id, level, now_s, text.encode("utf-8"))


def _message(body: bytes) -> str:
    """The `errorMessage` of an error JSON with the runtime's word; what is none as it is."""
    try:
        document = json.loads(body)
        return str(document["errorMessage"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return body[:500].decode("utf-8", "replace")
