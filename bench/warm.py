"""Warm invocations of a Python echo: requests a second, latency, and CPU of all processes, at 1, 8 and 32 connections.

The same load goes to `hypercorn -k trio` with nothing behind it, just before, so that the ratio means something on a
host whose speed changes from minute to minute.
"""

import sys
from pathlib import Path

from bench.ceilings import server, tree_cpu_s
from bench.host import report, say
from bench.load import Load, Target, as_dict, run_load
from bench.node import ECHO, node, target

CONNECTIONS = (1, 8, 32)
EVENT = {"name": "fgd", "number": 1}


def hypercorn(seconds: float) -> Load:
    """The reference: 8 connections."""
    command = [str(Path(sys.prefix, "bin", "hypercorn")), "-k", "trio", "-b", "127.0.0.1:18433", "bench.hello_app:app"]
    with server(command, 18433) as process:
        return run_load(Target(18433), 8, seconds, lambda: tree_cpu_s(process))


def echo(seconds: float) -> Load:
    """The other reference: trio and httptools, 1 connection."""
    with server([sys.executable, "-m", "bench.echo_server", "18434"], 18434) as process:
        return run_load(Target(18434), 1, seconds, lambda: tree_cpu_s(process))


def main(seconds: float = 4.0) -> None:
    results: dict[str, object] = {}
    say("warm: hypercorn hello")
    results["hypercorn_8"] = as_dict(reference := hypercorn(seconds))
    say("warm: trio echo")
    results["echo_1"] = as_dict(bare := echo(seconds))
    with node() as (daemon, client):
        urn = client.deploy("echo", ECHO)
        request = target(daemon, client, urn, EVENT)
        run_load(request, 8, 1, daemon.cpu_s)
        loads = {}
        for connections in CONNECTIONS:
            say(f"warm: {connections} connections")
            loads[connections] = run_load(request, connections, seconds, daemon.cpu_s)
            results[f"warm_{connections}"] = as_dict(loads[connections])
    results["requests_ratio"] = round(loads[8].requests_s / reference.requests_s, 2)
    results["cpu_ratio"] = round(loads[8].cpu_us / reference.cpu_us, 3)
    results["p50_ratio"] = round(loads[1].p50_us / bare.p50_us, 2)
    report("warm", results)


if __name__ == "__main__":
    main()
