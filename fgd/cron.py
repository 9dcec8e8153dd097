"""Cron expressions of FunctionGraph: six fields with seconds first, the day of the week may be left out.

Source: user guide, section 5.11; errors-and-limits, section 8. Names of months and days in any case; `?` where a day
is meant; where both the day of the month and of the week are restricted, either is enough.

Theory of operation: an expression names readings of the clock on the wall of a zone. Between two changes of the zone's
offset such a reading is a moment by mere arithmetic, so the search goes in steps of at most a day within which the
offset stays; where it changes, the search stops at that second and goes on with the new offset. Hence a reading that
the change leaves out names no moment, and one that comes twice names two, as robfig/cron v3 has it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from fgd.zones import BadZone, zone_named

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
#: The same objects in all expressions: of 10,000 timers the most have two of them.
_ALL_DAYS: Final = frozenset(range(1, 32))
_ALL_MONTHS: Final = frozenset(range(1, 13))
_ALL_WEEKDAYS: Final = frozenset(range(7))
_CHARS_MAX: Final = 256
_ZONE: Final = "CRON_TZ="
_EPOCH: Final = datetime(1970, 1, 1)
_SECOND: Final = timedelta(seconds=1)
#: 1 January 9999; the calendar of Python ends a year later.
_END_S: Final = (datetime(9999, 1, 1) - _EPOCH) // _SECOND


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

    zone: tzinfo = UTC

    def next(self, after_s: float) -> int | None:
        """The first moment after `after_s` that it names, both epoch seconds; None when the calendar ends before."""
        at_s = math.floor(after_s) + 1
        while at_s < _END_S:
            offset_s = self._offset_s(at_s)
            local = _EPOCH + timedelta(seconds=at_s + offset_s)
            time = self._first_time((local.hour, local.minute, local.second)) if self._on(local) else None
            if time is not None:
                goal = local.replace(hour=time[0], minute=time[1], second=time[2])
            else:
                goal = local.replace(hour=0, minute=0, second=0) + timedelta(days=1)
                ahead = self._month_ahead(local)
                if ahead > goal:
                    at_s = (ahead - _EPOCH) // _SECOND - offset_s
                    continue
            goal_s = (goal - _EPOCH) // _SECOND - offset_s
            if self._offset_s(goal_s) != offset_s:
                at_s = self._change_s(at_s, goal_s)
            elif time is not None:
                return goal_s
            else:
                at_s = goal_s
        return None

    def last(self, since_s: float, until_s: float) -> int | None:
        """The last moment that it names from `since_s` to `until_s`, both epoch seconds; None if there is none."""
        at_s = math.floor(until_s)
        while at_s >= since_s:
            offset_s = self._offset_s(at_s)
            local = _EPOCH + timedelta(seconds=at_s + offset_s)
            time = self._last_time((local.hour, local.minute, local.second)) if self._on(local) else None
            if time is not None:
                goal = local.replace(hour=time[0], minute=time[1], second=time[2])
            else:
                goal = local.replace(hour=0, minute=0, second=0) - _SECOND
            goal_s = (goal - _EPOCH) // _SECOND - offset_s
            if self._offset_s(goal_s) != offset_s:
                at_s = self._change_s(goal_s, at_s) - 1
            elif time is not None:
                return goal_s if goal_s >= since_s else None
            else:
                at_s = goal_s
        return None

    def _offset_s(self, moment_s: int) -> int:
        """Seconds that the zone's wall is ahead of UTC."""
        if self.zone is UTC:
            return 0
        ahead = datetime.fromtimestamp(moment_s, self.zone).utcoffset()
        return 0 if ahead is None else ahead // _SECOND

    def _change_s(self, before_s: int, after_s: int) -> int:
        """The first second of the offset of `after_s`; at `before_s`, a day before at most, there is another one."""
        offset_s = self._offset_s(before_s)
        while after_s - before_s > 1:
            middle_s = (before_s + after_s) // 2
            if self._offset_s(middle_s) == offset_s:
                before_s = middle_s
            else:
                after_s = middle_s
        return after_s

    def _month_ahead(self, day: datetime) -> datetime:
        """Two days before its next month, so that no change of the offset matters; `day` where that is not ahead."""
        if day.month in self.months:
            return day
        later = [month for month in sorted(self.months) if month > day.month]
        year, month = (day.year, later[0]) if later else (day.year + 1, min(self.months))
        return datetime(year, month, 1) - timedelta(days=2)

    def _on(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        by_month, by_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_month or by_week if self.either_day else by_month and by_week

    def _first_time(self, limit: tuple[int, int, int]) -> tuple[int, int, int] | None:
        """The first time of day that is not before `limit`."""
        for hour in self.hours:
            if hour < limit[0]:
                continue
            if hour > limit[0]:
                return hour, self.minutes[0], self.seconds[0]
            for minute in self.minutes:
                if minute < limit[1]:
                    continue
                if minute > limit[1]:
                    return hour, minute, self.seconds[0]
                for second in self.seconds:
                    if second >= limit[2]:
                        return hour, minute, second
        return None

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


def split_zone(text: str) -> tuple[tzinfo | None, str]:
    """The zone of an expression that begins with `CRON_TZ=<zone>`, None without it, and the rest.

    Raises:
        BadCron: there is no such zone.
    """
    if not text.startswith(_ZONE):
        return None, text
    name, _, rest = text.removeprefix(_ZONE).partition(" ")
    try:
        return zone_named(name), rest.strip()
    except BadZone as error:
        raise BadCron(f"CRON_TZ: {error}") from None


def parse_cron(text: str, zone: tzinfo = UTC) -> Cron:
    """Parses `second minute hour day-of-month month [day-of-week]`, to be read on the wall of `zone`.

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
        days=_shared(days, _ALL_DAYS),
        months=_shared(months, _ALL_MONTHS),
        weekdays=_shared(weekdays, _ALL_WEEKDAYS),
        either_day=not _is_any(parts[3]) and not _is_any(parts[5]),
        zone=zone,
    )
    # In a span that holds a 29 February that is a day of every week would take 28 years; without a day there is none.
    if not cron.either_day and min(cron.days) > max(_LENGTHS[month] for month in cron.months):
        raise BadCron("names a day that none of its months has")
    return cron


_LENGTHS: Final = dict(zip(range(1, 13), (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), strict=True))


def _shared(values: set[int], every: frozenset[int]) -> frozenset[int]:
    return every if len(values) == len(every) else frozenset(values)


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
