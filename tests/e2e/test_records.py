"""Tags, test events and files of functions with a whole daemon: tried, killed, carried over."""

import base64
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess
from tests.e2e.sources import ACTOR

SPEAKING = """
def handler(event, context):
    for number in range(300):
        print("line", number)
    if event.get("fail"):
        raise ValueError("as asked")
    return {"got": event}
"""


def _try(api: Client, urn: str, body: object) -> Any:
    answer = api.request("POST", f"/fgd/v1/functions/{quote(urn, safe='')}/test", body)
    assert 200 == answer.status, answer.text
    return answer.json()


def test_a_trial_tells_result_summary_and_the_last_two_kilobytes(api: Client, deploy: Callable[..., str]) -> None:
    urn = deploy(SPEAKING)
    found = _try(api, urn, {"template": "timer"})
    log = api.request(
        "GET", f"/fgd/v1/functions/{quote(urn, safe='')}/logs?request_id={found['request_id']}"
    ).json()["lines"]  # fmt: skip

    assert (0, "TIMER") == (found["error_code"], found["result"]["got"]["trigger_type"])
    assert len(found["log"].encode()) <= 2048
    assert "line 299" in found["log"]
    assert "line 0\n" not in found["log"]
    assert f"Finish invoke request '{found['request_id']}'" in found["log"]
    assert any("line 0" in line for line in log)
    assert {"duration", "billingDuration", "memorySize", "memoryUsed"} == set(found["summary"])
    assert 0 < found["summary"]["memoryUsed"] < found["summary"]["memorySize"] == 128


def test_a_failed_trial_is_an_answer_and_exit_code_1(
    api: Client, daemon: DaemonProcess, deploy: Callable[..., str]
) -> None:
    urn = deploy(SPEAKING)
    content = base64.b64encode(b'{"fail": true}').decode()
    assert 200 == api.functions("POST", f"/{urn}/events", {"name": "failing", "content": content}).status
    found = _try(api, urn, {"event": "failing"})
    ran = daemon.cli("test", urn, "--event", "failing", check=False)

    assert (4002, True, "function invocation exception, error: as asked") == (
        found["error_code"], found["function_error"], found["result"]["errorMessage"],
    )  # fmt: skip
    assert 1 == ran.returncode
    assert ran.stdout.startswith("result (failed with 4002)")
    assert "line 299" in ran.stdout


def test_a_disabled_function_is_not_tried(api: Client, deploy: Callable[..., str]) -> None:
    urn = deploy(ACTOR)
    assert 200 == api.functions("PUT", f"/{urn}/config-max-instance", {"max_instance_num": 0}).status
    answer = api.request("POST", f"/fgd/v1/functions/{quote(urn, safe='')}/test", {})

    assert (403, "FSS.0403") == (answer.status, answer.error_code)


def test_instances_count_against_their_quota(api: Client, deploy: Callable[..., str]) -> None:
    urn = deploy(ACTOR)
    api.invoke(urn, {"do": "echo"})
    answer = api.request("GET", f"/v2/{api.project_id}/fgs/quotas").json()
    found = {one["type"]: one for one in answer["quotas"]["resources"]}

    assert 1 <= found["fgs_func_qos_limit"]["used"] <= found["fgs_func_qos_limit"]["quota"]
    assert 1 <= found["fgs_on_demand_instance_limit"]["used"]


def test_what_was_acknowledged_survives_kill_9_and_travels(tmp_path: Path) -> None:
    """Tags and events are there after a kill; an exported function does the same on another node."""
    source = tmp_path / "hello"
    source.mkdir()
    (source / "index.py").write_text(SPEAKING)
    with DaemonProcess(tmp_path / "first") as first:
        first.cli("deploy", str(source), "--secret-env", "token=sesame", "--env", "colour=blue", "--memory", "256")
        first.cli("tags", "add", "hello", "owner=ann", "stage=")
        first.cli("events", "create", "hello", "mine", "--data", '{"a": "ä"}')
        first.kill9()
        assert [] == first.wait_gone()
        first.start()

        assert {"owner": "ann", "stage": ""} == {
            tag["key"]: tag["value"] for tag in json.loads(first.cli("tags", "list", "hello", "--json").stdout)["tags"]
        }
        assert {"a": "ä"} == json.loads(first.cli("events", "show", "hello", "mine").stdout)
        tried = json.loads(first.cli("test", "hello", "--event", "mine", "--json").stdout)
        assert {"a": "ä"} == tried["result"]["got"]
        file = tmp_path / "out.zip"
        first.cli("functions", "export", "hello", "-o", str(file))
        shown = json.loads(first.cli("functions", "show", "hello", "--json").stdout)

    assert b"sesame" not in file.read_bytes()
    assert ["hello.yaml", "hello.zip"] == zipfile.ZipFile(file).namelist()
    with DaemonProcess(tmp_path / "second") as second:
        ran = second.cli("functions", "import", str(file), "--name", "copy", "--package", "other")
        copy = json.loads(second.cli("functions", "show", "other:copy", "--json").stdout)

        assert "token" in ran.stderr
        same = ("digest", "code_size", "runtime", "handler", "memory_size", "timeout", "user_data", "code_type")
        assert [shown[name] for name in same] == [copy[name] for name in same]
        tried = json.loads(second.cli("test", "other:copy", "--data", "{}", "--json").stdout)
        assert (0, {}) == (tried["error_code"], tried["result"]["got"])
