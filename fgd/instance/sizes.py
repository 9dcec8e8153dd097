"""Instances of one function version in several memory sizes (user guide, section 3.11).

A request may ask for another memory than its function has. Each size has a pool of its own, with a `Function` that
differs in its memory only, so that limits, environment and records follow by themselves. What the version may have at
most counts over all its sizes. A pool that lacks an instance takes over an idle one of another size, if the kernel
gives that its new limits; only otherwise a new one is started.
"""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
import trio

from fgd.errors import PlatformError
from fgd.instance.budget import Budget
from fgd.instance.instance import Instance, State
from fgd.model import UNLIMITED, Function
from fgd.sandbox.api import Limits

if TYPE_CHECKING:
    from fgd.instance.pool import Pool
    from fgd.instance.scheduler import Scheduler

log = logging.getLogger(__name__)


def size_wished(function: Function, memory_mib: int) -> int:
    """The size that a request gets which asked for this memory (0: did not ask); 0 stands for the function's own."""
    return memory_mib if function.dynamic_memory and memory_mib != function.memory_mib else 0


def sized(function: Function, size_mib: int) -> Function:
    """The version as instances of that size see it; 0 stands for its own."""
    return msgspec.structs.replace(function, memory_mib=size_mib) if size_mib else function


class Sizes:
    """The pools of one version, by size; 0 stands for the function's own."""

    __slots__ = ("pools",)

    def __init__(self) -> None:
        self.pools: dict[int, Pool] = {}

    @property
    def count(self) -> int:
        """Instances of all sizes that exist or are being started."""
        return sum(pool.count for pool in self.pools.values())

    def full(self, function: Function) -> bool:
        """Whether the version has as many instances as it may have."""
        return function.max_instances != UNLIMITED and self.count >= function.max_instances

    def idle_beside(self, pool: "Pool") -> int:
        """How many idle instances of other sizes there are."""
        return sum(1 for _ in self._idle(pool)) if len(self.pools) > 1 else 0

    def idle_longest(self, pool: "Pool") -> list[Instance]:
        """Idle instances of other sizes, the one that was idle longest first."""
        return sorted(self._idle(pool), key=_idle_since_s) if len(self.pools) > 1 else []

    def _idle(self, pool: "Pool") -> Iterator[Instance]:
        # Reserved ones stay what they are, unless nothing else is left to the calls of another size.
        reserved_too = self.full(pool.function)
        for other in self.pools.values():
            if other is not pool:
                for instance in other.idle:
                    if (
                        instance.is_idle
                        and instance.function.revision == pool.function.revision
                        and (reserved_too or not instance.reserved)
                    ):
                        yield instance


def _idle_since_s(instance: Instance) -> float:
    return instance.idle_since_s


class Resizer:
    """Moves instances between the pools of a version."""

    def __init__(self, scheduler: "Scheduler", budget: Budget, nursery: trio.Nursery) -> None:
        self._scheduler = scheduler
        self._budget = budget
        self._nursery = nursery

    def take_over(self, pool: "Pool") -> bool:
        """Begins to make an idle instance of another size one of this pool's; False when there is none that may be."""
        return any(self.move(instance, pool) for instance in pool.sizes.idle_longest(pool))

    def move(self, instance: Instance, pool: "Pool") -> bool:
        """Begins to resize an idle instance for this pool; False when it may not be, and then nothing has changed.

        What it is promised grows before the kernel is asked, and shrinks when the kernel has agreed.
        """
        function = pool.function
        more_mib = function.memory_mib - instance.promised_mib
        if function.memory_mib in instance.refused_mib or (more_mib > 0 and not self._budget.grow(more_mib)):
            return False
        if more_mib > 0:
            instance.promised_mib += more_mib
        home = instance.pool
        home.leave(instance)
        instance.move_to(State.RESIZING)
        pool.arrive(instance)
        self._nursery.start_soon(self._resize, instance, home, function)
        return True

    async def _resize(self, instance: Instance, home: "Pool", function: Function) -> None:
        refusal = ""
        try:
            await instance.sandbox.resize(Limits.for_memory(function.memory_mib))
        except PlatformError as error:
            refusal = str(error)
        if instance.state is not State.RESIZING:
            return  # it has ended meanwhile, and whoever ended it has cleaned up
        pool = instance.pool
        pool.starting -= 1
        if refusal:
            log.info("instance %s of %s keeps its size: %s", instance.id, function.name, refusal)
            # Tried again, it would most likely be refused again, and each time a call would wait for that.
            instance.refused_mib += (function.memory_mib,)
            pool.instances.discard(instance)
            home.instances.add(instance)
            instance.pool = home
        else:
            instance.resize(function)
        spare_mib = instance.promised_mib - instance.function.memory_mib
        self._budget.shrink(spare_mib)
        instance.promised_mib -= spare_mib
        instance.pool.rejoin(instance)
        self._scheduler.want(pool)
        if spare_mib:
            self._scheduler.room.feed()
