"""Mounts over the API, as the official SDK and Terraform speak of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkfunctiongraph import v2 as sdk

from fgd.config import parse_config
from tests.api.harness import MINIMAL, PEER, Api, running_api
from tests.api.test_sdk import new_function

SETTINGS = {"region": "testland", "mount_roots": ["data=/srv/data"], "nfs_servers": ["share-1=nas:/export"]}
HOST = {"mount_type": "host", "mount_resource": "data", "local_mount_path": "/data"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("state"), parse_config(dict(SETTINGS))) as running:
        yield running


@pytest.fixture
def client(api: Api) -> Any:
    credentials = BasicCredentials(api.keys["access_key"], api.keys["secret_key"], api.keys["project_id"])
    builder = sdk.FunctionGraphClient.new_builder().with_credentials(credentials)
    return builder.with_endpoint(f"http://127.0.0.1:{api.port}").build()


def test_the_sdk_sets_reads_and_removes_mounts(api: Api, client: Any) -> None:
    config = sdk.MountConfig(
        mount_user=sdk.MountUser(5000, 5001),
        func_mounts=[sdk.FuncMount("sfsTurbo", "share-1", "/logs", "/home/test")],
    )
    created = new_function(client, "sdk-mounts", mount_config=config)
    shown = client.show_function_config(sdk.ShowFunctionConfigRequest(function_urn=created.func_urn)).mount_config

    assert (5000, 5001) == (shown.mount_user.user_id, shown.mount_user.user_group_id)
    assert [("sfsTurbo", "share-1", "/logs", "/home/test")] == [
        (one.mount_type, one.mount_resource, one.mount_share_path, one.local_mount_path) for one in shown.func_mounts
    ]
    body = sdk.UpdateFunctionConfigRequestBody(
        func_name="sdk-mounts", runtime="Python3.12", timeout=3, handler="index.handler", memory_size=128,
        ephemeral_storage=10240, mount_config=sdk.MountConfig(mount_user=config.mount_user, func_mounts=[]),
    )  # fmt: skip
    changed = client.update_function_config(sdk.UpdateFunctionConfigRequest(function_urn=created.func_urn, body=body))

    assert (10240, []) == (changed.ephemeral_storage, changed.mount_config.func_mounts)


def test_the_sdk_sees_why_a_mount_failed(api: Api, client: Any) -> None:
    api.launcher.reasons["/broken"] = "mount /broken: nas:/export: no answer within 10 s"
    config = sdk.MountConfig(func_mounts=[sdk.FuncMount("sfs", "share-1", "", "/broken")])

    with pytest.raises(ClientRequestException) as caught:
        new_function(client, "sdk-broken", mount_config=config)

    assert (412, "FSS.1095") == (caught.value.status_code, caught.value.error_code)
    assert "no answer within 10 s" in caught.value.error_msg
    assert 404 == api.v2("GET", api.of("sdk-broken") + "/config")[0]


def test_terraforms_names_of_the_user_are_understood_and_the_sdks_are_shown(api: Api) -> None:
    api.function("terraform")
    body = {**MINIMAL, "mount_config": {"mount_user": {"mount_user_id": 7, "mount_user_group_id": -1},
                                        "func_mounts": [HOST]}}  # fmt: skip
    status, answer = api.v2("PUT", api.of("terraform") + "/config", {**body, "ephemeral_storage": 0})

    assert 200 == status, answer
    assert {"user_id": 7, "user_group_id": -1} == answer["mount_config"]["mount_user"]
    assert 512 == answer["ephemeral_storage"]
    assert [{**HOST, "mount_share_path": None, "read_only": False, "status": "active"}] == answer["mount_config"][
        "func_mounts"
    ]


def test_ids_of_the_user_are_shown_as_texts_to_those_who_send_texts(api: Api) -> None:
    """As the reference of Open Telekom Cloud has them; all others have numbers."""
    api.function("texts", mount_config={"mount_user": {"user_id": "7", "user_group_id": "-1"}, "func_mounts": [HOST]})
    before = api.v2("GET", api.of("texts") + "/config")[1]["mount_config"]["mount_user"]
    _, other = api.v2("PUT", api.of("texts") + "/config", {"description": "other"})
    numbers = {"mount_config": {"mount_user": {"user_id": 8, "user_group_id": -1}}}
    _, after = api.v2("PUT", api.of("texts") + "/config", numbers)

    assert {"user_id": "7", "user_group_id": "-1"} == before == other["mount_config"]["mount_user"]
    assert {"user_id": 8, "user_group_id": -1} == after["mount_config"]["mount_user"]


def test_what_a_change_leaves_out_stays(api: Api) -> None:
    api.function("stays", mount_config={"mount_user": {"user_id": 8}, "func_mounts": [HOST]})
    revision = api.v2("GET", api.of("stays") + "/config")[1]["image_name"]
    same: list[dict[str, object]] = [
        {}, {"mount_config": None}, {"mount_config": {}}, {"mount_config": {"mount_user": {"user_id": 8}}}
    ]  # fmt: skip
    for body in same:
        status, answer = api.v2("PUT", api.of("stays") + "/config", {"description": "other", **body})

        assert (200, 8, 1) == (
            status,
            answer["mount_config"]["mount_user"]["user_id"],
            len(answer["mount_config"]["func_mounts"]),
        )
        assert revision == answer["image_name"]
    _, answer = api.v2("PUT", api.of("stays") + "/config", {"mount_config": {"mount_user": {"user_id": 9}}})

    assert revision != answer["image_name"]


BAD: list[tuple[object, int, str, str]] = [
    ([], 400, "FSS.0400", "mount_config:"),
    ({"func_mounts": {}}, 400, "FSS.0400", "mount_config.func_mounts:"),
    ({"func_mounts": [1]}, 400, "FSS.0400", "mount_config.func_mounts[0]:"),
    ({"func_mounts": [{}]}, 400, "FSS.1039", "mount_config.func_mounts[0].local_mount_path:"),
    ({"func_mounts": [{**HOST, "mount_type": None}]}, 400, "FSS.0400", "mount_config.func_mounts[0].mount_type:"),
    ({"func_mounts": [{**HOST, "mount_type": "obs"}]}, 400, "FSS.0400", "mount_config.func_mounts[0].mount_type:"),
    ({"func_mounts": [{**HOST, "read_only": 1}]}, 400, "FSS.0400", "mount_config.func_mounts[0].read_only:"),
    ({"func_mounts": [{**HOST, "mount_resource": "/etc"}]}, 404, "FSS.1050", "mount_config.func_mounts[0].mount_"),
    ({"func_mounts": [{**HOST, "local_mount_path": "/tmp/x"}]}, 400, "FSS.1039", "mount_config.func_mounts.local"),
    ({"func_mounts": [{**HOST, "local_mount_path": "/x\0"}]}, 400, "FSS.0400", "mount_config.func_mounts[0].local"),
    ({"func_mounts": [HOST, HOST]}, 400, "FSS.1038", "mount_config.func_mounts[1].local_mount_path:"),
    ({"func_mounts": [HOST] * 6}, 403, "FSS.1049", "mount_config.func_mounts:"),
    ({"mount_user": 5}, 400, "FSS.1075", "mount_config.mount_user:"),
    *(
        ({"mount_user": {"user_id": value}}, 400, "FSS.1075", "mount_config.mount_user.user_id:")
        for value in (
            0,
            1000,
            1002,
            -2,
            65535,
            "0",
            "1000",
            "1002",
            "-2",
            "65535",
            "05",
            " 5",
            "5.0",
            "٥",
            "",
            5.0,
            True,
        )
    ),
    ({"mount_user": {"mount_user_group_id": 0}}, 400, "FSS.1075", "mount_config.mount_user.mount_user_group_id:"),
    ({"mount_user": {"user_id": 5, "mount_user_id": 6}}, 400, "FSS.1075", "mount_config.mount_user:"),
]


@pytest.mark.parametrize(("config", "status", "code", "begins"), BAD, ids=lambda value: str(value)[:50])
def test_bad_mounts_are_refused_and_nothing_is_stored(
    api: Api, config: object, status: int, code: str, begins: str
) -> None:
    got, answer = api.v2("POST", "/functions", {**MINIMAL, "func_name": "refused", "mount_config": config})

    assert (status, code) == (got, answer["error_code"]), answer
    assert answer["error_msg"].startswith(begins), answer
    assert 404 == api.v2("GET", api.of("refused") + "/config")[0]


def test_all_mounts_of_the_node_are_listed_for_administrators(api: Api) -> None:
    api.function("listed", mount_config={"func_mounts": [{**HOST, "local_mount_path": "/listed", "read_only": True}]})
    before = len(api.launcher.tried)
    status, found, _ = api.send("GET", "/fgd/v1/mounts?check=true", headers=PEER)

    assert 200 == status
    assert ["active"] == [one["status"] for one in found["mounts"] if one["func_name"] == "listed"]
    assert len(api.launcher.tried) > before
    assert 400 == api.send("GET", "/fgd/v1/mounts?check=maybe", headers=PEER)[0]
    assert 403 == api.send("GET", "/fgd/v1/mounts")[0]


def test_mounts_survive_a_restart(tmp_path: Path) -> None:
    config = parse_config(dict(SETTINGS))
    with running_api(tmp_path, config) as first:
        first.function("kept", ephemeral_storage=10240, mount_config={"func_mounts": [HOST]})
        project = first.keys["project_id"]
    with running_api(tmp_path, config) as second:
        assert project == second.keys["project_id"]
        shown = second.v2("GET", second.of("kept") + "/config")[1]

    assert (10240, "/data", "unchecked") == (
        shown["ephemeral_storage"],
        shown["mount_config"]["func_mounts"][0]["local_mount_path"],
        shown["mount_config"]["func_mounts"][0]["status"],
    )
