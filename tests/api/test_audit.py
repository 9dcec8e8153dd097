"""The audit log: what is recorded, by which name, what is masked, how it is found, and triggers on it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fgd.api.table import OPERATIONS
from fgd.api.traced import UNCHANGING
from fgd.config import Config
from fgd.testing.host import eventually
from tests.api.harness import MINIMAL, PEER, PROJECT, Api, running_api

AUDIT = f"/fgd/v1/projects/{PROJECT}/audit"
TABLE_14_1 = {
    "createFunction", "deleteFunction", "updateFunctionConfig", "publishFunctionVersion", "deleteVersionAlias",
    "deleteTrigger", "createTrigger", "disableTrigger", "enableTrigger",
}  # fmt: skip
PULSE = {"trigger_type_code": "PULSE", "event_data": {"name": "p", "every_s": 30, "password": "s3cret"}}


def traces(api: Api, query: str = "") -> list[dict[str, Any]]:
    """Newest first."""
    status, answer, _ = api.send("GET", f"{AUDIT}?limit=1000{query}")
    assert 200 == status, answer
    found: list[dict[str, Any]] = answer["traces"]
    return found


def test_every_operation_that_changes_something_is_recorded() -> None:
    changing = {one.name for one in OPERATIONS if one.method != "GET" and one.built} - UNCHANGING
    recorded = {one.name: one.audit for one in OPERATIONS if one.audit is not None}

    assert changing == recorded.keys()
    names = {one.name for one in recorded.values()}
    assert set() == TABLE_14_1 - names - {"enableTrigger", "disableTrigger"}


def test_operations_of_the_table_have_their_names_and_resources(api: Api) -> None:
    made = api.function("audited")
    of, urn = api.of("audited"), made["func_urn"].removesuffix(":latest")
    body = {"runtime": "Python3.12", "handler": "index.handler", "timeout": 3, "memory_size": 128}
    api.v2("PUT", f"{of}/config", {**body, "description": "d"})
    api.v2("POST", f"{of}/versions", {"version": "v1"})
    api.v2("POST", f"{of}/aliases", {"name": "live", "version": "v1"})
    api.v2("DELETE", f"{of}/aliases/live")
    one = f"/triggers/{urn}:latest"
    trigger = api.v2("POST", one, PULSE)[1]["trigger_id"]
    for status in ("DISABLED", "ACTIVE"):
        # As Terraform sends it: the settings come along.
        api.v2("PUT", f"{one}/PULSE/{trigger}", {"trigger_status": status, "event_data": PULSE["event_data"]})
    api.v2("PUT", f"{one}/PULSE/{trigger}", {"trigger_status": "ACTIVE", "event_data": {"name": "q"}})
    api.v2("DELETE", f"{one}/PULSE/{trigger}")
    api.v2("DELETE", f"{of}%3Av1")
    api.v2("DELETE", of)
    found = [
        (one["trace_name"], one["resource_type"], one["resource_name"], one["resource_id"])
        for one in reversed(traces(api))
        if "audited" in str(one["resource_id"]) or one["resource_id"] == trigger
    ]

    assert [
        ("createFunction", "Functions", "audited", urn),
        ("updateFunctionConfig", "Functions", "audited", urn),
        ("publishFunctionVersion", "FunctionVersions", "v1", f"{urn}:v1"),
        ("createVersionAlias", "FunctionVersionAliases", "live", f"{urn}:!live"),
        ("deleteVersionAlias", "FunctionVersionAliases", "live", f"{urn}:!live"),
        ("createTrigger", "Triggers", "p", trigger),
        ("disableTrigger", "Triggers", "p", trigger),
        ("enableTrigger", "Triggers", "p", trigger),
        ("updateTrigger", "Triggers", "q", trigger),
        ("deleteTrigger", "Triggers", "audited", trigger),
        ("deleteFunctionVersion", "FunctionVersions", "v1", f"{urn}:v1"),
        ("deleteFunction", "Functions", "audited", urn),
    ] == found


def test_a_trace_has_all_fields_and_no_secret(api: Api) -> None:
    body = {
        **MINIMAL, "func_name": "secretive", "user_data": '{"a":"plain"}', "encrypted_user_data": '{"k":"t0psecret"}',
    }  # fmt: skip
    _, made, headers = api.send("POST", f"/v2/{PROJECT}/fgs/functions", body)
    [trace] = traces(api, "&resource_name=secretive")

    moment = trace.pop("time")
    assert abs(moment - api.now_s() * 1000) < 60_000
    assert trace.pop("record_time") == moment
    assert re.fullmatch(r"[0-9a-f-]{36}", trace.pop("trace_id"))
    request, response = trace.pop("request"), trace.pop("response")
    key = api.keys["access_key"]
    user = {"name": key, "id": key, "domain": {"name": PROJECT, "id": PROJECT}}
    assert {
        "user": user, "code": 200, "service_type": "FunctionGraph", "resource_type": "Functions",
        "resource_name": "secretive", "resource_id": made["func_urn"].removesuffix(":latest"), "source_ip": "",
        "trace_name": "createFunction", "trace_rating": "normal", "trace_type": "ApiCall", "api_version": "",
        "trace_status": "normal", "domain_id": PROJECT, "project_id": PROJECT, "read_only": False,
        "resource_account_id": "", "operation_id": "CreateFunction", "request_id": headers["x-request-id"],
        "message": f"POST /v2/{PROJECT}/fgs/functions, create function[secretive]",
    } == trace  # fmt: skip
    assert ("******", "******") == (request["encrypted_user_data"], request["func_code"])
    assert '{"a":"plain"}' == request["user_data"]
    assert "secretive" == response["func_name"]
    assert "t0psecret" not in str((request, response))
    assert MINIMAL["func_code"]["file"] not in str((request, response))  # type: ignore[index]


def test_secrets_of_triggers_and_keys_are_masked(api: Api) -> None:
    api.function("keyed")
    api.v2("POST", f"/triggers/urn:fss:testland:{PROJECT}:function:default:keyed:latest", PULSE)
    made = api.send("POST", "/fgd/v1/keys", {"name": "fresh"}, headers=PEER)[1]
    text = str(traces(api, "&all_projects=false"))

    assert "s3cret" not in text
    assert made["secret_key"] not in text
    assert made["token"] not in text


def test_codes_of_apps_are_in_no_trace(api: Api) -> None:
    app = api.send("POST", f"/fgd/v1/projects/{PROJECT}/apig/apps", {"name": "audited"})[1]
    codes = f"/fgd/v1/projects/{PROJECT}/apig/apps/{app['id']}/codes"
    code = api.send("POST", codes)[1]["code"]
    deleted = api.send("DELETE", f"{codes}/{code}")[0]
    text = str(traces(api))

    assert 204 == deleted
    assert "createAppCode" in text
    assert "deleteAppCode" in text
    assert code not in text
    assert app["secret"] not in text


def test_what_failed_is_a_warning_with_its_error(api: Api) -> None:
    status = api.v2("POST", "/functions", {**MINIMAL, "func_name": "bad name"})[0]
    trace = traces(api, "&trace_status=warning")[0]

    assert 400 == status == trace["code"]
    assert ("createFunction", "warning", "bad name", "") == (
        trace["trace_name"], trace["trace_rating"], trace["resource_name"], trace["resource_id"]
    )  # fmt: skip
    assert "FSS.1002" == trace["response"]["error_code"]


def test_reading_and_invoking_leave_no_trace(api: Api) -> None:
    api.function("quiet")
    before = len(traces(api))
    api.v2("GET", f"{api.of('quiet')}/config")
    api.send("POST", f"/fgd/v1{api.of('quiet')}/test", {"event": {}})
    api.v2("POST", "/functions", None)

    assert before + 1 == len(traces(api)), "the refused creation alone"


def test_traces_are_found_by_page_time_user_and_project(api: Api) -> None:
    api.function("found")
    _, page, _ = api.send("GET", f"/v3/{PROJECT}/traces?limit=1")
    _, older, _ = api.send("GET", f"/v3/{PROJECT}/traces?limit=1&next={page['meta_data']['marker']}")
    [trace] = page["traces"]
    now_ms = trace["time"]

    assert "found" == trace["resource_name"]
    assert older["traces"][0]["trace_id"] != trace["trace_id"]
    assert trace in traces(api, f"&from={now_ms}&user={api.keys['access_key']}&trace_id={trace['trace_id']}")
    assert trace not in traces(api, f"&to={now_ms - 1}")
    assert [] == traces(api, "&user=nobody")
    assert 400 == api.send("GET", f"{AUDIT}?trace_status=odd")[0]
    assert 400 == api.send("GET", f"{AUDIT}?limit=1001")[0]
    assert 403 == api.send("GET", f"{AUDIT}?all_projects=true")[0]
    assert 403 == api.send("GET", f"/v3/{'f' * 32}/traces")[0]
    assert [] == api.send("GET", f"/v3/{'f' * 32}/traces", headers=PEER)[1]["traces"]


def test_traces_survive_a_restart_and_end_after_seven_days(tmp_path: Path) -> None:
    with running_api(tmp_path, Config()) as api:
        api.function("old")
    with running_api(tmp_path, Config()) as api:
        kept = [one["trace_name"] for one in traces(api)]
        api.lost_s = 7 * 86_400 + 60

        assert ["createFunction"] == kept
        assert 401 == api.send("GET", AUDIT)[0], "the token is too old too"
        assert [] == api.send("GET", AUDIT, headers=PEER)[1]["traces"]


def cts(api: Api, name: str, operations: Sequence[str], notification: str = "note") -> tuple[int, Any]:
    urn = f"urn:fss:testland:{PROJECT}:function:default:{name}:latest"
    data = {"name": notification, "operations": operations}
    return api.v2("POST", f"/triggers/{urn}", {"trigger_type_code": "CTS", "event_data": data})


def test_a_trigger_gets_what_it_asked_for_from_its_creation_on(api: Api) -> None:
    api.function("watcher")
    status, made = cts(api, "watcher", ["FunctionGraph:Functions:createFunction;deleteFunction"])
    assert 201 == status, made
    api.function("watched")
    api.v2("PUT", f"{api.of('watched')}/config-max-instance", {"max_instance_num": 3})
    api.v2("DELETE", api.of("watched"))
    door = api.doors[made["trigger_id"]]

    assert eventually(lambda: len(door.events) == 2, 5)
    expected = [
        one for one in reversed(traces(api, "&resource_name=watched")) if one["trace_name"] != "updateFunctionConfig"
    ]
    assert [{"cts": one} for one in expected] == [one.event for one in door.events]
    assert ["createFunction", "deleteFunction"] == [one["trace_name"] for one in expected]


@pytest.mark.parametrize(
    ("name", "operations", "code"),
    [
        ("", ["*:*:*"], "FSS.1312"),
        ("n" * 65, ["*:*:*"], "FSS.1317"),
        ("a b", ["*:*:*"], "FSS.1319"),
        ("n", [], "FSS.1314"),
        ("n", ["FunctionGraph:Functions"], "FSS.1318"),
        ("n", ["FunctionGraph:Functions:"], "FSS.1318"),
        ("n", ["FunctionGraph:Functions:createFunction;createFunction"], "FSS.1316"),
        ("n", ["FunctionGraph:Functions:createFunction", "functiongraph:function:createfunction"], "FSS.1316"),
        ("n", ["FunctionGraph:Functions:" + ";".join(f"op{n}" for n in range(101))], "FSS.1313"),
        ("n", ["ECS:Servers:createServer"], "FSS.1308"),
        ("n", ["FunctionGraph:Functions:createNothing"], "FSS.1308"),
        ("n", ["FunctionGraph:Nothings:*"], "FSS.1308"),
        ("n", "text", "FSS.1305"),
    ],
)
def test_operations_that_cannot_be_are_refused(api: Api, name: str, operations: Any, code: str) -> None:
    if api.v2("GET", f"{api.of('picky')}/config")[0] == 404:
        api.function("picky")
    status, answer = cts(api, "picky", operations, name)

    assert (400, code) == (status, answer["error_code"])
    assert answer["error_msg"].startswith("event_data.")


def test_a_notification_has_its_name_alone_and_cannot_be_switched_off(api: Api) -> None:
    api.function("named")
    status, made = cts(api, "named", ["FunctionGraph:Function version aliases:deleteVersionAlias"])
    again = cts(api, "named", ["*:*:*"])
    urn = f"urn:fss:testland:{PROJECT}:function:default:named:latest"
    off = api.v2("PUT", f"/triggers/{urn}/CTS/{made['trigger_id']}", {"trigger_status": "DISABLED"})

    assert (201, "ACTIVE") == (status, made["trigger_status"])
    assert (409, "FSS.1307") == (again[0], again[1]["error_code"])
    assert 400 == off[0]
