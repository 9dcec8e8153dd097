"""Triggers through the API: what clients send, what is refused, what survives, what goes with a function."""

from pathlib import Path
from typing import Any

import pytest

from fgd.config import Config
from fgd.errors import StorageFull
from fgd.store.triggers import Trigger, TriggerStore
from fgd.testing.host import eventually
from tests.api.harness import Api, running_api

PULSE = {"trigger_type_code": "PULSE", "event_data": {"name": "p", "every_s": 0.02, "password": "s3cret", "extra": [1]}}


def of(name: str, qualifier: str = "latest") -> str:
    return f"/triggers/urn:fss:local:{{}}:function:default:{name}:{qualifier}"


def send(api: Api, method: str, path: str, body: object = None) -> tuple[int, Any]:
    return api.v2(method, path.format(api.keys["project_id"]), body)


def create(api: Api, name: str, qualifier: str = "latest", **fields: Any) -> dict[str, Any]:
    body = {**PULSE, **fields, "event_data": {**PULSE["event_data"], **fields.get("event_data", {})}}  # type: ignore[dict-item]
    status, made = send(api, "POST", of(name, qualifier), body)
    assert 201 == status, made
    return dict(made)


def one(trigger: dict[str, Any], name: str, qualifier: str = "latest") -> str:
    return f"{of(name, qualifier)}/{trigger['trigger_type_code']}/{trigger['trigger_id']}"


def test_a_new_trigger_runs_and_shows_what_was_sent_but_no_secret(api: Api) -> None:
    api.function("made")
    trigger = create(api, "made")

    assert "ACTIVE" == trigger["trigger_status"]
    expected = {"name": "p", "every_s": 0.02, "password": "******", "extra": [1], "target": "made"}
    assert expected == trigger["event_data"]
    assert trigger == send(api, "GET", one(trigger, "made"))[1]
    assert [trigger] == send(api, "GET", of("made"))[1]
    door = api.doors[trigger["trigger_id"]]
    assert eventually(lambda: len(door.events) > 2, 5)
    assert {"beat": 1, "password": "s3cret"} == door.events[0].event


def test_switching_off_and_on_and_changing_settings(api: Api) -> None:
    api.function("switched")
    trigger = create(api, "switched")
    path = one(trigger, "switched")
    off = send(api, "PUT", path, {"trigger_status": "DISABLED"})
    door = api.doors[trigger["trigger_id"]]
    seen = len(door.events)

    assert (200, "DISABLED") == (off[0], off[1]["trigger_status"])
    by_object = send(api, "PUT", path, {"trigger_status": "ACTIVE", "event_data": {"name": "q", "every_s": 0.01}})[1]
    assert {"name": "q", "every_s": 0.01, "password": "******", "target": "switched"} == by_object["event_data"]
    assert eventually(lambda: len(door.events) > seen, 5)
    assert "s3cret" == door.events[-1].event["password"], "a secret that is not sent stays"
    by_list = send(api, "PUT", path, {"event_data": [{"every_s": 0.5}]})[1]
    assert ("q", 0.5) == (by_list["event_data"]["name"], by_list["event_data"]["every_s"])
    assert 200 == send(api, "PUT", path)[0]


@pytest.mark.parametrize(
    ("body", "status", "code", "begins"),
    [
        ({**PULSE, "trigger_type_code": "NONSENSE"}, 400, "FSS.1101", "trigger_type_code: "),
        ({**PULSE, "trigger_type_code": 5}, 400, "FSS.1101", "trigger_type_code: "),
        ({**PULSE, "trigger_type_code": "IOTDA"}, 501, "FSS.0501", "trigger_type_code: "),
        ({**PULSE, "event_data": None}, 400, "FSS.0400", "event_data: "),
        ({**PULSE, "event_data": {"name": 5}}, 400, "FSS.1109", "event_data.name: "),
        ({**PULSE, "event_data": {"name": "x", "every_s": -1}}, 400, "FSS.1109", "event_data.every_s: "),
        ({**PULSE, "event_data": {"name": "bad"}}, 400, "FSS.1109", "event_data.name: "),
        ({**PULSE, "trigger_status": "ON"}, 400, "FSS.0400", "trigger_status: "),
        ({**PULSE, "trigger_type_code": "FIXED", "trigger_status": "DISABLED"}, 400, "FSS.0400", "trigger_status: "),
        ({**PULSE, "event_data": {"name": "x", "pad": "y" * 70_000}}, 400, "FSS.0400", "event_data: "),
    ],
)
def test_what_cannot_be_is_refused_by_name(api: Api, body: object, status: int, code: str, begins: str) -> None:
    if api.v2("GET", f"{api.of('refusing')}/config")[0] == 404:
        api.function("refusing")
    answer = send(api, "POST", of("refusing"), body)

    assert (status, code) == (answer[0], answer[1]["error_code"])
    assert answer[1]["error_msg"].startswith(begins)
    assert [] == send(api, "GET", of("refusing"))[1]


def test_ten_that_count_and_no_two_alike(api: Api) -> None:
    api.function("many")
    for number in range(10):
        create(api, "many", event_data={"name": f"p{number}"}, trigger_status="DISABLED")
    eleventh = send(api, "POST", of("many"), {**PULSE, "event_data": {"name": "p10"}})
    create(api, "many", trigger_type_code="FIXED", event_data={"name": "free"})
    api.function("alike")
    create(api, "alike")
    same = send(api, "POST", of("alike"), PULSE)

    assert (403, "FSS.1123") == (eleventh[0], eleventh[1]["error_code"])
    assert (409, "FSS.1148") == (same[0], same[1]["error_code"])


def test_triggers_of_versions_and_aliases_are_apart_and_go_with_them(api: Api) -> None:
    api.function("apart")
    urn = api.of("apart")
    api.v2("POST", f"{urn}/versions", {"version": "v1"})
    api.v2("POST", f"{urn}/aliases", {"name": "live", "version": "latest"})
    mine = {
        qualifier: create(api, "apart", qualifier, event_data={"name": qualifier[-4:]})
        for qualifier in ("latest", "v1", "!live")
    }
    refused = api.v2("DELETE", f"{urn}/aliases/live")

    assert [1, 1, 1] == [len(send(api, "GET", of("apart", qualifier))[1]) for qualifier in mine]
    assert (403, "FSS.1154") == (refused[0], refused[1]["error_code"])
    assert 404 == send(api, "GET", one({**mine["v1"], "trigger_type_code": "FIXED"}, "apart", "v1"))[0]
    api.v2("DELETE", f"{urn}%3Av1")
    assert eventually(lambda: api.triggers.state(mine["v1"]["trigger_id"]) is None, 5)
    assert 204 == send(api, "DELETE", one(mine["!live"], "apart", "!live"))[0]
    assert 204 == api.v2("DELETE", f"{urn}/aliases/live")[0]
    api.v2("DELETE", urn)
    assert eventually(lambda: api.triggers.state(mine["latest"]["trigger_id"]) is None, 5)
    assert 404 == send(api, "GET", of("apart"))[0]


def test_all_of_a_function_are_deleted_at_once(api: Api) -> None:
    api.function("clean")
    api.v2("POST", f"{api.of('clean')}/versions", {"version": "v1"})
    for qualifier in ("latest", "v1"):
        create(api, "clean", qualifier)
    some = send(api, "DELETE", of("clean", "v1"))[0]
    left = [len(send(api, "GET", of("clean", qualifier))[1]) for qualifier in ("latest", "v1")]
    create(api, "clean", "v1")
    send(api, "DELETE", of("clean"))

    assert (204, [1, 0]) == (some, left)
    assert [0, 0] == [len(send(api, "GET", of("clean", qualifier))[1]) for qualifier in ("latest", "v1")]


def test_all_of_a_project_are_listed_also_when_a_function_has_just_gone(api: Api) -> None:
    api.function("stays")
    create(api, "stays")
    for number in range(5):
        api.function(f"goes-{number}")
        create(api, f"goes-{number}")
        assert 204 == api.v2("DELETE", api.of(f"goes-{number}"))[0]
        status, listed = send(api, "GET", "/triggers")

        assert 200 == status, listed
        assert not [one for one in listed["triggers"] if "goes-" in one["func_urn"]]
        assert [one for one in listed["triggers"] if "stays" in one["func_urn"]]


def test_triggers_of_a_function_that_is_gone_go_also_when_the_disk_fails_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.function("unlucky")
    trigger = create(api, "unlucky")
    real, failures = TriggerStore.delete, [StorageFull("catalog.db: the disk is full")]
    deleted: list[str] = []

    async def delete(store: TriggerStore, triggers: list[Trigger]) -> None:
        if failures:
            raise failures.pop()
        await real(store, triggers)
        deleted.extend(one.trigger_id for one in triggers)

    monkeypatch.setattr(TriggerStore, "delete", delete)
    api.v2("DELETE", api.of("unlucky"))

    assert eventually(lambda: trigger["trigger_id"] in deleted, 5)
    assert not failures
    assert 200 == send(api, "GET", "/triggers")[0]


def test_types_are_listed_with_the_schema_of_their_settings(api: Api) -> None:
    status, answer, _ = api.send("GET", "/fgd/v1/trigger-types")
    fixed, pulse = [one for one in answer["trigger_types"] if one["trigger_type_code"] in ("FIXED", "PULSE")]

    assert (200, "FIXED", "PULSE") == (status, fixed["trigger_type_code"], pulse["trigger_type_code"])
    assert ["password"] == pulse["secrets"]
    assert "What it is called." == pulse["schema"]["$defs"]["PulseSettings"]["properties"]["name"]["description"]
    assert ["FIXED", "PULSE"] == [one for one in api.v2("GET", "/triggertypes")[1] if one in ("FIXED", "PULSE")]
    assert pulse == api.send("GET", "/fgd/v1/trigger-types/pulse")[1]


def test_the_state_of_a_failing_trigger_is_shown(api: Api) -> None:
    api.function("failing")
    trigger = create(api, "failing", event_data={"fault": "raise"})
    path = f"/fgd/v1{one(trigger, 'failing')}".format(api.keys["project_id"])

    def state() -> dict[str, Any]:
        return dict(api.send("GET", path)[1]["state"])

    assert eventually(lambda: state()["state"] == "waiting", 5)
    assert "ValueError: the source is broken" == state()["error"]
    [listed] = [
        item for item in api.v2("GET", "/triggers")[1]["triggers"] if item["func_urn"].endswith("failing:latest")
    ]
    assert listed["state"]["restarts"] >= 1


def test_triggers_and_what_they_remember_survive_a_restart(tmp_path: Path) -> None:
    with running_api(tmp_path, Config()) as api:
        api.function("kept")
        trigger = create(api, "kept")
        create(api, "kept", event_data={"name": "off"}, trigger_status="DISABLED")
        old_keys = api.keys
        sealed = (tmp_path / "catalog.db-wal").read_bytes() + (tmp_path / "catalog.db").read_bytes()
    with running_api(tmp_path, Config()) as api:
        api.keys = old_keys
        found = send(api, "GET", of("kept"))[1]

        assert [trigger["trigger_id"]] == [item["trigger_id"] for item in found if item["trigger_status"] == "ACTIVE"]
        assert eventually(lambda: len(api.doors[trigger["trigger_id"]].events) > 0, 5)
        assert "s3cret" == api.doors[trigger["trigger_id"]].events[0].event["password"]
    assert b"s3cret" not in sealed


def test_nobody_elses_triggers(api: Api) -> None:
    api.function("mine")
    create(api, "mine")
    other = api.send("GET", "/v2/somebody/fgs/triggers/mine")

    assert 403 == other[0]
