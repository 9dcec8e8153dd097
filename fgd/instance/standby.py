"""Reserved instances of what a function is about to become, made before the change is in force.

The old instances answer meanwhile. Once the change is in force (`Scheduler.function_changed`), the pool adopts these
and drains the old ones, so nobody waits for a start; if it does not come to that, these end.
"""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from fgd.call import Outcome
from fgd.errors import SandboxError
from fgd.instance.instance import Instance, State
from fgd.instance.pool import Pool
from fgd.model import Function

if TYPE_CHECKING:
    from fgd.instance.scheduler import Scheduler

log = logging.getLogger(__name__)

#: A change waits so long for its instances at most; clients of the API wait for two minutes.
WAIT_S: Final = 100.0
#: How often it is looked whether another start may begin.
_TURN_S: Final = 0.01


class Standby:
    """Instances that wait for one change."""

    __slots__ = ("_failed", "_function", "_instances", "_opening", "_pool", "_scheduler", "_wake")

    def __init__(self, scheduler: "Scheduler", pool: Pool, function: Function) -> None:
        self._scheduler = scheduler
        self._pool = pool
        self._function = function
        self._instances: set[Instance] = set()
        self._opening = 0
        self._failed = False
        self._wake = trio.Event()

    async def fill(self) -> None:
        """Starts as many as are reserved and returns when all are READY, when one has failed, or when there is no room
        for more."""
        async with trio.open_nursery() as nursery:
            for _ in range(self._pool.reserve.wanted):
                while self._scheduler.starts >= self._scheduler.config.starts_at_once:
                    await trio.sleep(_TURN_S)
                if self._failed or not self._scheduler.room.make(self._function):
                    break
                self._scheduler.starts += 1
                self._start(nursery)
            while not self._failed and (self._opening or self._starting):
                await self._wake.wait()

    @property
    def _starting(self) -> bool:
        return any(one.state is State.STARTING for one in self._instances)

    def _start(self, nursery: trio.Nursery) -> None:
        sandbox = self._scheduler.take_blank(self._function)
        if sandbox is None:
            self._opening += 1
            nursery.start_soon(self._open)
        else:
            self._instances.add(
                self._scheduler.begin(
                    self._pool, self._function, sandbox, time.perf_counter(), pooled=True, standby=self
                )
            )

    async def _open(self) -> None:
        began_s = time.perf_counter()
        sandbox = None
        try:
            # Not cancelled between: a sandbox that nobody knows would never end.
            with trio.CancelScope(shield=True):
                sandbox = await self._scheduler.open_sandbox(self._function)
        except SandboxError as error:
            log.error("instance of %s not started: %s", self._function.name, error)
            self._failed = True
        self._opening -= 1
        if sandbox is None:
            self._scheduler.start_over()
            self._scheduler.room.release(self._function)
        else:
            self._instances.add(
                self._scheduler.begin(self._pool, self._function, sandbox, began_s, pooled=False, standby=self)
            )
        self.changed()

    def changed(self) -> None:
        """One of them is READY, or has ended."""
        self._wake.set()
        self._wake = trio.Event()

    def failed(self, outcome: Outcome) -> None:
        """One of them could not start. The change is made all the same: its author has to see what is wrong."""
        log.warning(
            "a reserved instance of %s could not start with the new settings: %s",
            self._function.name, outcome.body[:200].decode("utf-8", "replace").replace("\n", " "),
        )  # fmt: skip
        self._failed = True
        self.changed()

    def discard(self) -> None:
        """Ends those that were not adopted."""
        for instance in self._instances:
            if instance.standby is self:
                instance.kill("its change was not made")


@asynccontextmanager
async def standing_by(scheduler: "Scheduler", function: Function) -> AsyncIterator[None]:
    """In the block, as many instances of the new state of a function are READY as are reserved, as far as there is room
    and they can start; the block makes the change. Without a reservation there is nothing to wait for.

    Args:
        function: the function as it would become; has a higher revision than the one that is in force.
    """
    pool = scheduler.pools.get((function.func_id, function.version, 0))
    if pool is None or not pool.reserve.wanted or function.disabled or pool.function.revision == function.revision:
        yield
        return
    standby = Standby(scheduler, pool, function)
    try:
        with trio.move_on_after(WAIT_S) as scope:
            await standby.fill()
        if scope.cancelled_caught:
            log.warning("instances of %s are not ready after %.0f s; it changes without them", function.name, WAIT_S)
        yield
    finally:
        standby.discard()
