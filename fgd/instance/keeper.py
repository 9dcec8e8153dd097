"""Reservations as the rest of fgd asks for them: how many instances of which version, and what becomes of them."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import trio

from fgd.instance.instance import State
from fgd.instance.scheduler import Scheduler
from fgd.instance.standby import standing_by
from fgd.model import Function


@dataclass(frozen=True, slots=True)
class Use:
    """One version at this moment. `calls` at work or waiting; instances with a call; all that live; those reserved that
    are READY."""

    calls: int
    busy: int
    instances: int
    reserved: int


class Keeper:
    """Reservations of a scheduler's pools."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def aim(self, function: Function, count: int, *, idle_mode: bool) -> None:
        """Keeps so many instances of a version from now on; 0 keeps none."""
        scheduler = self._scheduler
        if count or (function.func_id, function.version, 0) in scheduler.pools:
            pool = scheduler.pool_of(function)
            pool.reserve.aim(count, idle_mode=idle_mode)
            scheduler.want(pool)

    async def filled(self, functions: Iterable[Function]) -> None:
        """Returns when the instances kept of these versions are READY; of a version whose start fails, at once then."""
        pools = [self._scheduler.pools.get((one.func_id, one.version, 0)) for one in functions]
        async with trio.open_nursery() as nursery:
            for pool in pools:
                if pool is not None:
                    nursery.start_soon(pool.reserve.filled)

    def standing_by(self, function: Function) -> AbstractAsyncContextManager[None]:
        """See `fgd.instance.standby.standing_by`."""
        return standing_by(self._scheduler, function)

    def use(self) -> dict[tuple[str, str], Use]:
        """What every version uses now in all memory sizes, by (func_id, version), but for those that use nothing."""
        found: dict[tuple[str, str], Use] = {}
        for (func_id, version, _), pool in self._scheduler.pools.items():
            if pool.instances or pool.waiting:
                at_work = [len(one.calls) for one in pool.instances if one.standby is None]
                before = found.get((func_id, version), Use(0, 0, 0, 0))
                found[func_id, version] = Use(
                    calls=before.calls + sum(at_work) + len(pool.waiting),
                    busy=before.busy + sum(map(bool, at_work)),
                    instances=before.instances + len(at_work),
                    reserved=before.reserved + sum(one.reserved and one.state is State.READY for one in pool.instances),
                )
        return found
