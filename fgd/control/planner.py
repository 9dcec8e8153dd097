"""Sees to it that as many instances are kept as the reservations want at each moment.

Once a second the scheduled policies are asked and it is looked how many instances are in use; once a minute what the
minute came to is written to the history, and the policies that follow the load are asked. Whatever changes a
reservation, a version or an alias in between has everything worked out anew at once.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from fgd.control.forecast import CARE, Outlook, Past, forecast, outlook
from fgd.control.policies import Schedule, Tracker
from fgd.control.reserved import Reservations
from fgd.errors import StateError, StorageFull
from fgd.instance.keeper import Use
from fgd.invoke.resolve import Directory
from fgd.model import Alias, Function, Reservation
from fgd.store.history import KEEP_MINUTES, Minute
from fgd.urn import LATEST

log = logging.getLogger(__name__)

_LOOK_S: Final = 1.0
#: At the start of the daemon requests are let in when what is reserved is ready, or after this.
START_WAIT_S: Final = 10.0
#: A move of an alias waits so long for the instances of its new version.
MOVE_WAIT_S: Final = 100.0
_CLEAN_MINUTES: Final = 60
#: Where calls take longer on average, looking once a second tells the load better than what has ended does.
_LONG_CALL_S: Final = 5.0
#: After a restart, the load of this many minutes is where metric policies go on.
_RECENT_MINUTES: Final = 5
_OUTLOOK_MINUTES: Final = 24 * 60

type Key = tuple[str, str]
"""(func_id, version)."""


class InstanceKeeper(Protocol):
    """Keeps instances; the real thing is `fgd.instance.keeper.Keeper`."""

    def aim(self, function: Function, count: int, *, idle_mode: bool) -> None: ...
    async def filled(self, functions: Iterable[Function]) -> None: ...
    def standing_by(self, function: Function) -> AbstractAsyncContextManager[None]: ...
    def use(self) -> Mapping[Key, Use]: ...


class History(Protocol):
    """The real thing is `fgd.store.history.RequestHistory`."""

    async def add(self, minutes: list[Minute]) -> None: ...
    async def minutes(self, func_id: str, *, since: int = 0, version: str = "") -> list[Minute]: ...
    async def clean(self, before: int, functions: list[str]) -> None: ...


@dataclass(slots=True)
class _Sample:
    """What was seen of one version in the minute that goes on."""

    calls: int = 0
    busy: int = 0
    instances: int = 0
    reserved: int = 0


class _Plan:
    """The policies of one reservation, with what they remember."""

    __slots__ = ("followed", "past", "reservation", "schedule", "trackers")

    def __init__(self, reservation: Reservation) -> None:
        self.reservation = reservation
        self.schedule = Schedule(reservation.crons)
        self.trackers = [Tracker(one) for one in reservation.metrics]
        #: Of a recommendation, once it has been read.
        self.past: Past | None = None
        #: What the policies that follow the load have come to.
        self.followed = max([0, *(one.count for one in self.trackers)])


class Planner:
    """Works out how many instances to keep of which version, and tells the keeper."""

    def __init__(
        self,
        reservations: Reservations,
        directory: Directory,
        keeper: InstanceKeeper,
        history: History,
        totals: Callable[[], Iterable[tuple[Key, int, int]]],
        now_s: Callable[[], float],
    ) -> None:
        """
        Args:
            totals: (func_id, version), invocations and microseconds inside the function since the daemon's start.
            now_s: epoch seconds.
        """
        self._reservations = reservations
        self._directory = directory
        self._keeper = keeper
        self._history = history
        self._totals = totals
        self._now_s = now_s
        self._plans: dict[Key, _Plan] = {}
        self._aimed: dict[Key, int] = {}
        #: Versions to which an alias is just moving, and how many are kept of them until it has.
        self._ahead: dict[Key, tuple[int, bool]] = {}
        self._before: dict[Key, tuple[int, int]] = {}
        self._samples: dict[Key, _Sample] = {}
        self._looks = 0
        self._minute = int(now_s() // 60)
        reservations.subscribe(self.apply)

    def count(self, reservation: Reservation) -> int:
        """Instances kept now for a reservation."""
        version = self._reservations.version(reservation)
        return self._aimed.get((version.func_id, version.version), 0) if version is not None else 0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Plans until cancelled; counts as started when what is reserved is ready, or cannot be, or takes too long."""
        self._before = {key: (requests, work_us) for key, requests, work_us in self._totals()}
        self.apply()
        for plan in self._plans.values():
            await self._recall(plan)
        self.apply()
        with trio.move_on_after(START_WAIT_S) as scope:
            await self._keeper.filled([one for one in map(self._reservations.version, self._reservations) if one])
        if scope.cancelled_caught:
            log.warning(
                "not all reserved instances are ready after %.0f s; serving requests all the same", START_WAIT_S
            )
        task_status.started()
        while True:
            await trio.sleep(_LOOK_S)
            await self.look()

    async def look(self) -> None:
        """What is done once a second."""
        self._looks += 1
        for key, use in self._keeper.use().items():
            sample = self._samples.setdefault(key, _Sample())
            sample.calls += use.calls
            sample.busy += use.busy
            sample.instances = max(sample.instances, use.instances)
            sample.reserved = max(sample.reserved, use.reserved)
        minute = int(self._now_s() // 60)
        if minute != self._minute:
            over, self._minute = self._minute, minute
            await self._close(over)
        self.apply()

    def apply(self) -> None:
        """Tells the keeper what is to be kept now."""
        targets: dict[Key, tuple[Function, int, bool]] = {}
        for plan, version, count in self._shared_out(list(self._current())):
            targets[version.func_id, version.version] = version, count, plan.reservation.idle_mode
        for (func_id, name), (count, idle_mode) in self._ahead.items():
            version_ahead = self._directory.version(func_id, name)
            if version_ahead is not None:
                targets[func_id, name] = version_ahead, count, idle_mode
        for key in self._aimed.keys() - targets.keys():
            gone = self._directory.version(*key)
            if gone is not None:
                self._keeper.aim(gone, 0, idle_mode=False)
        for version, count, idle_mode in targets.values():
            self._keeper.aim(version, count, idle_mode=idle_mode)
        self._aimed = {key: count for key, (_, count, _) in targets.items()}

    async def outlook(self, function: Function, reservation: Reservation | None) -> tuple[int, int, dict[str, Outlook]]:
        """Minutes looked back on (a day at most), requests in them, and what each level would have come to.

        Args:
            function: the version in question.
            reservation: the one of an alias, if that is asked about.
        """
        plan = _Plan(reservation or Reservation(func_id=function.func_id, qualifier=function.version, count=0))
        found = await self._history.minutes(function.func_id, since=self._minute - KEEP_MINUTES)
        known = [one for one in found if self._counts_for(plan, one.version)]
        minutes = min(_OUTLOOK_MINUTES, self._minute - known[0].minute) if known else 0

        def work() -> dict[str, Outlook]:
            past = Past()
            past.read(known)
            return {level: outlook(past, self._minute, minutes, level, function.concurrent_num) for level in CARE}

        requests = sum(one.requests for one in known if one.minute >= self._minute - minutes)
        return minutes, requests, await trio.to_thread.run_sync(work)

    @asynccontextmanager
    async def moving(self, old: Alias, new: Alias) -> AsyncIterator[None]:
        """In the block, instances that are reserved for an alias are ready in the version that it is about to point to.

        Raises:
            Conflict: see `Reservations.check_move`.
        """
        self._reservations.check_move(old, new)
        reservation = self._reservations.of(old.func_id, f"!{old.name}")
        version = self._directory.version(old.func_id, new.version)
        if reservation is None or version is None or old.version == new.version:
            yield
            return
        key = (version.func_id, version.version)
        self._ahead[key] = self.count(reservation), reservation.idle_mode
        try:
            self.apply()
            with trio.move_on_after(MOVE_WAIT_S):
                await self._keeper.filled([version])
            yield
        finally:
            del self._ahead[key]
            self.apply()

    def standing_by(self, function: Function) -> AbstractAsyncContextManager[None]:
        """See `fgd.instance.standby.standing_by`."""
        return self._keeper.standing_by(function)

    def _current(self) -> Iterator[tuple[_Plan, Function]]:
        """The plan of every reservation, made anew where it has changed, and the version that it is for now."""
        plans = {}
        for reservation in self._reservations:
            key = (reservation.func_id, reservation.qualifier)
            plan = self._plans.get(key)
            if plan is None or plan.reservation != reservation:
                plan = self._changed(plan, reservation)
            plans[key] = plan
        self._plans = plans
        for plan in plans.values():
            version = self._reservations.version(plan.reservation)
            if version is not None:
                yield plan, version

    def _changed(self, old: _Plan | None, reservation: Reservation) -> _Plan:
        plan = _Plan(reservation)
        if old is not None:
            plan.past = old.past
            known = {one.policy: one for one in old.trackers}
            plan.trackers = [known.get(one.policy, one) for one in plan.trackers]
            plan.followed = max([0, *(one.count for one in plan.trackers)])
            if plan.reservation.level:
                plan.followed = old.followed
        return plan

    def _shared_out(self, plans: list[tuple[_Plan, Function]]) -> Iterator[tuple[_Plan, Function, int]]:
        """How many instances each gets. What was promised when it was set comes first; what follows the load gets of
        what is left, so that nobody's load takes the place of somebody's fixed number."""
        room_mib = self._reservations.memory_mib
        promised = []
        for plan, version in plans:
            sure = max(plan.reservation.count, plan.schedule.count(self._now_s()))
            count = min(sure, room_mib // version.memory_mib)  # its memory may have grown since
            room_mib -= count * version.memory_mib
            promised.append(count)
        for (plan, version), sure in zip(plans, promised, strict=True):
            more = min(max(0, plan.followed - sure), room_mib // version.memory_mib)
            room_mib -= more * version.memory_mib
            yield plan, version, sure + more

    # --- minutes -----------------------------------------------------------------------------------------

    async def _close(self, over: int) -> None:
        """A minute is over: writes it down, and asks the policies that follow the load."""
        looks, self._looks = max(1, self._looks), 0
        samples, self._samples = self._samples, {}
        minutes = list(self._minutes(over, samples, looks))
        try:
            await self._history.add(minutes)
            if over % _CLEAN_MINUTES == 0:
                await self._history.clean(over - KEEP_MINUTES, [one.func_id for one in self._directory])
        except (StorageFull, StateError) as error:
            log.error("history of requests: %s", error)
        for plan in list(self._plans.values()):
            if plan.reservation.level and plan.past is None:
                await self._recall(plan)
            else:
                self._remember(plan, over, minutes)
            self._follow(plan, samples, looks)

    def _minutes(self, over: int, samples: dict[Key, _Sample], looks: int) -> Iterator[Minute]:
        before, self._before = self._before, {}
        for key, requests, work_us in self._totals():
            old_requests, old_work_us = before.get(key, (0, 0))
            self._before[key] = requests, work_us
            new, work_s = requests - old_requests, (work_us - old_work_us) / 1e6
            if not new and key not in samples:
                continue
            sample = samples.get(key, _Sample())
            load = sample.calls / looks if work_s >= new * _LONG_CALL_S else work_s / 60
            yield Minute(*key, over, new, load, sample.instances, sample.reserved)
        for key in samples.keys() - self._before.keys():  # not invoked since the start
            sample = samples[key]
            yield Minute(*key, over, 0, sample.calls / looks, sample.instances, sample.reserved)

    def _counts_for(self, plan: _Plan, version: str) -> bool:
        """Whether requests to a version say something about those to come to the plan's. An alias moves from one
        published version to the next, so all of them do."""
        if plan.reservation.alias:
            main = self._reservations.version(plan.reservation)
            return version != LATEST or (main is not None and main.version == LATEST)
        return version == plan.reservation.qualifier

    def _remember(self, plan: _Plan, over: int, minutes: list[Minute]) -> None:
        if plan.past is not None:
            plan.past.add(over, 0, 0.0)  # nothing is known, too, once a minute is over
            for one in minutes:
                if one.func_id == plan.reservation.func_id and self._counts_for(plan, one.version):
                    plan.past.add(one.minute, one.requests, one.load)

    async def _recall(self, plan: _Plan) -> None:
        """Reads what the history knows."""
        reservation = plan.reservation
        if not reservation.level and not plan.trackers:
            return
        since = self._minute - (KEEP_MINUTES if reservation.level else _RECENT_MINUTES)
        try:
            found = await self._history.minutes(reservation.func_id, since=since)
        except (StorageFull, StateError) as error:
            log.error("history of requests: %s", error)
            return
        found = [one for one in found if self._counts_for(plan, one.version)]
        version = self._reservations.version(reservation)
        slots = version.concurrent_num if version is not None else 1
        if reservation.level:
            plan.past = Past()
            plan.past.read(found)
            plan.followed = forecast(plan.past, self._minute, reservation.level, slots)
        else:
            used = max((one.load for one in found), default=0.0) / slots
            plan.followed = max(tracker.adjust(used) for tracker in plan.trackers)

    def _follow(self, plan: _Plan, samples: dict[Key, _Sample], looks: int) -> None:
        reservation = plan.reservation
        version = self._reservations.version(reservation)
        if version is None:
            return
        if reservation.level and plan.past is not None:
            plan.followed = forecast(plan.past, self._minute, reservation.level, version.concurrent_num)
        elif plan.trackers:
            sample = samples.get((version.func_id, version.version), _Sample())
            plan.followed = max(tracker.adjust(sample.busy / looks) for tracker in plan.trackers)
