"""What Prometheus reads is what was counted."""

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fgd.metrics import BOUNDS_US, OTHER, Gauges, Metrics, NodeGauges, cause_of
from fgd.store.api import InvocationRecord, StartRecord

NAMES = {"f1": ("p1", "default", "hello"), "f2": ("p1", 'we"ird\\pack\nage', "other")}


def record(func_id: str = "f1", *, version: str = "latest", mode: str = "sync", code: int = 0, cold: bool = False,
           runtime_us: int = 900, memory_bytes: int = 1000) -> InvocationRecord:  # fmt: skip
    return InvocationRecord(
        1.0, "r", func_id, version, "i", mode, code, cold, 10, 20, 30, runtime_us, 40, memory_bytes, 128
    )


def start(func_id: str = "f1", *, code: int = 0, pooled: bool = True) -> StartRecord:
    return StartRecord(1.0, func_id, "latest", "i", 1000, 2000, 3000, code, "l", "n", 5000, pooled)


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All samples by name and labels, read by Prometheus's own parser."""

    def each() -> Iterator[tuple[tuple[str, frozenset[tuple[str, str]]], float]]:
        for family in text_string_to_metric_families(metrics.render()):
            for sample in family.samples:
                yield (sample.name, frozenset(sample.labels.items())), sample.value

    found = list(each())
    assert len(found) == len(dict(found)), "a series appears twice"
    return dict(found)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """The one sample of that name whose labels include these; None if there is none."""
    fits = [v for (n, have), v in samples(metrics).items() if n == name and set(labels.items()) <= have]
    assert len(fits) <= 1
    return fits[0] if fits else None


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(NAMES.get)


def test_counts_by_mode_and_version(metrics: Metrics) -> None:
    metrics.invocations([record(), record(mode="async"), record(), record(version="v1")])

    assert value(metrics, "fgd_invocations_total", function="hello", version="latest", mode="sync") == 2
    assert value(metrics, "fgd_invocations_total", function="hello", version="latest", mode="async") == 1
    assert value(metrics, "fgd_invocations_total", function="hello", version="v1") == 1


@pytest.mark.parametrize(
    ("code", "cause"),
    [(4001, "load"), (4002, "handler"), (4007, "result_invalid"), (4010, "timeout"), (4205, "memory"),
     (4201, "init"), (4999, "platform")],
)  # fmt: skip
def test_errors_are_counted_by_cause(metrics: Metrics, code: int, cause: str) -> None:
    metrics.invocations([record(), record(code=code), record(code=code, mode="async")])

    assert cause == cause_of(code)
    assert value(metrics, "fgd_invocation_errors_total", cause=cause, code=str(code)) == 2


def test_histogram_is_cumulative_and_its_bounds_are_inclusive(metrics: Metrics) -> None:
    metrics.invocations([record(runtime_us=us) for us in (1, 250, 251, 1000, 10**9)])

    buckets = {le: value(metrics, "fgd_invocation_duration_seconds_bucket", le=le)
               for le in ("0.00025", "0.0005", "0.001", "30", "+Inf")}  # fmt: skip
    assert buckets == {"0.00025": 2, "0.0005": 3, "0.001": 4, "30": 4, "+Inf": 5}
    assert value(metrics, "fgd_invocation_duration_seconds_count") == 5
    assert value(metrics, "fgd_invocation_duration_seconds_sum") == (1 + 250 + 251 + 1000 + 10**9) / 1e6
    assert sorted(BOUNDS_US) == list(BOUNDS_US)


def test_parts_tell_where_the_time_went(metrics: Metrics) -> None:
    metrics.invocations([record(), record()])

    parts = {part: value(metrics, "fgd_invocation_part_seconds_total", part=part)
             for part in ("frontend", "queue", "dispatch", "runtime", "write")}  # fmt: skip
    assert parts == {"frontend": 20e-6, "queue": 40e-6, "dispatch": 60e-6, "runtime": 1800e-6, "write": 80e-6}


def test_cold_starts_by_phase_pool_and_cause(metrics: Metrics) -> None:
    metrics.starts([start(), start(), start(pooled=False), start(code=4201)])
    metrics.invocations([record(cold=True), record()])

    assert value(metrics, "fgd_cold_starts_total", pooled="true", cause="none") == 2
    assert value(metrics, "fgd_cold_starts_total", pooled="false") == 1
    assert value(metrics, "fgd_cold_starts_total", cause="init") == 1
    assert value(metrics, "fgd_cold_start_seconds_total", phase="instance") == 0.004
    assert value(metrics, "fgd_cold_start_seconds_total", phase="init") == 0.012
    assert value(metrics, "fgd_cold_invocations_total") == 1


def test_throttles_drops_and_evictions_add_up(metrics: Metrics) -> None:
    metrics.throttled("f1", "latest")
    metrics.throttled("f1", "latest", 4)
    metrics.lines_dropped("f1", "latest", 7)
    metrics.evicted(2)

    assert value(metrics, "fgd_throttles_total", function="hello") == 5
    assert value(metrics, "fgd_log_lines_dropped_total", function="hello") == 7
    assert value(metrics, "fgd_evictions_total") == 2


def test_peak_memory_is_the_largest(metrics: Metrics) -> None:
    metrics.invocations([record(memory_bytes=5), record(memory_bytes=9), record(memory_bytes=7)])

    assert value(metrics, "fgd_invocation_memory_peak_bytes") == 9


def test_labels_are_escaped(metrics: Metrics) -> None:
    metrics.invocations([record("f2")])

    assert value(metrics, "fgd_invocations_total", package='we"ird\\pack\nage') == 1


def test_gauges_show_the_last_observation(metrics: Metrics) -> None:
    metrics.invocations([record()])
    metrics.observe(NodeGauges(instances={"busy": 9}), {("f1", "latest"): Gauges({"busy": 9}, 90)})
    metrics.observe(
        NodeGauges(instances={"busy": 1, "frozen": 3}, blanks={"Python3.12": 4}, waiting=2, memory_used_bytes=77),
        {("f1", "latest"): Gauges({"busy": 1, "frozen": 2}, 55), ("gone", "latest"): Gauges({"busy": 1}, 1)},
    )

    assert value(metrics, "fgd_instances", function="hello", state="frozen") == 2
    assert value(metrics, "fgd_instances_memory_bytes", function="hello") == 55
    assert value(metrics, "fgd_node_instances", state="frozen") == 3
    assert value(metrics, "fgd_node_blanks", runtime="Python3.12") == 4
    assert value(metrics, "fgd_node_waiting") == 2
    assert value(metrics, "fgd_node_memory_used_bytes") == 77


def test_series_are_bounded_and_nothing_is_lost() -> None:
    metrics = Metrics(NAMES.get, series_max=3)
    metrics.invocations([record(version=f"v{n}") for n in range(100)])

    counts = [v for (name, _), v in samples(metrics).items() if name == "fgd_invocations_total"]
    assert len(counts) == 4
    assert sum(counts) == 100
    assert value(metrics, "fgd_invocations_total", function=OTHER) == 97


def test_a_deleted_function_leaves_and_its_place_is_free_again() -> None:
    metrics = Metrics(NAMES.get, series_max=1)
    metrics.invocations([record("f1")])
    metrics.forget("f1")
    metrics.forget("f1")
    metrics.invocations([record("f2")])

    assert None is value(metrics, "fgd_invocations_total", function="hello")
    assert value(metrics, "fgd_invocations_total", function="other") == 1


def test_a_straggler_of_a_deleted_function_is_counted_under_other(metrics: Metrics) -> None:
    metrics.invocations([record("deleted")])

    assert value(metrics, "fgd_invocations_total", function=OTHER) == 1


def test_without_anything_counted_the_text_is_valid(metrics: Metrics) -> None:
    assert value(metrics, "fgd_evictions_total") == 0
    assert metrics.render().endswith("\n")
