"""Who makes room for whom on a full node.

Idle instances go first, the one that was idle longest before all others; a version that has more than another gives up
an instance after its answer. Reserved ones stay.
"""

import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from fgd.instance.budget import Budget
from fgd.instance.instance import Instance
from fgd.instance.prestop import Farewells
from fgd.instance.recorder import Counters
from fgd.instance.sizes import Resizer
from fgd.model import Function

if TYPE_CHECKING:
    from fgd.instance.pool import Pool
    from fgd.instance.scheduler import Scheduler

_perf = time.perf_counter


class Room:
    """The node's budget, as the pools of one scheduler share it."""

    def __init__(
        self, scheduler: "Scheduler", budget: Budget, farewells: Farewells, resizer: Resizer, counters: Counters
    ) -> None:
        self._scheduler = scheduler
        self._budget = budget
        self._farewells = farewells
        self._resizer = resizer
        self._counters = counters
        #: Versions for which there is no room.
        self.starving: OrderedDict[Pool, None] = OrderedDict()

    def make(self, function: Function) -> bool:
        """Takes the token of one more instance, if there is room or idle ones can make some."""
        memory_mib = function.memory_mib
        while not self._budget.take(memory_mib):
            if self._is_coming(memory_mib):
                return False
            victim = self._idle_longest()
            if victim is None:
                return False
            self._counters.evicted()
            self._scheduler.end(victim, "evicted: its memory is needed")
        return True

    def _is_coming(self, memory_mib: int) -> bool:
        """Whether there will be room when those that stop have gone: then nobody else has to go."""
        leaving = self._farewells.stopping
        return bool(leaving) and self._budget.would_fit(memory_mib, self._farewells.leaving_mib, len(leaving))

    def _idle_longest(self) -> Instance | None:
        best, since = None, math.inf
        for pool in self._scheduler.pools.values():
            for instance in pool.idle:
                if instance.reserved:
                    break  # and so are all above it
                if instance.is_idle and instance.idle_since_s < since:
                    best, since = instance, instance.idle_since_s
        return best

    def retire(self, pool: "Pool", instance: Instance) -> bool:
        """After an answer on a full node: whether this instance shall make room for a version that starves."""
        if instance.calls:
            return False
        now = _perf()
        for needy in list(self.starving):
            if needy.sizes is pool.sizes and needy.held_back and instance.is_idle:
                if pool.waiting and pool.waiting[0].submitted_s < needy.waiting[0].submitted_s:
                    continue
                del self.starving[needy]
                if not self._resizer.move(instance, needy):
                    self._scheduler.end(instance, "ended: its function wants another memory size")
                    self._scheduler.want(needy)
                return True
            if needy.shortage(now) <= 0:
                del self.starving[needy]
            elif (
                not instance.reserved
                and needy is not pool
                and (not pool.waiting or needy.share_mib + needy.function.memory_mib < pool.share_mib)
                and not self._is_coming(needy.function.memory_mib)
            ):
                break
        else:
            return False
        self._counters.evicted()
        self._scheduler.end(instance, "retired: another function needs its memory")
        return True

    def release(self, function: Function) -> None:
        """Gives back the token of an instance that did not come to be."""
        self._budget.give_back(function.memory_mib)
        self.feed()

    def feed(self) -> None:
        """There is more room than before: those who starve try again."""
        starving = list(self.starving)
        self.starving.clear()
        self._scheduler.want_again(starving)
