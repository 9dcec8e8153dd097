"""Cron expressions of FunctionGraph: six fields with seconds first, the day of the week may be left out, times in UTC.

Source: user guide, section 5.11; errors-and-limits, section 8. Names of months and days in any case; `?` where a day
is meant; where both the day of the month and of the week are restricted, either is enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
#: Name, lowest, highest, names of the values from the lowest on.
_FIELDS: Final[Sequence[tuple[str, int, int, Sequence[str]]]] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_CHARS_MAX: Final = 256


class BadCron(ValueError):
    """Not a cron expression; the message says which field breaks which rule."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression; see `parse_cron`."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    #: Whether a day matches when either of its two fields does (both are restricted), or must match both.
    either_day: bool

    def last(self, since_s: float, until_s: float) -> float | None:
        """The last moment that it names from `since_s` to `until_s`, both epoch seconds; None if there is none."""
        moment = datetime.fromtimestamp(until_s, UTC).replace(microsecond=0)
        limit = (moment.hour, moment.minute, moment.second)
        while moment.timestamp() >= since_s:
            found = self._last_time(limit) if self._on(moment) else None
            if found is not None:
                hour, minute, second = found
                found_s = moment.replace(hour=hour, minute=minute, second=second).timestamp()
                return found_s if found_s >= since_s else None
            moment = moment.replace(hour=23, minute=59, second=59) - timedelta(days=1)
            limit = (23, 59, 59)
        return None

    def _on(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        by_month, by_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_month or by_week if self.either_day else by_month and by_week

    def _last_time(self, limit: tuple[int, int, int]) -> tuple[int, int, int] | None:
        """The last time of day that is not after `limit`."""
        for hour in reversed(self.hours):
            if hour > limit[0]:
                continue
            if hour < limit[0]:
                return hour, self.minutes[-1], self.seconds[-1]
            for minute in reversed(self.minutes):
                if minute > limit[1]:
                    continue
                if minute < limit[1]:
                    return hour, minute, self.seconds[-1]
                fits = [second for second in self.seconds if second <= limit[2]]
                if fits:
                    return hour, minute, fits[-1]
        return None


def parse_cron(text: str) -> Cron:
    """Parses `second minute hour day-of-month month [day-of-week]`.

    Raises:
        BadCron: says what is wrong.
    """
    if len(text) > _CHARS_MAX:
        raise BadCron(f"must be at most {_CHARS_MAX} characters")
    parts = text.split()
    if len(parts) not in (5, 6):
        raise BadCron(
            "must have six fields (second minute hour day-of-month month day-of-week, of which the last may be left"
            f" out), not {len(parts)}"
        )
    parts += ["*"] * (6 - len(parts))
    fields = [_field(part, *rule) for part, rule in zip(parts, _FIELDS, strict=True)]
    seconds, minutes, hours, days, months, weekdays = fields
    cron = Cron(
        seconds=tuple(sorted(seconds)),
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(weekdays),
        either_day=not _is_any(parts[3]) and not _is_any(parts[5]),
    )
    # In a span that holds a 29 February that is a day of every week would take 28 years; without a day there is none.
    if not cron.either_day and min(cron.days) > max(_LENGTHS[month] for month in cron.months):
        raise BadCron("names a day that none of its months has")
    return cron


_LENGTHS: Final = dict(zip(range(1, 13), (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), strict=True))


def _is_any(part: str) -> bool:
    return part[0] in "*?" and (len(part) == 1 or part[1:] == "/1")


def _field(text: str, name: str, low: int, high: int, names: Sequence[str]) -> set[int]:
    values: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(step_text, name, 1, high) if slash else 1
        if span == "*" or (span == "?" and name.startswith("day")):
            first, last = low, high
        elif "-" in span:
            first_text, _, last_text = span.partition("-")
            first, last = (_value(one, name, low, high, names) for one in (first_text, last_text))
            if first > last:
                raise BadCron(f"{name}: the range {span} must go upwards")
        else:
            first = _value(span, name, low, high, names)
            last = high if slash else first  # 1/3: from 1 on, every third
        values.update(range(first, last + 1, step))
    return values


def _value(text: str, name: str, low: int, high: int, names: Sequence[str]) -> int:
    if text.lower() in names:
        return low + names.index(text.lower())
    return _number(text, name, low, high)


def _number(text: str, name: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and low <= int(text) <= high):
        raise BadCron(f"{name}: must be from {low} to {high}, not {text[:20]!r}")
    return int(text)
