"""Counters of what happened, as Prometheus reads them.

Theory of operation: the hot path appends records to a list; a task hands the list over a few times a second, so
nothing here is paid for per request while it runs. A batch costs below a microsecond a record: one look-up of the
series, then plain additions. Only `render` computes (cumulative buckets, text), when somebody asks.

The number of series is bounded: beyond `series_max` function versions everything new is counted under the function
name `_other`, so that an owner of many versions cannot grow the daemon. Names are looked up once, when a series begins.
Text format: https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4).
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fgd.store.api import InvocationRecord, StartRecord

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
#: Upper bounds of the histograms, in microseconds: from a warm answer to the longest synchronous wait.
BOUNDS_US: Final = (
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000, 30_000_000,
)  # fmt: skip
PARTS: Final = ("frontend", "queue", "dispatch", "runtime", "write")
PHASES: Final = ("instance", "code", "init")
OTHER: Final = "_other"
#: Invocation codes (errors-and-limits, section 2) and the cause they stand for.
CAUSES: Final[Mapping[int, str]] = {
    4001: "load", 4002: "handler", 4003: "state", 4004: "result_too_large", 4005: "state", 4006: "heartbeat",
    4007: "result_invalid", 4009: "init", 4010: "timeout", 4014: "protocol", 4140: "event_too_large", 4201: "init",
    4203: "disk", 4204: "disk", 4205: "memory", 4206: "exited", 4208: "cancelled", 4211: "init_timeout",
}  # fmt: skip

type Names = Callable[[str], tuple[str, str, str] | None]
type Labels = tuple[tuple[str, str], ...]


def cause_of(code: int) -> str:
    """The `cause` label of an invocation code; codes without an entry of their own are `platform`."""
    return CAUSES.get(code, "platform")


@dataclass(slots=True)
class Gauges:
    """How many instances of one function version there are now, by state, and the memory they use; how many of them are
    to be kept, and how many of those are ready."""

    instances: Mapping[str, int] = field(default_factory=dict)
    memory_bytes: int = 0
    reserved_wanted: int = 0
    reserved_ready: int = 0


@dataclass(slots=True)
class NodeGauges:
    """The node as it is now. `instances` by state; `blanks` by runtime id; `waiting` in all waiting lines together."""

    instances: Mapping[str, int] = field(default_factory=dict)
    blanks: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0
    async_waiting: int = 0
    deliveries_open: int = 0
    deliveries_failed: int = 0
    memory_promised_bytes: int = 0
    memory_used_bytes: int = 0
    memory_budget_bytes: int = 0


class _Series:
    """Everything counted of one function version."""

    __slots__ = (
        "buckets",
        "by_outcome",
        "cold",
        "cold_us",
        "count",
        "deliveries",
        "heartbeats_failed",
        "labels",
        "lines_dropped",
        "memory_peak",
        "parts_us",
        "project_id",
        "starts",
        "throttled",
    )  # fmt: skip

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.project_id = labels[0][1]
        self.count = 0
        self.cold = 0
        #: Invocations by (mode, code).
        self.by_outcome: dict[tuple[str, int], int] = {}
        #: Invocations by run time; one more than there are bounds.
        self.buckets = [0] * (len(BOUNDS_US) + 1)
        self.parts_us = [0, 0, 0, 0, 0]
        self.memory_peak = 0
        #: Cold starts by (code, pooled).
        self.starts: dict[tuple[int, bool], int] = {}
        self.cold_us = [0, 0, 0]
        self.throttled = 0
        self.lines_dropped = 0
        self.heartbeats_failed = 0
        #: Tries to deliver outcomes, by (kind of destination, result).
        self.deliveries: dict[tuple[str, str], int] = {}


class Metrics:
    """Takes batches, gives text. Not for use by several threads.

    Args:
        names: gives (project id, package, name) of a function id, or None for one that is gone.
        series_max: function versions counted one by one.
    """

    def __init__(self, names: Names, *, series_max: int = 2000) -> None:
        self._names = names
        self._series_max = series_max
        self._series: dict[str, dict[str, _Series]] = {}
        self._length = 0
        self._other = _Series((("project", ""), ("package", ""), ("function", OTHER), ("version", "")))
        self._evicted = 0
        self._gauges: Mapping[tuple[str, str], Gauges] = {}
        self._node = NodeGauges()

    def invocations(self, records: Iterable[InvocationRecord]) -> None:
        """Counts finished invocations."""
        every = self._series
        bounds = BOUNDS_US
        for record in records:
            try:
                series = every[record.func_id][record.version]
            except KeyError:
                series = self._new(record.func_id, record.version)
            series.count += 1
            outcome = (record.mode, record.code)
            by_outcome = series.by_outcome
            by_outcome[outcome] = by_outcome.get(outcome, 0) + 1
            if record.cold:
                series.cold += 1
            runtime_us = record.runtime_us
            series.buckets[bisect_left(bounds, runtime_us)] += 1
            parts = series.parts_us
            parts[0] += record.frontend_us
            parts[1] += record.queue_us
            parts[2] += record.dispatch_us
            parts[3] += runtime_us
            parts[4] += record.write_us
            if record.memory_bytes > series.memory_peak:
                series.memory_peak = record.memory_bytes

    def starts(self, records: Iterable[StartRecord]) -> None:
        """Counts cold starts, also those that failed."""
        for record in records:
            series = self._of(record.func_id, record.version)
            kind = (record.code, record.pooled)
            series.starts[kind] = series.starts.get(kind, 0) + 1
            series.cold_us[0] += record.instance_us
            series.cold_us[1] += record.code_us
            series.cold_us[2] += record.init_us

    def throttled(self, func_id: str, version: str, count: int = 1) -> None:
        """Requests refused with 429."""
        self._of(func_id, version).throttled += count

    def lines_dropped(self, func_id: str, version: str, count: int) -> None:
        """Log lines of a function that were over its rate and thrown away."""
        self._of(func_id, version).lines_dropped += count

    def heartbeat_failed(self, func_id: str, version: str) -> None:
        """An instance was ended because its heartbeat function said so, or said nothing."""
        self._of(func_id, version).heartbeats_failed += 1

    def delivery(self, func_id: str, version: str, kind: str, result: str, count: int = 1) -> None:
        """What became of deliveries of outcomes: delivered, retried, failed or dropped."""
        counts = self._of(func_id, version).deliveries
        counts[kind, result] = counts.get((kind, result), 0) + count

    def evicted(self, count: int = 1) -> None:
        """Idle instances ended to make room for others."""
        self._evicted += count

    def totals(self) -> Iterator[tuple[tuple[str, str], int, int]]:
        """(func_id, version), invocations and microseconds inside the function so far, but for those in `_other`."""
        for func_id, versions in self._series.items():
            for version, series in versions.items():
                yield (func_id, version), series.count, series.parts_us[3]

    def observe(self, node: NodeGauges, gauges: Mapping[tuple[str, str], Gauges]) -> None:
        """The present state: of the node, and of each (func_id, version) that has instances."""
        self._node = node
        self._gauges = gauges

    def forget(self, func_id: str) -> None:
        """Drops the series of a function that was deleted."""
        self._length -= len(self._series.pop(func_id, ()))

    def render(self, project_id: str = "") -> str:
        """All metrics as Prometheus text, see `CONTENT_TYPE`; of functions only those of a project, if one is given."""
        return "".join(self._lines(project_id))

    def _of(self, func_id: str, version: str) -> _Series:
        try:
            return self._series[func_id][version]
        except KeyError:
            return self._new(func_id, version)

    def _new(self, func_id: str, version: str) -> _Series:
        names = self._names(func_id)
        # A straggler of a deleted function would begin a series that nobody ever drops.
        if names is None or self._length >= self._series_max:
            return self._other
        project, package, name = names
        series = _Series((("project", project), ("package", package), ("function", name), ("version", version)))
        self._series.setdefault(func_id, {})[version] = series
        self._length += 1
        return series

    def _lines(self, project_id: str) -> Iterator[str]:
        every = [
            series
            for versions in self._series.values()
            for series in versions.values()
            if not project_id or series.project_id == project_id
        ]
        other = self._other
        if not project_id and (
            other.count
            or other.starts
            or other.throttled
            or other.lines_dropped
            or other.heartbeats_failed
            or other.deliveries
        ):
            every.append(other)
        yield from _invocations(every)
        yield from _starts(every)
        yield from _family("fgd_throttles_total", "counter", "Requests refused with 429.",
                           ((one.labels, one.throttled) for one in every))  # fmt: skip
        yield from _family("fgd_log_lines_dropped_total", "counter", "Log lines over the rate of their instance.",
                           ((one.labels, one.lines_dropped) for one in every))  # fmt: skip
        yield from _family("fgd_heartbeat_failures_total", "counter", "Instances ended by their heartbeat.",
                           ((one.labels, one.heartbeats_failed) for one in every))  # fmt: skip
        yield from _family("fgd_deliveries_total", "counter", "Tries to deliver outcomes of asynchronous invocations.",
                           (((*one.labels, ("destination", kind), ("result", result)), count) for one in every
                            for (kind, result), count in sorted(one.deliveries.items())))  # fmt: skip
        yield from self._function_gauges(project_id)
        yield from _node(self._node)
        yield from _family("fgd_evictions_total", "counter", "Idle instances ended to make room for others.",
                           [((), self._evicted)])  # fmt: skip

    def _function_gauges(self, project_id: str) -> Iterator[str]:
        found = [(self._series.get(func_id, {}).get(version), gauges)
                 for (func_id, version), gauges in self._gauges.items()]  # fmt: skip
        known = [(series.labels, gauges) for series, gauges in found
                 if series is not None and (not project_id or series.project_id == project_id)]  # fmt: skip
        yield from _family("fgd_instances", "gauge", "Instances of a function version now.",
                           (((*labels, ("state", state)), count) for labels, gauges in known
                            for state, count in gauges.instances.items()))  # fmt: skip
        yield from _family("fgd_reserved_instances", "gauge", "Instances that are kept: wanted, and of those ready.",
                           (((*labels, ("state", state)), count) for labels, gauges in known
                            if gauges.reserved_wanted
                            for state, count in (("wanted", gauges.reserved_wanted),
                                                 ("ready", gauges.reserved_ready))))  # fmt: skip
        yield from _family("fgd_instances_memory_bytes", "gauge", "Memory that the instances of a version use now.",
                           ((labels, gauges.memory_bytes) for labels, gauges in known))  # fmt: skip


def _invocations(every: Sequence[_Series]) -> Iterator[str]:
    yield from _family("fgd_invocations_total", "counter", "Invocations that came to an end.",
                       (((*one.labels, ("mode", mode)), count) for one in every
                        for mode, count in _by_mode(one).items()))  # fmt: skip
    yield from _family("fgd_invocation_errors_total", "counter", "Invocations that failed, by cause.",
                       (((*one.labels, ("cause", cause), ("code", str(code))), count) for one in every
                        for cause, code, count in _errors(one)))  # fmt: skip
    yield from _family("fgd_cold_invocations_total", "counter", "Invocations that had to wait for a new instance.",
                       ((one.labels, one.cold) for one in every))  # fmt: skip
    yield from _histogram("fgd_invocation_duration_seconds", "Time inside the function.", every)
    yield from _family("fgd_invocation_part_seconds_total", "counter", "Where the time of invocations went.",
                       (((*one.labels, ("part", part)), total / 1e6) for one in every
                        for part, total in zip(PARTS, one.parts_us, strict=True)))  # fmt: skip
    yield from _family("fgd_invocation_memory_peak_bytes", "gauge", "Most memory that an invocation reported.",
                       ((one.labels, one.memory_peak) for one in every))  # fmt: skip


def _starts(every: Sequence[_Series]) -> Iterator[str]:
    yield from _family("fgd_cold_starts_total", "counter", "Instances started; pooled: from a blank kept ready.",
                       (((*one.labels, ("pooled", "true" if pooled else "false"),
                          ("cause", cause_of(code) if code else "none")), count)
                        for one in every for (code, pooled), count in sorted(one.starts.items())))  # fmt: skip
    yield from _family("fgd_cold_start_seconds_total", "counter", "Where the time of cold starts went.",
                       (((*one.labels, ("phase", phase)), total / 1e6) for one in every if one.starts
                        for phase, total in zip(PHASES, one.cold_us, strict=True)))  # fmt: skip


def _node(node: NodeGauges) -> Iterator[str]:
    yield from _family("fgd_node_instances", "gauge", "Instances on this node, by state.",
                       (((("state", state),), count) for state, count in node.instances.items()))  # fmt: skip
    yield from _family("fgd_node_blanks", "gauge", "Blank sandboxes kept ready.",
                       (((("runtime", runtime),), count) for runtime, count in node.blanks.items()))  # fmt: skip
    for name, text, value in (
        ("fgd_node_waiting", "Requests that wait for an instance.", node.waiting),
        ("fgd_node_async_waiting", "Asynchronous events that wait.", node.async_waiting),
        ("fgd_node_deliveries_open", "Outcomes on their way to a destination.", node.deliveries_open),
        ("fgd_node_deliveries_failed", "Outcomes that did not arrive and are kept.", node.deliveries_failed),
        ("fgd_node_memory_promised_bytes", "Limits of all instances together.", node.memory_promised_bytes),
        ("fgd_node_memory_used_bytes", "Memory that all instances use.", node.memory_used_bytes),
        ("fgd_node_memory_budget_bytes", "What may be promised.", node.memory_budget_bytes),
    ):
        yield from _family(name, "gauge", text, [((), value)])


def _by_mode(one: _Series) -> dict[str, int]:
    modes: dict[str, int] = {}
    for (mode, _), count in one.by_outcome.items():
        modes[mode] = modes.get(mode, 0) + count
    return modes


def _errors(one: _Series) -> Iterator[tuple[str, int, int]]:
    codes: dict[int, int] = {}
    for (_, code), count in one.by_outcome.items():
        if code:
            codes[code] = codes.get(code, 0) + count
    for code, count in sorted(codes.items()):
        yield cause_of(code), code, count


def _histogram(name: str, text: str, every: Sequence[_Series]) -> Iterator[str]:
    yield f"# HELP {name} {text}\n# TYPE {name} histogram\n"
    for one in every:
        labels, total = one.labels, 0
        for bound, count in zip(BOUNDS_US, one.buckets, strict=False):
            total += count
            yield f"{name}_bucket{_braces((*labels, ('le', f'{bound / 1e6:g}')))} {total}\n"
        yield f"{name}_bucket{_braces((*labels, ('le', '+Inf')))} {one.count}\n"
        yield f"{name}_sum{_braces(labels)} {one.parts_us[3] / 1e6!r}\n"
        yield f"{name}_count{_braces(labels)} {one.count}\n"


def _family(name: str, kind: str, text: str, samples: Iterable[tuple[Labels, float]]) -> Iterator[str]:
    yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
    for labels, value in samples:
        yield f"{name}{_braces(labels)} {value!r}\n"


def _braces(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
