"""The command against an API that answers as laid out: what it sends, prints and ends with."""

import base64
import json
import subprocess
import sys
from hashlib import sha512
from pathlib import Path
from typing import Any

import pytest

from tests.cli.api import PROJECT, Api
from tests.cli.conftest import Fgd

HELLO = str(Path(__file__).parents[2] / "examples" / "hello")
FUNCTIONS = f"/v2/{PROJECT}/fgs/functions"
CONFIG: dict[str, Any] = {
    "func_urn": f"urn:fss:local:{PROJECT}:function:default:hello:latest", "func_name": "hello", "package": "default",
    "runtime": "Python3.12", "handler": "index.handler", "timeout": 3, "memory_size": 128, "cpu": 300,
    "code_size": 2048, "digest": "00" * 64, "last_modified": "2030-01-01T00:00:00Z",
    "strategy_config": {"concurrency": 400, "concurrent_num": 1},
}  # fmt: skip


def _folder(path: Path) -> str:
    folder = path / "hello"
    folder.mkdir()
    (folder / "index.py").write_text("def handler(event, context):\n    return event\n")
    return str(folder)


def test_deploy_creates_a_function_that_is_not_there(api: Api, fgd: Fgd, tmp_path: Path) -> None:
    api.answer(f"POST {FUNCTIONS}", CONFIG)
    api.answer(
        "GET /fgd/v1/runtimes",
        {"runtimes": {"Python3.9": {}, "Python3.12": {}, "Python3.6": {}, "Python3.14": {}}},
    )

    ran = fgd(
        "deploy", _folder(tmp_path), "--memory", "256", "--env", "A=1=2", "--secret-env", "S=x", "--concurrency", "4",
        "--initializer", "index.init",
    )  # fmt: skip

    assert 0 == ran.code, ran.err
    assert "created urn:fss:local:p1:function:default:hello:latest (Python3.12" in ran.out
    body = api.sent(f"POST {FUNCTIONS}")[0].json()
    assert "hello" == body["func_name"]
    assert "Python3.12" == body["runtime"]
    assert "index.handler" == body["handler"]
    assert 256 == body["memory_size"]
    assert {"A": "1=2"} == json.loads(body["user_data"])
    assert {"S": "x"} == json.loads(body["encrypted_user_data"])
    assert {"concurrent_num": 4} == body["strategy_config"]
    assert ("index.init", 30) == (body["initializer_handler"], body["initializer_timeout"])
    assert base64.b64decode(body["func_code"]["file"]).startswith(b"PK")


def test_deploy_again_sends_only_what_changed(api: Api, fgd: Fgd, tmp_path: Path) -> None:
    api.answer(f"GET {FUNCTIONS}/hello/config", CONFIG)
    api.answer(f"PUT {FUNCTIONS}/hello/code", CONFIG)
    api.answer(f"PUT {FUNCTIONS}/hello/config", CONFIG)
    folder = _folder(tmp_path)

    assert "updated" in fgd("deploy", folder).out
    assert 1 == len(api.sent(f"PUT {FUNCTIONS}/hello/code"))
    assert [] == api.sent(f"PUT {FUNCTIONS}/hello/config")

    code = base64.b64decode(api.sent(f"PUT {FUNCTIONS}/hello/code")[0].json()["func_code"]["file"])
    api.answer(f"GET {FUNCTIONS}/hello/config", CONFIG | {"digest": sha512(code).hexdigest()})
    api.requests.clear()

    assert "unchanged" in fgd("deploy", folder).out
    assert [] == [one for one in api.requests if one.method == "PUT"]
    assert "updated" in fgd("deploy", folder, "--timeout", "9", "--max-instances", "2").out
    body = api.sent(f"PUT {FUNCTIONS}/hello/config")[0].json()
    assert 9 == body["timeout"]
    assert {"concurrency": 2, "concurrent_num": 1} == body["strategy_config"]
    assert [] == api.sent(f"PUT {FUNCTIONS}/hello/code")


def test_deploy_refuses_to_change_the_runtime(api: Api, fgd: Fgd, tmp_path: Path) -> None:
    api.answer(f"GET {FUNCTIONS}/hello/config", CONFIG)

    ran = fgd("deploy", _folder(tmp_path), "--runtime", "Python3.9")

    assert 2 == ran.code
    assert "never changes" in ran.err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("deploy", "/nonexistent"), "no such file"),
        (("deploy", HELLO, "--env", "NOT_IN_THE_ENVIRONMENT"), "not in the environment"),
        (("invoke", "hello", "--data", "{broken"), "not JSON"),
        (("invoke", "hello", "--data", "@/nonexistent"), "cannot be read"),
        (("functions", "update", "hello"), "at least one setting"),
        (("async", "config", "hello", "--reset", "--max-age", "9"), "goes alone"),
        (("nonsense",), "invalid choice"),
        (("deploy",), "required"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(api: Api, fgd: Fgd, words: tuple[str, ...], part: str) -> None:
    ran = fgd(*words)

    assert 2 == ran.code
    assert part in ran.err
    assert "" == ran.out


def test_invoke_prints_the_result_and_nothing_else(api: Api, fgd: Fgd) -> None:
    log = base64.b64encode(b"Start\nFinish").decode()
    api.answer(f"POST {FUNCTIONS}/hello/invocations", {"a": 1}, X_Func_Err_Code="0", X_Cff_Function_Log=log)

    ran = fgd("invoke", "hello", "--data", '{"b": 2}', "--tail")

    assert (0, '{"a": 1}\n', "Start\nFinish\n") == (ran.code, ran.out, ran.err)
    request = api.sent(f"POST {FUNCTIONS}/hello/invocations")[0]
    assert b'{"b": 2}' == request.body
    assert "tail" == request.headers["x-cff-log-type"]


def test_invoke_percent_encodes_a_urn(api: Api, fgd: Fgd) -> None:
    urn = CONFIG["func_urn"]
    api.answer(f"POST {FUNCTIONS}/{urn}/invocations", b"text", X_Func_Err_Code="0")

    assert "text\n" == fgd("invoke", urn).out


def test_invoke_ends_with_1_when_the_function_failed(api: Api, fgd: Fgd) -> None:
    error = {"errorMessage": "boom", "errorType": "ValueError"}
    headers = {"X_Func_Err_Code": "4002", "X_Is_Func_Err": "true", "X_Cff_Request_Id": "r1"}
    api.answer(f"POST {FUNCTIONS}/hello/invocations", error, status=200, **headers)

    ran = fgd("invoke", "hello")

    assert 1 == ran.code
    assert error == json.loads(ran.out)
    assert "fgd logs hello --request r1" in ran.err
    as_json = fgd("invoke", "hello", "--json")
    assert (1, 4002, error) == (
        as_json.code, json.loads(as_json.out)["error_code"], json.loads(as_json.out)["result"],
    )  # fmt: skip


def test_invoke_async_prints_the_request_id(api: Api, fgd: Fgd) -> None:
    api.answer(f"POST {FUNCTIONS}/hello/invocations-async", {"request_id": "r2"}, status=202)

    assert "r2\n" == fgd("invoke", "hello", "--async").out
    assert {"request_id": "r2"} == json.loads(fgd("invoke", "hello", "--async", "--json").out)


def test_a_refusal_ends_with_3_and_names_code_and_status(api: Api, fgd: Fgd) -> None:
    ran = fgd("invoke", "missing")

    assert 3 == ran.code
    assert "fgd: Not found the function (FSS.1051, HTTP 404)\n" == ran.err


def test_no_daemon_ends_with_4_and_says_how_to_start_one(fgd: Fgd) -> None:
    ran = fgd("status")

    assert 4 == ran.code
    assert "systemctl start fgd" in ran.err


def test_an_answer_that_is_no_json_is_no_traceback(api: Api, fgd: Fgd) -> None:
    api.answer("GET /fgd/v1/status", b"<html>")

    assert 3 == fgd("status").code


def test_list_asks_for_every_page(api: Api, fgd: Fgd) -> None:
    api.answer(f"GET {FUNCTIONS}", {"functions": [CONFIG], "count": 1, "next_marker": 1})

    ran = fgd("functions", "list", "--match", "hel")

    assert ["NAME", "PACKAGE", "RUNTIME", "MB", "TIMEOUT", "CODE", "STATE", "MODIFIED"] == ran.out.split("\n")[
        0
    ].split()
    assert "hello" in ran.out
    assert "marker=0&maxitems=100&func_name=hel" == api.sent(f"GET {FUNCTIONS}")[0].query


def test_code_writes_the_package(api: Api, fgd: Fgd, tmp_path: Path) -> None:
    file = base64.b64encode(b"PK\x03\x04rest").decode()
    api.answer(f"GET {FUNCTIONS}/hello/code", CONFIG | {"func_code": {"file": file}})

    assert 0 == fgd("functions", "code", "hello", "-o", str(tmp_path / "x.zip")).code
    assert b"PK\x03\x04rest" == (tmp_path / "x.zip").read_bytes()


def test_disable_and_enable(api: Api, fgd: Fgd) -> None:
    api.answer(f"PUT {FUNCTIONS}/hello/config-max-instance", CONFIG)

    assert "disabled hello\n" == fgd("functions", "disable", "hello").out
    assert {"max_instance_num": 0} == api.sent(f"PUT {FUNCTIONS}/hello/config-max-instance")[0].json()


def test_async_config_keeps_what_is_not_given(api: Api, fgd: Fgd) -> None:
    path = f"{FUNCTIONS}/hello/async-invoke-config"
    targets = {"on_success": None, "on_failure": {"destination": "Webhook", "param": "{}"}}
    old = {
        "max_async_retry_attempts": 2,
        "max_async_event_age_in_seconds": 60,
        "destination_config": targets,
    }
    api.answer(f"GET {path}", old)
    api.answer(f"PUT {path}", old | {"max_async_retry_attempts": 0})

    ran = fgd("async", "config", "hello", "--max-retries", "0")

    assert old | {"max_async_retry_attempts": 0} == api.sent(f"PUT {path}")[0].json()
    assert ["retries", "0"] == ran.out.split()[:2]


def test_logs_and_keys(api: Api, fgd: Fgd) -> None:
    api.answer("GET /fgd/v1/functions/hello/logs", {"lines": ["one", "two"], "cursor": 9})
    made = {"access_key": "AK", "secret_key": "SK", "project_id": PROJECT, "token": "T"}
    api.answer("POST /fgd/v1/keys", made)

    assert "one\ntwo\n" == fgd("logs", "hello", "--request", "r1").out
    assert "request_id=r1&limit=200" == api.sent("GET /fgd/v1/functions/hello/logs")[0].query
    assert made == json.loads(fgd("keys", "create", "--json").out)


def test_global_options_go_before_or_after_the_command(api: Api, fgd: Fgd) -> None:
    assert fgd("--json", "status").out == fgd("status", "--json").out
    assert PROJECT == json.loads(fgd("status", "--json").out)["project_id"]


def test_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m fgd completion fish | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=30)

    assert "complete -c fgd -f\n" == done.stdout
    assert "" == done.stderr


def test_enable_gives_back_the_limit_of_before(api: Api, fgd: Fgd) -> None:
    off = CONFIG | {"strategy_config": {"concurrency": 0}, "enabled_concurrency": 7}
    api.answer(f"GET {FUNCTIONS}/hello/config", off)
    api.answer(f"PUT {FUNCTIONS}/hello/config-max-instance", CONFIG)

    assert "enabled hello\n" == fgd("functions", "enable", "hello").out
    assert {"max_instance_num": 7} == api.sent(f"PUT {FUNCTIONS}/hello/config-max-instance")[0].json()


def test_timing_tells_the_parts_and_the_cold_start(api: Api, fgd: Fgd) -> None:
    api.answer(f"POST {FUNCTIONS}/hello/invocations", {}, X_Func_Err_Code="0", X_Cff_Request_Id="r1")
    parts = {"frontend_us": 100, "queue_us": 2000, "dispatch_us": 30, "runtime_us": 400, "write_us": 50}
    start = {"instance_id": "i1", "instance_us": 900, "code_us": 800, "init_us": 0}
    found = {"invocations": [parts | {"instance_id": "i1"}], "starts": [start]}
    api.answer("GET /fgd/v1/functions/hello/invocations", found)

    ran = fgd("invoke", "hello", "--timing")

    assert "{}\n" == ran.out
    assert (
        "time: frontend 0.10 ms, queue 2.00 ms, dispatch 0.03 ms, runtime 0.40 ms, write 0.05 ms, "
        "cold start: instance 0.90 ms, code 0.80 ms, init 0.00 ms\n"
    ) == ran.err


def test_runtimes_are_a_table(api: Api, fgd: Fgd) -> None:
    api.answer("GET /fgd/v1/runtimes", {"runtimes": {"Python3.12": {"version": "3.12.1", "forks": True}}})

    assert ["RUNTIME", "FORKS", "VERSION", "Python3.12", "True", "3.12.1"] == fgd("runtimes").out.split()


def test_doctor_needs_no_daemon_and_reads_the_settings(fgd: Fgd, tmp_path: Path) -> None:
    ran = fgd("doctor", "--json", "--state-dir", str(tmp_path))
    found = json.loads(ran.out)

    assert (0 if found["ok"] else 1) == ran.code
    assert {"kernel", "cgroups", "namespaces", "interpreters"} <= {check["name"] for check in found["checks"]}
    (tmp_path / "bad.toml").write_text("nonsense = 1\n")
    assert 2 == fgd("doctor", "--config", str(tmp_path / "bad.toml")).code


def test_versions_and_their_aliases_are_listed(api: Api, fgd: Fgd) -> None:
    published = {**CONFIG, "version": "v1", "version_description": "first"}
    api.answer(f"GET {FUNCTIONS}/hello/versions", {"versions": [{**CONFIG, "version": "latest"}, published]})
    alias = {"name": "live", "version": "v1", "additional_version_weights": None, "last_modified": "2030"}
    api.answer(f"GET {FUNCTIONS}/hello/aliases", [alias])

    ran = fgd("versions", "list", "hello")

    assert 0 == ran.code, ran.err
    assert ["v1", "live"] == ran.out.splitlines()[2].split()[:2]
    assert ran.out.splitlines()[2].endswith("first")


def test_an_alias_is_made_with_rules_or_a_weight(api: Api, fgd: Fgd) -> None:
    made = {"name": "live", "alias_urn": "urn", "version": "v1", "last_modified": "2030"}
    api.answer(f"POST {FUNCTIONS}/hello/aliases", made)
    fgd("aliases", "create", "hello", "live", "v1", "--additional", "v2", "--weight", "5")
    fgd("aliases", "create", "hello", "live", "v1", "--additional", "v2", "--rule", "X-A=1", "--rule", "b=2,3", "--any")
    weighted, ruled = (one.json() for one in api.sent(f"POST {FUNCTIONS}/hello/aliases"))
    refused = fgd("aliases", "create", "hello", "live", "v1", "--weight", "5")

    assert {"v2": 5} == weighted["additional_version_weights"]
    assert "or" == ruled["additional_version_strategy"]["v2"]["combine_type"]
    assert ["=", "in"] == [rule["op"] for rule in ruled["additional_version_strategy"]["v2"]["rules"]]
    assert (2, True) == (refused.code, "--additional" in refused.err)


def test_deleting_a_version_names_it_by_its_whole_urn(api: Api, fgd: Fgd) -> None:
    api.answer(f"GET {FUNCTIONS}/hello/config", {**CONFIG, "version": "latest"})
    urn = f"urn:fss:local:{PROJECT}:function:default:hello:v1"
    api.answer(f"DELETE {FUNCTIONS}/{urn}", b"", 204)

    assert 0 == fgd("versions", "delete", "hello", "v1").code
    assert 2 == fgd("versions", "delete", "hello", "latest").code
    assert 1 == len(api.sent(f"DELETE {FUNCTIONS}/{urn}"))


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("hello@v1", f"{PROJECT}:default:hello:v1"),
        ("apps:hello@!live", f"{PROJECT}:apps:hello:!live"),
        ("urn:fss:local:p9:function:apps:hello@v1", "urn:fss:local:p9:function:apps:hello:v1"),
        ("hello", "hello"),
    ],
)
def test_a_version_or_alias_is_named_behind_an_at(api: Api, fgd: Fgd, written: str, sent: str) -> None:
    api.answer(f"POST {FUNCTIONS}/{sent}/invocations", {"ok": True}, X_Func_Err_Code="0")

    assert 0 == fgd("invoke", written).code
