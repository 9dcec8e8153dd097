"""How many instances of a pool are kept, and which: made ahead, replaced when they die, never ended for being idle.

Theory of operation: `count` instances of a pool are reserved as long as it has so many; which ones is a mark that can
move. When a reserved one dies, a running one that was made on demand takes its place if there is one; what is then
still missing is a shortage of the pool, as calls that wait are, so one machinery starts both. When `count` falls, the
mark is taken off, and the instance ends as an idle one does.
"""

import logging
import time
from typing import TYPE_CHECKING, Final

import trio

from fgd.instance.instance import Instance, State
from fgd.model import UNLIMITED

if TYPE_CHECKING:
    from fgd.instance.pool import Pool

log = logging.getLogger(__name__)

#: Wait before the next start after one that failed; doubles with each.
_RETRY_FIRST_S: Final = 0.2
_RETRY_MAX_S: Final = 60.0
#: An instance that ends by itself so soon after it was READY counts as a start that failed.
_SHORT_LIFE_S: Final = 10.0
#: So long without a failure, and the next one is the first again.
_FORGET_S: Final = 150.0
_perf = time.perf_counter


def _is_reserved(instance: Instance) -> bool:
    return instance.reserved


class Reserve:
    """What is reserved of one pool."""

    __slots__ = ("_failed_s", "_failures", "_marked", "_pool", "_retry_s", "_wake", "count", "idle_mode")

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        #: Instances that shall be kept.
        self.count = 0
        #: Whether those that have nothing to do are frozen.
        self.idle_mode = False
        self._marked = 0
        self._failures = 0
        self._failed_s = 0.0
        self._retry_s = 0.0
        self._wake = trio.Event()

    def aim(self, count: int, *, idle_mode: bool = False) -> None:
        """Keeps so many from now on."""
        if (count, idle_mode) == (self.count, self.idle_mode):
            return
        fewer = count < self.count
        self.count, self.idle_mode = count, idle_mode
        self.settle()
        self.changed()
        if fewer:  # those that are not kept any more may have to make room
            self._pool.scheduler.room.feed()

    @property
    def wanted(self) -> int:
        """How many are kept: no more than the function may have instances, those of other memory sizes left aside."""
        pool = self._pool
        most = pool.function.max_instances
        return self.count if most == UNLIMITED else max(0, min(self.count, most - pool.sizes.count + pool.count))

    @property
    def ready(self) -> int:
        """Reserved instances that can take calls."""
        return min(self._pool.ready, self.wanted)

    def missing(self, now: float) -> int:
        """How many should be started now."""
        if not self.count or now < self._retry_s:
            return 0
        pool = self._pool
        missing = self.wanted - pool.opening - pool.starting - pool.ready
        most = pool.function.max_instances
        if missing > 0 and most != UNLIMITED:  # those that drain are instances, too
            missing = min(missing, most - pool.sizes.count + pool.sizes.idle_beside(pool))
        return max(0, missing)

    def settle(self) -> None:
        """Sees to it that as many are marked as shall be and there are."""
        if not self.count and not self._marked:
            return
        pool = self._pool
        alive = [one for one in pool.instances if one.state <= State.READY and one.standby is None]
        marked = [one for one in alive if one.reserved]
        wanted = self.wanted
        if len(marked) > wanted:
            marked.sort(key=lambda one: (bool(one.calls), one.state))  # those with nothing to do first
            for one in marked[: len(marked) - wanted]:
                one.reserved = False
        elif len(marked) < wanted:
            spare = sorted((one for one in alive if not one.reserved), key=lambda one: -one.state)  # READY ones first
            for one in spare[: wanted - len(marked)]:
                one.reserved = True
        self._marked = min(len(alive), wanted)
        pool.idle.sort(key=_is_reserved)  # stable: what was used last stays above

    def shelve(self, instance: Instance) -> None:
        """Puts a free instance that is not reserved among the idle ones, below the reserved ones."""
        idle = self._pool.idle
        place = len(idle)
        while place and idle[place - 1].reserved:
            place -= 1
        idle.insert(place, instance)

    def lost(self, instance: Instance, before: State) -> None:
        """An instance has ended."""
        # One that says of itself that it is not well counts, too: its successor will hardly say otherwise at once.
        ours = instance.end_reason and not instance.end_code
        by_itself = instance.state is State.DEAD and before is State.READY and not ours
        if instance.reserved and by_itself and _perf() - instance.ready_s < _SHORT_LIFE_S:
            self.failed(b"it ended soon after its start")
        if instance.reserved or self.count:
            instance.reserved = False
            self.settle()

    def failed(self, why: bytes) -> None:
        """A start came to nothing: the next one waits a while."""
        if not self.count:
            return
        now = _perf()
        if now - self._failed_s > _FORGET_S:
            self._failures = 0
        self._failed_s = now
        wait_s = min(_RETRY_FIRST_S * 2**self._failures, _RETRY_MAX_S)
        self._failures = min(self._failures + 1, 30)
        self._retry_s = now + wait_s
        log.warning(
            "a reserved instance of %s:%s did not last: %s; the next one in %.1f s",
            self._pool.function.name, self._pool.function.version,
            why[:200].decode("utf-8", "replace").replace("\n", " "), wait_s,
        )  # fmt: skip
        self.changed()

    def begin_again(self) -> None:
        """The function has changed: what failed before may work now."""
        self._failures = 0
        self._retry_s = 0.0
        self.settle()

    def changed(self) -> None:
        """Wakes those who wait in `filled`."""
        self._wake.set()
        self._wake = trio.Event()

    async def filled(self) -> None:
        """Returns when as many are READY as shall be, or a start has failed."""
        failures = self._failures
        while self.ready < self.wanted and self._failures == failures:
            await self._wake.wait()
