"""When a timer ticks: a cron expression, or a period on a grid. Pure; moments are nanoseconds since the epoch."""

import re
from dataclasses import dataclass
from datetime import tzinfo
from fractions import Fraction
from typing import Final, Protocol

from fgd.plugin import Cron, parse_cron, split_zone, zone_named

SECOND_NS: Final = 1_000_000_000
#: Nobody needs more than a hundred ticks a second of one timer; what asks for more gets these.
SHORTEST_NS: Final = SECOND_NS // 100
#: About 292 years, the longest duration that the cloud's language has.
_LONGEST_NS: Final = 2**63 - 1
_SCHEDULE_CHARS_MAX: Final = 256
#: Ticks of a cron expression that are counted one by one.
_COUNTED_MAX: Final = 1000

_RATE: Final = re.compile(r"([0-9]{1,4})([mhd])\Z", re.ASCII)
_RATE_UNITS: Final = {"m": (60, 60), "h": (3600, 24), "d": (86400, 30)}
_EVERY: Final = re.compile(r"@every +(\S+)\Z")
_PART: Final = re.compile(r"([0-9]{1,19}(?:\.[0-9]{0,19})?|\.[0-9]{1,19})(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_EVERY_UNITS_NS: Final = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,  # the micro sign
    "μs": 1000,  # the Greek letter
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}


class BadSchedule(ValueError):
    """No schedule; the message says the rule that it breaks."""


class Schedule(Protocol):
    """Moments at which a timer ticks."""

    @property
    def zone(self) -> tzinfo:
        """In which the moments are shown."""

    def next_ns(self, after_ns: int) -> int | None:
        """The first one after a moment; None when there is none any more."""

    def last_ns(self, since_ns: int, until_ns: int) -> int | None:
        """The last one from a moment to another; None if there is none."""

    def count(self, since_ns: int, until_ns: int) -> int:
        """How many there are after a moment and before another; some schedules do not count further than 1,000."""


@dataclass(frozen=True, slots=True)
class Period:
    """A tick at every whole number of periods from the anchor on: the grid never drifts."""

    period_ns: int
    anchor_ns: int
    zone: tzinfo

    def next_ns(self, after_ns: int) -> int | None:
        return self.anchor_ns + ((after_ns - self.anchor_ns) // self.period_ns + 1) * self.period_ns

    def last_ns(self, since_ns: int, until_ns: int) -> int | None:
        last_ns = self.anchor_ns + (until_ns - self.anchor_ns) // self.period_ns * self.period_ns
        return last_ns if last_ns >= since_ns else None

    def count(self, since_ns: int, until_ns: int) -> int:
        return max((until_ns - 1 - self.anchor_ns) // self.period_ns - (since_ns - self.anchor_ns) // self.period_ns, 0)


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """Readings of a clock on a wall."""

    cron: Cron
    zone: tzinfo

    def next_ns(self, after_ns: int) -> int | None:
        next_s = self.cron.next(after_ns // SECOND_NS)
        return None if next_s is None else next_s * SECOND_NS

    def last_ns(self, since_ns: int, until_ns: int) -> int | None:
        last_s = self.cron.last(-(-since_ns // SECOND_NS), until_ns // SECOND_NS)
        return None if last_s is None else last_s * SECOND_NS

    def count(self, since_ns: int, until_ns: int) -> int:
        number = 0
        next_ns = self.next_ns(since_ns)
        while next_ns is not None and next_ns < until_ns and number < _COUNTED_MAX:
            number += 1
            next_ns = self.next_ns(next_ns)
        return number


def parse_schedule(kind: str, text: str, anchor_ns: int, time_zone: str) -> Schedule:
    """The schedule that a timer's settings name.

    Args:
        kind: `Rate` or `Cron`.
        text: `3m`; `@every 1h30m` or a cron expression, both perhaps after `CRON_TZ=<zone> `.
        anchor_ns: where the grid of a period begins.
        time_zone: what holds without `CRON_TZ`.

    Raises:
        BadSchedule, BadCron: the rule that the text breaks.
    """
    if len(text) > _SCHEDULE_CHARS_MAX:
        raise BadSchedule(f"must be at most {_SCHEDULE_CHARS_MAX} characters")
    region = zone_named(time_zone)
    if kind == "Rate":
        return Period(_rate_ns(text), anchor_ns, region)
    own, rest = split_zone(text)
    zone = own or region
    if rest.startswith("@"):
        return Period(max(_every_ns(rest), SHORTEST_NS), anchor_ns, zone)
    return CronSchedule(parse_cron(rest, zone), zone)


def _rate_ns(text: str) -> int:
    found = _RATE.match(text)
    if found is not None:
        number, (unit_s, most) = int(found[1]), _RATE_UNITS[found[2]]
        if 1 <= number <= most:
            return number * unit_s * SECOND_NS
    raise BadSchedule(f"must be 1m to 60m, 1h to 24h, or 1d to 30d for a fixed rate, not {text[:20]!r}")


def _every_ns(text: str) -> int:
    found = _EVERY.match(text)
    parts = _PART.findall(found[1]) if found is not None else []
    if found is None or "".join(number + unit for number, unit in parts) != found[1]:
        raise BadSchedule(
            "must be '@every ' and numbers with units (h, m, s, ms, µs, ns), such as @every 1h30m, or a cron"
            f" expression, not {text[:40]!r}"
        )
    # Exact, so that 0.1s ten times is a second.
    total = sum((Fraction(number) * _EVERY_UNITS_NS[unit] for number, unit in parts), Fraction(0))
    if not 1 <= total <= _LONGEST_NS:
        raise BadSchedule("@every must be from 1ns to 292 years")
    return int(total)
