"""Cron expressions: what they name, forwards and backwards, in zones whose clocks change."""

import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from fgd.cron import BadCron, parse_cron, split_zone
from fgd.zones import BadZone, zone_named

NEW_YORK, BERLIN, LORD_HOWE = "America/New_York", "Europe/Berlin", "Australia/Lord_Howe"


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def following(expression: str, zone: str, after: str, number: int = 1) -> list[str]:
    """The next moments in the zone's own words."""
    cron = parse_cron(expression, ZoneInfo(zone))
    found, now_s = [], at(after)
    for _ in range(number):
        next_s = cron.next(now_s)
        assert next_s is not None
        assert next_s == cron.last(now_s + 1, next_s), "backwards it is the same"
        now_s = next_s
        found.append(datetime.fromtimestamp(now_s, ZoneInfo(zone)).isoformat(timespec="seconds"))
    return found


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [  # the examples of the guide, and one for each rule of its tables
        ("0 0 12 * * *", "2026-03-04T12:00:00+08:00", "2026-03-05T12:00:00+08:00"),
        ("0 30 12 * * *", "2026-03-04T12:00:00+08:00", "2026-03-04T12:30:00+08:00"),
        ("0 26,29,33 * * * *", "2026-03-04T12:29:00+08:00", "2026-03-04T12:33:00+08:00"),
        ("0 30 12 ? * MON-FRI", "2026-03-06T12:30:00+08:00", "2026-03-09T12:30:00+08:00"),
        ("0 0/5 12-14 ? * MON-FRI", "2026-03-06T14:55:00+08:00", "2026-03-09T12:00:00+08:00"),
        ("0 0 12 ? JAN,FEB,MAR,APR *", "2026-04-30T12:00:00+08:00", "2027-01-01T12:00:00+08:00"),
        ("0 0 4 1 * *", "2026-03-04T12:00:00+08:00", "2026-04-01T04:00:00+08:00"),
        ("0 0 4 1 *", "2026-03-04T12:00:00+08:00", "2026-04-01T04:00:00+08:00"),
        ("0 1/3 * * * *", "2026-03-04T12:00:00+08:00", "2026-03-04T12:01:00+08:00"),
        ("0 1/3 * * * *", "2026-03-04T12:58:00+08:00", "2026-03-04T13:01:00+08:00"),
        ("*/20 * * * * *", "2026-03-04T12:00:41+08:00", "2026-03-04T12:01:00+08:00"),
        ("0 0 0 ? * sat,SUN", "2026-03-04T12:00:00+08:00", "2026-03-07T00:00:00+08:00"),
        ("0 0 0 ? * 6,0", "2026-03-07T00:00:00+08:00", "2026-03-08T00:00:00+08:00"),
        ("0 0 0 13 * FRI", "2026-03-04T12:00:00+08:00", "2026-03-06T00:00:00+08:00"),
        ("0 0 0 13 * FRI", "2026-03-06T12:00:00+08:00", "2026-03-13T00:00:00+08:00"),
        ("0 0 0 10 * ?", "2026-03-10T00:00:00+08:00", "2026-04-10T00:00:00+08:00"),
        ("0 0 0 29 feb *", "2026-03-10T00:00:00+08:00", "2028-02-29T00:00:00+08:00"),
        ("59 59 23 31 12 ?", "2026-12-31T23:59:59+08:00", "2027-12-31T23:59:59+08:00"),
    ],
)
def test_the_next_moment(expression: str, after: str, expected: str) -> None:
    assert [expected] == following(expression, "Asia/Shanghai", after)


@pytest.mark.parametrize(
    ("zone", "expression", "after", "expected"),
    [
        # A reading that the change leaves out names no moment.
        (NEW_YORK, "0 30 2 * * *", "2026-03-07T12:00:00-05:00", ["2026-03-09T02:30:00-04:00"]),
        (NEW_YORK, "0 0 * * * *", "2026-03-08T00:30:00-05:00",
         ["2026-03-08T01:00:00-05:00", "2026-03-08T03:00:00-04:00"]),
        (BERLIN, "0 30 2 * * *", "2026-03-28T12:00:00+01:00", ["2026-03-30T02:30:00+02:00"]),
        (BERLIN, "0 59/30 1,3 * * *", "2026-03-29T00:00:00+01:00",
         ["2026-03-29T01:59:00+01:00", "2026-03-29T03:59:00+02:00"]),
        (LORD_HOWE, "0 15 2 * * *", "2026-10-03T12:00:00+10:30", ["2026-10-05T02:15:00+11:00"]),
        (LORD_HOWE, "0 0/30 2 * * *", "2026-10-04T01:00:00+10:30", ["2026-10-04T02:30:00+11:00"]),
        # One that comes twice names two.
        (NEW_YORK, "0 30 1 * * *", "2026-11-01T00:00:00-04:00",
         ["2026-11-01T01:30:00-04:00", "2026-11-01T01:30:00-05:00", "2026-11-02T01:30:00-05:00"]),
        (BERLIN, "0 0 2 * * *", "2026-10-24T12:00:00+02:00",
         ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-26T02:00:00+01:00"]),
        (BERLIN, "0 0/30 2 * * *", "2026-10-25T01:00:00+02:00",
         ["2026-10-25T02:00:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+01:00",
          "2026-10-25T02:30:00+01:00"]),
        (LORD_HOWE, "0 15,45 1 * * *", "2026-04-05T00:00:00+11:00",
         ["2026-04-05T01:15:00+11:00", "2026-04-05T01:45:00+11:00", "2026-04-05T01:45:00+10:30"]),
        # Days that begin an hour late, or are not there.
        ("America/Santiago", "0 0 0 * * *", "2026-09-05T12:00:00-04:00", ["2026-09-07T00:00:00-03:00"]),
        ("America/Santiago", "0 0 * 6 9 *", "2026-09-05T12:00:00-04:00", ["2026-09-06T01:00:00-03:00"]),
        ("Pacific/Apia", "0 0 12 * * *", "2011-12-29T12:00:00-10:00", ["2011-12-31T12:00:00+14:00"]),
    ],
)  # fmt: skip
def test_where_clocks_change(zone: str, expression: str, after: str, expected: list[str]) -> None:
    assert expected == following(expression, zone, after, len(expected))


def test_every_second_of_a_day_of_change_comes_once() -> None:
    for zone, day in ((NEW_YORK, "2026-03-08"), (NEW_YORK, "2026-11-01"), (LORD_HOWE, "2026-04-05")):
        begin_s = int(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).timestamp())
        cron = parse_cron("0 * * * * *", ZoneInfo(zone))
        forwards = [begin_s]
        while forwards[-1] < begin_s + 26 * 3600:
            forwards.append(cron.next(forwards[-1]) or 0)

        assert list(range(begin_s, begin_s + 26 * 3600 + 60, 60)) == forwards


def test_where_both_mean_the_same_croniter_agrees() -> None:
    dice = random.Random(5)
    names = ["MON", "tue", "Wed", "THU", "Fri"]

    def field(low: int, high: int) -> str:
        one, two = sorted(dice.sample(range(low, high + 1), 2))  # 8-8 is the whole hour for croniter
        return dice.choice(["*", "*", str(one), f"{one}-{two}", f"{one},{two}", f"*/{dice.randint(2, 9)}", f"{one}/7"])

    for _ in range(400):
        day, weekday = (field(1, 28), "?") if dice.random() < 0.6 else ("*", dice.choice([*names, "1-5", "0,6"]))
        expression = " ".join([field(0, 59), field(0, 59), field(0, 23), day, field(1, 12), weekday])
        now_s = dice.randint(1_600_000_000, 1_900_000_000)
        other = croniter(expression.replace("?", "*"), now_s, second_at_beginning=True)
        cron = parse_cron(expression)

        for _ in range(5):
            expected = int(other.get_next(float))
            assert expected == cron.next(now_s), expression
            assert expected == cron.last(now_s + 1, expected)
            now_s = expected


def test_there_is_a_last_moment_only_within_the_bounds() -> None:
    cron = parse_cron("0 0 0 1 1 ?", ZoneInfo(BERLIN))

    assert at("2026-01-01T00:00:00+01:00") == cron.last(0, at("2026-12-31T23:59:59+01:00"))
    assert cron.last(at("2026-01-01T00:00:01+01:00"), at("2026-12-31T23:59:59+01:00")) is None
    assert parse_cron("0 0 0 29 2 ?").next(datetime(9997, 1, 1, tzinfo=UTC).timestamp()) is None


@pytest.mark.parametrize(
    "expression", ["* * * ? * 5#2", "* * * 15W * *", "* * * * ? *", "@daily", "1-2-3 * * * * *", "* * * * * fri-mon"]
)
def test_what_others_know_and_the_guide_does_not_is_refused(expression: str) -> None:
    with pytest.raises(BadCron):
        parse_cron(expression)


def test_the_zone_of_an_expression() -> None:
    assert (None, "0 0 12 * * *") == split_zone("0 0 12 * * *")
    assert (ZoneInfo("Asia/Shanghai"), "0 0 12 * * *") == split_zone("CRON_TZ=Asia/Shanghai  0 0 12 * * *")
    for name in ("", "Asia/Nowhere", "America", "../../etc/passwd", "/etc/localtime", "Asia/" + "x" * 100):
        with pytest.raises(BadCron, match=r"^CRON_TZ: "):
            split_zone(f"CRON_TZ={name} 0 0 12 * * *")
        with pytest.raises(BadZone):
            zone_named(name)
