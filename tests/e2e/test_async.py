"""Events that are acknowledged first and run later."""

import re
from collections.abc import Callable
from pathlib import Path

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.asynchronous import enqueued, finished, record
from tests.e2e.sources import ACTOR, ECHO, WHO


def attempts(daemon: DaemonProcess, urn: str) -> int:
    """How often a function ran asynchronously, as the metrics say."""
    total = 0.0
    for line in daemon.admin("GET", "/metrics").text.splitlines():
        if line.startswith("fgd_invocations_total{") and f'"{urn.split(":")[6]}"' in line and 'mode="async"' in line:
            total += float(line.rpartition(" ")[2])
    return int(total)


def test_event_is_accepted_and_runs(api: Client, daemon: DaemonProcess, deploy: Callable[..., str]) -> None:
    urn = deploy(ECHO)
    answer = api.enqueue(urn, {"n": 1})
    request_id = answer.json()["request_id"]
    assert answer.status == 202
    assert answer.headers["x-cff-request-id"] == request_id

    done = finished(api, urn, request_id)
    assert (done["status"], done["error_code"], done["error_message"]) == ("SUCCESS", 0, "")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", done["start_time"])
    assert eventually(lambda: attempts(daemon, urn) == 1)


def test_failing_event_is_tried_again_then_fails(
    api: Client, daemon: DaemonProcess, deploy: Callable[..., str]
) -> None:
    urn = deploy(ACTOR)
    config = {"max_async_event_age_in_seconds": 60, "max_async_retry_attempts": 2, "enable_async_status_log": True}
    assert api.functions("PUT", f"/{urn}/async-invoke-config", config).status == 200
    done = finished(api, urn, enqueued(api, urn, {"do": "raise", "text": "no"}))

    assert (done["status"], done["error_code"]) == ("FAIL", 4002)
    assert "no" in done["error_message"]
    assert eventually(lambda: attempts(daemon, urn) == 3)


def test_poison_event_does_not_block_the_others(api: Client, deploy: Callable[..., str]) -> None:
    urn = deploy(ACTOR, strategy={"concurrency": 1, "concurrent_num": 1})
    poison = [enqueued(api, urn, {"do": "exit"}) for _ in range(3)]
    good = [enqueued(api, urn, {"do": "text", "text": "x"}) for _ in range(20)]

    assert {finished(api, urn, one)["status"] for one in good} == {"SUCCESS"}
    assert {finished(api, urn, one)["status"] for one in poison} == {"FAIL"}


def test_waiting_event_can_be_cancelled(api: Client, deploy: Callable[..., str]) -> None:
    urn = deploy(WHO, strategy={"concurrency": 1, "concurrent_num": 1}, timeout=30)
    running = enqueued(api, urn, {"s": 20})
    assert eventually(lambda: record(api, urn, running).get("status") == "RUNNING")
    waiting = enqueued(api, urn, {"s": 0})
    for one in (waiting, running):
        answer = api.functions("POST", f"/{urn}/cancel", {"request_id": one, "type": "force"})
        assert answer.status == 200, answer.text

    assert finished(api, urn, waiting)["status"] != "SUCCESS"
    assert finished(api, urn, running)["error_code"] == 4208


def test_event_over_256_kib_is_refused(api: Client, actor: str) -> None:
    answer = api.functions("POST", f"/{actor}/invocations-async", b'"' + b"x" * (256 * 1024) + b'"')

    assert answer.status == 413
    assert answer.error_code in ("FSS.1201", "FSS.0413")


def test_many_events_all_run_once(api: Client, daemon: DaemonProcess, deploy: Callable[..., str]) -> None:
    urn = deploy(ECHO)
    ids = [enqueued(api, urn, {"n": n}) for n in range(200)]

    assert {finished(api, urn, one)["status"] for one in ids} == {"SUCCESS"}
    assert eventually(lambda: attempts(daemon, urn) == 200)


def test_restart_runs_what_was_waiting(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, {"drain_s": 0.5})
    with daemon:
        keys = daemon.create_keys()
        api = daemon.client(keys)
        urn = api.deploy("slow", WHO)
        api.configure(urn, strategy_config={"concurrency": 2, "concurrent_num": 1})
        ids = [enqueued(api, urn, {"s": 0.2}) for _ in range(20)]
        api.close()
        assert daemon.stop() == 0
        assert daemon.wait_gone() == []
        daemon.start()

        assert {finished(api, urn, one)["status"] for one in ids} == {"SUCCESS"}
        assert api.invoke(urn).status == 200, "functions and tokens are still there"
        api.close()
