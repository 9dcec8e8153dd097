"""How instances end, and what becomes of their calls."""

import logging
import signal as signals
import time
from typing import TYPE_CHECKING

import trio

from fgd.call import Outcome
from fgd.instance import codes
from fgd.instance.budget import Budget
from fgd.instance.instance import CHANNEL_ENDED, Instance, State
from fgd.instance.prestop import Farewells
from fgd.instance.recorder import Counters

if TYPE_CHECKING:
    from fgd.instance.scheduler import Scheduler

log = logging.getLogger(__name__)
_perf = time.perf_counter


class Endings:
    """The dead of one scheduler, until nothing is left of them."""

    def __init__(
        self, scheduler: "Scheduler", budget: Budget, farewells: Farewells, counters: Counters, nursery: trio.Nursery
    ) -> None:
        self._scheduler = scheduler
        self._budget = budget
        self._farewells = farewells
        self._counters = counters
        self._nursery = nursery
        #: Instances of which something is left.
        self.dying = 0

    def heartbeat_failed(self, instance: Instance, reason: str) -> None:
        """Ends an instance that is not well, and tells its function's log and the metrics why."""
        function = instance.function
        log.info("instance %s of %s is ended: %s", instance.id, function.name, reason)
        text = f"fgd: the instance is ended: {reason}".encode()
        for request_id in [call.request_id for call in instance.calls.values()] or [""]:
            instance.tap.text(request_id, 40, time.time(), text)
        self._counters.heartbeat_failed(function.func_id, function.version)
        instance.end_code = codes.HEARTBEAT
        instance.kill(reason)

    def bury(self, instance: Instance, before: State) -> None:
        """Waits for what is left of a dead instance, then answers its calls."""
        self.dying += 1
        # Given back at once, so that an eviction makes room for the start that asked for it.
        self._budget.give_back(instance.promised_mib)
        self._farewells.stopping.discard(instance)
        self._nursery.start_soon(self._bury, instance, before)

    async def _bury(self, instance: Instance, before: State) -> None:
        report = await instance.sandbox.wait()
        instance.close()
        if instance.tap.dropped_total:
            self._counters.lines_dropped(
                instance.function.func_id, instance.function.version, instance.tap.dropped_total
            )
        self.dying -= 1
        calls = list(instance.calls.values())
        instance.calls.clear()
        starting = before is State.STARTING
        reason = instance.end_reason or report.reason
        outcome = outcome_of_end(reason, report.oom_kills, report.status, report.signal, starting=starting)
        if instance.end_code:
            outcome = codes.platform_outcome(instance.end_code, f"function instance ended: {reason}", "HeartbeatFailed")
        if starting:
            if calls or not instance.end_reason:
                self._scheduler.record_start(instance, outcome.code)
                instance.pool.fail_start(calls, outcome, everyone=reason.startswith("mount /"))
        elif calls:
            log.info("instance %s of %s ended: %s", instance.id, instance.function.name, outcome.body.decode())
            for call in calls:
                copy = codes.platform_outcome(outcome.code, "", "")
                copy.body = outcome.body
                copy.duration_us = int((_perf() - call.sent_s) * 1e6)
                instance.pool.complete(call, copy, instance.id)
        self._scheduler.room.feed()
        self._scheduler.want(instance.pool)


def outcome_of_end(reason: str, oom_kills: int, status: int | None, signal: int, *, starting: bool) -> Outcome:
    """What the calls of an instance get that ended under them."""
    how = ""
    if oom_kills:
        return codes.platform_outcome(codes.OUT_OF_MEMORY, "runtime memory limit exceeded", "OutOfMemory")
    if reason.startswith("broken frame"):
        return codes.platform_outcome(codes.PROTOCOL, f"instance ended: {reason}", "ProtocolError")
    if reason == CHANNEL_ENDED and status is None and signal == signals.SIGKILL:
        how = "closed its channel"
    elif reason == CHANNEL_ENDED:
        reason = ""
    how = how or reason or (f"killed by signal {signal}" if signal else f"exited with status {status}")
    if starting:
        return codes.platform_outcome(
            codes.INIT_FAILED, f"function initialization exception, error: instance {how}", "InstanceExited"
        )
    return codes.platform_outcome(codes.EXITED, f"function instance {how}", "InstanceExited")
