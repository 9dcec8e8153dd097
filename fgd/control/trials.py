"""Trying a function with a test event: result, summary and the end of the log in one answer (user guide, section 4)."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
import trio

from fgd.call import PLAIN, Call, CallOptions, Outcome
from fgd.clock import new_request_id
from fgd.control.event_templates import event_template
from fgd.control.events import SavedEvents, decoded
from fgd.control.rules import text_of
from fgd.errors import BadParameter, GatewayTimeout
from fgd.invoke.extras import ExtrasOf, extras_of
from fgd.invoke.resolve import Directory
from fgd.model import Function
from fgd.units import KIB, MIB
from fgd.urn import FunctionUrn

#: What the user guide shows of a log.
LOG_MAX_BYTES: Final = 2 * KIB
#: The gateway gives up on an answer of the control plane after 300 s.
_WAIT_MAX_S: Final = 290.0
_EVENT = msgspec.json.Decoder(msgspec.Raw)


class Invoker(Protocol):
    """What runs an event; the real thing is `fgd.invoke.invoker.SchedulerInvoker`."""

    def submit(self, call: Call) -> None: ...
    def record(self, call: Call, outcome: Outcome, write_us: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Trial:
    """An invocation that is over."""

    request_id: str
    function: Function
    outcome: Outcome

    @property
    def result(self) -> object:
        """A JSON value: what the function returned, or its error object. JSON text is handed on unread."""
        body = self.outcome.body
        if not self.outcome.text and well_formed(body):
            return msgspec.Raw(body)
        return body.decode("utf-8", "replace")

    @property
    def log(self) -> str:
        """The end of its log."""
        return self.outcome.log_tail[-LOG_MAX_BYTES:].decode("utf-8", "replace")

    @property
    def summary(self) -> dict[str, object]:
        """As the header X-Cff-Invoke-Summary has it: milliseconds and MB."""
        duration_us = self.outcome.duration_us
        return {
            "duration": duration_us / 1000,
            "billingDuration": -(-duration_us // 1000),
            "memorySize": self.function.memory_mib,
            "memoryUsed": round(self.outcome.memory_bytes / MIB, 3),
        }


def well_formed(body: bytes) -> bool:
    """Whether these bytes are one JSON value in UTF-8; what comes out of an instance is believed to be nothing."""
    try:
        _EVENT.decode(body)
        body.decode("utf-8")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


class Trials:
    """Runs functions for whoever wants to see how they do."""

    def __init__(
        self,
        directory: Directory,
        events: SavedEvents,
        invoker: Invoker,
        wait_max_s: float,
        extras: ExtrasOf = extras_of,
    ) -> None:
        """`extras`: what goes to a function with an event, see `fgd.invoke.extras`."""
        self._directory = directory
        self._events = events
        self._invoker = invoker
        self._wait_max_s = min(wait_max_s, _WAIT_MAX_S)
        self._extras = extras

    async def event_of(self, urn: FunctionUrn, body: Mapping[str, object]) -> bytes:
        """The event that a request asks for: `event` (id or name of a test event), `template`, or `data` (any JSON).

        Without any of them it is the blank template.

        Raises:
            BadParameter: more than one of them.
            TestEventNotFound, EventTemplateNotFound: there is none of that name.
        """
        given = [name for name in ("event", "template") if body.get(name) not in (None, "")]
        given += ["data"] if "data" in body else []
        if len(given) > 1:
            raise BadParameter(f"{given[1]}: goes not together with {given[0]}; name one event")
        if given == ["data"]:
            return msgspec.json.encode(body["data"])
        if given == ["event"]:
            return decoded((await self._events.find(urn, text_of("event", body["event"]))).content)
        name = text_of("template", body["template"]) if given else "blank"
        return msgspec.json.encode(event_template(name).event)

    async def run(self, urn: FunctionUrn, body: Mapping[str, object]) -> Trial:
        """One event, and what it came to.

        Raises:
            as `event_of`; Overloaded, FunctionDisabled, Unavailable: it was not started.
            GatewayTimeout: no result within the limit of synchronous callers; the function runs on.
        """
        self._directory.resolve(urn)
        event = await self.event_of(urn, body)
        options = PLAIN
        function = self._directory.resolve(urn)
        split = self._directory.split(urn)
        if split is not None:
            function, options = split.pick(), CallOptions(alias=split.alias.name)
        over = trio.Event()
        outcomes: list[Outcome] = []

        def done(call: Call, outcome: Outcome) -> None:
            self._invoker.record(call, outcome, 0)
            outcomes.append(outcome)
            over.set()

        call = Call(
            function,
            new_request_id(),
            event,
            done,
            received_s=time.perf_counter(),
            want_tail=True,
            extras=self._extras(function, options, False),
            options=options,
        )
        self._invoker.submit(call)
        with trio.move_on_after(self._wait_max_s):
            await over.wait()
        if not outcomes:
            raise GatewayTimeout(
                f"event: no result within {self._wait_max_s:g} s; the function runs on as request {call.request_id}"
            )
        return Trial(call.request_id, function, outcomes[0])
