"""Test events, their templates, and functions tried with them."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkfunctiongraph import v2 as sdk

from fgd.call import Outcome
from fgd.config import Config
from tests.api.harness import Api, running_api
from tests.api.test_sdk import client, new_function

__all__ = ["client"]


def b64(value: object) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def _create(api: Api, function: str, name: object, content: object) -> tuple[int, Any]:
    return api.v2("POST", api.of(function) + "/events", {"name": name, "content": content})


def _list(api: Api, function: str) -> list[str]:
    return [event["name"] for event in api.v2("GET", api.of(function) + "/events")[1]["events"]]


def test_an_event_lives_and_dies(api: Api) -> None:
    api.function("events")
    status, made = _create(api, "events", "first-1", b64({"a": 1}))
    assert (200, "first-1") == (status, made["name"])
    one = f"{api.of('events')}/events/{made['id']}"

    shown = api.v2("GET", one)[1]
    assert (made["id"], "first-1", b64({"a": 1})) == (shown["id"], shown["name"], shown["content"])
    assert type(shown["last_modified"]) is int
    listed = api.v2("GET", api.of("events") + "/events")[1]
    assert (1, 1) == (listed["count"], listed["next_marker"])
    assert {"id", "name", "last_modified"} == set(listed["events"][0])

    assert (200, {"id": made["id"], "name": "first-1"}) == api.v2("PUT", one, {"content": b64([])})
    assert b64([]) == api.v2("GET", one)[1]["content"]
    assert (204, "") == api.v2("DELETE", one)
    assert (404, "FSS.1070") == (api.v2("GET", one)[0], api.v2("GET", one)[1]["error_code"])
    assert (404, "FSS.1070") == (api.v2("DELETE", one)[0], api.v2("DELETE", one)[1]["error_code"])


@pytest.mark.parametrize(
    ("name", "content", "status", "code", "field"),
    [
        ("", b64(1), 400, "FSS.1074", "name"),
        ("1st", b64(1), 400, "FSS.1074", "name"),
        ("ends-", b64(1), 400, "FSS.1074", "name"),
        ("a" * 26, b64(1), 400, "FSS.1074", "name"),
        ("with.dot", b64(1), 400, "FSS.1074", "name"),
        ("line\n", b64(1), 400, "FSS.1074", "name"),
        (None, b64(1), 400, "FSS.1074", "name"),
        (7, b64(1), 400, "FSS.1074", "name"),
        ("good", None, 400, "FSS.1074", "content"),
        ("good", "", 400, "FSS.1074", "content"),
        ("good", {"a": 1}, 400, "FSS.1074", "content"),
        ("good", "!!!", 400, "FSS.1074", "content"),
        ("good", "é", 400, "FSS.1074", "content"),
        ("good", base64.b64encode(b"{not json").decode(), 400, "FSS.1074", "content"),
        ("good", base64.b64encode(b'"\xff"').decode(), 400, "FSS.1074", "content"),
        ("good", base64.b64encode(b"[" * 4000).decode(), 400, "FSS.1074", "content"),
        ("good", b64("x" * 4095), 403, "FSS.1069", "content"),
        ("good", "A" * 100_000, 403, "FSS.1069", "content"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_bad_event_is_refused_by_name(
    api: Api, name: object, content: object, status: int, code: str, field: str
) -> None:
    if api.v2("GET", api.of("refusing") + "/config")[0] == 404:
        api.function("refusing")
    got, answer = _create(api, "refusing", name, content)

    assert (status, code) == (got, answer["error_code"]), answer
    assert answer["error_msg"].startswith(field + ":"), answer
    assert [] == _list(api, "refusing")


def test_four_kilobytes_are_possible(api: Api) -> None:
    api.function("large")

    assert 200 == _create(api, "large", "a", b64("x" * 4094))[0]
    assert 200 == _create(api, "large", "a" * 25, base64.b64encode(b"1\n").decode() + "\n")[0]


def test_ten_are_the_most_and_a_name_is_taken_once(api: Api) -> None:
    api.function("ten")
    for number in range(10):
        assert 200 == _create(api, "ten", f"e{number}", b64(number))[0]
        if not number:
            status, answer = _create(api, "ten", "e0", b64(0))
            assert (403, "FSS.1073") == (status, answer["error_code"])

    status, answer = _create(api, "ten", "eleventh", b64(11))
    assert (403, "FSS.1068") == (status, answer["error_code"])
    assert answer["error_msg"].startswith("name:")


def test_ten_are_the_most_at_the_same_time_too(api: Api) -> None:
    api.function("crowd")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda number: _create(api, "crowd", f"e{number}", b64(number))[0], range(24)))

    assert 10 == answers.count(200) == len(_list(api, "crowd"))
    assert 14 == answers.count(403)


def test_an_event_can_be_renamed_but_not_to_a_name_that_is_taken(api: Api) -> None:
    api.function("renaming")
    _create(api, "renaming", "one", b64(1))
    _create(api, "renaming", "two", b64(2))
    path = api.of("renaming") + "/events/one"

    status, answer = api.v2("PUT", path, {"name": "two", "content": b64(3)})
    assert (403, "FSS.1073") == (status, answer["error_code"])
    assert b64(1) == api.v2("GET", path)[1]["content"]
    assert 200 == api.v2("PUT", path, {"name": "uno", "content": b64(3)})[0]
    assert ["two", "uno"] == _list(api, "renaming")


def test_events_end_with_their_function(api: Api) -> None:
    api.function("brief")
    _create(api, "brief", "one", b64(1))
    api.v2("DELETE", api.of("brief"))
    api.function("brief")

    assert [] == _list(api, "brief")
    assert 404 == _create(api, "nobody", "one", b64(1))[0]


@pytest.mark.slow
def test_events_are_there_after_a_restart(tmp_path: Path) -> None:
    with running_api(tmp_path, Config()) as first:
        first.function("kept")
        _create(first, "kept", "one", b64({"a": "ä"}))
        keys = first.keys
    with running_api(tmp_path, Config()) as second:
        second.keys = keys

        assert b64({"a": "ä"}) == second.v2("GET", second.of("kept") + "/events/one")[1]["content"]


def test_the_sdk_keeps_shows_changes_and_deletes(client: Any) -> None:
    urn = new_function(client, "sdk-events").func_urn
    body = sdk.CreateEventRequestBody(name="one", content=b64({"a": 1}))
    made = client.create_event(sdk.CreateEventRequest(function_urn=urn, body=body))
    listed = client.list_events(sdk.ListEventsRequest(function_urn=urn))
    body = sdk.UpdateEventRequestBody(content=b64({"a": 2}))
    client.update_event(sdk.UpdateEventRequest(function_urn=urn, event_id=made.id, body=body))
    shown = client.show_event(sdk.ShowEventRequest(function_urn=urn, event_id=made.id))
    deleted = client.delete_event(sdk.DeleteEventRequest(function_urn=urn, event_id=made.id))

    assert [(made.id, "one")] == [(one.id, one.name) for one in listed.events]
    assert ("one", b64({"a": 2})) == (shown.name, shown.content)
    assert 204 == deleted.status_code
    with pytest.raises(ClientRequestException) as gone:
        client.show_event(sdk.ShowEventRequest(function_urn=urn, event_id=made.id))
    assert (404, "FSS.1070") == (gone.value.status_code, gone.value.error_code)


def test_templates_are_listed_and_shown(api: Api) -> None:
    _, listed, _ = api.send("GET", "/fgd/v1/event-templates")
    status, shown, _ = api.send("GET", "/fgd/v1/event-templates/TIMER")

    assert "blank" == listed["event_templates"][0]["name"]
    assert (200, "TIMER") == (status, shown["event"]["trigger_type"])
    status, answer, _ = api.send("GET", "/fgd/v1/event-templates/nothing")
    assert (404, "FSS.1060") == (status, answer["error_code"])


def _try(api: Api, name: str, body: object = None) -> tuple[int, Any]:
    return api.send("POST", f"/fgd/v1/functions/{quote(name, safe='')}/test", body)[:2]


def test_a_function_is_tried_with_the_event_that_the_request_names(api: Api) -> None:
    api.function("tried")
    _create(api, "tried", "mine", b64({"mine": "ä"}))
    event_id = api.v2("GET", api.of("tried") + "/events")[1]["events"][0]["id"]

    assert {"mine": "ä"} == _try(api, "tried", {"event": "mine"})[1]["result"]
    assert {"mine": "ä"} == _try(api, "tried", {"event": event_id})[1]["result"]
    assert "TIMER" == _try(api, "tried", {"template": "timer"})[1]["result"]["trigger_type"]
    assert [1, None] == _try(api, "tried", {"data": [1, None]})[1]["result"]
    assert _try(api, "tried", {"data": None})[1]["result"] is None
    assert {"key": "value"} == _try(api, "tried")[1]["result"]


def test_a_trial_tells_result_summary_and_log(api: Api) -> None:
    created = api.function("telling", memory_size=256)
    outcome = Outcome(4002, b'{"errorMessage":"boom"}', function_error=True, duration_us=1913, memory_bytes=43515904)
    outcome.log_tail = b"x" * 3000 + b"\nend"
    api.invoker.outcomes.append(outcome)
    status, answer = _try(api, "telling")

    assert 200 == status
    assert (4002, True, {"errorMessage": "boom"}) == (
        answer["error_code"], answer["function_error"], answer["result"],
    )  # fmt: skip
    assert {"duration": 1.913, "billingDuration": 2, "memorySize": 256, "memoryUsed": 41.5} == answer["summary"]
    assert "x" * 2044 + "\nend" == answer["log"]
    assert created["func_urn"] == answer["function_urn"]
    assert api.invoker.calls[-1].request_id == answer["request_id"]
    assert api.invoker.calls[-1].want_tail
    assert answer["request_id"] == api.invoker.recorded[-1]


@pytest.mark.parametrize(
    ("body", "text", "expected"),
    [
        (b'"text"', False, "text"),
        (b"plain", True, "plain"),
        (b'1,"error_code":0', False, '1,"error_code":0'),
        (b'"\xff"', False, '"\ufffd"'),
        (b"", False, ""),
        (b"[" * 100_000, False, "[" * 100_000),
    ],
    ids=["json", "text", "smuggled", "not utf-8", "nothing", "deep"],
)
def test_what_an_instance_says_cannot_write_into_the_answer(api: Api, body: bytes, text: bool, expected: str) -> None:
    if api.v2("GET", api.of("smuggler") + "/config")[0] == 404:
        api.function("smuggler")
    api.invoker.outcomes.append(Outcome(0, body, text=text))
    status, answer = _try(api, "smuggler")

    assert 200 == status
    assert (expected, 0) == (answer["result"], answer["error_code"])


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"event": "none"}, 404, "FSS.1070", "event_id"),
        ({"template": "none"}, 404, "FSS.1060", "template"),
        ({"event": "a", "template": "timer"}, 400, "FSS.0400", "template"),
        ({"template": "timer", "data": 1}, 400, "FSS.0400", "data"),
        ({"event": 5}, 400, "FSS.0400", "event"),
        ({"template": ["timer"]}, 400, "FSS.0400", "template"),
    ],
)
def test_a_trial_without_a_clear_event_is_refused(api: Api, body: object, status: int, code: str, field: str) -> None:
    if api.v2("GET", api.of("unclear") + "/config")[0] == 404:
        api.function("unclear")
    got, answer = _try(api, "unclear", body)

    assert (status, code) == (got, answer["error_code"]), answer
    assert answer["error_msg"].startswith(field + ":")


def test_a_version_and_an_alias_can_be_tried(api: Api) -> None:
    api.function("versions")
    api.v2("POST", api.of("versions") + "/versions", {"version": "v1"})
    api.v2("POST", api.of("versions") + "/aliases", {"name": "live", "version": "v1"})
    urn = f"{api.keys['project_id']}:default:versions"

    assert _try(api, urn + ":v1")[1]["function_urn"].endswith(":versions:v1")
    assert _try(api, urn + ":!live")[1]["function_urn"].endswith(":versions:v1")
    assert "live" == api.invoker.calls[-1].options.alias
    assert 404 == _try(api, urn + ":v2")[0]
    assert 404 == _try(api, "nobody")[0]


def test_a_function_of_another_project_cannot_be_tried(api: Api) -> None:
    status, answer = _try(api, "f" * 32 + ":default:versions")

    assert (403, "FSS.0403") == (status, answer["error_code"])
