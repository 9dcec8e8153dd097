"""Published APIs through the API: triggers and what they hang on; what is refused, what survives a restart."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huaweicloudsdkfunctiongraph.v2 import model as sdk

from fgd.config import Config
from tests.api.harness import Api, running_api

SETTINGS: dict[str, Any] = {"name": "API_one", "path": "/one", "auth": "NONE"}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """One for each test: a path belongs to one API."""
    with running_api(tmp_path, Config()) as running:
        yield running


def of(api: Api, name: str) -> str:
    return f"/triggers/urn:fss:local:{api.keys['project_id']}:function:default:{name}:latest"


def publish(api: Api, function: str, code: str = "APIG", **settings: Any) -> tuple[int, Any]:
    return api.v2("POST", of(api, function), {"trigger_type_code": code, "event_data": {**SETTINGS, **settings}})


def apig(api: Api, method: str, path: str, body: object = None) -> tuple[int, Any]:
    return api.send(method, f"/fgd/v1/projects/{api.keys['project_id']}/apig{path}", body)[:2]


def test_a_trigger_shows_the_address_of_its_api(api: Api) -> None:
    api.function("one")
    status, made = publish(api, "one", auth="IAM", req_method="GET", func_info={"timeout": 100})

    data = made["event_data"]
    assert 201 == status
    assert f"http://127.0.0.1:8320/api/{data['group_id']}/one" == data["invoke_url"]
    assert (made["trigger_id"], "API_one", "DEFAULT") == (data["triggerid"], data["api_name"], data["group_name"])
    assert ("RELEASE", "DEFAULT_ENVIRONMENT_RELEASE_ID") == (data["env_name"], data["env_id"])
    assert [data["invoke_url"]] == [one["invoke_url"] for one in apig(api, "GET", "/apis")[1]["apis"]]


def test_what_an_answer_shows_can_be_sent_back(api: Api) -> None:
    api.function("one")
    made = publish(api, "one")[1]
    path = f"{of(api, 'one')}/APIG/{made['trigger_id']}"
    status, changed = api.v2("PUT", path, {"event_data": {**made["event_data"], "path": "/two"}})

    assert 200 == status
    assert changed["event_data"]["invoke_url"].endswith("/two")
    assert 201 == publish(api, "one", name="API_again")[0], "the old path is free"


def test_a_path_belongs_to_one_api(api: Api) -> None:
    for name in ("one", "two"):
        api.function(name)
    publish(api, "one", path="/u/{id}", req_method="GET")

    assert (409, "FSS.1147") == refused(publish(api, "two", path="/u/{other}", req_method="GET"))
    assert (409, "FSS.1146") == refused(publish(api, "one", path="/v"))
    assert (409, "FSS.1147") == refused(publish(api, "two", "DEDICATEDGATEWAY", path="/u/{x}", req_method="GET"))
    for changes in ({"req_method": "POST"}, {"match_mode": "NORMAL", "req_method": "GET"}):
        assert 201 == publish(api, "two", path="/u/{id}", name=f"API_{changes['req_method']}", **changes)[0]
    assert 3 == len(apig(api, "GET", "/apis")[1]["apis"])


def refused(answer: tuple[int, Any]) -> tuple[int, str]:
    return answer[0], answer[1].get("error_code", "")


def test_an_update_that_is_refused_changes_nothing(api: Api) -> None:
    api.function("one")
    first = publish(api, "one")[1]
    publish(api, "one", name="API_two", path="/two")
    path = f"{of(api, 'one')}/APIG/{first['trigger_id']}"
    answer = api.v2("PUT", path, {"event_data": {**SETTINGS, "path": "/two"}})

    assert (409, "FSS.1147") == refused(answer)
    assert first == api.v2("GET", path)[1]


@pytest.mark.parametrize(
    ("settings", "status", "code"),
    [
        ({"group_id": "none"}, 404, "FSS.1138"), ({"env_name": "TEST"}, 404, "FSS.1138"),
        ({"path": "x"}, 400, "FSS.1107"),
        ({"auth": "CUSTOM"}, 400, "FSS.1107"), ({"func_info": {"timeout": 0}}, 400, "FSS.1107"),
    ],
)  # fmt: skip
def test_what_cannot_be_published_is_refused(api: Api, settings: dict[str, Any], status: int, code: str) -> None:
    api.function("one")

    assert (status, code) == refused(publish(api, "one", **settings))
    assert [] == api.v2("GET", of(api, "one"))[1]


def test_an_api_trigger_cannot_be_switched_off(api: Api) -> None:
    api.function("one")
    made = publish(api, "one")[1]

    answer = api.v2("PUT", f"{of(api, 'one')}/APIG/{made['trigger_id']}", {"trigger_status": "DISABLED"})

    assert 400 == answer[0]
    assert answer[1]["error_msg"].startswith("trigger_status: ")


def test_apis_go_with_their_trigger_and_their_function(api: Api) -> None:
    for name in ("one", "two"):
        api.function(name)
    made = publish(api, "one")[1]
    publish(api, "two", path="/two")
    api.v2("DELETE", f"{of(api, 'one')}/APIG/{made['trigger_id']}")
    left = [one["path"] for one in apig(api, "GET", "/apis")[1]["apis"]]
    api.v2("DELETE", of(api, "two"))

    assert ["/two"] == left
    assert [] == apig(api, "GET", "/apis")[1]["apis"]


# Groups, environments, apps, policies


def test_groups_and_environments_hold_apis(api: Api) -> None:
    api.function("one")
    group = apig(api, "POST", "/groups", {"name": "APIGroup_test", "description": "d"})[1]
    stage = apig(api, "POST", "/environments", {"name": "TEST"})[1]
    made = publish(api, "one", group_name="APIGroup_test", env_id=stage["id"])

    assert (201, group["id"], "TEST") == (
        made[0], made[1]["event_data"]["group_id"], made[1]["event_data"]["env_name"]
    )  # fmt: skip
    assert ["DEFAULT", "APIGroup_test"] == [one["name"] for one in apig(api, "GET", "/groups")[1]["groups"]]
    assert (409, "FSS.0409") == refused(apig(api, "DELETE", f"/groups/{group['id']}"))
    assert (409, "FSS.0409") == refused(apig(api, "DELETE", "/environments/TEST"))
    assert 400 == apig(api, "DELETE", "/groups/DEFAULT")[0]
    api.v2("DELETE", of(api, "one"))
    assert 204 == apig(api, "DELETE", "/groups/APIGroup_test")[0]
    assert (404, "FSS.1138") == refused(apig(api, "GET", "/groups/APIGroup_test"))


def test_an_apps_secret_is_shown_to_who_asks_for_it_alone(api: Api) -> None:
    made = apig(api, "POST", "/apps", {"name": "shop"})[1]
    code = apig(api, "POST", "/apps/shop/codes")[1]["code"]
    listed = apig(api, "GET", "/apps")[1]["apps"][0]

    assert {"secret", "created_s"} & listed.keys() == set()
    assert 1 == listed["codes"]
    shown = apig(api, "GET", "/apps/shop")[1]
    assert (made["secret"], [code]) == (shown["secret"], shown["codes"])
    for _ in range(4):
        apig(api, "POST", "/apps/shop/codes")
    assert 400 == apig(api, "POST", "/apps/shop/codes")[0]
    assert 204 == apig(api, "DELETE", f"/apps/shop/codes/{code}")[0]
    assert 404 == apig(api, "DELETE", f"/apps/shop/codes/{code}")[0]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/groups", {}, "name"), ("/groups", {"name": "1"}, "name"), ("/groups", {"name": "a", "x": 1}, "x"),
        ("/groups", {"name": "DEFAULT"}, "name"), ("/groups", {"name": "a", "domains": ["a b"]}, "domains"),
        ("/groups", {"name": "a", "domains": ["a.example"]}, "domains"), ("/environments", {"name": "RELEASE"}, "name"),
        ("/apps", {"name": "a", "apis": ["none"]}, "apis"), ("/throttles", {"name": "a"}, "api_limit"),
        ("/throttles", {"name": "a", "api_limit": 0}, "api_limit"),
        ("/throttles", {"name": "a", "api_limit": 1, "unit": "s"}, "unit"),
        ("/throttles", {"name": "a", "api_limit": 1, "ip_limit": 2}, "ip_limit"),
    ],
)  # fmt: skip
def test_bad_fields_are_named(api: Api, path: str, body: dict[str, Any], field: str) -> None:
    status, answer = apig(api, "POST", path, body)

    assert status in (400, 403, 404, 409)
    assert answer["error_msg"].startswith(field)


def test_a_policy_is_changed_field_by_field(api: Api) -> None:
    api.function("one")
    made = publish(api, "one")[1]
    apig(api, "POST", "/throttles", {"name": "few", "api_limit": 5, "unit": "MINUTE"})
    changed = apig(api, "PUT", "/throttles/few", {"apis": [made["trigger_id"]], "ip_limit": 2})[1]

    assert (5, 2, "MINUTE", [made["trigger_id"]]) == tuple(
        changed[name] for name in ("api_limit", "ip_limit", "unit", "apis")
    )
    api.v2("DELETE", of(api, "one"))
    assert 200 == apig(api, "PUT", "/throttles/few", {"api_limit": 6})[0], "an API that is gone hinders nobody"


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    with running_api(tmp_path, Config()) as api:
        api.function("one")
        made = publish(api, "one")[1]
        app = apig(api, "POST", "/apps", {"name": "shop", "apis": [made["trigger_id"]]})[1]
        code = apig(api, "POST", "/apps/shop/codes")[1]["code"]
        kept = [apig(api, "GET", path)[1] for path in ("/groups", "/environments", "/apps", "/apis")]
    assert app["secret"].encode() not in (tmp_path / "catalog.db").read_bytes()
    with running_api(tmp_path, Config()) as api:
        again = [apig(api, "GET", path)[1] for path in ("/groups", "/environments", "/apps", "/apis")]

        assert kept == again
        shown = apig(api, "GET", "/apps/shop")[1]
        assert (app["secret"], [code]) == (shown["secret"], shown["codes"])
        assert (409, "FSS.1147") == refused(publish(api, "one", name="API_two"))


def test_the_sdk_makes_and_reads_it(api: Api) -> None:
    """Its models have these fields, and the answer has them all."""
    names = {"name", "type", "path", "protocol", "req_method", "group_id", "group_name", "match_mode", "env_name",
             "env_id", "auth", "func_info", "sl_domain", "backend_type", "instance_id"}  # fmt: skip
    request = sdk.TriggerEventDataRequestBody.openapi_types.keys()
    answer = sdk.TriggerEventDataResponseBody.openapi_types.keys()
    api.function("one")
    shown = publish(api, "one")[1]["event_data"]

    assert set() == names - request
    assert {"triggerid", "api_id", "api_name", "invoke_url"} <= shown.keys() & answer
