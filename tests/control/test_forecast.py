"""Forecasts from the past."""

import math

import pytest

from fgd.control.forecast import CARE, Past, enough_for, forecast, outlook
from fgd.store.history import KEEP_MINUTES, Minute

DAY = 1440
LEVELS = tuple(CARE)


def _days(days: int, load_at: dict[int, float], base: float = 0.5) -> Past:
    past = Past()
    for minute in range(days * DAY):
        load = load_at.get(minute % DAY, base)
        past.add(minute, load * 60, load)
    return past


def _all(past: Past, minute: int, slots: int = 1) -> list[int]:
    return [forecast(past, minute, level, slots) for level in LEVELS]


def test_peak_of_every_day_is_expected_before_it_comes() -> None:
    past = _days(7, dict.fromkeys(range(540, 560), 10.0))

    assert all(count > 10 for count in _all(past, 7 * DAY + 540))
    assert all(count < 10 for count in _all(past, 7 * DAY + 700))


def test_more_careful_levels_keep_more() -> None:
    past = _days(7, dict.fromkeys(range(540, 560), 10.0))
    high, balance, low = _all(past, 7 * DAY + 545)

    assert high > balance > low


def test_day_that_is_busier_raises_the_expectation() -> None:
    past = _days(7, {}, base=2.0)
    quiet = forecast(past, 7 * DAY, "balance", 1)
    for minute in range(7 * DAY, 7 * DAY + 30):
        past.add(minute, 240, 4.0)

    assert forecast(past, 7 * DAY + 30, "balance", 1) > quiet


def test_load_that_nobody_foresaw_is_followed() -> None:
    past = _days(3, {}, base=0.1)
    past.add(3 * DAY, 600, 20.0)

    assert all(count >= 20 for count in _all(past, 3 * DAY + 1))


def test_without_a_past_nothing_is_kept_and_nobody_divides_by_zero() -> None:
    assert [0, 0, 0] == _all(Past(), 10**7)


def test_rare_requests_keep_one_instance_where_care_is_taken() -> None:
    past = Past()
    for minute in range(3 * DAY):
        rare = float(minute % 10 == 0)
        past.add(minute, rare, rare * 0.0005)

    assert [1, 0, 0] == _all(past, 3 * DAY + 4)


def test_instances_that_take_several_calls_are_fewer() -> None:
    past = _days(2, {}, base=20.0)

    assert forecast(past, 2 * DAY, "balance", 10) < forecast(past, 2 * DAY, "balance", 1) / 5


@pytest.mark.parametrize("load", [0.01, 1.0, 20.0, 299.0, 301.0, 5000.0])
@pytest.mark.parametrize("share", [0.9, 0.99, 0.9999])
def test_enough_is_the_least_number_that_is(load: float, share: float) -> None:
    number = enough_for(load, share)

    assert share <= _poisson_up_to(load, number) + (0.002 if load > 300 else 1e-9)
    assert number == 0 or share > _poisson_up_to(load, number - 1) - (0.002 if load > 300 else 1e-9)


def _poisson_up_to(load: float, number: int) -> float:
    return math.fsum(math.exp(k * math.log(load) - load - math.lgamma(k + 1)) for k in range(number + 1))


def test_past_forgets_what_is_older_than_two_weeks_and_fills_gaps_with_nothing() -> None:
    past = Past()
    past.read([Minute("f", "v", 0, 5, 5.0, 1, 0), Minute("f", "v", 3, 7, 7.0, 1, 0), Minute("f", "w", 3, 1, 1.0, 1, 0)])

    assert [5.0, 0.0, 0.0, 8.0] == past.loads(0, 10)
    assert not past.knows(4)
    past.add(KEEP_MINUTES + 2, 1, 1.0)
    assert not past.knows(0)
    assert past.knows(3)
    assert [8.0] == past.loads(0, 3)
    past.add(1, 99, 99.0)  # too old to be anything
    assert 1.0 == sum(past.loads(4, KEEP_MINUTES + 9))


def test_outlook_counts_hours_and_requests_beyond() -> None:
    past = _days(3, {}, base=1.0)
    high, low = (outlook(past, 3 * DAY, DAY, level, 1) for level in ("high_performance", "low_cost"))

    assert 24 * high.count == pytest.approx(high.instance_hours, rel=0.05)
    assert high.instance_hours > low.instance_hours
    assert 0 < high.beyond < low.beyond < 0.05
