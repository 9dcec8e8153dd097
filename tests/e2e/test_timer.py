"""Timers of a running daemon: by the official SDK, by the command, and what a function gets of them."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkfunctiongraph.v2 import (
    CreateFunctionTriggerRequest,
    CreateFunctionTriggerRequestBody,
    DeleteFunctionTriggerRequest,
    FunctionGraphClient,
    ListFunctionTriggersRequest,
    ShowFunctionTriggerRequest,
    UpdateTriggerRequest,
    UpdateTriggerRequestBody,
)

from fgd.testing.client import Client, Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.diary import DIARY, entries


@pytest.fixture
def sdk(daemon: DaemonProcess, keys: Keys) -> Any:
    """The official client."""
    credentials = BasicCredentials(keys.access_key, keys.secret_key, keys.project_id)
    builder = FunctionGraphClient.new_builder().with_credentials(credentials)
    return builder.with_endpoint(f"http://127.0.0.1:{daemon.port}").build()


def test_the_sdk_makes_a_timer_and_its_function_gets_the_events(
    sdk: Any, api: Client, deploy: Callable[..., str]
) -> None:
    urn = deploy(DIARY)
    event_data = {"name": "tick", "schedule_type": "Cron", "schedule": "@every 1s", "user_event": "for you"}
    body = CreateFunctionTriggerRequestBody(
        trigger_type_code="TIMER", trigger_status="ACTIVE", event_type_code="x", event_data=event_data
    )
    made = sdk.create_function_trigger(CreateFunctionTriggerRequest(function_urn=urn, body=body))
    of_it: dict[str, str] = {
        "function_urn": urn, "trigger_type_code": "TIMER", "trigger_id": made.trigger_id,
    }  # fmt: skip
    assert eventually(lambda: len(entries(api, urn)) >= 3, 10)
    shown = sdk.show_function_trigger(ShowFunctionTriggerRequest(**of_it))
    off = UpdateTriggerRequestBody(trigger_status="DISABLED")
    sdk.update_trigger(UpdateTriggerRequest(**of_it, body=off))
    listed = sdk.list_function_triggers(ListFunctionTriggersRequest(function_urn=urn)).body
    with pytest.raises(ClientRequestException) as refused:
        sdk.create_function_trigger(CreateFunctionTriggerRequest(function_urn=urn, body=body))
    sdk.delete_function_trigger(DeleteFunctionTriggerRequest(**of_it))
    with pytest.raises(ClientRequestException) as gone:
        sdk.show_function_trigger(ShowFunctionTriggerRequest(**of_it))

    assert "ACTIVE" == made.trigger_status
    assert "@every 1s" == shown.event_data.schedule
    assert [(made.trigger_id, "DISABLED")] == [(one.trigger_id, one.trigger_status) for one in listed]
    assert (409, "FSS.1148") == (refused.value.status_code, refused.value.error_code)
    assert (404, "FSS.1140") == (gone.value.status_code, gone.value.error_code)
    moment_s, event = entries(api, urn)[1]
    assert {"version": "v1.0", "trigger_type": "TIMER", "trigger_name": "tick", "user_event": "for you"} == {
        name: event[name] for name in event if name != "time"
    }
    assert 0 <= moment_s - datetime.fromisoformat(event["time"]).timestamp() < 2, "fractions are left out of the text"


def test_the_command_makes_shows_and_switches_a_timer(daemon: DaemonProcess, deploy: Callable[..., str]) -> None:
    name = deploy(DIARY).split(":")[6]
    words = ["--set", "name=noon", "--set", "schedule_type=Cron", "--set", "schedule=CRON_TZ=Asia/Tokyo 0 0 12 * * *"]
    made = json.loads(daemon.cli("triggers", "create", name, "timer", *words, "--json").stdout)
    eventually(lambda: "next tick" in daemon.cli("triggers", "list", name).stdout, 5)
    listed = daemon.cli("triggers", "list", name).stdout
    daemon.cli("triggers", "disable", made["trigger_id"])
    shown = json.loads(daemon.cli("triggers", "show", made["trigger_id"], "--json").stdout)
    wrong = daemon.cli("triggers", "create", name, "timer", "--set", "name=x", "--set", "schedule_type=Rate", "--set",
                       "schedule=61m", check=False)  # fmt: skip

    assert "T12:00:00+09:00" in listed and "noon" in listed
    assert ("DISABLED", None) == (shown["trigger_status"], shown["state"])
    assert 0 != wrong.returncode and "event_data.schedule" in wrong.stderr and "FSS.1109" in wrong.stderr


def test_timers_fire_at_their_time(api: Client, keys: Keys, deploy: Callable[..., str]) -> None:
    """The trigger's own figures; how late a function's code gets to know depends on how warm it is."""
    urn = deploy(DIARY)
    path = f"/v2/{keys.project_id}/fgs/triggers/{urn}"
    event_data = {"name": "often", "schedule_type": "Cron", "schedule": "* * * * * *", "sync_execution": True}
    made = api.request("POST", path, {"trigger_type_code": "TIMER", "event_data": event_data}).json()

    def state() -> dict[str, Any]:
        answer = api.request("GET", f"/fgd/v1/triggers/{urn}/TIMER/{made['trigger_id']}").json()
        return dict(answer["state"])

    assert eventually(lambda: state()["events"] >= 4, 10)
    figures, got = state()["figures"], entries(api, urn)
    late_s = [moment_s - datetime.fromisoformat(event["time"]).timestamp() for moment_s, event in got]

    assert min(late_s) >= 0
    assert sorted(late_s)[0] < 0.25, late_s
    assert figures["late_ms"] < 250, "usually it is 1"
    assert "failed" not in figures
    assert all(event["time"].endswith("+00:00") for _, event in got)
