"""Timers in virtual time: rates, cron expressions, `@every`, clocks that are set, ticks that were missed."""

import dataclasses
import random
from datetime import datetime
from typing import Any

import pytest
import trio
import trio.testing

from fgd.call import Outcome
from fgd.control.event_templates import TEMPLATES
from fgd.testing.trigger import BEGIN_S, PLACE, BadTriggerConfig, RecordingDoor, TriggerRig, parse
from fgd_timer.schedule import SECOND_NS, Period, parse_schedule
from fgd_timer.timer import Timer

DAY_S = 86_400.0


def timer(schedule: str, *, door: RecordingDoor | None = None, **fields: Any) -> TriggerRig[Any]:
    kind = "Rate" if schedule[-1:] in ("m", "h", "d") and schedule[:-1].isdigit() else "Cron"
    return TriggerRig(Timer, {"name": "tick", "schedule_type": kind, "schedule": schedule, **fields}, door=door)


def after_s(rig: TriggerRig[Any]) -> list[float]:
    """When events came, in seconds from the begin, to a millisecond."""
    return [round(one.time_s - BEGIN_S, 3) for one in rig.door.events]


def test_an_event_has_the_fields_of_the_cloud_s() -> None:
    rig = timer("CRON_TZ=Asia/Shanghai 0 30 8 * * *", user_event='{"a": 1}')
    events = rig.run(seconds=DAY_S)
    template = next(one.event for one in TEMPLATES if "timer" == one.name)

    expected = {
        "version": "v1.0",
        "time": "2026-01-01T08:30:00+08:00",
        "trigger_type": "TIMER",
        "trigger_name": "tick",
        "user_event": '{"a": 1}',
    }
    assert [expected] == events
    assert isinstance(template, dict) and list(template) == list(events[0])
    assert [30 * 60.0] == after_s(rig)
    assert not rig.door.events[0].sync


def test_without_user_event_it_is_empty_and_without_a_zone_the_region_s_holds() -> None:
    rig = timer("0 0 10 * * *", door=RecordingDoor(dataclasses.replace(PLACE, time_zone="Asia/Tokyo")))
    event = rig.run(seconds=DAY_S)[0]

    assert ("2026-01-01T10:00:00+09:00", "") == (event["time"], event["user_event"])


@pytest.mark.parametrize(
    ("schedule", "seconds", "expected"),
    [
        ("1m", 200, [60, 120, 180]),
        ("60m", 7201, [3600, 7200]),
        ("24h", 2 * DAY_S + 1, [DAY_S, 2 * DAY_S]),
        ("30d", 61 * DAY_S, [30 * DAY_S, 60 * DAY_S]),
        ("@every 1.5h", 11_000, [5400, 10_800]),
        ("@every 2h30m", 9001, [9000]),
        ("@every 1h1m1s1ms1us1µs1μs1000000ns", 3662, [3661.002]),
        ("@every 250ms", 1.1, [0.25, 0.5, 0.75, 1.0]),
        ("@every .1s", 0.35, [0.1, 0.2, 0.3]),
        ("CRON_TZ=Asia/Tokyo @every 90s", 200, [90, 180]),
        ("@every 1ns", 0.055, [0.01, 0.02, 0.03, 0.04, 0.05]),
        ("*/20 * * * * *", 61, [20, 40, 60]),
    ],
)
def test_ticks_come_when_the_schedule_says(schedule: str, seconds: float, expected: list[float]) -> None:
    rig = timer(schedule)
    rig.run(seconds=seconds)

    assert expected == after_s(rig)


def test_a_year_has_no_drift() -> None:
    minutes = timer("@every 47m")
    minutes.run(seconds=365 * DAY_S + 1)
    nights = timer("CRON_TZ=Europe/Berlin 0 0 3 * * *")
    nights.run(seconds=365 * DAY_S)
    last = nights.door.events[-1]

    assert 365 * 24 * 60 // 47 == len(minutes.door.events)
    assert [2820.0 * number for number in range(1, len(minutes.door.events) + 1)] == after_s(minutes)
    assert 365 == len(nights.door.events)
    assert {"+01:00", "+02:00"} == {one.event["time"][-6:] for one in nights.door.events}
    assert last.time_s == datetime.fromisoformat(last.event["time"]).timestamp()
    assert minutes.door.figures["late_ms_max"] < 0.001


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"), ({"name": "a" * 65}, "name"), ({"name": "1a"}, "name"), ({"name": "a b"}, "name"),
        ({"name": "a\n"}, "name"), ({"name": None}, "name"), ({"name": 5}, "name"),
        ({"schedule_type": "rate"}, "schedule_type"), ({"schedule_type": None}, "schedule_type"),
        ({"schedule": None}, "schedule"), ({"schedule": 3}, "schedule"), ({"schedule": ""}, "schedule"),
        ({"schedule": "0m"}, "schedule"), ({"schedule": "61m"}, "schedule"), ({"schedule": "25h"}, "schedule"),
        ({"schedule": "31d"}, "schedule"), ({"schedule": "1s"}, "schedule"), ({"schedule": "1.5h"}, "schedule"),
        ({"schedule": "m"}, "schedule"), ({"schedule": "1m\n"}, "schedule"), ({"schedule": "@every 1m"}, "schedule"),
        ({"user_event": "x" * 2049}, "user_event"), ({"user_event": {}}, "user_event"),
        ({"sync_execution": "true"}, "sync_execution"), ({"missed": "all"}, "missed"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(fields: dict[str, object], field: str) -> None:
    with pytest.raises(BadTriggerConfig) as refused:
        parse(Timer, {"name": "tick", "schedule_type": "Rate", "schedule": "3m", **fields})

    assert str(refused.value).startswith(f"event_data.{field}: ")
    assert "FSS.1109" == refused.value.code


@pytest.mark.parametrize(
    "schedule",
    ["3m", "@every", "@every ", "@every 5", "@every h", "@every 1h 30m", "@every -1h", "@every 0s", "@every 0.1ns",
     "@every 1d", "@every 1h30", "@every 1..5h", "@every 9999999999h", "@hourly", "@every 1e3s", "@every ١s",
     "CRON_TZ=Nowhere/At_All 0 0 0 * * *", "CRON_TZ=Asia/Shanghai", "TZ=Asia/Shanghai 0 0 0 * * *", "0 0 0 31 2 ?",
     "0 " * 200],
)  # fmt: skip
def test_cron_schedules_that_cannot_be(schedule: str) -> None:
    with pytest.raises(BadTriggerConfig, match=r"^event_data\.schedule: "):
        parse(Timer, {"name": "tick", "schedule_type": "Cron", "schedule": schedule})


def test_limits_that_just_fit() -> None:
    settings = parse(
        Timer,
        {"name": "a" * 64, "schedule_type": "Rate", "schedule": "60m", "user_event": "é" * 2048,
         "sync_execution": None, "other": 1},
    )  # fmt: skip

    assert (False, "skip") == (settings.sync_execution, settings.missed)
    assert "a" * 64 == Timer.identity(settings)


def test_a_timer_that_waits_for_outcomes_runs_one_at_a_time_and_counts_failures() -> None:
    door = RecordingDoor(delay_s=90.0, answer=lambda event: Outcome(4001, b"{}", function_error=True))
    rig = timer("1m", door=door, sync_execution=True)
    rig.run(seconds=700)

    assert all(one.sync for one in door.events)
    # One at 60 s ends at 150 s, where the tick of 120 s is 30 s late; that one ends at 240 s, and so on.
    assert [60.0, 150.0, 240.0, 330.0, 420.0, 510.0, 600.0, 690.0] == after_s(rig)
    assert 7.0 == door.figures["failed"]


def test_while_the_function_is_off_ticks_are_counted_and_do_not_come_later() -> None:
    door = RecordingDoor(off=True)

    async def switch_on() -> None:
        await trio.sleep(210)
        door.off = False

    rig = timer("1m", door=door)
    rig.run(seconds=310, ready=switch_on)

    assert [240.0, 300.0] == after_s(rig)
    assert 3.0 == door.figures["off"]


def test_a_slow_queue_makes_a_timer_slower_and_nothing_piles_up() -> None:
    rig = timer("@every 100ms", door=RecordingDoor(delay_s=1.05))
    rig.run(seconds=5)

    assert [0.1, 1.15, 2.2, 3.25, 4.3] == after_s(rig)
    times = [one.event["time"] for one in rig.door.events]
    assert ["00", "01", "02", "03", "04"] == [time[17:19] for time in times], "each has the latest tick"
    assert 38.0 == rig.door.figures["missed"]


def restarted(schedule: str, off_s: float, **fields: Any) -> TriggerRig[Any]:
    """A timer that ran for 150 s, and that then was away for so long."""
    first = timer(schedule, **fields)
    first.run(seconds=150)
    door = RecordingDoor(memory=first.door.memory, begin_s=BEGIN_S + 150 + off_s)
    return timer(schedule, door=door, **fields)


def test_a_restart_keeps_the_grid_and_skips_what_was_missed() -> None:
    rig = restarted("1m", 1000)
    rig.run(seconds=100)

    assert [1200.0] == after_s(rig), "the ticks are those of the first run"
    assert b"" == rig.door.memory, "what skips remembers nothing"


@pytest.mark.parametrize("schedule", ["1m", "0 * * * * *"])
def test_one_event_makes_up_for_all_that_was_missed(schedule: str) -> None:
    rig = restarted(schedule, 1000, missed="once")
    rig.run(seconds=100)

    assert [1150.0, 1200.0] == after_s(rig)
    assert "2026-01-01T00:19:00+00:00" == rig.door.events[0].event["time"]
    assert 17.0 == rig.door.figures["missed"]


def test_nothing_is_made_up_for_where_nothing_was_missed() -> None:
    rig = restarted("1m", 20, missed="once")
    rig.run(seconds=100)

    assert [180.0, 240.0] == after_s(rig)


def test_what_was_before_the_timer_was_made_or_switched_on_is_not_missed() -> None:
    fresh = timer("0 0 * * * *", door=RecordingDoor(begin_s=BEGIN_S + 0.5), missed="once")
    fresh.run(seconds=100)

    assert [] == fresh.door.events


def clock_set(schedule: str, ahead_s: float, *, at_s: float = 150, seconds: float = 400, **fields: Any) -> list[str]:
    """The times in the events of a timer whose system's clock is set after 150 s."""
    rig = timer(schedule, **fields)

    async def set_clock() -> None:
        await trio.sleep(at_s)
        rig.door.set_clock(ahead_s)

    return [event["time"][11:19] for event in rig.run(seconds=seconds, ready=set_clock)]


def test_a_clock_set_forward_skips_or_makes_up() -> None:
    before = ["00:01:00", "00:02:00"]

    assert [*before, "01:02:00", "01:03:00", "01:04:00"] == clock_set("1m", 3600, seconds=300)
    assert ["00:30:00"] == clock_set("0 0/30 * * * *", 1680, seconds=300), "half a minute late is not missed"
    assert [] == clock_set("0 0/30 * * * *", 1800, seconds=300)
    assert ["00:30:00"] == clock_set("0 0/30 * * * *", 1800, seconds=300, missed="once")


def test_a_clock_set_back_does_not_stop_a_timer() -> None:
    before = ["00:01:00", "00:02:00"]

    assert [*before, "23:03:00", "23:04:00"] == clock_set("1m", -3600, seconds=270)
    assert [*before, "23:03:00", "23:04:00"] == clock_set("0 * * * * *", -3600, seconds=270)


def test_a_clock_set_back_a_little_repeats_no_tick() -> None:
    assert ["00:01:00", "00:02:00", "00:03:00"] == clock_set("1m", -20, at_s=130, seconds=240)
    assert ["00:01:00", "00:02:00", "00:03:00"] == clock_set("0 * * * * *", -20, at_s=130, seconds=240)


def test_a_clock_set_during_an_event_is_seen() -> None:
    door = RecordingDoor(delay_s=10.0)
    rig = timer("0 0/30 * * * *", door=door)

    async def set_clock() -> None:
        await trio.sleep(1805)
        door.set_clock(-3600.0)

    rig.run(seconds=1805 + 1900, ready=set_clock)

    assert ["00:30:00", "00:00:00"] == [one.event["time"][11:19] for one in door.events]


def test_its_note_says_when_the_next_tick_is() -> None:
    rig = timer("CRON_TZ=America/New_York 0 0 9 * * *")
    rig.run(seconds=1)

    assert ["next tick at 2026-01-01T09:00:00-05:00"] == rig.door.notes


def test_a_period_s_grid_is_arithmetic() -> None:
    dice = random.Random(3)
    for _ in range(500):
        period = Period(dice.randint(1, 50), dice.randint(-100, 100), parse_schedule("Rate", "1m", 0, "UTC").zone)
        begin, end = sorted(dice.sample(range(-300, 300), 2))
        grid = [moment for moment in range(begin - 60, end + 61) if (moment - period.anchor_ns) % period.period_ns == 0]

        assert next(moment for moment in grid if moment > begin) == period.next_ns(begin)
        assert max((one for one in grid if begin <= one <= end), default=None) == period.last_ns(begin, end)
        assert len([one for one in grid if begin < one < end]) == period.count(begin, end)


def test_cron_ticks_are_counted_up_to_a_bound() -> None:
    schedule = parse_schedule("Cron", "* * * * * *", 0, "UTC")

    assert 9 == schedule.count(0, 10 * SECOND_NS)
    assert 1000 == schedule.count(0, 100_000 * SECOND_NS)


def test_two_thousand_timers_tick_in_one_loop() -> None:
    """Each of its own schedule; all of an hour's ticks come, none of them late."""
    doors = [RecordingDoor() for _ in range(2000)]  # bench/timers.py has five times as many in a daemon
    schedules = ["0 */20 * * * *", "@every 30m", "0 0 * * * *", "0 0 8 * * MON-FRI", "45m"]
    ticks = [3, 2, 1, 0, 1]

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number, door in enumerate(doors):
                rig = timer(schedules[number % 5], door=door)
                nursery.start_soon(rig.serve, 3600.5, 0)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    assert [ticks[number % 5] for number in range(2000)] == [len(door.events) for door in doors]
    assert max(door.figures.get("late_ms_max", 0) for door in doors) < 1
