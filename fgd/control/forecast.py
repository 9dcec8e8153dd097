"""How many instances a version will need in the minute that begins, from its own past two weeks.

Theory of operation, in three steps:

1. The *profile*: what the same minutes of the last seven days, a little before to a little after, came to. Their load
   (calls at work, on average) is an expectation for now, one for each day; the level says which of them is believed:
   the highest, or one nearer to the middle.
2. The *trend*: today may be busier or quieter than those days were. The last quarter of an hour, beside the same
   quarter of theirs, gives the factor. What the last minutes really came to is a floor, because a load that nobody
   foresaw mostly goes on for a while.
3. The *spread*: requests that come independently of each other put a Poisson-distributed number of calls to work at
   once, however long they take (M/G/infinity), so the load alone says how many instances are enough for all but a
   small share of moments. The level says how small. A version with few requests gets one when one is likely to come.

`bench/reserved.py` replays a day against this beside other policies.
"""

import math
from array import array
from dataclasses import dataclass
from typing import Final

from fgd.store.history import KEEP_MINUTES, Minute

_DAY: Final = 24 * 60
_DAYS: Final = 7
#: Minutes before and after the same minute of another day that are looked at: peaks do not come by the second.
_EARLY: Final = 2
_LATE: Final = 3
_TREND: Final = 15
#: The trend is not believed beyond this, nor where there were next to no calls.
_TREND_MOST: Final = 3.0
_TREND_LOAD_LEAST: Final = 0.05
#: From here on the normal distribution is close enough, and exp(-load) comes near what a float cannot hold.
_LARGE_LOAD: Final = 300


@dataclass(frozen=True, slots=True)
class Care:
    """What a level means. Shares are of 1."""

    #: Which of the days' expectations is believed: 1 is the highest, 0.5 the middle one.
    day_share: float
    #: How much of the trend downwards is followed; upwards it always is.
    quieter: float
    #: Recent minutes whose highest load is a floor.
    recent: int
    #: The share of moments for which the instances are enough.
    enough: float
    #: Requests expected in a minute from which on one instance is kept.
    requests_least: float


CARE: Final[dict[str, Care]] = {
    "high_performance": Care(day_share=1.0, quieter=0.0, recent=5, enough=0.9999, requests_least=0.02),
    "balance": Care(day_share=0.7, quieter=0.7, recent=3, enough=0.999, requests_least=0.2),
    "low_cost": Care(day_share=0.5, quieter=1.0, recent=1, enough=0.995, requests_least=1.0),
}


class Past:
    """Load and requests of the last two weeks, minute by minute."""

    __slots__ = ("_loads", "_newest", "_requests", "_since")

    def __init__(self) -> None:
        self._loads = array("f", bytes(4 * KEEP_MINUTES))
        self._requests = array("f", bytes(4 * KEEP_MINUTES))
        self._newest = -1
        #: The first minute that is known.
        self._since = -1

    def add(self, minute: int, requests: float, load: float) -> None:
        """What a minute came to; more of the same minute is added up. Minutes between are empty."""
        if self._newest < 0:
            self._newest = self._since = minute
        if minute <= self._newest - KEEP_MINUTES:
            return
        for empty in range(max(self._newest + 1, minute - KEEP_MINUTES + 1), minute + 1):
            self._loads[empty % KEEP_MINUTES] = self._requests[empty % KEEP_MINUTES] = 0.0
        self._newest = max(self._newest, minute)
        self._since = max(min(self._since, minute), self._newest - KEEP_MINUTES + 1)
        self._loads[minute % KEEP_MINUTES] += load
        self._requests[minute % KEEP_MINUTES] += requests

    def read(self, minutes: list[Minute]) -> None:
        """What the history gave."""
        for one in minutes:
            self.add(one.minute, one.requests, one.load)

    def knows(self, minute: int) -> bool:
        """Whether this minute lies within what was recorded."""
        return self._since <= minute <= self._newest

    def loads(self, first: int, last: int) -> list[float]:
        """Loads of the minutes from `first` to `last` that are known."""
        known = range(max(first, self._since), min(last, self._newest) + 1)
        return [self._loads[one % KEEP_MINUTES] for one in known]

    def requests(self, first: int, last: int) -> float:
        """Requests a minute from `first` to `last`, on average."""
        known = range(max(first, self._since), min(last, self._newest) + 1)
        return sum(self._requests[one % KEEP_MINUTES] for one in known) / len(known) if known else 0.0


def forecast(past: Past, minute: int, level: str, slots: int) -> int:
    """Instances to keep in a minute that begins.

    Args:
        past: everything before it.
        minute: epoch seconds / 60.
        level: how careful to be, a key of `CARE`.
        slots: calls that one instance takes at once.
    """
    care = CARE[level]
    days = [day for day in (minute - number * _DAY for number in range(1, _DAYS + 1)) if past.knows(day)]
    expected = sorted(max(past.loads(day - _EARLY, day + _LATE), default=0.0) for day in days)
    load = 0.0
    if expected:
        load = _share(expected, care.day_share) * _trend(past, minute, days, care.quieter)
    recent = past.loads(minute - care.recent, minute - 1)
    load = max([load, *recent])
    count = math.ceil(enough_for(load, care.enough) / slots)
    if not count:
        requests = [past.requests(day - _EARLY, day + _LATE) for day in days]
        requests.append(past.requests(minute - _TREND, minute - 1))
        count = int(max(requests) >= care.requests_least)
    return count


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a level would have come to.

    `count`: instances it would keep now. `beyond`: the share of the requests (of 1) that would have found all kept
    instances at work.
    """

    count: int
    instance_hours: float
    beyond: float


def outlook(past: Past, minute: int, minutes: int, level: str, slots: int) -> Outlook:
    """Asks the forecast for each of the `minutes` before a moment, knowing at each what was known then."""
    hours = beyond = requests = 0.0
    for one in range(minute - minutes, minute):
        count = forecast(past, one, level, slots)
        came = past.requests(one, one)
        hours += count / 60
        requests += came
        beyond += came * _beyond(sum(past.loads(one, one)), count * slots)
    return Outlook(forecast(past, minute, level, slots), hours, beyond / requests if requests else 0.0)


def _beyond(load: float, places: int) -> float:
    """The share of moments in which a Poisson-distributed number of calls leaves no place free."""
    if load <= 0:
        return 0.0
    if load > _LARGE_LOAD:
        return (1 - math.erf((places - load) / math.sqrt(2 * load))) / 2
    probability, below = math.exp(-load), 0.0
    for number in range(places):
        below += probability
        probability *= load / (number + 1)
    return max(0.0, 1 - below)


def _trend(past: Past, minute: int, days: list[int], quieter: float) -> float:
    """How much busier the last quarter of an hour was than the same of those days."""
    now = past.loads(minute - _TREND, minute - 1)
    before = [load for day in days for load in past.loads(day - _TREND, day - 1)]
    if not now or not before or sum(before) / len(before) < _TREND_LOAD_LEAST:
        return 1.0
    ratio = min(sum(now) * len(before) / len(now) / sum(before), _TREND_MOST)
    return ratio if ratio >= 1 else 1 - (1 - ratio) * quieter


def _share(ordered: list[float], share: float) -> float:
    """The value that this share of a sorted list does not exceed, between two values in proportion."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def enough_for(load: float, share: float) -> int:
    """The least number that a Poisson-distributed one of mean `load` does not exceed in this share of moments."""
    if load <= 0:
        return 0
    if load > _LARGE_LOAD:
        return math.ceil(load + _normal_quantile(share) * math.sqrt(load))
    probability = total = math.exp(-load)
    number = 0
    while total < share:
        number += 1
        probability *= load / number
        total += probability
    return number


def _normal_quantile(share: float) -> float:
    """By halving: it is asked for rarely."""
    low, high = -10.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        if (1 + math.erf(middle / math.sqrt(2))) / 2 < share:
            low = middle
        else:
            high = middle
    return high
