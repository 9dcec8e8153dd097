"""What 1,000 instances leave behind once they are gone: processes, cgroups, mounts, descriptors. Nothing, we hope."""

import contextlib
import time

import psutil

from bench.host import report, say
from bench.node import HOLD, burst, node
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually

COUNT = 1000
EACH = 100


def state(daemon: DaemonProcess) -> dict[str, set[str]]:
    """What exists now, by kind. Descriptors are counted in the processes that stay."""
    stay = [psutil.Process(daemon.pid), daemon.launcher(), *daemon.zygotes()]
    found = {
        "processes": {str(one.pid) for one in daemon.processes()},
        "cgroups": daemon.cgroups_now(),
        "mounts": set(),
        "fds": set(),
    }
    for one in stay:
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            lines = open(f"/proc/{one.pid}/mountinfo", encoding="utf-8").read().splitlines()  # noqa: SIM115, PTH123
            found["mounts"] |= {f"{one.pid} {line}" for line in lines}
            found["fds"] |= {f"{one.pid} {number}" for number in range(one.num_fds())}
    return found


def main() -> None:
    with node(blank_pool=0, blank_pool_max=0, keep_alive_s=1.0) as (daemon, client):
        first = client.deploy("first", HOLD)
        burst(daemon, client, first, EACH, 3.0)
        eventually(lambda: not daemon.instances(), 15.0)
        time.sleep(1.0)
        before = state(daemon)
        made = number = 0
        while made < COUNT:
            number += 1
            say(f"leftovers: {made} of {COUNT}")
            urn = client.deploy(f"hold{number}", HOLD)
            _, begun = burst(daemon, client, urn, EACH, 2.0)
            made += len(begun)
        eventually(lambda: not daemon.instances(), 15.0)
        eventually(lambda: all(not after - before[kind] for kind, after in state(daemon).items()), 10.0)
        after = state(daemon)
        left = {kind: len(after[kind] - before[kind]) for kind in before}
        examples = [one for kind in before for one in sorted(after[kind] - before[kind])[:3]]
        report("leftovers", {"instances": made, **left, "sum": sum(left.values()), "examples": examples})


if __name__ == "__main__":
    main()
