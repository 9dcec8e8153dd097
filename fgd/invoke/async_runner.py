"""Runs what the asynchronous queue has claimed: hands it to the invoker in fair turns and judges the outcomes.

Fairness, in three rules: lines are served in turn; one line may fill at most three quarters of the workers; and a line
of which nothing runs may always start one event, however full it is. So neither a flood nor an event that takes
for ever keeps another function waiting.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from fgd.config import Config
from fgd.errors import FunctionDisabled, Overloaded, Unavailable
from fgd.instance import codes
from fgd.invoke import notification as notes
from fgd.invoke.api import Call, Invoker, Outcome
from fgd.invoke.async_line import Held, Line
from fgd.invoke.extras import ExtrasOf
from fgd.model import AsyncConfig, Function
from fgd.store import queue as stored
from fgd.store.deliveries import NewDelivery
from fgd.store.queue import Change, ClaimedEvent, Key

_CANCELLED: Final = codes.CANCELLED
#: What an event gets whose instance is ended because fgd shuts down: 4201, 4206, 4208.
_ENDED_WITH_US: Final = frozenset({codes.INIT_FAILED, codes.EXITED, codes.CANCELLED})
_CANCELLED_TEXT: Final = "function invocation canceled"
#: Outcomes below this are failures of the platform, unless they blame the function themselves.
_FIRST_INVOCATION_CODE: Final = 4000


@dataclass(slots=True)
class Results:
    """What has come up since the last commit: for `fgd.store.queue.Work`."""

    changes: list[Change] = field(default_factory=list)
    forget: list[int] = field(default_factory=list)
    deliveries: list[NewDelivery] = field(default_factory=list)
    #: Function versions to which an event went back, and when it is due.
    retried: list[tuple[Key, float]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.changes or self.forget)

    def before(self, later: "Results") -> "Results":
        """Both, this one's first."""
        return Results(
            self.changes + later.changes, self.forget + later.forget, self.deliveries + later.deliveries,
            self.retried + later.retried,
        )  # fmt: skip


class Runner:
    """Events in memory. Everything is synchronous; nothing here touches the disk."""

    def __init__(
        self,
        config: Config,
        *,
        invoker: Invoker,
        functions: Callable[[str, str], Function | None],
        settings: Callable[[str, str], AsyncConfig],
        record: Callable[[Call, Outcome, int], object],
        now_s: Callable[[], float],
        extras: ExtrasOf,
        wake: Callable[[], None],
        pause: Callable[[Line, float], None],
    ) -> None:
        """
        Args:
            wake: called when there are results to be written down.
            pause: called when a line must wait until a moment; `resume` shall be called then.
        """
        self._invoker = invoker
        self._functions = functions
        self._settings = settings
        self._record = record
        self._now_s = now_s
        self._extras = extras
        self._wake = wake
        self._pause = pause
        self._region = config.region
        self._retry_first_s = config.async_retry_first_s
        self.workers = config.async_workers
        self.line_cap = max(1, config.async_workers * 3 // 4)
        self._held: dict[int, Held] = {}
        #: Lines with ready events that may go on, in turn.
        self._round: deque[Line] = deque()
        self.running = 0
        self.retrying = 0
        self.results = Results()
        self.stopped = False

    @property
    def held(self) -> int:
        """Events in memory."""
        return len(self._held)

    def waiting_ids(self) -> list[int]:
        """Row ids of the events in memory that do not run yet."""
        return [held.id for held in self._held.values() if held.call is None]

    def add(self, line: Line, events: Sequence[ClaimedEvent]) -> None:
        """Takes claimed events; `dispatch` starts them."""
        for event in events:
            held = Held(line, event)
            self._held[held.id] = held
            line.ready.append(held)
        self._join(line)

    def take_results(self) -> Results:
        """Gives what has come up, for a commit; `give_back` if that fails, `stored` if it does not."""
        results, self.results = self.results, Results()
        return results

    def give_back(self, results: Results) -> None:
        self.results = results.before(self.results)

    def stored(self, results: Results) -> None:
        self.retrying -= len(results.retried)

    def resume(self, line: Line) -> None:
        """The line's pause may be over."""
        if line.paused_until_s <= self._now_s():
            line.paused_until_s = 0.0
            self._join(line)

    def dispatch(self) -> None:
        """Hands events to the invoker, line by line in turn, as long as the rules allow."""
        if self.stopped:
            return
        turns = len(self._round)
        while self._round and turns > 0:
            full = self.running >= self.workers
            if full:
                turns -= 1  # once around, for lines of which nothing runs
            line = self._round.popleft()
            waits = full and line.running > 0
            if line.running < self.line_cap and (waits or (self._submit(line) and line.ready)):
                self._round.append(line)
            else:
                line.in_turn = False  # comes back with new events, or when one of its own is over

    def cancel(self, request_id: str) -> bool:
        """Stops an event that is in memory; whether it was."""
        held = next((held for held in self._held.values() if held.request_id == request_id), None)
        if held is None:
            return False
        held.cancelled = True
        if held.call is not None:
            self._invoker.cancel(held.call)
        else:
            held.line.ready.remove(held)
            self._end(held, stored.DISCARD, _CANCELLED, _CANCELLED_TEXT)
        return True

    def _join(self, line: Line) -> None:
        if line.ready and not line.in_turn and not line.paused_until_s:
            line.in_turn = True
            self._round.append(line)

    def _submit(self, line: Line) -> bool:
        """Starts the line's next event or ends it unrun; False when the line must pause."""
        held = line.ready.popleft()
        now_s = self._now_s()
        function = self._functions(*line.key)
        if function is None:
            self._end(held, stored.DISCARD, 0, "the function was deleted")
            return True
        if now_s - held.enqueued_s > self._settings(*line.key).max_age_s:
            text = "the event's validity period has expired"
            self._notify(held, function, notes.TOO_OLD, text, None)
            self._end(held, stored.DISCARD, 0, text)
            return True
        call = Call(
            function, held.request_id, held.event, partial(self._over, held), received_s=time.perf_counter(),
            async_=True, extras=self._extras(function, held.options, True), options=held.options,
        )  # fmt: skip
        try:
            self._invoker.submit(call)
        except (Overloaded, FunctionDisabled, Unavailable):
            line.ready.appendleft(held)
            self._pause(line, line.pause(now_s))
            return False
        line.flows()
        held.call = call
        held.start_s = held.start_s or now_s
        line.running += 1
        self.running += 1
        return True

    def _over(self, held: Held, call: Call, outcome: Outcome) -> None:
        """The invoker's answer."""
        self._record(call, outcome, 0)
        line = held.line
        line.running -= 1
        self.running -= 1
        held.call = None
        if outcome.code == 0:
            held.tries += 1
            self._notify(held, call.function, notes.SUCCEEDED, "", outcome.body)
            self._end(held, stored.SUCCESS, 0, "")
        elif held.cancelled:
            self._end(held, stored.DISCARD, _CANCELLED, _CANCELLED_TEXT)
        elif self.stopped and (outcome.code in _ENDED_WITH_US or not outcome.function_error):
            self._release(held)  # still claimed on disk, so it runs again after the next start
        else:
            self._failed(held, call.function, outcome)
        self._join(line)
        self.dispatch()

    def _failed(self, held: Held, function: Function, outcome: Outcome) -> None:
        """Another try, if the settings allow one and its moment would not come too late."""
        code, text = outcome.code, stored.message(_error_text(outcome.body))
        settings = self._settings(*held.line.key)
        now_s = self._now_s()
        if code != _CANCELLED and (outcome.function_error or code >= _FIRST_INVOCATION_CODE):
            held.tries += 1
            if held.tries > settings.max_retries:
                self._notify(held, function, notes.FUNCTION_FAILED, text, outcome.body)
                self._end(held, stored.FAIL, code, text)
                return
            condition = notes.FUNCTION_FAILED
            wait_s = self._retry_first_s * 2.0 ** min(held.tries - 1, 30)
        else:  # the platform failed, or the instance was stopped for another's sake: that costs time, but no try
            wait_s = max(self._retry_first_s, (now_s - held.enqueued_s) / 2)
            condition = notes.PLATFORM_FAILED
        due_s = now_s + min(stored.BACKOFF_MAX_S, wait_s)
        if due_s - held.enqueued_s > settings.max_age_s:
            self._notify(held, function, condition, text, outcome.body)
            self._end(held, stored.FAIL, code, text)
            return
        self.results.changes.append(
            Change(held.id, stored.WAITING, held.tries, due_s, code, text, held.start_s, 0.0)
        )  # fmt: skip
        self.results.retried.append((held.line.key, due_s))
        self.retrying += 1
        self._release(held)

    def _notify(self, held: Held, function: Function, condition: str, error: str, result: bytes | None) -> None:
        """Has the outcome of an event that is about to end delivered, if its version has a target for it."""
        settings = self._settings(*held.line.key)
        target = settings.on_failure if condition else settings.on_success
        if target is None:
            return
        urn = function.urn.text(self._region)
        runs = max(held.tries, 1) if held.start_s else 0
        document = notes.notification(
            request_id=held.request_id, function_urn=urn, began_s=held.start_s or held.enqueued_s, runs=runs,
            condition=condition, error=error, event=held.event, result=result,
        )  # fmt: skip
        chain = ",".join((*held.options.chain, function.func_id))
        self.results.deliveries.append(
            NewDelivery(
                held.line.key, held.request_id, not condition, urn, target.kind, target.param, chain, self._now_s(),
                document,
            )
        )  # fmt: skip

    def _end(self, held: Held, state: int, code: int, text: str) -> None:
        """The event is over; its record stays if the function keeps records."""
        if self._settings(*held.line.key).enable_status_log:
            self.results.changes.append(
                Change(held.id, state, held.tries, 0.0, code, text, held.start_s, self._now_s())
            )  # fmt: skip
        else:
            self.results.forget.append(held.id)
        self._release(held)

    def _release(self, held: Held) -> None:
        del self._held[held.id]
        self._wake()


def _error_text(body: bytes) -> str:
    """The `errorMessage` of an error JSON, else its text."""
    try:
        document = json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
    if isinstance(document, dict) and isinstance(document.get("errorMessage"), str):
        return str(document["errorMessage"])
    return document if isinstance(document, str) else body.decode("utf-8", "replace")
