"""Cron expressions in UTC."""

from datetime import UTC, datetime

import pytest

from fgd.cron import BadCron, parse_cron

NOW = "2030-05-15T10:30:15"  # a Wednesday


def _s(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 8 * * *", "2030-05-15T08:00:00"),
        ("0 0 8 * *", "2030-05-15T08:00:00"),
        ("0 0 21 * * ?", "2030-05-14T21:00:00"),
        ("* * * * * *", "2030-05-15T10:30:15"),
        ("*/20 * * * * *", "2030-05-15T10:30:00"),
        ("20-40/10 * * * * *", "2030-05-15T10:29:40"),
        ("0 1/3 * * * *", "2030-05-15T10:28:00"),
        ("0 0 0 ? * Sun,tue", "2030-05-14T00:00:00"),
        ("0 0 0 1 jan *", "2030-01-01T00:00:00"),
        ("0 0 0 29 2 *", "2028-02-29T00:00:00"),
        ("0 0 0 13 * Fri", "2030-05-13T00:00:00"),  # either day is enough
        ("0 0 0 */1 * Fri", "2030-05-10T00:00:00"),
        ("59 59 23 31 12 *", "2029-12-31T23:59:59"),
    ],
)
def test_last_moment_before_now(expression: str, expected: str) -> None:
    found = parse_cron(expression).last(_s("2020-01-01T00:00:00"), _s(NOW) + 0.7)

    assert _s(expected) == found


def test_moments_before_the_span_do_not_count_and_its_ends_do() -> None:
    cron = parse_cron("0 0 8 * * *")
    eight = _s("2030-05-15T08:00:00")

    assert cron.last(eight, eight) == eight
    assert cron.last(eight + 1, _s(NOW)) is None
    assert cron.last(eight - 1, eight - 0.5) is None


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("", "six fields"),
        ("0 0 8 *", "six fields"),
        ("0 0 8 * * * 2030", "six fields"),
        ("60 * * * * *", "second"),
        ("* 60 * * * *", "minute"),
        ("* * 24 * * *", "hour"),
        ("* * * 0 * *", "day of month"),
        ("* * * * 13 *", "month"),
        ("* * * * * 7", "day of week"),
        ("* * * * * Mo", "day of week"),
        ("*/0 * * * * *", "second"),
        ("5-1 * * * * *", "upwards"),
        ("? * * * * *", "second"),
        ("1,,2 * * * * *", "second"),
        ("-1 * * * * *", "second"),
        ("٣ * * * * *", "second"),
        ("0 0 0 31 2,4 *", "names a day"),
        ("0 0 8 * * *" + " " * 300, "256"),
        ("0 0 8 L * *", "day of month"),
        ("CRON_TZ=UTC 0 0 8 * * *", "six fields"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_rule(expression: str, word: str) -> None:
    with pytest.raises(BadCron, match=word):
        parse_cron(expression)
