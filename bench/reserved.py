"""Back-test of reservations: a day of requests with peaks, replayed against every policy. Needs no daemon.

Two weeks of history and the day to replay are drawn from one description of traffic, with days that are busier or
quieter than others, peaks that come some minutes earlier or later, and one peak that no earlier day had. Instances live
as they do in fgd: a free one is taken first, the one used last before the others; one that has been idle for the
keep-alive ends unless it is reserved; a request that finds none free waits for a cold start. The policies are the
daemon's own code (`fgd.control.policies`, `fgd.control.forecast`), asked once a minute.
"""

import heapq
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.host import report, say
from fgd.config import Config
from fgd.control.forecast import CARE, Past, forecast
from fgd.control.policies import Schedule, Tracker
from fgd.model import CronPolicy, MetricPolicy

DAY = 24 * 60
HISTORY_DAYS = 14
DURATION_S = 0.4
#: (minute of the day, requests a second at its height, minutes it lasts): what every day has.
PEAKS = ((2 * 60, 20.0, 4), (9 * 60, 12.0, 45), (12 * 60 + 30, 8.0, 60), (18 * 60, 10.0, 90))
#: What the replayed day has besides.
SURPRISE = (15 * 60 + 20, 15.0, 20)
KEEP_ALIVE_S = Config().keep_alive_s

type Policy = Callable[[int, float], int]
"""(minute, instances in use in the minute before, on average) -> instances to keep."""


@dataclass(slots=True)
class Day:
    """What a policy came to."""

    requests: int = 0
    cold: int = 0
    instance_hours: float = 0.0
    most: int = 0

    def figures(self) -> dict[str, float]:
        return {
            "cold_starts": self.cold,
            "cold_percent": round(100 * self.cold / max(1, self.requests), 3),
            "instance_hours": round(self.instance_hours, 1),
            "instances_most": self.most,
        }


def rates(chance: random.Random, *, surprise: bool) -> list[float]:
    """Requests a second for each minute of one day."""
    busy = chance.lognormvariate(0, 0.15)
    peaks = [(at + chance.randint(-2, 2), height, length) for at, height, length in PEAKS]
    if surprise:
        peaks.append(SURPRISE)
    day = []
    for minute in range(DAY):
        rate = 0.3 + 1.7 * max(0.0, math.sin(math.pi * (minute - 6 * 60) / (16 * 60)))
        rate += sum(_of_peak(minute - at, height, length) for at, height, length in peaks)
        day.append(rate * busy * chance.lognormvariate(0, 0.1))
    return day


def _of_peak(after: int, height: float, length: int) -> float:
    """A peak is there at once, as after an announcement, and fades."""
    return height * math.exp(-2 * after / length) if 0 <= after < 2 * length else 0.0


def history(chance: random.Random) -> Past:
    """The two weeks before the day."""
    past = Past()
    for day in range(HISTORY_DAYS):
        for minute, rate in enumerate(rates(chance, surprise=False)):
            requests = _poisson(chance, rate * 60)
            past.add(day * DAY + minute, requests, requests * DURATION_S / 60)
    return past


def _poisson(chance: random.Random, mean: float) -> int:
    return max(0, round(chance.gauss(mean, math.sqrt(mean))))


def replay(chance: random.Random, day: list[float], policy: Policy, saw: Callable[[int, int, float], None]) -> Day:
    """Plays a day. `saw` is told of each minute that is over: its number, its requests, its load."""
    found = Day()
    busy: list[float] = []  # when each call ends
    idle: list[float] = []  # since when, longest first
    kept = 0
    changed_s = 0.0
    work_s = 0.0
    for minute, rate in enumerate(day):
        begin_s = minute * 60.0
        kept = policy(HISTORY_DAYS * DAY + minute, work_s / 60)
        _free(busy, idle, begin_s)
        found.instance_hours += _end(idle, len(busy), kept, changed_s, begin_s)
        new = max(0, kept - len(busy) - len(idle))
        idle[:0] = [begin_s] * new
        found.instance_hours += (len(busy) + len(idle) - new) * (begin_s - changed_s) / 3600
        changed_s = begin_s
        requests, work_s = 0, 0.0
        now_s = begin_s + chance.expovariate(rate)
        while now_s < begin_s + 60:
            _free(busy, idle, now_s)
            found.instance_hours += _end(idle, len(busy), kept, changed_s, now_s)
            found.instance_hours += (len(busy) + len(idle)) * (now_s - changed_s) / 3600
            changed_s = now_s
            if idle:
                idle.pop()
            else:
                found.cold += 1
            took_s = chance.lognormvariate(math.log(DURATION_S) - 0.32, 0.8)
            heapq.heappush(busy, now_s + took_s)
            found.most = max(found.most, len(busy) + len(idle))
            requests += 1
            work_s += took_s
            now_s += chance.expovariate(rate)
        found.requests += requests
        saw(HISTORY_DAYS * DAY + minute, requests, work_s / 60)
    return found


def _free(busy: list[float], idle: list[float], now_s: float) -> None:
    while busy and busy[0] <= now_s:
        idle.append(heapq.heappop(busy))


def _end(idle: list[float], busy: int, kept: int, since_s: float, now_s: float) -> float:
    """Ends what has been idle for too long; gives the instance-hours that those lived after `since_s`."""
    hours = 0.0
    while idle and busy + len(idle) > kept and idle[0] < now_s - KEEP_ALIVE_S:
        hours += max(0.0, idle.pop(0) + KEEP_ALIVE_S - since_s) / 3600
    return hours


def fixed(count: int) -> Policy:
    return lambda minute, used: count


def scheduled() -> Policy:
    """What somebody would set who knows the peaks: from a little before each, as many as it takes at its height."""
    policies = [CronPolicy(name="base", cron="0 0 0 * * *", count=3)]
    for number, (at, height, length) in enumerate(PEAKS):
        for name, minute, count in (("up", at - 3, round(height * DURATION_S * 1.6) + 3), ("down", at + length, 3)):
            policies.append(
                CronPolicy(name=f"{name}{number}", cron=f"0 {minute % 60} {minute // 60} * * *", count=count)
            )
    schedule = Schedule(policies)
    return lambda minute, used: schedule.count(minute * 60.0)


def metric(threshold: int) -> Policy:
    tracker = Tracker(MetricPolicy(name="metric", threshold=threshold, least=1))
    return lambda minute, used: tracker.adjust(used)


def recommended(past: Past, level: str) -> Policy:
    return lambda minute, used: forecast(past, minute, level, 1)


def main() -> None:
    seed = 7
    day = rates(random.Random(seed), surprise=True)
    peak = math.ceil(max(day) * DURATION_S * 1.4)
    policies: list[tuple[str, Policy | None]] = [
        ("none", fixed(0)),
        (f"fixed_{peak}", fixed(peak)),
        ("fixed_4", fixed(4)),
        ("scheduled", scheduled()),
        ("metric_80", metric(80)),
        ("metric_50", metric(50)),
        *((level, None) for level in CARE),
    ]
    results: dict[str, object] = {}
    requests = 0
    for name, policy in policies:
        past = history(random.Random(seed + 1))
        began = time.perf_counter()
        found = replay(random.Random(seed + 2), day, policy or recommended(past, name), past.add)
        requests = found.requests
        results[name] = found.figures()
        say(f"reserved: {name:<18} {found.figures()} ({time.perf_counter() - began:.1f} s)")
    past = history(random.Random(seed + 1))
    began = time.perf_counter()
    for minute in range(200):
        forecast(past, HISTORY_DAYS * DAY - 200 + minute, "balance", 1)
    each_us = (time.perf_counter() - began) / 200 * 1e6
    report("reserved", {"requests": requests, "policies": results, "forecast_us": round(each_us)})


if __name__ == "__main__":
    main()
