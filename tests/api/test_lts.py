"""Log groups and streams through the API: made, filled, read, chosen by functions, and what is refused."""

import base64
import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from fgd.testing.host import eventually
from tests.api.harness import PEER, PROJECT, Api

GROUPS = f"/v2/{PROJECT}/groups"
DEFAULT = {"group_name": f"functiongraph.log.group.{PROJECT[:8]}", "group_id": PROJECT}


def make_group(api: Api, name: str, **fields: object) -> str:
    status, made, _ = api.send("POST", GROUPS, {"log_group_name": name, "ttl_in_days": 7, **fields})
    assert 201 == status, made
    return str(made["log_group_id"])


def make_stream(api: Api, group_id: str, name: str = "lines") -> str:
    status, made, _ = api.send("POST", f"{GROUPS}/{group_id}/streams", {"log_stream_name": name})
    assert 201 == status, made
    return str(made["log_stream_id"])


def lines_path(stream_id: str) -> str:
    return f"/fgd/v1/projects/{PROJECT}/log-streams/{stream_id}/lines"


def texts(api: Api, stream_id: str, query: str = "") -> list[str]:
    status, answer, _ = api.send("GET", lines_path(stream_id) + query)
    assert 200 == status, answer
    return [one["message"] for one in answer["lines"]]


def test_groups_and_streams_are_made_listed_changed_and_deleted(api: Api) -> None:
    group_id = make_group(api, "shop")
    stream_id = make_stream(api, group_id, "orders")
    changed = api.send("POST", f"{GROUPS}/{group_id}", {"ttl_in_days": 3})[1]
    groups = {one["log_group_id"]: one for one in api.send("GET", GROUPS)[1]["log_groups"]}
    streams = api.send("GET", f"{GROUPS}/{group_id}/streams")[1]["log_streams"]

    assert ("shop", 3) == (changed["log_group_name"], changed["ttl_in_days"])
    assert changed == groups[group_id]
    assert DEFAULT["group_name"] == groups[PROJECT]["log_group_name"]
    assert [("orders", stream_id)] == [(one["log_stream_name"], one["log_stream_id"]) for one in streams]
    assert 204 == api.send("DELETE", f"{GROUPS}/{group_id}/streams/{stream_id}")[0]
    assert (404, "FSS.1161") == _refusal(api.send("GET", lines_path(stream_id)))
    assert 204 == api.send("DELETE", f"{GROUPS}/{group_id}")[0]
    assert (404, "FSS.1161") == _refusal(api.send("GET", f"{GROUPS}/{group_id}/streams"))


def _refusal(answer: tuple[int, Any, object]) -> tuple[int, str]:
    return answer[0], answer[1]["error_code"]


@pytest.mark.parametrize(
    ("body", "status", "begins"),
    [
        ({}, 400, "log_group_name: "),
        ({"log_group_name": "a b"}, 400, "log_group_name: "),
        ({"log_group_name": "functiongraph.log.group.x"}, 400, "log_group_name: "),
        ({"log_group_name": "days", "ttl_in_days": 0}, 400, "ttl_in_days: "),
        ({"log_group_name": "days", "ttl_in_days": 366}, 400, "ttl_in_days: "),
        ({"log_group_name": "twice"}, 409, "log_group_name: "),
    ],
)
def test_a_group_that_cannot_be_is_refused(api: Api, body: dict[str, object], status: int, begins: str) -> None:
    if body.get("log_group_name") == "twice":
        make_group(api, "twice")
    answer = api.send("POST", GROUPS, body)

    assert status == answer[0]
    assert answer[1]["error_msg"].startswith(begins)


def test_lines_come_in_every_form_and_go_out_in_order(api: Api) -> None:
    stream_id = make_stream(api, group_id := make_group(api, "forms"))
    path = lines_path(stream_id)
    contents = f"/v2/{PROJECT}/lts/groups/{group_id}/streams/{stream_id}/tenant/contents"
    api.send("POST", path, ["one", {"message": "two", "time": 5, "host_name": "h", "ip": "192.0.2.1", "path": "/l"}])
    api.send("POST", path, b"three\nfour\n")
    api.send("POST", path, gzip.compress(b'["five"]'))
    api.send("POST", contents, {"log_time_ns": 6_000_000_000, "contents": ["six", {"log": "7", "log_time_ns": 10**6}]})
    answer = api.send("GET", f"{path}?after=0&limit=2")[1]
    rest = api.send("GET", f"{path}?after={answer['cursor']}")[1]

    assert ["one", "two"] == [one["message"] for one in answer["lines"]]
    second = {name: answer["lines"][1][name] for name in ("time", "host_name", "ip", "path")}
    assert {"time": 5, "host_name": "h", "ip": "192.0.2.1", "path": "/l"} == second
    assert ["three", "four", "five", "six", "7"] == [one["message"] for one in rest["lines"]]
    assert [6000, 1] == [one["time"] for one in rest["lines"][-2:]]
    assert [] == api.send("GET", f"{path}?after={rest['cursor']}")[1]["lines"]
    assert ["six", "7"] == texts(api, stream_id, "?limit=2"), "without a cursor the newest"


@pytest.mark.parametrize(
    ("body", "status", "begins"),
    [
        (b"[1]", 400, "body: "),
        (b'[{"time": 1}]', 400, "body: "),
        (b'[{"message": "x", "time": -1}]', 400, "body[0].time: "),
        (json.dumps([{"message": "x", "path": "p" * 257}]).encode(), 400, "body[0].path: "),
        (json.dumps(["x" * 524_289]).encode(), 400, "body[0]: "),
        (json.dumps(["x"] * 50_001).encode(), 400, "body: "),
        (b"\x1f\x8bnothing", 400, "body: "),
        (gzip.compress(b"x" * (8 * 2**20 + 1)), 413, "body: "),
    ],
)
def test_lines_that_cannot_be_are_refused_and_nothing_of_them_is_kept(
    api: Api, body: bytes, status: int, begins: str
) -> None:
    name = f"refused-{hash(body) % 10**9}"
    stream_id = make_stream(api, make_group(api, name))
    answer = api.send("POST", lines_path(stream_id), body)

    assert status == answer[0]
    assert answer[1]["error_msg"].startswith(begins)
    assert [] == texts(api, stream_id)


def test_a_function_chooses_its_stream_and_says_so(api: Api) -> None:
    stream_id = make_stream(api, group_id := make_group(api, "chosen"), "mine")
    wanted = {"group_name": "chosen", "group_id": group_id, "stream_name": "mine", "stream_id": stream_id}
    made = api.function("choosing", log_config={"group_id": group_id, "stream_id": stream_id})
    detail = api.v2("GET", f"{api.of('choosing')}/lts-log-detail")[1]
    in_use = api.send("DELETE", f"{GROUPS}/{group_id}")
    kept = configure(api, "choosing", description="still there")
    back = configure(api, "choosing", log_config={"group_id": "", "stream_id": ""})

    assert wanted == made["log_config"] == detail == kept["log_config"]
    assert (group_id, stream_id) == (made["log_group_id"], made["log_stream_id"])
    assert (409, "FSS.0409") == _refusal(in_use)
    assert "choosing" in in_use[1]["error_msg"]
    assert (None, made["func_id"]) == (back["log_config"], back["log_stream_id"])
    own = api.v2("GET", f"{api.of('choosing')}/lts-log-detail")[1]
    assert {**DEFAULT, "stream_name": f"choosing-{made['func_id'][:8]}", "stream_id": made["func_id"]} == own
    assert 204 == api.send("DELETE", f"{GROUPS}/{group_id}")[0]


def configure(api: Api, name: str, **fields: object) -> dict[str, Any]:
    body = {"runtime": "Python3.12", "handler": "index.handler", "timeout": 3, "memory_size": 128, **fields}
    status, answer = api.v2("PUT", f"{api.of(name)}/config", body)
    assert 200 == status, answer
    return dict(answer)


@pytest.mark.parametrize(
    ("config", "status", "begins"),
    [
        ("text", 400, "log_config: "),
        ({"group_id": "G"}, 400, "log_config.stream_id: "),
        ({"stream_id": "S"}, 400, "log_config.group_id: "),
        ({"group_id": "nothing", "stream_id": "S"}, 404, "log_config.group_id: "),
        ({"group_id": "G", "stream_id": "nothing"}, 404, "log_config.stream_id: "),
        ({"group_id": PROJECT, "stream_id": "S"}, 400, "log_config.group_id: "),
        ({"group_id": "G", "stream_id": "S", "group_name": "other"}, 400, "log_config.group_name: "),
        ({"group_id": "G", "stream_id": 5}, 400, "log_config.stream_id: "),
    ],
)
def test_a_log_config_that_cannot_be_is_refused(api: Api, config: Any, status: int, begins: str) -> None:
    name = f"log-{abs(hash(str(config))) % 10**6}"
    group_id = make_group(api, name)
    real = {"G": group_id, "S": make_stream(api, group_id)}
    if isinstance(config, dict):
        config = {field: real.get(value, value) for field, value in config.items()}
    body = {
        "func_name": name, "runtime": "Python3.12", "handler": "index.handler", "timeout": 3, "memory_size": 128,
        "code_type": "inline", "func_code": {"file": base64.b64encode(b"pass").decode()}, "log_config": config,
    }  # fmt: skip
    answer = api.v2("POST", "/functions", body)

    assert status == answer[0]
    assert answer[1]["error_msg"].startswith(begins)


def trigger(api: Api, name: str, group_id: str, stream_id: str, **settings: object) -> tuple[int, Any]:
    urn = f"urn:fss:testland:{PROJECT}:function:default:{name}:latest"
    data = {"log_group_id": group_id, "log_topic_id": stream_id, "batch_interval_ms": 20, **settings}
    return api.v2("POST", f"/triggers/{urn}", {"trigger_type_code": "LTS", "event_data": data})


def decoded(event: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(base64.b64decode(event["lts"]["data"]))
    return document


def test_a_trigger_hands_over_what_comes_after_it(api: Api) -> None:
    stream_id = make_stream(api, group_id := make_group(api, "fed"))
    api.function("fed")
    api.send("POST", lines_path(stream_id), ["before"])
    status, made = trigger(api, "fed", group_id, stream_id)
    assert 201 == status, made
    api.send("POST", lines_path(stream_id), ["after"])
    door = api.doors[made["trigger_id"]]

    assert eventually(lambda: len(door.events) == 1, 5)
    document = decoded(door.events[0].event)
    [line] = json.loads(document["logs"])
    assert ("after", stream_id, group_id, PROJECT) == (
        line["message"], document["log_topic_id"], document["log_group_id"], document["owner"]
    )  # fmt: skip
    in_use = api.send("DELETE", f"{GROUPS}/{group_id}/streams/{stream_id}")
    assert (409, "FSS.0409") == _refusal(in_use)


def test_a_function_that_would_invoke_itself_is_refused(api: Api) -> None:
    group_id = make_group(api, "loops")
    first, second = make_stream(api, group_id, "first"), make_stream(api, group_id, "second")
    made = api.function("loop-a", log_config={"group_id": group_id, "stream_id": first})
    api.function("loop-b", log_config={"group_id": group_id, "stream_id": second})
    api.function("loop-c")

    refused: list[Callable[[], tuple[int, Any]]] = [
        lambda: trigger(api, "loop-a", group_id, first),
        lambda: trigger(api, "loop-a", PROJECT, made["func_id"]),
        lambda: trigger(api, "loop-a", group_id, second),
    ]
    assert [(400, "FSS.1110")] * 2 == [(one[0], one[1]["error_code"]) for one in (refused[0](), refused[1]())]
    assert 201 == trigger(api, "loop-b", group_id, first)[0]
    by_way_of_b = refused[2]()
    assert (400, "FSS.1110") == (by_way_of_b[0], by_way_of_b[1]["error_code"])
    assert 201 == trigger(api, "loop-c", group_id, second)[0]
    body = {
        "runtime": "Python3.12", "handler": "index.handler", "timeout": 3, "memory_size": 128,
        "log_config": {"group_id": group_id, "stream_id": first},
    }  # fmt: skip
    closing = api.v2("PUT", f"{api.of('loop-c')}/config", body)
    assert (400, "FSS.1110") == (closing[0], closing[1]["error_code"])


def test_a_trigger_on_nothing_is_refused(api: Api) -> None:
    api.function("nothing")
    group_id = make_group(api, "nothing")
    wrong = [trigger(api, "nothing", "g", "s"), trigger(api, "nothing", group_id, "s")]
    bad = trigger(api, "nothing", group_id, "s", batch_size=0)

    assert [(404, "FSS.1161")] * 2 == [(one[0], one[1]["error_code"]) for one in wrong]
    assert (400, "FSS.1110") == (bad[0], bad[1]["error_code"])
    stream_id = make_stream(api, group_id)
    assert 201 == trigger(api, "nothing", group_id, stream_id)[0]
    again = trigger(api, "nothing", group_id, stream_id)
    assert (409, "FSS.1149") == (again[0], again[1]["error_code"])


def test_another_project_sees_nothing(api: Api) -> None:
    stream_id = make_stream(api, group_id := make_group(api, "private"))
    other = "f" * 32
    listed = api.send("GET", f"/v2/{other}/groups", headers=PEER)[1]["log_groups"]
    read = api.send("GET", f"/fgd/v1/projects/{other}/log-streams/{stream_id}/lines", headers=PEER)
    streams = api.send("GET", f"/v2/{other}/groups/{group_id}/streams", headers=PEER)

    assert [other] == [one["log_group_id"] for one in listed]
    assert [(404, "FSS.1161")] * 2 == [_refusal(read), _refusal(streams)]
    assert 403 == api.send("GET", f"/v2/{other}/groups")[0]
