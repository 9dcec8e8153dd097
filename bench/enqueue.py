"""Asynchronous invocations: how many are acknowledged (on disk) a second to 16 clients, and worked off."""

import time

from bench.host import report, say
from bench.load import as_dict, run_load
from bench.node import ECHO, metric, node, target

CLIENTS = 16
DRAIN_S = 60.0


def main(seconds: float = 4.0) -> None:
    with node() as (daemon, client):
        urn = client.deploy("echo", ECHO)
        client.invoke(urn, {})
        request = target(daemon, client, urn, {"name": "fgd"}, asynchronous=True)
        say(f"enqueue: {CLIENTS} clients")
        start = time.monotonic()
        load = run_load(request, CLIENTS, seconds, daemon.cpu_s)
        done_then = done = metric(daemon, "fgd_invocations_total", mode="async")
        say(f"enqueue: {done:.0f} of {load.requests} done; draining")
        while done < load.requests and time.monotonic() - start < DRAIN_S:
            time.sleep(0.1)
            done = metric(daemon, "fgd_invocations_total", mode="async")
        report(
            "enqueue",
            {
                "acknowledged": as_dict(load),
                "acknowledged_per_s": round(load.requests_s, 1),
                "done_while_enqueuing": done_then,
                "left_over": max(0, load.requests - round(done)),
                "drain_per_s": round(done / (time.monotonic() - start), 1),
            },
        )


if __name__ == "__main__":
    main()
