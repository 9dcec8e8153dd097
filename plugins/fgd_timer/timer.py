"""The trigger type TIMER.

Theory of operation: the loop goes from tick to tick of the schedule, never from wake-up to wake-up: it does not drift.
Of ticks that are due together only the latest is fired: a timer never piles up events. A tick that is due for more than
a minute counts as missed, whatever the reason: the node was off or suspended, the clock was set forward, or the event
before it had to wait. What was fired is not fired again when the clock is set back by up to a minute.
"""

import re
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
import trio

from fgd.plugin import BadCron, BadTriggerConfig, Door, FunctionOff, Place, TriggerType
from fgd_timer.schedule import SECOND_NS, BadSchedule, Schedule, parse_schedule

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")
#: A tick that is not later than this is fired, and a clock that goes back no further repeats none.
LATE_NS: Final = 60 * SECOND_NS


class TimerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a timer ticks, and what its events say."""

    name: Annotated[
        str,
        msgspec.Meta(
            min_length=1, max_length=64, description="Name: begins with a letter; letters, digits, `-` and `_`."
        ),
    ]
    schedule_type: Annotated[Literal["Rate", "Cron"], msgspec.Meta(description="Kind of `schedule`.")]
    schedule: Annotated[
        str,
        msgspec.Meta(
            description="Rate: 1m to 60m, 1h to 24h, 1d to 30d. Cron: `[CRON_TZ=ZONE ]second minute hour day-of-month"
            " month [day-of-week]`, or `@every 1h30m`."
        ),
    ]
    user_event: Annotated[
        str, msgspec.Meta(max_length=2048, description="Text that the events carry to the function.")
    ] = ""
    sync_execution: Annotated[
        bool,
        msgspec.Meta(description="Whether the timer waits for the function's outcome, without queue and retries."),
    ] = False
    missed: Annotated[
        Literal["skip", "once"],
        msgspec.Meta(description="What becomes of ticks that were missed: nothing, or one event for all of them."),
    ] = "skip"


class _Memory(msgspec.Struct, frozen=True):
    """What a timer that makes up for missed ticks remembers: the last one that it is done with."""

    done_ns: int


class Timer(TriggerType[TimerSettings]):
    """An event at a fixed rate, or when a cron expression says so."""

    code = "TIMER"
    settings = TimerSettings
    bad_code = "FSS.1109"
    exists_code = "FSS.1148"
    missing_code = "FSS.1140"

    def __init__(self, settings: TimerSettings, door: Door) -> None:
        super().__init__(settings, door)
        self._schedule = _schedule(settings, door.place)
        self._late_max_ns = 0

    @classmethod
    def check(cls, settings: TimerSettings, place: Place) -> None:
        if not _NAME.match(settings.name):
            raise BadTriggerConfig("name", "must begin with a letter and hold letters, digits, - and _ only")
        schedule = _schedule(settings, place)
        if schedule.next_ns(int(place.since_s) * SECOND_NS) is None:
            raise BadTriggerConfig("schedule", "names no moment that is still to come")

    @classmethod
    def identity(cls, settings: TimerSettings) -> str:
        return settings.name

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        done_ns = await self._make_up()
        while True:
            done_ns = await self._tick(done_ns)

    async def _make_up(self) -> int:
        """Deals with what was missed while nobody was here; gives the moment up to which all is done."""
        now_ns = self._now_ns()
        if self.config.missed == "skip":
            return now_ns
        remembered = self.door.recall()
        done_ns = msgspec.json.decode(remembered, type=_Memory).done_ns if remembered else 0
        done_ns = max(done_ns, int(self.door.place.since_s * SECOND_NS))
        due_ns = self._schedule.last_ns(done_ns + 1, now_ns)
        if due_ns is None:
            return self._after(done_ns)
        self.door.count("missed", self._schedule.count(done_ns, due_ns) + 1)
        await self._fire(due_ns)
        return due_ns

    async def _tick(self, done_ns: int) -> int:
        """Waits for the next tick and deals with it; gives the moment up to which all is done."""
        tick_ns = await self._wait(done_ns)
        now_ns = self._now_ns()
        due_ns = max(self._schedule.last_ns(tick_ns, now_ns) or tick_ns, tick_ns)
        passed = 0 if due_ns == tick_ns else self._schedule.count(tick_ns, due_ns) + 1
        late_ns = max(now_ns - due_ns, 0)
        if late_ns > LATE_NS:
            passed += 1
        if passed:
            self.door.count("missed", passed)
        if late_ns <= LATE_NS or self.config.missed == "once":
            self._late_max_ns = max(self._late_max_ns, late_ns)
            self.door.gauge("late_ms", late_ns / 1e6)
            self.door.gauge("late_ms_max", self._late_max_ns / 1e6)
            await self._fire(due_ns)
        return due_ns

    async def _wait(self, done_ns: int) -> int:
        """Sleeps until a tick after `done_ns` has come, wherever the clock is set meanwhile; gives the tick."""
        tick_ns = self._next(self._after(done_ns))
        while not await self.door.sleep_until(tick_ns / SECOND_NS):
            if self._now_ns() < tick_ns:  # set back, or not far enough forward
                tick_ns = self._next(self._after(done_ns))
        return tick_ns

    def _after(self, done_ns: int) -> int:
        """Up to which moment all is done: `done_ns`, unless somebody has set the clock back by more than a little."""
        now_ns = self._now_ns()
        return done_ns if done_ns <= now_ns + LATE_NS else now_ns

    def _next(self, after_ns: int) -> int:
        tick_ns = self._schedule.next_ns(after_ns)
        if tick_ns is None:
            raise BadSchedule("the calendar ends before the next tick")
        self.door.note(f"next tick at {_text(tick_ns, self._schedule)}")
        return tick_ns

    async def _fire(self, tick_ns: int) -> None:
        event = {
            "version": "v1.0",
            "time": _text(tick_ns, self._schedule),
            "trigger_type": self.code,
            "trigger_name": self.config.name,
            "user_event": self.config.user_event,
        }
        try:
            if self.config.sync_execution:
                outcome = await self.door.invoke(event)
                if outcome.code:
                    self.door.count("failed")
            else:
                await self.door.enqueue(event)
        except FunctionOff:
            self.door.count("off")
        if self.config.missed == "once":
            await self.door.remember(msgspec.json.encode(_Memory(tick_ns)))

    def _now_ns(self) -> int:
        return int(self.door.now_s() * SECOND_NS)


def _schedule(settings: TimerSettings, place: Place) -> Schedule:
    anchor_ns = int(place.since_s * SECOND_NS)
    try:
        return parse_schedule(settings.schedule_type, settings.schedule, anchor_ns, place.time_zone)
    except (BadSchedule, BadCron) as error:
        raise BadTriggerConfig("schedule", str(error)) from None


def _text(moment_ns: int, schedule: Schedule) -> str:
    """`2024-05-01T08:30:00+08:00`."""
    return datetime.fromtimestamp(moment_ns // SECOND_NS, schedule.zone).isoformat(timespec="seconds")
