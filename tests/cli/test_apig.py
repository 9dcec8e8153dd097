"""`fgd apig` and `fgd triggers url`, against an API that answers as laid out."""

import json
from typing import Any

import pytest

from tests.cli.api import PROJECT, Api
from tests.cli.conftest import Fgd

APIG = f"/fgd/v1/projects/{PROJECT}/apig"
TRIGGERS = f"/v2/{PROJECT}/fgs/triggers"
APP: dict[str, Any] = {
    "id": "a1", "project_id": PROJECT, "name": "shop", "description": "", "key": "k", "secret": "s", "codes": ["c"],
    "apis": ["t1"], "created_at": "2030-01-01T00:00:00Z",
}  # fmt: skip
API: dict[str, Any] = {
    "api_id": "t2", "name": "API_two", "group_id": "g", "environment": "RELEASE", "method": "GET", "path": "/two",
    "prefix": True, "auth": "NONE", "trigger_id": "t2", "function_urn": "urn:fss:local:p1:function:default:f:latest",
    "invoke_url": "http://127.0.0.1:8320/api/g/two",
}  # fmt: skip


def trigger(**event_data: Any) -> dict[str, Any]:
    return {
        "trigger_id": "t2", "trigger_type_code": "APIG", "trigger_status": "ACTIVE", "event_data": event_data,
        "func_urn": API["function_urn"], "state": None,
    }  # fmt: skip


def test_the_address_of_a_trigger_is_printed_alone(api: Api, fgd: Fgd) -> None:
    api.answer(f"GET {TRIGGERS}", {"triggers": [trigger(name="API_two", invoke_url=API["invoke_url"])]})

    assert (0, API["invoke_url"] + "\n") == ((ran := fgd("triggers", "url", "API_two")).code, ran.out)
    assert {"invoke_url": API["invoke_url"]} == json.loads(fgd("triggers", "url", "t2", "--json").out)


def test_a_trigger_without_an_address_is_wrong_usage(api: Api, fgd: Fgd) -> None:
    api.answer(f"GET {TRIGGERS}", {"triggers": [trigger(name="x")]})
    ran = fgd("triggers", "url", "x")

    assert 2 == ran.code
    assert "has no address" in ran.err


def test_what_is_made_takes_its_options(api: Api, fgd: Fgd) -> None:
    made = {"id": "1", "name": "n", "description": ""}
    for segment in ("groups", "throttles"):
        api.answer(f"POST {APIG}/{segment}", made)
    group = fgd("apig", "groups", "create", "n", "--domains", "a.example,b.example", "--description", "d")
    policy = fgd("apig", "throttles", "create", "n", "--api-limit", "5", "--unit", "DAY", "--interval", "2", "--shared")

    assert [0, 0] == [group.code, policy.code]
    assert {"name": "n", "description": "d", "domains": ["a.example", "b.example"]} == api.sent(f"POST {APIG}/groups")[
        0
    ].json()
    expected = {"name": "n", "interval": 2, "unit": "DAY", "api_limit": 5, "shared": True}
    assert expected == api.sent(f"POST {APIG}/throttles")[0].json()


def test_bind_and_unbind_send_the_whole_list(api: Api, fgd: Fgd) -> None:
    api.answer(f"GET {APIG}/apps/shop", APP)
    api.answer(f"PUT {APIG}/apps/shop", APP)
    api.answer(f"GET {APIG}/apis", {"apis": [API]})
    bound = fgd("apig", "apps", "bind", "shop", "API_two")
    unbound = fgd("apig", "apps", "unbind", "shop", "t1")

    assert [0, 0] == [bound.code, unbound.code]
    assert [{"apis": ["t1", "t2"]}, {"apis": []}] == [one.json() for one in api.sent(f"PUT {APIG}/apps/shop")]


def test_codes_are_made_and_taken_away(api: Api, fgd: Fgd) -> None:
    api.answer(f"POST {APIG}/apps/shop/codes", {"code": "c0de"}, 201)
    api.answer(f"DELETE {APIG}/apps/shop/codes/c0de", b"", 204)

    assert "c0de\n" == fgd("apig", "apps", "code", "shop").out
    assert 0 == fgd("apig", "apps", "delete-code", "shop", "c0de").code


@pytest.mark.parametrize(
    ("words", "route", "answer"),
    [
        (("list",), "apis", {"apis": [API]}),
        (("apps", "list"), "apps", {"apps": [{**APP, "codes": 1}]}),
        (("groups", "list"), "groups", {"groups": [{"id": "g", "name": "n", "description": "", "domains": ["a.b"]}]}),
        (("environments", "list"), "environments", {"environments": [{"id": "e", "name": "n", "description": ""}]}),
    ],
)
def test_lists_are_tables_or_json(
    api: Api, fgd: Fgd, words: tuple[str, ...], route: str, answer: dict[str, Any]
) -> None:
    api.answer(f"GET {APIG}/{route}", answer)
    table = fgd("apig", *words)

    assert 0 == table.code, table.err
    assert str(answer[route][0]["name"]) in table.out
    assert answer == json.loads(fgd("apig", *words, "--json").out)


def test_update_and_delete_name_the_object(api: Api, fgd: Fgd) -> None:
    api.answer(f"PUT {APIG}/throttles/few", {"id": "1", "name": "many"})
    api.answer(f"DELETE {APIG}/throttles/few", b"", 204)
    fgd("apig", "throttles", "update", "few", "--name", "many", "--ip-limit", "3")

    assert {"name": "many", "ip_limit": 3} == api.sent(f"PUT {APIG}/throttles/few")[0].json()
    assert "deleted few\n" == fgd("apig", "throttles", "delete", "few").out
