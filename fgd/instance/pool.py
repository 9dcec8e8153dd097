"""The instances of one function version in one memory size, and the calls that wait for one.

Free instances are a stack: the one used last is taken first, so that caches stay warm and the rest goes idle. Reserved
ones (`fgd.instance.reserve`) lie above the others.
"""

import math
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from fgd.call import Call, Outcome
from fgd.clock import iso_utc
from fgd.errors import FunctionDisabled, Overloaded
from fgd.instance import codes
from fgd.instance.instance import Instance, State
from fgd.instance.reserve import Reserve
from fgd.model import UNLIMITED, Function

if TYPE_CHECKING:
    from fgd.instance.scheduler import Scheduler
    from fgd.instance.sizes import Sizes
    from fgd.instance.standby import Standby

_perf = time.perf_counter
_READY: Final = State.READY
#: An initializer that fails abandons its instance and another one tries, this often for one call (runtimes.md 1.5).
START_ATTEMPTS: Final = 3
#: A call rather waits for a running instance than starts one when it expects to wait less than a start takes.
_SHORT_WAIT_S: Final = 0.003
#: Start failures that no other instance would do without.
_SAME_EACH_TIME: Final = (4001, codes.HEARTBEAT)
_LEVEL_NAMES: Final = {10: "DEBUG", 20: "INFO", 30: "WARN", 40: "ERROR", 50: "ERROR"}


class Pool:
    """All that runs and waits for one (function, version, memory size)."""

    __slots__ = (
        "assigned", "function", "idle", "instances", "mean_s", "opening", "ready", "reserve", "scheduler", "sizes",
        "standbys", "starting", "used_s", "waiting",
    )  # fmt: skip

    def __init__(self, scheduler: "Scheduler", function: Function, sizes: "Sizes") -> None:
        self.scheduler = scheduler
        #: With the memory of this size.
        self.function = function
        #: This pool and those of the version's other sizes.
        self.sizes = sizes
        self.instances: set[Instance] = set()
        #: Stack of READY instances with a free slot.
        self.idle: list[Instance] = []
        self.waiting: deque[Call] = deque()
        #: Starts that wait for their sandbox.
        self.opening = 0
        #: Instances with a sandbox that are not READY yet or are being resized, and how many of them have been given a
        #: call already.
        self.starting = 0
        self.assigned = 0
        #: Instances that are READY.
        self.ready = 0
        #: Instances that stand by for a change; they are counted nowhere else but in `instances`.
        self.standbys = 0
        #: Mean time an instance works on a call, moving.
        self.mean_s = 0.0
        self.used_s = _perf()
        self.reserve = Reserve(self)

    # --- calls -------------------------------------------------------------------------------------------

    def submit(self, call: Call) -> None:
        """Gives the call to a free instance, or lets it wait.

        Raises:
            Overloaded: the waiting line is full.
            FunctionDisabled: the function takes no invocations.
        """
        idle = self.idle
        if idle:
            instance = idle[-1]
            if instance.free_slots <= 1:
                idle.pop()
            instance.send(call)
            return
        if self.function.disabled:
            raise FunctionDisabled(f"function {self.function.name} is disabled; enable it to invoke it")
        scheduler = self.scheduler
        if len(self.waiting) >= scheduler.queue_max or scheduler.waiting >= scheduler.queue_total_max:
            scheduler.throttled(self.function)
            raise Overloaded
        self.waiting.append(call)
        scheduler.waiting += 1
        scheduler.want(self)

    def next_call(self) -> Call:
        """The call that has waited longest."""
        self.scheduler.waiting -= 1
        return self.waiting.popleft()

    def put_back(self, calls: list[Call]) -> None:
        """Calls that lost their instance before it began to work on them, back to the head of the line."""
        self.waiting.extendleft(reversed(calls))
        self.scheduler.waiting += len(calls)

    def complete(self, call: Call, outcome: Outcome, instance_id: str = "", now: float = 0.0) -> None:
        """Fills in where the time went and hands the outcome over; `now`: when it was known, if that was before."""
        now = now or _perf()
        sent = call.sent_s or now
        submitted = call.submitted_s
        outcome.instance_id = instance_id
        outcome.frontend_us = int((submitted - call.received_s) * 1e6)
        outcome.queue_us = int((sent - submitted) * 1e6)
        dispatch_us = int((now - sent) * 1e6) - outcome.duration_us
        outcome.dispatch_us = dispatch_us if dispatch_us > 0 else 0
        if call.want_tail:
            outcome.log_tail = self.scheduler.recorder.tail(call, outcome)
        call.done(call, outcome)

    # --- what instances report ---------------------------------------------------------------------------

    def finished(self, instance: Instance, call: Call, outcome: Outcome, now: float) -> None:
        """An answer arrived. The next call goes out first, so that the instance works while we write."""
        self.mean_s += (now - call.sent_s - self.mean_s) * 0.05
        self.slot_freed(instance, now)
        self.complete(call, outcome, instance.id, now)

    def slot_freed(self, instance: Instance, now: float) -> None:
        """One slot of the instance has become free."""
        if instance.state is _READY:
            scheduler = self.scheduler
            if scheduler.starving and scheduler.room.retire(self, instance):
                return
            if self.waiting:
                instance.send(self.next_call())
                return
            if not instance.calls:
                instance.idle_since_s = now
            if instance.free_slots == 1:
                if instance.reserved or not self.reserve.count:
                    self.idle.append(instance)
                else:
                    self.reserve.shelve(instance)
        elif instance.state is State.DRAINING and not instance.calls:
            self.scheduler.end(instance, "drained")

    def became_ready(self, instance: Instance) -> None:
        """The instance has loaded the code and run the initializer."""
        now = instance.ready_s = instance.idle_since_s = _perf()
        if instance.standby is not None:
            self.scheduler.start_over()
            self.scheduler.record_start(instance, 0)
            instance.standby.changed()
            return
        self._left_start(instance)
        self.ready += 1
        began_s = now - instance.ready.ago_s()
        for call in instance.calls.values():  # sent along with INIT; its own time began then
            call.sent_s = began_s
            call.cold = True
        self.scheduler.record_start(instance, 0)
        if instance.retiring:
            self.drain(instance)
            return
        self._fill(instance, now, cold=True)
        self.scheduler.want(self)
        self.reserve.changed()

    def adopt(self, instance: Instance) -> None:
        """The state of the function that a standby was made for is in force: it is one of ours."""
        instance.standby = None
        self.standbys -= 1
        if instance.state is State.STARTING:
            self.starting += 1
        elif instance.state is State.READY:
            self.ready += 1
            self._fill(instance, _perf(), cold=False)

    def rejoin(self, instance: Instance) -> None:
        """The instance has another size, or was refused it; it takes calls again."""
        instance.move_to(State.READY)
        self.ready += 1
        if instance.retiring:
            self.drain(instance)
            return
        self._fill(instance, _perf(), cold=False)
        self.reserve.settle()

    def _fill(self, instance: Instance, now: float, *, cold: bool) -> None:
        """Gives an instance that has come to the pool what waits, as far as it has room."""
        for _ in range(instance.free_slots):
            if not self.waiting:
                break
            call = self.next_call()
            call.cold = cold
            instance.send(call)
        if instance.free_slots > 0:
            instance.idle_since_s = now
            if instance.reserved or not self.reserve.count:
                self.idle.append(instance)
            else:
                self.reserve.shelve(instance)

    def start_failed(self, instance: Instance, outcome: Outcome) -> None:
        """Loading or the initializer failed. The instance is abandoned."""
        self.scheduler.record_start(instance, outcome.code)
        if instance.standby is not None:
            instance.standby.failed(outcome)
            instance.kill("its start failed")
            return
        calls = list(instance.calls.values())
        instance.calls.clear()
        instance.kill("its start failed")
        self.fail_start(calls, outcome)

    def fail_start(self, calls: list[Call], outcome: Outcome, *, everyone: bool = False) -> None:
        """A start came to nothing: calls try again on another instance, or get the outcome.

        A wrong handler, heartbeat or module fails the same way each time, so everyone in the line hears of it at once;
        `everyone` says that of another reason, such as a disk for which each would wait in turn.
        """
        self.reserve.failed(outcome.body)
        if not calls and self.waiting:
            calls = [self.next_call()]
        everyone = everyone or outcome.code in _SAME_EACH_TIME
        if everyone:
            while self.waiting:
                calls.append(self.next_call())
        again: list[Call] = []
        for call in calls:
            call.attempts += 1
            call.sent_s = 0.0
            if everyone or call.attempts >= START_ATTEMPTS:
                call.cold = True
                self.complete(call, _copy(outcome))
            else:
                again.append(call)
        self.put_back(again)
        self.scheduler.want(self)

    def ended(self, instance: Instance, before: State) -> None:
        """The instance is dead; its calls are answered once it is known why."""
        if instance.standby is not None:
            self._lose_standby(instance, instance.standby, before)
        elif before is State.STARTING:
            self._left_start(instance)
        elif before is State.RESIZING:
            self.starting -= 1
        elif before is State.READY:
            self._unlist(instance)
        self.instances.discard(instance)
        self.reserve.lost(instance, before)
        self.scheduler.endings.bury(instance, before)

    def _lose_standby(self, instance: Instance, standby: "Standby", before: State) -> None:
        instance.standby = None
        self.standbys -= 1
        if before is State.STARTING:
            self.scheduler.start_over()
            if not instance.end_reason:
                instance.end_reason = "it ended at its start"
                outcome = codes.platform_outcome(codes.INIT_FAILED, instance.end_reason, "InstanceExited")
                self.scheduler.record_start(instance, outcome.code)
                standby.failed(outcome)
        standby.changed()

    def leave(self, instance: Instance) -> None:
        """The instance belongs to the pool no more; it lives on elsewhere."""
        if instance.standby is not None:
            self._lose_standby(instance, instance.standby, instance.state)
        elif instance.state is State.READY:
            self._unlist(instance)
        self.instances.discard(instance)
        self.reserve.lost(instance, instance.state)

    def arrive(self, instance: Instance) -> None:
        """An instance of another size is being made one of this pool's; `rejoin` follows."""
        instance.pool = self
        self.instances.add(instance)
        self.starting += 1

    def heartbeat_failed(self, instance: Instance, reason: str) -> None:
        """The instance is not well; it ends, and its calls with it."""
        self.scheduler.endings.heartbeat_failed(instance, reason)

    def _unlist(self, instance: Instance) -> None:
        """A READY instance takes no calls any more."""
        self.ready -= 1
        if instance in self.idle:
            self.idle.remove(instance)

    def _left_start(self, instance: Instance) -> None:
        self.starting -= 1
        self.assigned -= instance.assigned
        self.scheduler.start_over()

    def drain(self, instance: Instance) -> None:
        """No more calls for it; it ends when it has none."""
        if instance.standby is not None:
            instance.kill("its change was not made")
        elif instance.state is State.READY:
            if not instance.calls:
                self.scheduler.end(instance, "drained")
                return
            instance.move_to(State.DRAINING)
            self._unlist(instance)
            self.reserve.settle()
        elif instance.state is State.RESIZING:
            instance.retiring = True
        elif instance.state is State.STARTING:
            if instance.calls:  # it may have begun with its call already: a second run elsewhere would be a duplicate
                instance.retiring = True
            else:
                instance.kill("its function changed")

    # --- how many ----------------------------------------------------------------------------------------

    def shortage(self, now: float) -> int:
        """How many more instances should be started now."""
        missing = self.reserve.missing(now) if self.reserve.count else 0
        waiting = len(self.waiting)
        if not waiting:
            return missing
        function = self.function
        coming = (self.opening + self.starting) * function.concurrent_num - self.assigned
        wanted = math.ceil((waiting - coming) / function.concurrent_num)
        if function.max_instances != UNLIMITED:
            # An idle instance of another size can be resized, or ended for this one.
            room = function.max_instances - self.sizes.count + self.sizes.idle_beside(self)
            wanted = min(wanted, room)
        if wanted > 0 and self.ready and now - self.waiting[0].submitted_s < _SHORT_WAIT_S:
            expected_s = waiting * self.mean_s / (self.ready * function.concurrent_num)
            if expected_s < _SHORT_WAIT_S:
                return missing
        return max(0, wanted, missing)

    @property
    def held_back(self) -> bool:
        """Whether its calls wait for other sizes, which have all instances that the version may have."""
        return bool(self.waiting) and not self.count and self.sizes.full(self.function)

    @property
    def count(self) -> int:
        """Instances that exist or are being started; those not counted that stand by for a change."""
        return self.opening + len(self.instances) - self.standbys

    @property
    def share_mib(self) -> int:
        """Memory that its instances are promised."""
        return self.count * self.function.memory_mib

    def tail_line(self, call: Call, level: int, time_s: float, text: bytes) -> bytes:
        """Log text as the answer's tail shows it."""
        if level:
            head = f"{iso_utc(min(max(time_s, 0.0), 4e9))} {call.request_id} {_LEVEL_NAMES.get(level, 'INFO')} "
            return head.encode() + text.removesuffix(b"\n") + b"\n"
        return text if text.endswith(b"\n") else text + b"\n"


def _copy(outcome: Outcome) -> Outcome:
    return Outcome(outcome.code, outcome.body, text=outcome.text, function_error=outcome.function_error)
