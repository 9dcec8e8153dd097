"""Agencies over HTTP: who may make them, what their credentials may do, and when that ends."""

import base64
import json
import re
import time
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkfunctiongraph import v2 as sdk

from fgd.api.operation import Access, Operation
from fgd.api.permissions import ACTION_OF
from fgd.api.table import OPERATIONS
from fgd.auth.actions import ACTIONS, BUILTIN
from fgd.auth.signature import canonical_request, sign
from tests.api.harness import MINIMAL, PEER, PROJECT, Api

AGENCIES = f"/fgd/v1/projects/{PROJECT}/agencies"


def document(*actions: str, resource: str = "", effect: str = "Allow") -> dict[str, Any]:
    one: dict[str, Any] = {"Effect": effect, "Action": [f"functiongraph:{action}" for action in actions]}
    if resource:
        one["Resource"] = [f"FUNCTIONGRAPH:*:*:{resource}"]
    return {"Version": "1.1", "Statement": [one]}


def make(api: Api, name: str, *policies: object) -> None:
    status, answer, _ = api.send("POST", AGENCIES, {"name": name, "policies": list(policies)}, PEER)
    assert status == 200, answer


def token(api: Api, agency: str) -> dict[str, str]:
    """What a function with that agency would send: the token that its context gives."""
    return {"X-Auth-Token": handed(api, agency)["auth_token"]}


def handed(api: Api, agency: str) -> dict[str, str]:
    name = f"holder-of-{agency}"
    if api.directory.by_key((PROJECT, "default", name)) is None:
        api.function(name, xrole=agency)
    function = api.directory.by_key((PROJECT, "default", name))
    assert function is not None
    return dict(api.handout.credentials(function))


def v2(api: Api, agency: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    return api.send(method, f"/v2/{PROJECT}/fgs{path}", body, token(api, agency))[:2]


def test_an_agency_is_made_shown_changed_and_deleted(api: Api) -> None:
    policy = document("function:list", "function:invoke", resource="function:default/*")
    status, made, _ = api.send(
        "POST", AGENCIES, {"name": "life", "description": "d", "policies": ["FunctionGraph Invoker", policy]}, PEER
    )
    _, changed, _ = api.send("PUT", f"{AGENCIES}/life", {"policies": [policy]}, PEER)
    _, listed, _ = api.send("GET", AGENCIES, headers=PEER)
    _, shown, _ = api.send("GET", f"{AGENCIES}/life", headers=PEER)
    _, trusted = api.v2("GET", "/service-trusted-agencies")
    gone = api.send("DELETE", f"{AGENCIES}/life", headers=PEER)[0]

    assert 200 == status
    assert ["FunctionGraph Invoker", policy] == made["policies"]
    assert ("life", PROJECT, "d", [policy]) == tuple(
        changed[k] for k in ("name", "project_id", "description", "policies")
    )
    assert shown in listed["agencies"]
    assert {"name": "life", "expire_time": ""} in trusted
    assert 204 == gone
    assert 404 == api.send("GET", f"{AGENCIES}/life", headers=PEER)[0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "name: must be 1 to 64"),
        ({"name": "a b"}, "name: must be 1 to 64"),
        ({"name": "x" * 65}, "name: must be 1 to 64"),
        ({"name": "bad", "description": 3}, "description: must be a string"),
        ({"name": "bad", "description": "x" * 256}, "description: must be at most 255"),
        ({"name": "bad", "policies": "FunctionGraph User"}, "policies: must be a list"),
        ({"name": "bad", "policies": [3]}, "policies[0]: must be the name of a built-in policy or a document"),
        ({"name": "bad", "policies": ["FunctionGraph User", "Tenant Guest"]}, "policies[1]: there is no policy"),
        (
            {"name": "bad", "policies": [document("function:fly")]},
            "policies[0].Statement[0].Action[0]: functiongraph has",
        ),
        ({"name": "bad", "policy": []}, "policy: there is no such field"),
        ({"name": "bad", "project_id": "other"}, "project_id: names another project"),
    ],
)
def test_a_wrong_agency_is_refused_whole(api: Api, body: dict[str, object], message: str) -> None:
    status, answer, _ = api.send("POST", AGENCIES, body, PEER)

    assert (400, "FSS.0400") == (status, answer["error_code"])
    assert answer["error_msg"].startswith(message)
    assert 404 == api.send("GET", f"{AGENCIES}/bad", headers=PEER)[0]


def test_a_name_is_there_once(api: Api) -> None:
    make(api, "once")

    assert 409 == api.send("POST", AGENCIES, {"name": "once"}, PEER)[0]


def test_only_administrators_change_agencies_but_their_project_sees_them(api: Api) -> None:
    make(api, "seen")
    writes = [
        ("POST", AGENCIES, {"name": "mine"}),
        ("PUT", f"{AGENCIES}/seen", {}),
        ("DELETE", f"{AGENCIES}/seen", None),
    ]

    assert [403, 403, 403] == [api.send(method, path, body)[0] for method, path, body in writes]
    assert [200, 200] == [api.send("GET", path)[0] for path in (AGENCIES, f"{AGENCIES}/seen")]
    assert 403 == api.send("GET", AGENCIES.replace(PROJECT, "f" * 32))[0]


def test_a_function_gets_an_agency_and_gives_it_back(api: Api) -> None:
    make(api, "worker")
    make(api, "runner")
    created = api.function("with-agency", xrole="worker")
    _, both = api.v2("PUT", api.of("with-agency") + "/config", {"app_xrole": "runner"})
    _, none = api.v2("PUT", api.of("with-agency") + "/config", {"xrole": "", "app_xrole": ""})

    assert ("worker", None) == (created["xrole"], created["app_xrole"])
    assert ("worker", "runner") == (both["xrole"], both["app_xrole"])
    assert (None, None) == (none["xrole"], none["app_xrole"])


@pytest.mark.parametrize("field", ["xrole", "app_xrole"])
def test_an_unknown_agency_is_refused_with_its_name(api: Api, field: str) -> None:
    body = {**MINIMAL, "func_name": "nobody", field: "no-such"}
    status, answer = api.v2("POST", "/functions", body)

    assert (403, "FSS.1121") == (status, answer["error_code"])
    assert answer["error_msg"].startswith(f"{field}: the project has no agency 'no-such'")
    assert 404 == api.v2("GET", api.of("nobody") + "/config")[0]


def test_an_agency_in_use_stays(api: Api) -> None:
    make(api, "needed")
    api.function("needs-it", app_xrole="needed")
    status, answer, _ = api.send("DELETE", f"{AGENCIES}/needed", headers=PEER)
    api.v2("POST", api.of("needs-it") + "/versions", {"version": "v1"})
    api.v2("PUT", api.of("needs-it") + "/config", {"app_xrole": ""})

    assert 409 == status
    assert "agency_name: needed is in use by default:needs-it" == answer["error_msg"]
    assert 409 == api.send("DELETE", f"{AGENCIES}/needed", headers=PEER)[0], "a published version has it still"
    assert ["default:needs-it"] == api.send("GET", f"{AGENCIES}/needed")[1]["functions"]
    assert 204 == api.v2("DELETE", api.of("needs-it"))[0]
    assert 204 == api.send("DELETE", f"{AGENCIES}/needed", headers=PEER)[0]


def test_credentials_do_what_the_policies_allow_and_nothing_else(api: Api) -> None:
    api.function("target")
    api.function("secret")
    make(api, "narrow", document("function:getConfig", "function:updateConfig", resource="function:default/target"))

    assert 200 == v2(api, "narrow", "GET", api.of("target") + "/config")[0]
    assert 200 == v2(api, "narrow", "PUT", api.of("target") + "/config", {"timeout": 9})[0]
    for method, path in (
        ("GET", api.of("secret") + "/config"),
        ("GET", api.of("no-such-function") + "/config"),
        ("GET", api.of("target") + "/code"),
        ("DELETE", api.of("target")),
        ("GET", "/functions"),
        ("GET", "/functions/reservedinstances?urn=target"),
    ):
        status, answer = v2(api, "narrow", method, path)
        assert (403, "FSS.1125") == (status, answer["error_code"]), path
        assert "agency narrow" in answer["error_msg"]


def test_no_list_is_had_by_naming_one_function(api: Api) -> None:
    make(api, "one-only", document("function:list*", resource="function:default/target"))

    assert 403 == v2(api, "one-only", "GET", "/functions?function_urn=target&urn=target")[0]
    assert 200 == v2(api, "one-only", "GET", "/functions/reservedinstances?urn=default:target")[0]
    assert 403 == v2(api, "one-only", "GET", "/functions/reservedinstances")[0]


def test_new_functions_are_allowed_by_name(api: Api) -> None:
    make(api, "maker", document("function:create", resource="function:tools/*"))
    body = {**MINIMAL, "func_name": "made", "package": "tools"}

    assert 200 == v2(api, "maker", "POST", "/functions", body)[0]
    assert 403 == v2(api, "maker", "POST", "/functions", body | {"package": "default"})[0]
    twice = json.dumps(body)[:-1] + ', "package": "default"}'
    assert 403 == v2(api, "maker", "POST", "/functions", twice.encode())[0]


def test_an_import_is_a_creation_and_may_bring_an_agency(api: Api) -> None:
    api.function("exported")
    data = api.send("GET", f"/v2/{PROJECT}/fgs{api.of('exported')}/export")[1]
    assert data
    anywhere, passing = document("function:import"), {"Effect": "Allow", "Action": ["iam:agencies:pass"]}
    here = document("function:import", resource="function:tools/*")["Statement"][0]
    make(api, "imports", anywhere)
    make(api, "imports-tools", {"Version": "1.1", "Statement": [here, passing]})
    body = {
        "func_name": "imported",
        "package": "default",
        "file_name": "f.zip",
        "file_type": "zip",
        "file_code": "AA==",
    }
    refused = [v2(api, one, "POST", "/functions/import", body) for one in ("imports", "imports-tools")]
    allowed = v2(api, "imports-tools", "POST", "/functions/import", body | {"package": "tools"})

    assert [(403, "FSS.1122"), (403, "FSS.1125")] == [(status, answer["error_code"]) for status, answer in refused]
    assert 400 == allowed[0], "allowed, and then the file is found to be none"


def test_giving_an_agency_away_needs_a_permission_of_its_own(api: Api) -> None:
    make(api, "user", "FunctionGraph User")
    make(api, "full", "FunctionGraph FullAccess")
    api.function("climber")
    for field in ("xrole", "app_xrole"):
        status, answer = v2(api, "user", "PUT", api.of("climber") + "/config", {field: "full"})
        assert (403, "FSS.1122") == (status, answer["error_code"])

    assert 403 == v2(api, "user", "POST", "/functions", {**MINIMAL, "func_name": "climbs", "xrole": "full"})[0]
    assert 200 == v2(api, "user", "PUT", api.of("climber") + "/config", {"xrole": ""})[0]
    assert 200 == v2(api, "full", "PUT", api.of("climber") + "/config", {"xrole": "user"})[0]


def test_the_widest_agency_reaches_no_administration_and_no_other_project(api: Api) -> None:
    make(api, "widest", {"Version": "1.1", "Statement": [{"Effect": "Allow", "Action": ["*:*:*"]}]})
    sent = token(api, "widest")
    admin = [operation for operation in OPERATIONS if operation.access is Access.ADMIN]
    for operation in admin:
        path = re.sub(r"\{(?!project_id)\w+\}", "x", operation.path).replace("{project_id}", PROJECT)
        assert 403 == api.send(operation.method, path, headers=sent)[0], operation.name

    assert len(admin) > 5
    assert 403 == api.send("GET", f"/v2/{'f' * 32}/fgs/functions", headers=sent)[0]
    assert 200 == api.send("GET", f"/v2/{PROJECT}/fgs/functions", headers=sent)[0]
    assert 401 == api.send("POST", "/v3/auth/tokens", _log_in(handed(api, "widest")), {})[0]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_an_agency_without_policies_can_do_nothing(api: Api, operation: Operation) -> None:
    if (PROJECT, "default", "holder-of-empty") not in {one.urn.key for one in api.directory}:
        make(api, "empty")
    sent = token(api, "empty")
    values = {"project_id": PROJECT, "function_urn": "holder-of-empty", "func_urn": "holder-of-empty"}
    path = re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], "x"), operation.path)
    status, answer, _ = api.send(operation.method, path, None if operation.method == "GET" else {}, sent)

    if operation.access is Access.PUBLIC:
        assert status in (200, 400)
    elif operation.action == "":
        assert status in (200, 404)
    else:
        assert (403, "FSS.0403" if operation.access is Access.ADMIN else "FSS.1125") == (status, answer["error_code"])


def test_a_target_of_outcomes_must_be_a_function_that_the_caller_may_invoke(api: Api) -> None:
    source, target = api.function("hands-on"), api.function("takes-over")
    config, call = "function:updateAsyncInvokeConfig", "function:invokeAsync"
    make(api, "configures", document(config))
    make(api, "configures-and-calls", document(config, call))
    destination = {"destination": "FunctionGraph", "param": json.dumps({"func_urn": target["func_urn"]})}
    body = {"destination_config": {"on_success": destination}}
    path = f"/functions/{source['func_urn']}/async-invoke-config"
    status, answer = v2(api, "configures", "PUT", path, body)

    assert (403, "FSS.1125") == (status, answer["error_code"])
    assert 404 == api.v2("GET", path)[0], "nothing was set"
    assert 200 == v2(api, "configures-and-calls", "PUT", path, body)[0]


def test_a_trigger_is_allowed_by_itself_or_by_its_function_and_refused_by_either(api: Api) -> None:
    api.function("ticks")
    api.function("pays")
    everything = {"Effect": "Allow", "Action": ["functiongraph:*:*"]}
    spared = {
        "Effect": "Deny",
        "Action": ["functiongraph:*:*"],
        "Resource": ["FUNCTIONGRAPH:*:*:function:default/pays"],
    }
    make(api, "all-but-pays", {"Version": "1.1", "Statement": [everything, spared]})
    make(api, "ticks-alone", document("trigger:list", resource="function:default/ticks"))
    make(api, "any-trigger", document("trigger:list", resource="trigger:*"))

    def lists(agency: str, name: str) -> int:
        return v2(api, agency, "GET", "/triggers/" + name)[0]

    assert [200, 403] == [lists("all-but-pays", name) for name in ("ticks", "pays")]
    assert [200, 403] == [lists("ticks-alone", name) for name in ("ticks", "pays")]
    assert [200, 200] == [lists("any-trigger", name) for name in ("ticks", "pays")]


def _log_in(values: dict[str, str]) -> dict[str, Any]:
    keys = {"access": {"key": values["access_key"]}, "secret": {"key": values["secret_key"]}}
    return {"auth": {"identity": {"methods": ["hw_ak_sk"], "hw_ak_sk": keys}}}


def test_new_policies_hold_for_what_was_handed_out(api: Api) -> None:
    api.function("watched")
    make(api, "changing", "FunctionGraph ReadOnlyAccess")
    before = token(api, "changing")
    path = f"/v2/{PROJECT}/fgs{api.of('watched')}/config"
    assert 200 == api.send("GET", path, headers=before)[0]

    api.send("PUT", f"{AGENCIES}/changing", {"policies": []}, PEER)
    assert 403 == api.send("GET", path, headers=before)[0]

    api.send("PUT", f"{AGENCIES}/changing", {"policies": ["FunctionGraph User"]}, PEER)
    assert 200 == api.send("PUT", path, {"timeout": 30}, before)[0]


def test_a_deleted_agency_takes_its_credentials_along(api: Api) -> None:
    make(api, "leaving", "FunctionGraph FullAccess")
    before = token(api, "leaving")
    path = f"/v2/{PROJECT}/fgs/functions"
    assert 200 == api.send("GET", path, headers=before)[0]
    api.v2("DELETE", api.of("holder-of-leaving"))
    assert 204 == api.send("DELETE", f"{AGENCIES}/leaving", headers=PEER)[0]
    assert 401 == api.send("GET", path, headers=before)[0]

    make(api, "leaving", "FunctionGraph FullAccess")
    assert 401 == api.send("GET", path, headers=before)[0], "a later agency of the same name is another one"


def _sdk(api: Api, access_key: str, secret_key: str, security_token: str = "") -> Any:
    credentials = BasicCredentials(access_key, secret_key, PROJECT)
    if security_token:
        credentials = credentials.with_security_token(security_token)
    builder = sdk.FunctionGraphClient.new_builder().with_credentials(credentials)
    return builder.with_endpoint(f"http://127.0.0.1:{api.port}").build()


def test_the_official_sdk_signs_with_the_temporary_keys(api: Api) -> None:
    api.function("by-sdk")
    make(api, "signer", document("function:list", "function:getConfig"))
    make(api, "other-signer", document("function:list"))
    values, others = handed(api, "signer"), handed(api, "other-signer")
    pair = values["security_access_key"], values["security_secret_key"]
    client = _sdk(api, *pair, values["security_token"])
    listed = client.list_functions(sdk.ListFunctionsRequest(func_name="by-sdk"))

    assert ["by-sdk"] == [one.func_name for one in listed.functions]
    with pytest.raises(ClientRequestException) as denied:
        client.delete_function(sdk.DeleteFunctionRequest(function_urn="by-sdk"))
    assert (403, "FSS.1125") == (denied.value.status_code, denied.value.error_code)
    for wrong in ("", "x" * 64, others["security_token"], values["auth_token"]):
        with pytest.raises(ClientRequestException) as refused:
            _sdk(api, *pair, wrong).list_functions(sdk.ListFunctionsRequest())
        assert (401, "FSS.0401") == (refused.value.status_code, refused.value.error_code)
        assert "X-Security-Token" in refused.value.error_msg
    with pytest.raises(ClientRequestException):
        _sdk(api, pair[0], "0" * 40, values["security_token"]).list_functions(sdk.ListFunctionsRequest())


def test_the_official_sdk_gives_agencies_to_a_function(api: Api) -> None:
    make(api, "by-sdk-both")
    make(api, "by-sdk-run")
    client = _sdk(api, api.keys["access_key"], api.keys["secret_key"])
    code = sdk.FuncCode(file=base64.b64encode(b"def handler(event, context):\n    return event\n").decode())
    fields = {"func_name": "sdk-agency", "runtime": "Python3.12", "timeout": 3, "handler": "index.handler"}
    body = sdk.CreateFunctionRequestBody(
        **fields, memory_size=128, package="default", code_type="inline", func_code=code, xrole="by-sdk-both",
        app_xrole="by-sdk-run",
    )  # fmt: skip
    urn = client.create_function(sdk.CreateFunctionRequest(body=body)).func_urn
    shown = client.show_function_config(sdk.ShowFunctionConfigRequest(function_urn=urn))
    change = sdk.UpdateFunctionConfigRequestBody(**fields, memory_size=128, app_xrole="")
    changed = client.update_function_config(sdk.UpdateFunctionConfigRequest(function_urn=urn, body=change))

    assert ("by-sdk-both", "by-sdk-run") == (shown.xrole, shown.app_xrole)
    assert ("by-sdk-both", None) == (changed.xrole, changed.app_xrole)


def test_terraform_may_send_the_security_token_unsigned(api: Api) -> None:
    """golangsdk adds it after signing."""
    make(api, "terraform", document("function:list"))
    values = handed(api, "terraform")
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(api.now_s())).encode()
    target = f"/v2/{PROJECT}/fgs/functions".encode()
    signed = [(b"x-sdk-date", date)]
    canonical = canonical_request("GET", target, signed, [b"x-sdk-date"], b"")
    signature = sign(values["secret_key"], date, canonical).decode()
    access_key = values["access_key"]
    headers = {
        "X-Sdk-Date": date.decode(),
        "Authorization": f"SDK-HMAC-SHA256 Access={access_key}, SignedHeaders=x-sdk-date, Signature={signature}",
        "X-Security-Token": values["security_token"],
    }

    assert 200 == api.send("GET", target.decode(), headers=headers)[0]


def test_credentials_expire(api: Api) -> None:
    make(api, "old", document("function:list"))
    sent = token(api, "old")
    path = f"/v2/{PROJECT}/fgs/functions"
    try:
        api.lost_s = 86400 - 60
        assert 200 == api.send("GET", path, headers=sent)[0]
        api.lost_s = 86400 + 1
        status, answer, _ = api.send("GET", path, headers=sent)
    finally:
        api.lost_s = 0.0

    assert (401, "FSS.0401") == (status, answer["error_code"])
    assert "expired" in answer["error_msg"]


def test_every_operation_that_credentials_reach_has_an_action(api: Api) -> None:
    reached = {one for one in OPERATIONS if one.access in (Access.PROJECT, Access.ANY) and one.built}

    assert set() == {one.name for one in reached if one.action is None}
    assert set() == set(ACTION_OF) - {one.name for one in OPERATIONS}
    assert set() == {action for action in ACTION_OF.values() if action} - set(ACTIONS)
    of_objects = {one for one in ACTIONS if one.startswith("obs:")}  # see tests/api/test_object_rights.py
    assert {"iam:agencies:pass"} == set(ACTIONS) - set(ACTION_OF.values()) - of_objects


def test_policies_and_actions_are_listed(api: Api) -> None:
    _, answer, _ = api.send("GET", "/fgd/v1/policies")

    assert set(BUILTIN) == set(answer["policies"])
    assert ACTIONS == answer["actions"]
