"""Heartbeat and pre-stop in a running daemon."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fgd.testing.client import Client, Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.parallel import Flood

#: `unwell` makes the heartbeat say so while the handler is at work.
BEATING = """\
import threading, time
STATE = {"well": True, "beats": 0}
LOCK = threading.Lock()
def handler(event, context):
    STATE["well"] = not event.get("unwell")
    end = time.time() + event.get("s", 0)
    while event.get("spin") and time.time() < end:
        pass
    time.sleep(max(0, end - time.time()))
    return STATE["beats"]
def beat():
    STATE["beats"] += 1
    return STATE["well"]
"""

#: Says goodbye in its log, after `s` seconds.
POLITE = """\
import time
SECONDS = [0]
def handler(event, context):
    SECONDS[0] = event.get("s", 0)
    return context.getRequestID()
def bye(context):
    time.sleep(SECONDS[0])
    print("bye %s %d" % (context.getFunctionName(), context.getRemainingTimeInMilliSeconds() > 0))
"""


def log_of(client: Client, urn: str) -> list[str]:
    lines: list[str] = client.request("GET", f"/fgd/v1/functions/{urn}/logs").json()["lines"]
    return lines


def test_unwell_instance_is_ended_and_a_busy_one_is_not(
    api: Client, daemon: DaemonProcess, keys: Keys, deploy: Callable[..., str]
) -> None:
    urn = deploy(BEATING, heartbeat_handler="index.beat", timeout=60)
    busy = Flood(lambda: daemon.client(keys), 1, lambda client: client.invoke(urn, {"s": 7, "spin": 1}))
    began = time.monotonic()
    failed = api.invoke(urn, {"s": 30, "unwell": True})
    took_s = time.monotonic() - began
    (well,) = busy.finish()

    assert 4.5 < took_s < 8
    assert ("4006", "true") == (failed.headers["x-func-err-code"], failed.headers["x-is-func-err"])
    assert "its heartbeat function returned false" in failed.json()["errorMessage"]
    assert 1 == well.json()
    assert any("the instance is ended: its heartbeat function" in line for line in log_of(api, urn))
    name = urn.split(":")[6]
    assert any(
        line.startswith("fgd_heartbeat_failures_total") and f'"{name}"' in line and line.endswith(" 1")
        for line in daemon.admin("GET", "/metrics").text.splitlines()
    )
    assert 200 == api.invoke(urn).status


def test_wrong_heartbeat_function_is_told_at_the_first_call(api: Client, deploy: Callable[..., str]) -> None:
    answer = api.invoke(deploy(BEATING, heartbeat_handler="index.nothing"))

    assert "4006" == answer.headers["x-func-err-code"]
    assert "heartbeat function 'nothing' not found in module './index.py'" in answer.json()["errorMessage"]


def test_changed_function_has_its_pre_stop_handler_called(api: Client, deploy: Callable[..., str]) -> None:
    urn = deploy(POLITE, pre_stop_handler="index.bye", pre_stop_timeout=5)
    assert 200 == api.invoke(urn).status
    assert 200 == api.replace_code(urn, POLITE + "# new\n").status

    assert eventually(lambda: any(line.startswith("bye ") for line in log_of(api, urn)))
    lines = log_of(api, urn)
    assert any("Start pre-stop request '" in line for line in lines)
    assert eventually(lambda: any("Finish pre-stop request '" in line for line in log_of(api, urn)))
    assert f"bye {urn.split(':')[6]} 1" in lines


@pytest.mark.parametrize("provider", ["zygote", "nsjail"])
def test_shutdown_calls_the_handlers_of_idle_and_frozen_instances_and_waits(tmp_path: Path, provider: str) -> None:
    settings: dict[str, object] = {"provider": provider, "drain_s": 10.0}
    with DaemonProcess(tmp_path, settings) as daemon:
        keys = daemon.create_keys()
        api = daemon.client(keys)
        urn = api.deploy("polite", POLITE, pre_stop_handler="index.bye", pre_stop_timeout=30)
        stuck = api.deploy("brief", POLITE, pre_stop_handler="index.bye", pre_stop_timeout=1)
        assert 200 == api.invoke(urn, {"s": 1}).status
        assert 200 == api.invoke(stuck, {"s": 20}).status
        time.sleep(0.3)  # frozen by now
        began = time.monotonic()
        assert 0 == daemon.stop()
        took_s = time.monotonic() - began
        daemon.start()
        api = daemon.client(keys)
        config = api.functions("GET", f"/{urn}/config").json()

        assert 0.9 < took_s < 8
        assert "bye polite 1" in log_of(api, urn)
        assert any("pre-stop handler timed out after 1 s" in line for line in log_of(api, stuck))
        assert ("index.bye", 30) == (config["pre_stop_handler"], config["pre_stop_timeout"])
        api.close()
