"""10,000 timers in one daemon: how fast they are made, what a restart takes, what they cost, how exactly they fire.

1,000 functions with ten timers each, by the API: hourly and daily cron expressions in several zones, rates from minutes
to days, some every minute, which comes to about three events a second. Then, with all of these there, one function
whose ten timers fire every second, in the same second: how late each is handed over.
"""

import random
import time
from typing import Any

import psutil

from bench.host import percentile, report, say
from bench.node import ECHO, node
from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess

FUNCTIONS = 1000
TIMERS = 10
WATCHED_S = 20.0
PRECISE_S = 6.0
ZONES = ("Asia/Shanghai", "Europe/Berlin", "America/New_York", "UTC")
PAGE = 400


def schedule(chance: random.Random, number: int) -> tuple[str, str]:
    """What one timer of many has: its kind and its schedule."""
    second, minute, hour = chance.randrange(60), chance.randrange(60), chance.randrange(24)
    kind = number % 100
    if kind < 40:
        return "Cron", f"CRON_TZ={chance.choice(ZONES)} {second} {minute} * * * *"
    if kind < 70:
        return "Cron", f"CRON_TZ={chance.choice(ZONES)} {second} {minute} {hour} ? * {chance.choice(('*', 'MON-FRI'))}"
    if kind < 80:
        return "Rate", f"{chance.randint(1, 30)}d"
    if kind < 90:
        return "Rate", f"{chance.randint(1, 24)}h"
    if kind < 99:
        return "Rate", f"{chance.randint(5, 60)}m"
    return "Cron", f"{second} * * * * *"


def create(client: Client, urn: str, name: str, kind: str, text: str) -> None:
    event_data = {"name": name, "schedule_type": kind, "schedule": text}
    body = {"trigger_type_code": "TIMER", "event_data": event_data}
    answer = client.request("POST", f"/v2/{client.project_id}/fgs/triggers/{urn}", body)
    if answer.status != 201:
        raise RuntimeError(answer.text)


def states(client: Client) -> list[dict[str, Any]]:
    """How every trigger is."""
    found: list[dict[str, Any]] = []
    while True:
        path = f"/v2/{client.project_id}/fgs/triggers?marker={len(found)}&maxitems={PAGE}"
        page = client.request("GET", path).json()["triggers"]
        found += page
        if len(page) < PAGE:
            return found


def measured(daemon: DaemonProcess, seconds: float) -> float:
    """CPU of the daemon's own process over a while, in percent of one core."""
    process = psutil.Process(daemon.pid)
    before, began = process.cpu_times(), time.monotonic()
    time.sleep(seconds)
    after = process.cpu_times()
    used_s = float(after.user + after.system - before.user - before.system)
    return 100 * used_s / (time.monotonic() - began)


def rss_mib(daemon: DaemonProcess) -> float:
    """Memory of the daemon alone."""
    return float(psutil.Process(daemon.pid).memory_info().rss / 2**20)


def restart(daemon: DaemonProcess, client: Client) -> float:
    """Kills the daemon and starts it; gives the seconds until it answers."""
    client.close()
    daemon.kill9()
    began = time.monotonic()
    daemon.start()
    return time.monotonic() - began


def main() -> None:
    chance = random.Random(11)
    with node() as (daemon, client):
        say(f"timers: {FUNCTIONS} functions")
        urns = [client.deploy(f"t{number}", ECHO) for number in range(FUNCTIONS)]
        before_mib, before_percent = rss_mib(daemon), measured(daemon, 5)
        restart_before_s = restart(daemon, client)
        say(f"timers: {FUNCTIONS * TIMERS} triggers")
        began, slowest_s = time.monotonic(), 0.0
        for number in range(FUNCTIONS * TIMERS):
            one = time.monotonic()
            create(client, urns[number // TIMERS], f"t{number}", *schedule(chance, number))
            slowest_s = max(slowest_s, time.monotonic() - one)
        created_s = time.monotonic() - began
        say("timers: a restart")
        restart_s = restart(daemon, client)
        began = time.monotonic()
        while any((one["state"] or {}).get("state") != "running" for one in states(client)):
            time.sleep(0.1)
        running_s = time.monotonic() - began
        time.sleep(5)
        after_mib = rss_mib(daemon)
        say(f"timers: {WATCHED_S:g} s of watching")
        percent = measured(daemon, WATCHED_S)
        fired = [one["state"] for one in states(client) if one["state"]["events"]]
        say(f"timers: every second, {TIMERS} at once")
        urn = client.deploy("precise", ECHO)
        for number in range(TIMERS):
            create(client, urn, f"p{number}", "Cron", "* * * * * *")
        time.sleep(PRECISE_S)
        late = [one for one in states(client) if one["func_urn"] == urn]
        late_ms = sorted(one["state"]["figures"]["late_ms"] for one in late)
        report(
            "timers",
            {
                "functions": FUNCTIONS,
                "timers": FUNCTIONS * TIMERS,
                "creation_s": round(created_s, 1),
                "creations_per_s": round(FUNCTIONS * TIMERS / created_s, 1),
                "slowest_creation_ms": round(slowest_s * 1e3, 1),
                "restart_s": round(restart_s, 2),
                "restart_s_without": round(restart_before_s, 2),
                "all_running_after_s": round(running_s, 2),
                "daemon_rss_mib": round(after_mib, 1),
                "daemon_rss_mib_without": round(before_mib, 1),
                "cpu_percent": round(percent, 2),
                "cpu_percent_without": round(before_percent, 2),
                "events": sum(one["events"] for one in fired),
                "mixed_late_ms_p50": round(percentile([one["figures"]["late_ms"] for one in fired], 50), 2),
                "mixed_late_ms_max": round(max(one["figures"]["late_ms_max"] for one in fired), 2),
                "dense_events": sum(one["state"]["events"] for one in late),
                "dense_late_ms_p50": round(percentile(late_ms, 50), 2),
                "dense_late_ms_max": round(max(one["state"]["figures"]["late_ms_max"] for one in late), 2),
            },
        )


if __name__ == "__main__":
    main()
