"""A function is deployed and called as a user would."""

import base64
import io
import json
import re
import zipfile
from collections.abc import Callable
from urllib.parse import quote

import pytest

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess
from tests.e2e.sources import ECHO


def zipped(**files: str) -> str:
    """A ZIP in Base64; names of files with dots written as double underscores."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize("event", [{"a": [1, 2.5, None, True, "ü"]}, [1], "text", 7, None, {}])
def test_echo_gives_the_event_back(api: Client, deploy: Callable[..., str], event: object) -> None:
    urn = deploy("def handler(event, context):\n    return {'event': event}\n")
    answer = api.invoke(urn, json.dumps(event).encode())

    assert answer.status == 200
    assert answer.json() == {"event": event}


def test_zip_package_with_a_folder_is_imported(api: Client, deploy: Callable[..., str]) -> None:
    package = zipped(index__py="import lib.words\ndef handler(event, context):\n    return lib.words.GREETING\n")
    data = io.BytesIO(base64.b64decode(package))
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr("lib/__init__.py", "")
        archive.writestr("lib/words.py", "GREETING = 'hello from the zip'\n")
    code = {"file": base64.b64encode(data.getvalue()).decode()}
    urn = deploy("", code_type="zip", code_filename="index.zip", func_code=code)

    assert api.invoke(urn).text == "hello from the zip"


@pytest.mark.parametrize("runtime", ["Python2.7", "Python3.6", "Python3.9", "Python3.10", "Python3.12"])
def test_every_runtime_of_the_host_runs(
    api: Client, daemon: DaemonProcess, deploy: Callable[..., str], runtime: str
) -> None:
    have = set(daemon.admin("GET", "/fgd/v1/runtimes").json()["runtimes"])
    if runtime not in have:
        pytest.skip(f"this host has no {runtime}")
    source = "import sys\ndef handler(event, context):\n    return '%d.%d' % sys.version_info[:2]\n"
    urn = deploy(source, runtime=runtime)

    assert api.invoke(urn).text == runtime.removeprefix("Python")


def test_answer_carries_id_summary_and_codes(api: Client, actor: str) -> None:
    answer = api.invoke(actor)

    assert answer.json()["request_id"] == answer.headers["x-cff-request-id"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer.headers["x-cff-request-id"])
    assert answer.headers["x-func-err-code"] == "0"
    assert answer.headers["x-is-func-err"] == "false"
    summary = json.loads(answer.headers["x-cff-invoke-summary"])
    assert set(summary) == {"duration", "billingDuration", "memorySize", "memoryUsed"}
    assert summary["memorySize"] == 128
    assert summary["memoryUsed"] > 0
    assert "x-cff-function-log" not in answer.headers


def test_tail_gives_the_log_of_this_request_alone(api: Client, actor: str) -> None:
    api.invoke(actor, {"do": "print", "text": "earlier"})
    answer = api.invoke(actor, {"do": "print", "text": "now"}, X_Cff_Log_Type="tail")
    request_id = answer.headers["x-cff-request-id"]
    lines = answer.log.splitlines()

    assert re.search(rf"Z Start invoke request '{request_id}', version: latest", lines[0])
    assert any(line.endswith("now") for line in lines)
    assert any(re.search(rf"Z {request_id} INFO logged now", line) for line in lines)
    assert f"Finish invoke request '{request_id}', duration: " in lines[-1]
    assert "earlier" not in answer.log


def test_version_1_of_the_answer_wraps_the_result(api: Client, actor: str) -> None:
    answer = api.invoke(actor, {"do": "print", "text": "hi"}, X_CFF_Request_Version="v1", X_Cff_Log_Type="tail")
    body = answer.json()

    assert body["status"] == 200
    assert body["request_id"] == answer.headers["x-cff-request-id"]
    assert json.loads(body["result"])["request_id"] == body["request_id"]
    assert "logged hi" in body["log"]
    assert answer.headers["x-cff-response-version"] == "v1"


def test_text_goes_out_as_it_is_and_none_is_empty(api: Client, actor: str) -> None:
    assert api.invoke(actor, {"do": "text", "text": "ä plain text"}).text == "ä plain text"
    assert api.invoke(actor, {"do": "none"}).body == b""


def test_urn_may_be_encoded_or_short(api: Client, deploy: Callable[..., str]) -> None:
    urn = deploy(ECHO)
    name = urn.split(":")[6]

    for form in (urn, quote(urn, safe=""), urn.rpartition(":")[0], name, f"default:{name}",
                 f"{api.project_id}:default:{name}", f"{api.project_id}:default:{name}:latest"):  # fmt: skip
        assert api.invoke(form, {"n": 1}).json() == {"n": 1}, form


def test_new_code_is_what_the_next_request_runs(api: Client, deploy: Callable[..., str]) -> None:
    urn = deploy("def handler(event, context):\n    return 'old'\n")
    assert api.invoke(urn).text == "old"
    for number in range(3):
        source = f"def handler(event, context):\n    return 'new {number}'\n"
        code = {"file": base64.b64encode(source.encode()).decode()}
        answer = api.functions("PUT", f"/{urn}/code", {"code_type": "inline", "func_code": code})

        assert answer.status == 200, answer.text
        assert api.invoke(urn).text == f"new {number}"


def test_instance_is_used_again_and_its_processes_are_its_own(api: Client, actor: str) -> None:
    first, second = api.invoke(actor).json(), api.invoke(actor).json()

    assert (first["count"], second["count"]) == (1, 2)
    assert first["pid"] == second["pid"]


def test_deleted_function_is_gone(api: Client, deploy: Callable[..., str]) -> None:
    urn = deploy(ECHO)
    api.invoke(urn)
    assert api.functions("DELETE", f"/{urn.rpartition(':')[0]}").status == 204

    answer = api.invoke(urn)
    assert (answer.status, answer.error_code) == (404, "FSS.1051")


def test_disabled_function_refuses_until_enabled(api: Client, actor: str) -> None:
    assert api.functions("PUT", f"/{actor}/config-max-instance", {"max_instance_num": 0}).status == 200
    answer = api.invoke(actor)
    assert (answer.status, answer.error_code) == (403, "FSS.0403")
    assert api.enqueue(actor).status == 403

    assert api.functions("PUT", f"/{actor}/config-max-instance", {"max_instance_num": 10}).status == 200
    assert api.invoke(actor).status == 200


def test_functions_are_listed_and_shown(api: Client, deploy: Callable[..., str]) -> None:
    urn = deploy(ECHO, description="says it again")
    name = urn.split(":")[6]
    listed = api.functions("GET", f"?func_name={name}").json()
    shown = api.functions("GET", f"/{urn}/config").json()

    assert [one["func_name"] for one in listed["functions"]] == [name]
    assert shown["description"] == "says it again"
    assert shown["func_urn"] == urn
    assert len(shown["digest"]) == 128


def test_event_over_6_mib_is_refused(api: Client, actor: str) -> None:
    answer = api.invoke(actor, b'"' + b"x" * (6 * 2**20 + 100) + b'"')

    assert answer.status == 413
    assert answer.error_code in ("FSS.1201", "FSS.0413")


def test_large_event_and_result_pass(api: Client, actor: str) -> None:
    text = "x" * (5 * 2**20)

    assert api.invoke(actor, {"do": "text", "text": text}).text == text


@pytest.mark.parametrize("body", [b"{", b"", b"{'a': 1}", b"\xff\xfe", b"nan x", b'{"a": 1} trailing'])
def test_event_that_is_no_json_is_refused(api: Client, actor: str, body: bytes) -> None:
    answer = api.functions("POST", f"/{actor}/invocations", body)

    assert answer.status in (200, 406) if body == b"" else answer.status == 406
    if answer.status == 406:
        assert answer.error_code == "FSS.0406"
