"""Cold starts: from the HTTP request to the answer of a function that has never run, 30 for each runtime.

With blanks kept ready for every runtime of the host; for Python 3.12 also without any. The zygote of a runtime is there
before (an earlier function started it).
"""

import time

from bench.host import percentile, report, say
from bench.node import ECHO, Line, metric, node, runtimes, target
from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess

STARTS = 30


def starts(daemon: DaemonProcess, client: Client, runtime: str, *, pooled: bool) -> dict[str, object]:
    """Times of `STARTS` first invocations, in milliseconds."""
    tag = runtime.replace(".", "-")
    lengths = []
    line = Line(daemon.port)
    for number in range(STARTS + 1):
        urn = client.deploy(f"cold-{tag}-{number}", ECHO, runtime=runtime)
        if number and pooled:
            _wait_filled(daemon, runtime)
        length_ms, _ = line.exchange(target(daemon, client, urn, {"n": number}).wire())
        if number:  # the first one made the zygote
            lengths.append(length_ms)
        else:
            time.sleep(0.5)
    line.close()
    return {
        "p50_ms": round(percentile(lengths, 50), 2),
        "p99_ms": round(percentile(lengths, 99), 2),
        "best_ms": round(min(lengths), 2),
    }


def _wait_filled(daemon: DaemonProcess, runtime: str) -> None:
    """A pool is full when its number of blanks has stopped growing."""
    end = time.monotonic() + 2
    last = -1.0
    while time.monotonic() < end:
        now = metric(daemon, "fgd_node_blanks", runtime=runtime)
        if now and now == last:
            return
        last = now
        time.sleep(0.06)


def main() -> None:
    results: dict[str, object] = {}
    for name, settings in (("pooled", {}), ("empty", {"blank_pool": 0, "blank_pool_max": 0})):
        with node(**settings) as (daemon, client):
            for runtime in runtimes(daemon) if name == "pooled" else ["Python3.12"]:
                say(f"cold: {runtime}, {name}")
                results[f"{name}_{runtime}"] = starts(daemon, client, runtime, pooled=name == "pooled")
    report("cold", results)


if __name__ == "__main__":
    main()
