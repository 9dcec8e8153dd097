"""Every rule has its code, a message that begins with the field's name, and leaves nothing behind."""

import base64
import json

import pytest

from tests.api.harness import MINIMAL, Api
from tests.api.test_functions import packed


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


CREATE = [
    ({"func_name": ""}, 400, "FSS.1002", "func_name"),
    ({"func_name": "1st"}, 400, "FSS.1002", "func_name"),
    ({"func_name": "ends-"}, 400, "FSS.1002", "func_name"),
    ({"func_name": "a" * 61}, 400, "FSS.1002", "func_name"),
    ({"func_name": "with.dot"}, 400, "FSS.1002", "func_name"),
    ({"func_name": "line\n"}, 400, "FSS.1002", "func_name"),
    ({"func_name": 7}, 400, "FSS.1002", "func_name"),
    ({"func_name": None}, 400, "FSS.1002", "func_name"),
    ({"package": "no spaces"}, 400, "FSS.1004", "package"),
    ({"package": ["x"]}, 400, "FSS.1004", "package"),
    ({"runtime": None}, 400, "FSS.1005", "runtime"),
    ({"runtime": "python3.12"}, 400, "FSS.1005", "runtime"),
    ({"runtime": {}}, 400, "FSS.1005", "runtime"),
    ({"runtime": "Python2.7"}, 400, "FSS.1005", "runtime"),
    ({"runtime": "Node.js18.15"}, 501, "FSS.0501", "runtime"),
    ({"handler": "x"}, 400, "FSS.1003", "handler"),
    ({"handler": "nodot"}, 400, "FSS.1003", "handler"),
    ({"handler": "../up.handler"}, 400, "FSS.1003", "handler"),
    ({"handler": "/abs.handler"}, 400, "FSS.1003", "handler"),
    ({"handler": "index.9lives"}, 400, "FSS.1003", "handler"),
    ({"handler": "index." + "h" * 130}, 400, "FSS.1003", "handler"),
    ({"handler": 5}, 400, "FSS.1003", "handler"),
    ({"timeout": 2}, 400, "FSS.1008", "timeout"),
    ({"timeout": 259201}, 400, "FSS.1008", "timeout"),
    ({"timeout": "3"}, 400, "FSS.1008", "timeout"),
    ({"timeout": True}, 400, "FSS.1008", "timeout"),
    ({"timeout": 3.5}, 400, "FSS.1008", "timeout"),
    ({"memory_size": 100}, 400, "FSS.1007", "memory_size"),
    ({"memory_size": "128"}, 400, "FSS.1007", "memory_size"),
    ({"memory_size": -128}, 400, "FSS.1007", "memory_size"),
    ({"memory_size": 10**30}, 400, "FSS.1007", "memory_size"),
    ({"description": "d" * 513}, 400, "FSS.1019", "description"),
    ({"description": 1}, 400, "FSS.0400", "description"),
    ({"code_type": "tar"}, 400, "FSS.1006", "code_type"),
    ({"code_type": 1}, 400, "FSS.1006", "code_type"),
    ({"code_type": "obs", "code_url": "https://bucket/x.zip"}, 400, "FSS.1010", "code_url"),
    ({"code_type": "jar"}, 501, "FSS.0501", "code_type"),
    ({"code_type": "zip", "func_code": None}, 400, "FSS.1012", "func_code.file"),
    ({"code_type": "zip", "func_code": {"file": b64(b"not a zip")}}, 400, "FSS.1011", "func_code.file"),
    ({"code_type": "zip", "func_code": {"file": b64(b"PK\x03\x04junk")}}, 400, "FSS.1011", "func_code.file"),
    ({"code_type": "zip", "func_code": {"file": packed(**{"../evil__py": "x"})}}, 400, "FSS.1011", "func_code.file"),
    ({"code_type": "zip", "code_filename": "x.tar"}, 400, "FSS.1013", "code_filename"),
    ({"code_filename": "../x.zip"}, 400, "FSS.1013", "code_filename"),
    ({"func_code": "ZA=="}, 400, "FSS.1011", "func_code"),
    ({"func_code": {"file": "!!!"}}, 400, "FSS.1011", "func_code.file"),
    ({"func_code": {"file": "ZA="}}, 400, "FSS.1011", "func_code.file"),
    ({"func_code": {"file": "Zé=="}}, 400, "FSS.1011", "func_code.file"),
    ({"func_code": {"file": 1}}, 400, "FSS.1011", "func_code.file"),
    ({"func_code": {"link": "https://x"}}, 501, "FSS.0501", "func_code.link"),
    ({"func_code": {"file": b64(b"#" * 10241)}}, 413, "FSS.1072", "func_code.file"),
    ({"user_data": {"a": "1"}}, 400, "FSS.1009", "user_data"),
    ({"user_data": "nonsense"}, 400, "FSS.1009", "user_data"),
    ({"user_data": "[]"}, 400, "FSS.1009", "user_data"),
    ({"user_data": '{"a":1}'}, 400, "FSS.1009", "user_data"),
    ({"user_data": '{"9a":"1"}'}, 400, "FSS.1009", "user_data"),
    ({"user_data": '{"a-b":"1"}'}, 400, "FSS.1009", "user_data"),
    ({"user_data": '{"":"1"}'}, 400, "FSS.1009", "user_data"),
    ({"user_data": '{"RUNTIME_TIMEOUT":"1"}'}, 400, "FSS.1009", "user_data"),
    ({"user_data": '{"a":"\\u0000"}'}, 400, "FSS.1009", "user_data"),
    ({"user_data": json.dumps({f"k{n}": "" for n in range(21)})}, 400, "FSS.1017", "user_data"),
    ({"user_data": json.dumps({"k": "v" * 4096})}, 400, "FSS.1018", "user_data"),
    ({"encrypted_user_data": '{"RUNTIME_CPU":"1"}'}, 400, "FSS.1009", "encrypted_user_data"),
    ({"user_data": '{"a":"1"}', "encrypted_user_data": '{"a":"2"}'}, 400, "FSS.1009", "encrypted_user_data"),
    ({"initializer_handler": "index.init"}, 400, "FSS.1405", "initializer_timeout"),
    ({"initializer_handler": "index.init", "initializer_timeout": 301}, 400, "FSS.1405", "initializer_timeout"),
    ({"initializer_handler": "other.init", "initializer_timeout": 3}, 400, "FSS.1404", "initializer_handler"),
    ({"initializer_handler": "init", "initializer_timeout": 3}, 400, "FSS.1404", "initializer_handler"),
    ({"initializer_handler": "index." + "i" * 128, "initializer_timeout": 3}, 400, "FSS.1404", "initializer_handler"),
    ({"strategy_config": {"concurrency": 1001}}, 400, "FSS.1026", "strategy_config.concurrency"),
    ({"strategy_config": {"concurrency": -2}}, 400, "FSS.1026", "strategy_config.concurrency"),
    ({"strategy_config": {"concurrency": "1"}}, 400, "FSS.1026", "strategy_config.concurrency"),
    ({"strategy_config": {"concurrent_num": 0}}, 400, "FSS.1026", "strategy_config.concurrent_num"),
    ({"strategy_config": {"concurrent_num": 1001}}, 400, "FSS.1026", "strategy_config.concurrent_num"),
    ({"strategy_config": []}, 400, "FSS.1026", "strategy_config"),
    ({"func_vpc": {"vpc_id": "v", "subnet_id": "s"}}, 400, "FSS.1036", "func_vpc.vpc_id"),
    ({"depend_version_list": ["id"]}, 404, "FSS.1056", "depend_version_list"),
    ({"custom_image": {"enabled": True, "image": "x"}}, 501, "FSS.0501", "custom_image"),
    ({"enable_dynamic_memory": "yes"}, 400, "FSS.0400", "enable_dynamic_memory"),
    (
        {"network_controller": {"trigger_access_vpcs": [{"vpc_id": "v"}]}},
        400,
        "FSS.1036",
        "network_controller.trigger_access_vpcs.vpc_id",
    ),
    ({"pre_stop_handler": "stop"}, 400, "FSS.0400", "pre_stop_handler"),
    ({"pre_stop_handler": "index." + "x" * 123}, 400, "FSS.0400", "pre_stop_handler"),
    ({"pre_stop_handler": "index.stop", "pre_stop_timeout": 91}, 400, "FSS.0400", "pre_stop_timeout"),
    ({"pre_stop_handler": "index.stop", "pre_stop_timeout": False}, 400, "FSS.0400", "pre_stop_timeout"),
    ({"log_config": {"group_id": "g"}}, 400, "FSS.0400", "log_config.stream_id"),
    ({"ephemeral_storage": True}, 400, "FSS.0400", "ephemeral_storage"),
    ({"ephemeral_storage": 600}, 400, "FSS.0400", "ephemeral_storage"),
    ({"xrole": 5}, 400, "FSS.0400", "xrole"),
    ({"type": "v3"}, 400, "FSS.0400", "type"),
    ({"lts_custom_tag": {"a": 1}}, 400, "FSS.0400", "lts_custom_tag"),
]


@pytest.mark.parametrize(("fields", "status", "code", "field"), CREATE, ids=lambda value: str(value)[:40])
def test_create_refuses(api: Api, fields: dict[str, object], status: int, code: str, field: str) -> None:
    before = api.directory.generation
    got, answer = api.v2("POST", "/functions", {**MINIMAL, "func_name": "refused", **fields})

    assert (status, code) == (got, answer["error_code"]), answer
    assert answer["error_msg"].startswith(field + ":"), answer
    assert before == api.directory.generation


UPDATE = [
    ({"func_name": "other"}, 400, "FSS.1002", "func_name"),
    ({"package": "other"}, 400, "FSS.1004", "package"),
    ({"runtime": "Python3.9"}, 400, "FSS.1005", "runtime"),
    ({"handler": "moved.handler"}, 400, "FSS.1404", "initializer_handler"),
    ({"initializer_timeout": 0}, 400, "FSS.1405", "initializer_timeout"),
    ({"timeout": 0}, 400, "FSS.1008", "timeout"),
    ({"memory_size": 129}, 400, "FSS.1007", "memory_size"),
    ({"user_data": '{"secret":"1"}'}, 400, "FSS.1009", "encrypted_user_data"),
    ({"user_data": json.dumps({"k": "v" * 4090})}, 400, "FSS.1018", "user_data"),
    ({"heartbeat_handler": "beat"}, 400, "FSS.0400", "heartbeat_handler"),
    ({"heartbeat_handler": "index." + "x" * 123}, 400, "FSS.0400", "heartbeat_handler"),
    ({"heartbeat_handler": "other.beat"}, 400, "FSS.0400", "heartbeat_handler"),
    ({"heartbeat_handler": 1}, 400, "FSS.0400", "heartbeat_handler"),
    ({"pre_stop_timeout": -1}, 400, "FSS.0400", "pre_stop_timeout"),
    ({"peering_cidr": "10.0.0.0/8"}, 400, "FSS.0400", "peering_cidr"),
]


@pytest.mark.parametrize(("fields", "status", "code", "field"), UPDATE, ids=lambda value: str(value)[:40])
def test_update_refuses_and_changes_nothing(
    api: Api, fields: dict[str, object], status: int, code: str, field: str
) -> None:
    if api.v2("GET", api.of("settled") + "/config")[0] == 404:
        api.function(
            "settled",
            initializer_handler="index.init",
            initializer_timeout=9,
            encrypted_user_data='{"secret":"shh"}',
        )
    before = api.v2("GET", api.of("settled") + "/config")[1]
    got, answer = api.v2("PUT", api.of("settled") + "/config", {"description": "half applied", **fields})

    assert (status, code) == (got, answer["error_code"]), answer
    assert answer["error_msg"].startswith(field + ":"), answer
    assert before == api.v2("GET", api.of("settled") + "/config")[1]


def test_a_broken_archive_leaves_the_code_as_it_was(api: Api) -> None:
    created = api.function("whole")
    status, answer = api.v2(
        "PUT", api.of("whole") + "/code", {"code_type": "zip", "func_code": {"file": b64(b"PK\x03\x04oops")}}
    )

    assert (400, "FSS.1011") == (status, answer["error_code"])
    assert created["digest"] == api.v2("GET", api.of("whole") + "/config")[1]["digest"]


@pytest.mark.parametrize("value", [-2, 1001, "5", 2.5, None, True])
def test_max_instance_refuses(api: Api, value: object) -> None:
    if api.v2("GET", api.of("limited") + "/config")[0] == 404:
        api.function("limited")
    status, answer = api.v2("PUT", api.of("limited") + "/config-max-instance", {"max_instance_num": value})

    assert (400, "FSS.1026") == (status, answer["error_code"])
    assert answer["error_msg"].startswith("max_instance_num:")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 406, "FSS.0406"),
        (b"{", 406, "FSS.0406"),
        (b"\xff\xfe", 406, "FSS.0406"),
        (b'{"func_name": "\xff"}', 406, "FSS.0406"),
        (b'{"a":1} trailing', 406, "FSS.0406"),
        (b"[" * 100_000, 406, "FSS.0406"),
        (b"[]", 400, "FSS.0400"),
        (b'"text"', 400, "FSS.0400"),
        (b"null", 400, "FSS.0400"),
    ],
)
def test_malformed_bodies(api: Api, body: bytes, status: int, code: str) -> None:
    got, answer = api.v2("POST", "/functions", body)

    assert (status, code) == (got, answer["error_code"]), answer
    assert answer["error_msg"].startswith("body:")


@pytest.mark.parametrize(
    "query", ["maxitems=-1", "marker=-1", "maxitems=x", "marker=1e3", "marker=%FF", "marker=99999999999"]
)
def test_bad_paging(api: Api, query: str) -> None:
    status, answer = api.v2("GET", f"/functions?{query}")

    assert (400, "FSS.1001") == (status, answer["error_code"])


@pytest.mark.parametrize("urn", ["a:b:c:d:e", "urn:fss:x", "%20", "a%00b", "x" * 300, "urn:other:r:p:function:d:n"])
def test_bad_urns(api: Api, urn: str) -> None:
    status, answer = api.v2("GET", f"/functions/{urn}/config")

    assert (400, "FSS.1309") == (status, answer["error_code"])
    assert answer["error_msg"].startswith("function_urn:")
