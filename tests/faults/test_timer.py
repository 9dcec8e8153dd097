"""Timers of daemons that are killed."""

import time
from datetime import datetime
from typing import Any

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.diary import DIARY, entries


def times_s(api: Client, urn: str, name: str) -> list[float]:
    """The ticks that one timer's events name, in the order in which they came."""
    events = [event for _, event in entries(api, urn) if event["trigger_name"] == name]
    return [datetime.fromisoformat(event["time"]).timestamp() for event in events]


def test_after_a_kill_timers_go_on_and_make_up_as_they_are_told(daemon: DaemonProcess) -> None:
    daemon.start()
    keys = daemon.create_keys()
    api = daemon.client(keys)
    urn = api.deploy("diary", DIARY)

    def create(name: str, **fields: Any) -> None:
        data = {"name": name, "schedule_type": "Cron", "schedule": "*/2 * * * * *", **fields}
        path = f"/v2/{keys.project_id}/fgs/triggers/{urn}"
        answer = api.request("POST", path, {"trigger_type_code": "TIMER", "event_data": data})
        assert 201 == answer.status, answer.text

    create("skips")
    create("makes-up", missed="once")
    assert eventually(lambda: min(len(times_s(api, urn, one)) for one in ("skips", "makes-up")) > 0, 10)
    time.sleep(2.1 - time.time() % 2)  # just after a tick, so that its events are there
    daemon.kill9()
    killed_s = time.time()
    time.sleep(4.5)
    started_s = time.time()
    daemon.start()
    api = daemon.client(keys)
    assert eventually(lambda: max(times_s(api, urn, "skips"), default=0) > time.time() - 3, 15)
    assert eventually(lambda: max(times_s(api, urn, "makes-up"), default=0) > started_s + 2, 15)
    skips, made_up = times_s(api, urn, "skips"), times_s(api, urn, "makes-up")

    assert all(moment_s % 2 == 0 for moment_s in [*skips, *made_up])
    away = [moment_s for moment_s in skips if killed_s + 0.1 < moment_s < started_s]
    assert [] == away
    restored = [moment_s for moment_s in made_up if killed_s + 0.1 < moment_s]
    assert started_s - 2.5 < restored[0], "the latest of those that were missed"
    assert len(set(restored)) == len(restored), "each tick once"
