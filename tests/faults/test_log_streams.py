"""Lines and traces that were acknowledged are there after kill -9, and reach their triggers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.hooks import Hooks
from tests.e2e.sources import ECHO
from tests.e2e.test_log_streams import NOTING, READING, printed, stream


def _trigger(api: Client, urn: str, kind: str, event_data: dict[str, Any]) -> None:
    body = {"trigger_type_code": kind, "event_data": event_data}
    answer = api.request("POST", f"/v2/{api.project_id}/fgs/triggers/{urn}", body)
    assert 201 == answer.status, answer.text


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with Hooks() as served:
        yield served


def test_acknowledged_lines_and_traces_reach_their_functions_after_kill_9(tmp_path: Path, hooks: Hooks) -> None:
    with DaemonProcess(tmp_path, {"drain_s": 1.0, "webhook_urls": hooks.url}) as daemon:
        keys = daemon.create_keys()
        api = daemon.client(keys)
        reading, noting = api.deploy("reading", READING), api.deploy("noting", NOTING)
        # Not the function's log, of which the last moment before a kill may be missing.
        target = {"destination": "Webhook", "param": json.dumps({"url": hooks.url})}
        config = {"destination_config": {"on_success": target}}
        assert 200 == api.functions("PUT", f"/{noting}/async-invoke-config", config).status
        group_id, stream_id = stream(daemon, "killed")
        # A minute, so that nothing is on its way when it is killed.
        slow = {"log_group_id": group_id, "log_topic_id": stream_id, "batch_interval_ms": 60_000}
        _trigger(api, reading, "LTS", slow)
        _trigger(api, noting, "CTS", {"name": "watch", "operations": ["*:Functions:createFunction"]})
        path = f"/fgd/v1/projects/{api.project_id}/log-streams/{stream_id}/lines"
        for number in range(20):
            assert 200 == api.request("POST", path, [f"line {number}"]).status
            api.deploy(f"made-{number}", ECHO)
        daemon.kill9()
        assert [] == daemon.wait_gone()
        daemon.start()
        api = daemon.client(keys)
        for one in api.request("GET", f"/v2/{api.project_id}/fgs/triggers/{reading}").json():
            changed = {"event_data": {**slow, "batch_interval_ms": 100}}
            where = f"/v2/{api.project_id}/fgs/triggers/{reading}/LTS/{one['trigger_id']}"
            assert 200 == api.request("PUT", where, changed).status
        lines = [f"line {number}" for number in range(20)]
        made = {f"made-{number}" for number in range(20)}

        def noted() -> set[str]:
            events = [json.loads(document["request_payload"])["cts"] for _, _, document in hooks.got]
            return {event["resource_name"] for event in events if event["trace_name"] == "createFunction"}

        assert eventually(lambda: set(lines) <= set(printed(daemon, reading, "read")), 20)
        assert eventually(lambda: made <= noted(), 20), made - noted()
        found = json.loads(daemon.cli("audit", "--name", "createFunction", "--limit", "100", "--json").stdout)["traces"]
        assert made <= {one["resource_name"] for one in found}


def test_the_log_of_a_function_comes_into_its_stream_once_across_kill_9(tmp_path: Path) -> None:
    source = 'def handler(event, context):\n    print("word", event["n"])\n'
    with DaemonProcess(tmp_path, {"drain_s": 1.0}) as daemon:
        keys = daemon.create_keys()
        api = daemon.client(keys)
        group_id, stream_id = stream(daemon, "copied")
        urn = api.deploy("copied", source, log_config={"group_id": group_id, "stream_id": stream_id})
        for number in range(5):
            api.invoke(urn, {"n": number})
        daemon.cli("logs", "copied")  # so that they are in the log database
        daemon.kill9()
        daemon.wait_gone()
        daemon.start()
        api = daemon.client(keys)
        for number in range(5, 10):
            api.invoke(urn, {"n": number})

        def words() -> list[int]:
            out = daemon.cli("lts", "read", "copied/lines", "--limit", "1000").stdout.splitlines()
            return sorted(int(line.split("word ")[1]) for line in out if "word " in line)

        assert eventually(lambda: list(range(10)) == words(), 10), words()
