"""Log throughput: lines of 100 characters that a function prints, until they are in the log database."""

import time

from bench.host import report, say
from bench.node import Line, metric, node, target

LINES = 5000
CALLS = 20
PRINTER = """\
LINE = "x" * 100
def handler(event, context):
    for _ in range(event["lines"]):
        print(LINE)
    return "done"
"""


def main() -> None:
    with node(log_lines_per_s=10_000_000, log_bytes_per_s=1_000_000_000) as (daemon, client):
        urn = client.deploy("printer", PRINTER, timeout=60, memory_size=1024)
        line = Line(daemon.port)
        line.exchange(target(daemon, client, urn, {"lines": 10}).wire())
        wire = target(daemon, client, urn, {"lines": LINES}).wire()
        before_cpu_s = daemon.cpu_s()
        say(f"logs: {CALLS} calls with {LINES} lines")
        start = time.perf_counter()
        for _ in range(CALLS):
            line.exchange(wire)
        answered_s = time.perf_counter() - start
        total = CALLS * LINES
        dropped = metric(daemon, "fgd_log_lines_dropped_total")
        report(
            "logs",
            {
                "lines": total,
                "lines_per_s": round(total / answered_s, 1),
                "mib_per_s": round(total * 101 / answered_s / 2**20, 2),
                "cpu_us_per_line": round((daemon.cpu_s() - before_cpu_s) / total * 1e6, 2),
                "dropped": dropped,
            },
        )


if __name__ == "__main__":
    main()
