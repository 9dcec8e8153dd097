"""Who may begin a start: functions whose disks are not there wait outside, and take no start from others.

A start of an instance has a slot of `starts_at_once` for as long as it lasts. A function that mounts a server's disk
could hold all slots when that server hangs; so its disks are mounted before it gets one, and functions with disks
together never have more than a share of them.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, Protocol

import trio

from fgd.instance import codes
from fgd.instance.pool import Pool
from fgd.model import Function
from fgd.sandbox.mount_plan import Owner

#: Of all slots, functions with disks get this much at most.
_SHARE: Final = 0.5


class Mounter(Protocol):
    """Knows the disks of functions; the real thing is `fgd.control.disks.Disks`."""

    def own_ids(self, function: Function) -> Owner | None:
        """See `fgd.sandbox.api.Binding.own_ids`."""

    def mounted(self, function: Function) -> bool:
        """Whether the servers that it needs are mounted and answer; True where it needs none."""

    async def mount(self, function: Function) -> str:
        """Mounts what it needs, within a time limit; "" or why it cannot be."""


class Gate:
    """Asked by the scheduler before each start."""

    def __init__(self, mounter: Mounter, nursery: trio.Nursery) -> None:
        self._mounter = mounter
        self._nursery = nursery
        self._mounting: set[Pool] = set()
        self._held: OrderedDict[Pool, None] = OrderedDict()

    def own_ids(self, function: Function) -> Owner | None:
        """The host's ids that its sandbox must be opened with."""
        return self._mounter.own_ids(function) if function.mounts else None

    def admits(self, pool: Pool, pools: Iterable[Pool], starts_at_once: int) -> bool:
        """Whether an instance of the pool may start now; if not, `Scheduler.want` is called again when it may.

        Args:
            pool: whose turn it is.
            pools: all of them.
            starts_at_once: slots for starts.
        """
        if not pool.function.mounts:
            return True
        if not self._mounter.mounted(pool.function):
            if pool not in self._mounting:
                self._mounting.add(pool)
                self._nursery.start_soon(self._mount, pool)
            return False
        busy = sum(one.opening + one.starting for one in pools if one.function.mounts)
        if busy >= max(1, math.floor(starts_at_once * _SHARE)):
            self._held[pool] = None
            return False
        return True

    def released(self) -> list[Pool]:
        """A start is over: those that were held back because there were too many."""
        held = list(self._held)
        self._held.clear()
        return held

    async def _mount(self, pool: Pool) -> None:
        try:
            reason = await self._mounter.mount(pool.function)
            if not reason and not self._mounter.mounted(pool.function):
                reason = "mount: its server went away again"
        finally:
            self._mounting.discard(pool)
        if reason:
            pool.reserve.failed(reason.encode())
            while pool.waiting:
                outcome = codes.platform_outcome(codes.INIT_FAILED, reason, "MountError")
                outcome.function_error = False
                pool.complete(pool.next_call(), outcome)
        pool.scheduler.want(pool)
