"""The table of all figures: what must be, what we aim at, what was measured."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. `path` leads to the number in the results (program, then keys). `more`: higher is better."""

    what: str
    path: tuple[str, ...]
    must: float
    aim: float
    unit: str = ""
    more: bool = False

    def verdict(self, value: float) -> str:
        """`aim` reached, `ok` (must reached), or `SHORT`."""
        if (value >= self.aim) if self.more else (value <= self.aim):
            return "aim"
        return "ok" if ((value >= self.must) if self.more else (value <= self.must)) else "SHORT"


FIGURES = (
    Figure("warm, 8 connections, times hypercorn hello", ("warm", "requests_ratio"), 5, 8.5, "x", more=True),
    Figure("CPU of a warm request, of hypercorn hello's", ("warm", "cpu_ratio"), 0.2, 0.13, "x"),
    Figure("warm p50, 1 connection, of the trio echo's", ("warm", "p50_ratio"), 4, 2.5, "x"),
    Figure("cold start p50, Python 3.12, pool filled", ("cold", "pooled_Python3.12", "p50_ms"), 5, 2, "ms"),
    Figure("cold start p99, Python 3.12, pool filled", ("cold", "pooled_Python3.12", "p99_ms"), 15, 6, "ms"),
    Figure("cold start p50, Python 3.12, empty pool", ("cold", "empty_Python3.12", "p50_ms"), 9, 5, "ms"),
    Figure("cold start p99, Python 3.12, empty pool", ("cold", "empty_Python3.12", "p99_ms"), 25, 12, "ms"),
    Figure("instances started, burst of 100", ("creation", "per_s"), 100, 250, "/s", more=True),
    Figure("memory (PSS) of an idle instance, 8 together", ("density", "pss_mib_8"), 3.2, 2.0, "MiB"),
    Figure("500 idle instances: warm p50, of one's", ("density", "p50_ratio"), 1.5, 1.1, "x"),
    Figure("async acknowledged, 16 clients", ("enqueue", "acknowledged_per_s"), 2000, 5000, "/s", more=True),
    Figure("acknowledged events lost over kill -9", ("kill9", "lost"), 0, 0),
    Figure("daemon memory (PSS), 1000 functions", ("memory", "daemon_pss_mib"), 120, 60, "MiB"),
    Figure("CPU of the daemon with 10,000 timers, of a core", ("timers", "cpu_percent"), 10, 4, "%"),
    Figure("timers: p50 of the time from tick to hand-over", ("timers", "mixed_late_ms_p50"), 50, 5, "ms"),
    Figure("published API, of the direct invocation's rate", ("apig", "apig_ratio"), 0.85, 0.95, "x", more=True),
    Figure("left after 1,000 instances", ("leftovers", "sum"), 0, 0),
)

_CEILINGS = (
    ("trio + httptools echo, 8 connections", ("echo_8", "requests_s"), "/s"),
    ("trio + httptools echo, p50 of 1 connection", ("echo_1", "p50_us"), "us"),
    ("hypercorn -k trio hello, 8 connections", ("hypercorn_8", "requests_s"), "/s"),
    ("hypercorn -k trio hello, CPU a request", ("hypercorn_8", "cpu_us"), "us"),
    ("fork + 7 namespaces + pivot_root, p50", ("sandbox", "p50_ms"), "ms"),
    ("4 KB write + fsync", ("fsync", "per_s"), "/s"),
)
_MORE = (
    ("warm, 8 connections", ("warm", "warm_8", "requests_s"), "/s"),
    ("warm, 32 connections", ("warm", "warm_32", "requests_s"), "/s"),
    ("warm, 8 connections, p99", ("warm", "warm_8", "p99_us"), "us"),
    ("warm, 1 connection, p50", ("warm", "warm_1", "p50_us"), "us"),
    ("CPU of a warm request", ("warm", "warm_8", "cpu_us"), "us"),
    ("500 instances made in", ("density", "seconds"), "s"),
    ("memory (PSS) of an idle instance, 500 together", ("density", "pss_mib_500"), "MiB"),
    ("async worked off", ("enqueue", "drain_per_s"), "/s"),
    ("log lines", ("logs", "lines_per_s"), "/s"),
    ("lines into a log stream", ("lts", "lines_per_s"), "/s"),
    ("functions created", ("memory", "creations_per_s"), "/s"),
)


def table(results: dict[str, Any]) -> str:
    """Lines for people. `results`: what each program printed, by its name; missing ones show as `-`."""
    lines = [f"{'what':<52}{'measured':>12}{'must':>9}{'aim':>9}   "]
    for figure in FIGURES:
        value = _at(results, figure.path)
        shown = "-" if value is None else f"{value:g} {figure.unit}".strip()
        verdict = "missing" if value is None else figure.verdict(value)
        lines.append(f"{figure.what:<52}{shown:>12}{figure.must:>9g}{figure.aim:>9g}   {verdict}")
    lines += ["", "also measured"]
    lines += _plain(results, _MORE)
    for name in sorted(results.get("cold", {})):
        if name.startswith(("pooled_", "empty_", "dependency_")):
            one = results["cold"][name]
            kind, _, runtime = name.partition("_")
            lines.append(f"{f'cold start, {runtime}, {kind}':<52}{one['p50_ms']:>9g} ms p50{one['p99_ms']:>9g} ms p99")
    lines += _reserved(results.get("reserved", {}).get("policies", {}))
    lines += ["", "ceilings of this host, same run"]
    lines += _plain(results.get("ceilings", {}), _CEILINGS)
    return "\n".join(lines)


def _reserved(policies: dict[str, dict[str, float]]) -> list[str]:
    """The back-test of reservations: a line for each policy."""
    return [
        f"{f'reserved, {name}':<52}{one['cold_starts']:>9g} cold starts{one['instance_hours']:>9g} instance-hours"
        for name, one in policies.items()
    ]


def _plain(results: dict[str, Any], rows: tuple[tuple[str, tuple[str, ...], str], ...]) -> list[str]:
    found = [(what, _at(results, path), unit) for what, path, unit in rows]
    return [f"{what:<52}{value:>9g} {unit}" for what, value, unit in found if value is not None]


def _at(results: dict[str, Any], path: tuple[str, ...]) -> float | None:
    value: Any = results
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return float(value)
