"""Many idle instances: how much memory each takes (PSS), how long 500 take to make, and what they cost a warm call."""

import time

from bench.host import percentile, report, say
from bench.node import ECHO, HOLD, Line, burst, node, pss_bytes, target
from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess

COUNT = 500
#: An instance limit over the default of 400.
MANY = {"concurrency": 1000, "concurrent_num": 1}


def pss_mib(daemon: DaemonProcess) -> list[float]:
    """Proportional set size of every process of a function, in MiB."""
    return [pss_bytes(one) / 2**20 for one in daemon.instances()]


def warm_p50_ms(daemon: DaemonProcess, client: Client, urn: str, calls: int = 1500) -> float:
    """The median of calls on one connection."""
    line = Line(daemon.port)
    wire = target(daemon, client, urn, {"n": 1}).wire()
    for _ in range(100):
        line.exchange(wire)
    lengths = [line.exchange(wire)[0] for _ in range(calls)]
    line.close()
    return percentile(lengths, 50)


def main() -> None:
    with node() as (daemon, client):
        echo = client.deploy("echo", ECHO)
        one_ms = warm_p50_ms(daemon, client, echo)
        hold = client.deploy("hold", HOLD, timeout=60)
        client.configure(hold, timeout=60, strategy_config=MANY)
        burst(daemon, client, hold, 7, 1.0)
        time.sleep(0.5)
        eight = pss_mib(daemon)
        say(f"density: {COUNT} instances")
        start, begun = burst(daemon, client, hold, COUNT, 12.0)
        time.sleep(1.0)
        many = pss_mib(daemon)
        many_ms = warm_p50_ms(daemon, client, echo)
        used_mib = sum(pss_bytes(one) for one in daemon.processes()) / 2**20
        report(
            "density",
            {
                "instances": len(many),
                "seconds": round(begun[-1] - start, 2),
                "side_by_side": len(eight),
                "pss_mib_8": round(sum(eight) / max(len(eight), 1), 2),
                "pss_mib_500": round(sum(many) / max(len(many), 1), 2),
                "all_processes_mib": round(used_mib, 1),
                "warm_p50_ms_1": round(one_ms, 3),
                "warm_p50_ms_500": round(many_ms, 3),
                "p50_ratio": round(many_ms / one_ms, 2),
            },
        )


if __name__ == "__main__":
    main()
