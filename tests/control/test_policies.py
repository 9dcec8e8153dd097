"""What policies want at a moment."""

from datetime import UTC, datetime

import pytest

from fgd.control.policies import Schedule, Tracker
from fgd.model import CronPolicy, MetricPolicy

DAY_S = 86400


def _s(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _at(hour: int, count: int, **fields: float) -> CronPolicy:
    return CronPolicy(name=f"at{hour}", cron=f"0 0 {hour} * * *", count=count, **fields)  # type: ignore[arg-type]


def test_of_several_schedules_the_last_moment_decides() -> None:
    schedule = Schedule([_at(8, 100), _at(21, 10)])

    assert 10 == schedule.count(_s("2030-05-15T07:59:59"))
    assert 100 == schedule.count(_s("2030-05-15T08:00:00"))
    assert 100 == schedule.count(_s("2030-05-15T20:59:59"))
    assert 10 == schedule.count(_s("2030-05-15T21:00:00.5"))
    assert 10 == schedule.count(_s("2030-05-18T03:00:00"))


def test_schedule_begins_with_its_first_moment_after_it_was_set() -> None:
    schedule = Schedule([_at(8, 5, since_s=_s("2030-05-15T10:00:00"))])

    assert 0 == schedule.count(_s("2030-05-15T12:00:00"))
    assert 5 == schedule.count(_s("2030-05-16T08:00:00"))


def test_schedule_holds_within_its_validity_alone() -> None:
    policy = _at(8, 5, start_s=int(_s("2030-05-15T08:00:00")), expired_s=int(_s("2030-05-17T12:00:00")))

    assert [0, 5, 5, 0] == [
        Schedule([policy]).count(_s(text))
        for text in ("2030-05-15T07:59:00", "2030-05-15T08:00:00", "2030-05-17T11:59:59", "2030-05-17T12:00:00")
    ]


def test_schedule_is_the_same_after_a_restart_and_when_the_clock_is_set_back() -> None:
    policies = [_at(8, 100), _at(21, 10)]
    schedule = Schedule(policies)
    for hour in range(48):
        now = _s("2030-05-15T00:30:00") + hour * 3600

        assert Schedule(policies).count(now) == schedule.count(now)
    assert 10 == schedule.count(_s("2030-05-15T04:00:00"))


def test_metric_policy_goes_up_at_once_and_down_by_and_by() -> None:
    tracker = Tracker(MetricPolicy(name="m", threshold=50, least=2))

    assert [2, 20, 20, 18, 17] == [tracker.adjust(used) for used in (0.5, 10, 10, 0, 0)]
    for _ in range(100):
        tracker.adjust(0)
    assert 2 == tracker.count


@pytest.mark.parametrize(("threshold", "used", "expected"), [(70, 7, 10), (99, 99, 100), (1, 1, 100), (60, 0.1, 1)])
def test_metric_policy_makes_those_in_use_its_share(threshold: int, used: float, expected: int) -> None:
    assert expected == Tracker(MetricPolicy(name="m", threshold=threshold, least=0)).adjust(used)
