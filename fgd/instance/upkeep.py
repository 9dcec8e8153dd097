"""What becomes due as time passes: deadlines, freezing, keep-alive, and the end of pools that nobody uses."""

import math
import time
from typing import TYPE_CHECKING, Final

import trio

from fgd.instance import codes
from fgd.instance.instance import Instance, State

if TYPE_CHECKING:
    from fgd.instance.scheduler import Scheduler

_TICK_S: Final = 0.05
#: Importing a handler may take this long, before the initializer's own timeout begins.
LOAD_TIMEOUT_S: Final = 60.0
#: A call that was cancelled or timed out among others on its instance has this long to stop.
_STOP_GRACE_S: Final = 1.0
_POOL_KEEP_S: Final = 300.0
_perf = time.perf_counter


class Upkeep:
    """Looks at every instance of a scheduler twenty times a second."""

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._last_second = 0.0

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            await trio.sleep(_TICK_S)
            self.tick(_perf())

    def tick(self, now: float) -> None:
        """One look at every instance."""
        scheduler = self._scheduler
        config = scheduler.config
        freeze_before = now - config.freeze_delay_ms / 1000 if config.freeze else -math.inf
        idle_before = now - config.keep_alive_s
        second = now >= self._last_second + 1
        if second:
            self._last_second = now
        for key, pool in list(scheduler.pools.items()):
            for instance in list(pool.instances):
                if instance.heartbeat is not None:
                    _listen(instance, now)
                if instance.calls:
                    self._check_deadlines(instance, now)
                elif instance.state is State.READY:
                    if instance.reserved or instance.standby is not None:
                        _keep(instance, pool.reserve.idle_mode, now - config.freeze_delay_ms / 1000)
                    else:
                        self._rest(instance, idle_before, freeze_before)
                elif instance.state is State.STARTING:
                    _check_start(instance, now)
                if instance.capacity > 1 and instance.abandoned_since(now - _STOP_GRACE_S):
                    pool.drain(instance)
                if second:
                    instance.tap.tick(time.time())
            if pool.instances or pool.waiting or pool.opening or pool.reserve.count:
                pool.used_s = now
                scheduler.want(pool)
            elif now - pool.used_s > _POOL_KEEP_S:
                scheduler.forget_pool(key)
        scheduler.farewells.tick(now)

    def _check_deadlines(self, instance: Instance, now: float) -> None:
        if instance.state is State.STARTING:
            _check_start(instance, now)
            return
        timeout_s = instance.function.timeout_s
        for call in list(instance.calls.values()):
            if now - call.sent_s <= timeout_s:
                return  # in the order of their starts: nobody behind it is older
            self._scheduler.stop_call(call, codes.TIMED_OUT, "invoke timed out", "TimedOut")

    def _rest(self, instance: Instance, idle_before: float, freeze_before: float) -> None:
        """Ends or freezes an instance that has had no call for so long."""
        if instance.idle_since_s < idle_before:
            self._scheduler.end(instance, "idle")
        else:
            _freeze(instance, freeze_before)


def _keep(instance: Instance, idle_mode: bool, freeze_before: float) -> None:
    """Freezes a reserved instance in idle mode, also where others are never frozen; gives it its CPU otherwise."""
    if idle_mode:
        _freeze(instance, freeze_before)
    else:
        instance.thaw()


def _freeze(instance: Instance, freeze_before: float) -> None:
    """Freezes an instance that has had no call since then."""
    if (
        not instance.frozen
        and instance.idle_since_s < freeze_before
        and instance.is_idle
        # The answer to a heartbeat that is under way would never come; it takes three seconds at most.
        and (instance.heartbeat is None or not instance.heartbeat.open)
    ):
        instance.freeze()


def _listen(instance: Instance, now: float) -> None:
    """Asks the heartbeat function when it is time, and judges what was not answered. A frozen one is left alone."""
    heartbeat = instance.heartbeat
    if heartbeat is None or instance.frozen or instance.state not in (State.READY, State.DRAINING):
        return
    reason = heartbeat.overdue(now)
    if reason:
        instance.pool.heartbeat_failed(instance, reason)
    elif question := heartbeat.due(now):
        instance.ask_heartbeat(question)


def _check_start(instance: Instance, now: float) -> None:
    late = instance.started_s and now - instance.started_s > LOAD_TIMEOUT_S
    if instance.loaded_s:
        late = now - instance.loaded_s > instance.function.initializer_timeout_s
    if late:
        outcome = codes.platform_outcome(
            codes.INIT_TIMED_OUT, "runtime initialization timed out", "InitializationTimeout"
        )
        instance.pool.start_failed(instance, outcome)
