"""Kills the daemon with SIGKILL, over and over, under asynchronous load; every acknowledged event must have run.

Usage: python -m bench.kill9 [ROUNDS]
"""

import http.client
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from bench.host import percentile, report, say
from bench.node import node
from fgd.testing.client import Client, Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually

CLIENTS = 4
PAGE = 500
WORK = "import time\ndef handler(event, context):\n    time.sleep(0.002)\n    return event['n']\n"


@dataclass(slots=True)
class Pressure:
    """Clients that enqueue numbered events without a pause, and note what was acknowledged."""

    daemon: DaemonProcess
    keys: Keys
    urn: str
    acknowledged: list[str] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """The body of one client's thread."""
        client = self.daemon.client(self.keys, 10.0)
        number = 0
        while not self.stop.is_set():
            number += 1
            try:
                answer = client.enqueue(self.urn, {"n": number})
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)
                continue
            if answer.status == 202:
                self.acknowledged.append(answer.json()["request_id"])
            else:
                self.refused[answer.status] += 1
        client.close()


def states(client: Client, urn: str) -> dict[str, str]:
    """State by request id of every asynchronous invocation of a function."""
    found: dict[str, str] = {}
    marker = "0"
    while True:
        answer = client.functions("GET", f"/{urn}/async-invocations?limit={PAGE}&marker={marker}")
        page = answer.json()
        for one in page["invocations"]:
            found[one["request_id"]] = one["status"]
        if len(page["invocations"]) < PAGE or page.get("next_marker") in (None, marker, int(marker)):
            return found
        marker = str(page["next_marker"])


def rounds(daemon: DaemonProcess, client: Client, keys: Keys, count: int, settle_s: float) -> dict[str, object]:
    """Kills and restarts `count` times; gives what was acknowledged and what became of it."""
    urn = client.deploy("work", WORK)
    client.invoke(urn, {"n": 0})
    pressure = Pressure(daemon, keys, urn)
    threads = [threading.Thread(target=pressure.run) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    ready_s, stayed = [], []
    try:
        for number in range(count):
            time.sleep(random.uniform(0.3, 0.9))
            daemon.kill9()
            stayed += daemon.wait_gone(3.0)
            start = time.monotonic()
            daemon.start()
            ready_s.append(time.monotonic() - start)
            say(f"kill9: round {number + 1} of {count}, {len(pressure.acknowledged)} acknowledged")
    finally:
        time.sleep(0.3)
        pressure.stop.set()
        for thread in threads:
            thread.join()
    client.close()
    over = {"SUCCESS", "FAIL", "DISCARD"}
    known: dict[str, str] = {}

    def settled() -> bool:
        known.update(states(client, urn))
        return all(known.get(one) in over for one in pressure.acknowledged)

    eventually(settled, settle_s, 0.5)
    lost = [one for one in pressure.acknowledged if known.get(one) != "SUCCESS"]
    return {
        "rounds": count,
        "acknowledged": len(pressure.acknowledged),
        "lost": len(lost),
        "states": dict(Counter(known.get(one, "unknown") for one in pressure.acknowledged)),
        "refused": dict(pressure.refused),
        "processes_left_after_kill": len(stayed),
        "ready_p50_s": round(percentile(ready_s, 50), 2),
        "ready_max_s": round(max(ready_s), 2),
    }


def main(count: int = 20) -> None:
    with node(async_backlog_max=1_000_000) as (daemon, client):
        keys = daemon.create_keys()
        result = rounds(daemon, client, keys, count, 60.0)
    report("kill9", result)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
