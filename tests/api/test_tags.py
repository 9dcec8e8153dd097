"""Tags over the API: one set for a function however its URN is written, found by, gone with it."""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from huaweicloudsdkfunctiongraph import v2 as sdk

from fgd.config import Config
from fgd.errors import StorageFull
from tests.api.harness import Api, running_api
from tests.api.test_sdk import client, new_function

__all__ = ["client"]


def _path(api: Api, name: str, qualifier: str = "") -> str:
    urn = f"urn:fss:{api.services.config.region}:{api.keys['project_id']}:function:default:{name}{qualifier}"
    return f"/v2/{api.keys['project_id']}/functions/{quote(urn, safe='')}/tags"


def _tags(api: Api, name: str) -> dict[str, str]:
    status, answer, _ = api.send("GET", _path(api, name))
    assert 200 == status, answer
    return {tag["key"]: tag["value"] for tag in answer["tags"]}


def _add(api: Api, name: str, qualifier: str = "", **tags: str) -> tuple[int, Any]:
    body = {"action": "create", "tags": [{"key": key, "value": value} for key, value in tags.items()]}
    return api.send("POST", _path(api, name, qualifier) + "/create", body)[:2]


def test_latest_and_the_short_urn_name_the_same_set(api: Api) -> None:
    """As Terraform does: it sets with one form and takes away with the other."""
    api.function("tagged")

    assert (204, "") == _add(api, "tagged", ":latest", owner="ann", stage="test")
    assert {"owner": "ann", "stage": "test"} == _tags(api, "tagged")
    assert (204, "") == _add(api, "tagged", owner="bob")
    assert {"owner": "bob", "stage": "test"} == _tags(api, "tagged")

    body = {"action": "delete", "tags": [{"key": "owner", "value": "bob"}, {"key": "stage", "value": "other"}]}
    assert (204, "") == api.send("DELETE", _path(api, "tagged") + "/delete", body)[:2]
    assert {"stage": "test"} == _tags(api, "tagged")
    assert 204 == api.send("DELETE", _path(api, "tagged") + "/delete", {"tags": [{"key": "stage"}]})[0]
    assert {} == _tags(api, "tagged")


def test_twenty_is_the_most_and_nothing_is_half_set(api: Api) -> None:
    api.function("full")
    assert 204 == _add(api, "full", **{f"k{number}": "" for number in range(19)})[0]

    status, answer = _add(api, "full", k0="new", one="", two="")
    assert (403, "FSS.0403") == (status, answer["error_code"])
    assert answer["error_msg"].startswith("tags:")
    assert {f"k{number}": "" for number in range(19)} == _tags(api, "full")
    assert 204 == _add(api, "full", k0="new", one="")[0]


def test_a_bad_tag_is_refused_and_nothing_of_the_request_is_set(api: Api) -> None:
    api.function("picky")
    status, answer = _add(api, "picky", good="1", _sys_bad="2")

    assert (400, "FSS.0400") == (status, answer["error_code"])
    assert answer["error_msg"].startswith("tags[1].key:")
    assert {} == _tags(api, "picky")


def test_unknown_functions_and_types_are_not_found(api: Api) -> None:
    assert (404, "FSS.1051") == (_add(api, "nobody", a="1")[0], _add(api, "nobody", a="1")[1]["error_code"])
    project = api.keys["project_id"]
    assert 404 == api.send("GET", f"/v2/{project}/buckets/x/tags")[0]
    assert 404 == api.send("GET", f"/v2/{project}/buckets/tags")[0]


def _create(api: Api, name: str, tags: object) -> tuple[int, Any]:
    source = base64.b64encode(b"x = 1\n").decode()
    body = {"func_name": name, "runtime": "Python3.12", "func_code": {"file": source}, "tags": tags}
    return api.v2("POST", "/functions", body)


def test_a_function_is_created_with_its_tags_or_not_at_all(api: Api) -> None:
    assert 200 == _create(api, "born", json.dumps({"owner": "ann"}))[0]
    assert {"owner": "ann"} == _tags(api, "born")

    status, answer = _create(api, "unborn", "_sys_x=1")
    assert (400, "FSS.0400") == (status, answer["error_code"])
    assert answer["error_msg"].startswith("tags[0].key:")
    assert 404 == api.v2("GET", api.of("unborn") + "/config")[0]

    status, answer = api.v2("PUT", api.of("born") + "/config", {"tags": "a=1"})
    assert (400, "FSS.0400") == (status, answer["error_code"])
    assert answer["error_msg"].startswith("tags:")


def test_a_function_that_could_not_be_stored_leaves_no_tags(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(functions: object) -> None:
        raise StorageFull("catalog.db: the disk is full")

    with running_api(tmp_path, Config()) as broken:
        with monkeypatch.context() as patch:
            patch.setattr(broken.services.functions._catalog, "put_functions", full)
            assert 503 == _create(broken, "lost", "a=1")[0]
        assert 200 == _create(broken, "lost", "")[0]
        assert {} == _tags(broken, "lost")
        assert [] == broken.send("GET", f"/v2/{broken.keys['project_id']}/functions/tags")[1]["tags"]


def test_tags_end_with_their_function(api: Api) -> None:
    _create(api, "again", "a=1")
    assert 204 == api.v2("DELETE", api.of("again"))[0]
    _create(api, "again", "")

    assert {} == _tags(api, "again")


def _search(api: Api, action: str = "filter", **body: object) -> Any:
    status, answer, _ = api.send("POST", f"/v2/{api.keys['project_id']}/functions/resource-instances/{action}", body)
    assert 200 == status, answer
    return answer


def _names(found: Any) -> list[str]:
    return [resource["resource_name"] for resource in found["resources"]]


def test_functions_are_found_by_keys_values_and_names(api: Api) -> None:
    for name, tags in (("find-1", "team=a,env=x"), ("find-2", "team=a,env=y"), ("find-3", "team=b"), ("find-4", "")):
        assert 200 == _create(api, name, tags)[0]
    mine = [{"key": "resource_name", "value": "find-"}]

    assert ["find-1", "find-2"] == _names(_search(api, tags=[{"key": "team", "values": ["a"]}]))
    assert ["find-1"] == _names(_search(api, tags=[{"key": "team", "values": ["a"]}, {"key": "env", "values": ["x"]}]))
    assert ["find-1", "find-2", "find-3"] == _names(_search(api, tags=[{"key": "team", "values": ["a", "b"]}]))
    assert ["find-1", "find-2"] == _names(_search(api, tags=[{"key": "env", "values": []}]))
    assert ["find-4"] == _names(_search(api, without_any_tag=True, matches=mine))
    assert ["find-2"] == _names(_search(api, matches=[*mine, {"key": "resource_name", "value": "-2"}]))
    assert ["find-2", "find-3"] == _names(_search(api, matches=mine, limit="2", offset="1"))
    assert {"total_count": 4} == _search(api, "count", matches=mine)
    assert 4 == _search(api, matches=mine, limit=1)["total_count"]
    found = _search(api, tags=[{"key": "team", "values": ["b"]}])["resources"][0]
    assert found["resource_detail"] == {"detailId": found["resource_id"]}
    assert found["tags"] == [{"key": "team", "value": "b"}]
    assert found["sys_tags"] == [{"key": "_sys_enterprise_project_id", "value": "0"}]


def test_the_enterprise_project_is_a_tag_of_the_platform(api: Api) -> None:
    api.function("enterprise", enterprise_project_id="e-1")
    wanted = {"key": "_sys_enterprise_project_id", "values": ["e-1"]}

    assert ["enterprise"] == _names(_search(api, sys_tags=[wanted]))


def test_all_keys_of_the_project_with_all_their_values(api: Api) -> None:
    _create(api, "listed-1", "shade=light")
    _create(api, "listed-2", "shade=dark")
    _, answer, _ = api.send("GET", f"/v2/{api.keys['project_id']}/functions/tags")

    assert {"key": "shade", "values": ["dark", "light"]} in answer["tags"]
    assert ["_sys_enterprise_project_id"] == [tag["key"] for tag in answer["sys_tags"]]
    assert "0" in answer["sys_tags"][0]["values"]


def test_the_sdk_sets_lists_finds_and_takes_away(client: Any) -> None:
    urn = new_function(client, "sdk-tags").func_urn
    tag = sdk.KvItem(key="sdk", value="yes")
    body = sdk.UpdateFunctionTagsRequestBody(action="create", tags=[tag])
    created = client.create_tags(sdk.CreateTagsRequest(resource_type="functions", resource_id=urn, body=body))
    listed = client.list_function_tags(sdk.ListFunctionTagsRequest(resource_type="functions", resource_id=urn))
    everything = client.show_project_tags_list(sdk.ShowProjectTagsListRequest(resource_type="functions"))
    assert 204 == created.status_code
    assert [("sdk", "yes")] == [(one.key, one.value) for one in listed.tags]
    assert "sdk" in [one.key for one in everything.tags]

    search = sdk.ListEnterpriseResourceRequestBody(
        without_any_tag=False, limit="10", offset="0", action="filter",
        matches=[sdk.KvItem(key="resource_name", value="sdk-tags")],
    )  # fmt: skip
    found = client.show_res_instance_info(
        sdk.ShowResInstanceInfoRequest(resource_type="functions", action="filter", body=search)
    )
    assert (1, [urn]) == (found.total_count, [one.resource_id for one in found.resources])

    body = sdk.UpdateFunctionTagsRequestBody(action="delete", tags=[tag])
    client.delete_tags(
        sdk.DeleteTagsRequest(resource_type="functions", resource_id=urn.removesuffix(":latest"), body=body)
    )
    listed = client.list_function_tags(sdk.ListFunctionTagsRequest(resource_type="functions", resource_id=urn))
    assert [] == listed.tags


@pytest.mark.slow
def test_tags_are_there_after_a_restart(tmp_path: Path) -> None:
    with running_api(tmp_path, Config()) as first:
        _create(first, "kept", "a=1")
        assert 204 == _add(first, "kept", b="2")[0]
        keys = first.keys
    with running_api(tmp_path, Config()) as second:
        second.keys = keys

        assert {"a": "1", "b": "2"} == _tags(second, "kept")
