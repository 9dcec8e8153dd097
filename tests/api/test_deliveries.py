"""Targets and deliveries over HTTP: as the SDK and Terraform speak of them, and fgd's own operations."""

import json
import sqlite3
from typing import Any
from urllib.parse import quote

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkfunctiongraph import v2 as sdk

from fgd.store.deliveries import FAILED, NewDelivery, insert
from tests.api.harness import PEER, PROJECT, Api
from tests.api.test_agencies import document, make, token, v2

BUCKET = {"destination": "OBS", "param": '{"bucket":"results","prefix":"a/","expires":3}'}
CONFIG = "/async-invoke-config"


def put(api: Api, name: str, success: object, failure: object = None, qualifier: str = "") -> tuple[int, Any]:
    body = {"destination_config": {"on_success": success, "on_failure": failure}}
    return api.v2("PUT", api.of(name) + qualifier + CONFIG, body)


def to_function(name: str) -> dict[str, str]:
    return {"destination": "FunctionGraph", "param": json.dumps({"func_urn": name})}


def stored(api: Api, name: str, *, failed: bool = True, version: str = "latest") -> int:
    """A delivery in the database; its number."""
    function = api.directory.by_key((PROJECT, "default", name))
    assert function is not None
    new = NewDelivery(
        (function.func_id, version), f"r-{name}", True, function.urn.text("testland"), "OBS", BUCKET["param"], "",
        1_700_000_000.0, b'{"n":1}',
    )  # fmt: skip
    with sqlite3.connect(api.deliveries._database.path) as connection:
        insert(connection, [new])
        number: int = connection.execute("SELECT max(id) FROM delivery").fetchone()[0]
        if failed:
            connection.execute(
                "UPDATE delivery SET state=?, end_s=1700000060, tries=20, error='away' WHERE id=?", (FAILED, number)
            )
    connection.close()
    return number


def ours(api: Api, method: str, name: str, rest: str = "", body: object = None) -> tuple[int, Any]:
    urn = quote(f"{PROJECT}:default:{name}", safe="")
    return api.send(method, f"/fgd/v1/functions/{urn}/async-deliveries{rest}", body)[:2]


def test_the_sdk_sets_and_reads_targets(api: Api) -> None:
    api.function("sdk-targets")
    credentials = BasicCredentials(api.keys["access_key"], api.keys["secret_key"], api.keys["project_id"])
    builder = sdk.FunctionGraphClient.new_builder().with_credentials(credentials)
    client = builder.with_endpoint(f"http://127.0.0.1:{api.port}").build()
    body = sdk.UpdateFunctionAsyncInvokeConfigRequestBody(
        max_async_event_age_in_seconds=600,
        max_async_retry_attempts=2,
        destination_config=sdk.FuncAsyncDestinationConfig(
            on_success=sdk.FuncDestinationConfig(**BUCKET),
            on_failure=sdk.FuncDestinationConfig("Webhook", '{"url": "https://hooks.test/fgd/x"}'),
        ),
    )
    urn = "sdk-targets"
    made = client.update_function_async_invoke_config(
        sdk.UpdateFunctionAsyncInvokeConfigRequest(function_urn=urn, body=body)
    )
    shown = client.show_function_async_invoke_config(sdk.ShowFunctionAsyncInvokeConfigRequest(function_urn=urn))
    version = client.create_function_version(
        sdk.CreateFunctionVersionRequest(function_urn=urn, body=sdk.CreateFunctionVersionRequestBody(version="v1"))
    )
    of_version = client.update_function_async_invoke_config(
        sdk.UpdateFunctionAsyncInvokeConfigRequest(
            function_urn=version.func_urn,
            body=sdk.UpdateFunctionAsyncInvokeConfigRequestBody(max_async_retry_attempts=0),
        )
    )
    listed = client.list_function_async_invoke_config(sdk.ListFunctionAsyncInvokeConfigRequest(function_urn=urn))

    assert made.destination_config == shown.destination_config
    assert ("OBS", BUCKET["param"]) == (
        shown.destination_config.on_success.destination, shown.destination_config.on_success.param,
    )  # fmt: skip
    assert "Webhook" == shown.destination_config.on_failure.destination
    assert of_version.func_urn.endswith(":v1")
    assert 2 == listed.count
    assert [made.func_urn, of_version.func_urn] == [item.func_urn for item in listed.async_invoke_configs]


def test_what_terraform_sends_is_read_back_as_it_was(api: Api) -> None:
    """The provider sends both targets as JSON text, empty where there is none, and compares what it reads."""
    api.function("terraform-targets")
    param = '{"bucket":"results","prefix":"","expires":0}'
    body = {
        "max_async_event_age_in_seconds": 3500, "max_async_retry_attempts": 2, "enable_async_status_log": True,
        "destination_config": {
            "on_success": {"destination": "OBS", "param": param}, "on_failure": {"destination": "", "param": ""},
        },
    }  # fmt: skip
    assert 200 == api.v2("PUT", api.of("terraform-targets") + CONFIG, body)[0]
    _, shown = api.v2("GET", api.of("terraform-targets") + CONFIG)

    assert {"on_success": {"destination": "OBS", "param": param}, "on_failure": None} == shown["destination_config"]
    assert (3500, 2, True) == tuple(shown[name] for name in body if name != "destination_config")


def test_versions_show_the_settings_they_have(api: Api) -> None:
    api.function("shown-settings")
    put(api, "shown-settings", BUCKET)
    api.v2("POST", api.of("shown-settings") + "/versions", {"version": "v1"})
    _, listed = api.v2("GET", api.of("shown-settings") + "/versions")
    latest, v1 = listed["versions"]

    assert BUCKET == latest["function_async_config"]["destination_config"]["on_success"]
    assert v1["function_async_config"] is None


def test_settings_by_alias_are_those_of_its_main_version(api: Api) -> None:
    api.function("by-alias")
    api.v2("POST", api.of("by-alias") + "/versions", {"version": "v1"})
    api.v2("POST", api.of("by-alias") + "/aliases", {"name": "live", "version": "v1"})
    status, made = put(api, "by-alias", BUCKET, qualifier="%3A%21live")

    assert (200, True) == (status, made["func_urn"].endswith(":v1"))
    assert 404 == api.v2("GET", api.of("by-alias") + CONFIG)[0]
    assert 200 == api.v2("GET", api.of("by-alias") + "%3Av1" + CONFIG)[0]


@pytest.mark.parametrize(
    ("target", "status", "code", "message"),
    [
        (
            {"destination": "DIS", "param": '{"stream_name":"s"}'},
            501,
            "FSS.0501",
            "on_success.destination: no plugin here brings DIS",
        ),
        ({"destination": "OBS", "param": '{"bucket":"../etc"}'}, 400, "FSS.0400", "on_success.param: bucket: must be"),
        ({"destination": "OBS", "param": "{"}, 406, "FSS.0406", "on_success.param: is not valid JSON"),
        (to_function("missing"), 404, "FSS.1051", "on_success.param: there is no function"),
        (to_function("refused-targets"), 400, "FSS.0400", "on_success.param: would make a loop"),
        (to_function("other:default:x"), 403, "FSS.0403", "on_success.param: func_urn: names a function of another"),
    ],
)
def test_a_target_that_cannot_be_changes_nothing(
    api: Api, target: object, status: int, code: str, message: str
) -> None:
    if api.directory.by_key((PROJECT, "default", "refused-targets")) is None:
        api.function("refused-targets")
    got, answer = put(api, "refused-targets", target)

    assert (status, code) == (got, answer["error_code"])
    assert answer["error_msg"].startswith("destination_config." + message)
    assert 404 == api.v2("GET", api.of("refused-targets") + CONFIG)[0]


def test_who_may_not_invoke_a_function_cannot_make_it_a_target(api: Api) -> None:
    for name in ("deputy", "guarded"):
        api.function(name)
    allowed = document("function:updateAsyncInvokeConfig", "function:invokeAsync", resource="function:default/deputy")
    make(api, "aims", allowed)
    body = {"destination_config": {"on_success": to_function("guarded")}}
    status, answer = v2(api, "aims", "PUT", api.of("deputy") + CONFIG, body)

    assert 403 == status
    assert (
        "do not allow functiongraph:function:invokeAsync on FUNCTIONGRAPH:*:*:function:default/guarded"
        in (answer["error_msg"])
    )
    assert 200 == v2(api, "aims", "PUT", api.of("deputy") + CONFIG, {})[0]


def test_deliveries_are_listed_shown_tried_again_and_dropped(api: Api) -> None:
    api.function("posted")
    kept, other, waiting = (
        stored(api, "posted"),
        stored(api, "posted", version="v1"),
        stored(api, "posted", failed=False),
    )
    _, listed = ours(api, "GET", "posted")
    _, failed = ours(api, "GET", "posted", "?status=fail&limit=1")
    _, shown = ours(api, "GET", "posted", f"/{kept}")

    assert [waiting, other, kept] == [one["id"] for one in listed["deliveries"]]
    assert ([other], 1) == ([one["id"] for one in failed["deliveries"]], failed["next_marker"])
    assert ("FAIL", 20, "away", "OBS", "success", "r-posted", '{"n":1}') == tuple(
        shown[name] for name in ("status", "tries", "error", "destination", "outcome", "request_id", "document")
    )
    assert (None, "2023-11-14T22:14:20Z", "2023-11-14T22:13:20Z") == (
        shown["next_try"], shown["failed_time"], shown["created_time"],
    )  # fmt: skip
    assert {"count": 0} == ours(api, "POST", "posted", "/retry", {"ids": [waiting]})[1]
    assert {"count": 1} == ours(api, "POST", "posted", "/retry", {"ids": [kept, kept]})[1]
    assert "WAIT" == ours(api, "GET", "posted", f"/{kept}")[1]["status"]
    assert {"count": 1} == ours(api, "POST", "posted", "/drop", {"all": True})[1]
    assert 404 == ours(api, "GET", "posted", f"/{other}")[0]


def test_deliveries_of_other_functions_are_not_there(api: Api) -> None:
    api.function("mine")
    api.function("not-mine")
    number = stored(api, "not-mine")

    assert 404 == ours(api, "GET", "mine", f"/{number}")[0]
    for what in ("retry", "drop"):
        assert {"count": 0} == ours(api, "POST", "mine", f"/{what}", {"ids": [number]})[1]
    assert 200 == ours(api, "GET", "not-mine", f"/{number}")[0]


def test_a_document_is_for_those_who_may_read_logs(api: Api) -> None:
    api.function("private")
    number = stored(api, "private")
    make(api, "lists", document("function:listAsyncInvocation"))
    path = f"/fgd/v1/functions/{PROJECT}%3Adefault%3Aprivate/async-deliveries"

    assert 200 == api.send("GET", path, headers=token(api, "lists"))[0]
    assert 403 == api.send("GET", f"{path}/{number}", headers=token(api, "lists"))[0]
    assert 403 == api.send("POST", f"{path}/drop", {"all": True}, headers=token(api, "lists"))[0]


@pytest.mark.parametrize(
    ("rest", "body", "field"),
    [
        ("?status=DONE", None, "status"), ("?limit=501", None, "limit"), ("?marker=x", None, "marker"),
        ("/x", None, "delivery_id"), ("/retry", {}, "ids"), ("/retry", {"ids": []}, "ids"),
        ("/retry", {"ids": [0]}, "ids"), ("/drop", {"ids": ["1"]}, "ids"), ("/drop", {"ids": [1] * 1001}, "ids"),
        ("/drop", {"all": 1}, "all"), ("/drop", {"all": True, "ids": [1]}, "ids"), ("/drop", {"all": False}, "ids"),
    ],
)  # fmt: skip
def test_wrong_questions_name_the_field(api: Api, rest: str, body: object, field: str) -> None:
    if api.directory.by_key((PROJECT, "default", "asked")) is None:
        api.function("asked")
    status, answer = ours(api, "GET" if body is None else "POST", "asked", rest, body)

    assert 400 == status
    assert answer["error_msg"].startswith(f"{field}: ")


def test_plugins_are_for_administrators(api: Api) -> None:
    assert 403 == api.send("GET", "/fgd/v1/plugins")[0]
    assert [{"name": "destinations", "error": ""}] == api.send("GET", "/fgd/v1/plugins", headers=PEER)[1]["plugins"]
