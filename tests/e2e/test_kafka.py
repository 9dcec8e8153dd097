"""Kafka triggers of a running daemon: by the official SDK and by the command."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkfunctiongraph.v2 import (
    CreateFunctionTriggerRequest,
    CreateFunctionTriggerRequestBody,
    FunctionGraphClient,
    UpdateTriggerRequest,
    UpdateTriggerRequestBody,
)

from fgd.testing.client import Client, Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from fgd.testing.kafka import PLAIN_USER, KafkaBroker
from tests.e2e.diary import DIARY, entries

PATIENCE_S = 60.0


@pytest.fixture
def sdk(daemon: DaemonProcess, keys: Keys) -> Any:
    """The official client."""
    credentials = BasicCredentials(keys.access_key, keys.secret_key, keys.project_id)
    builder = FunctionGraphClient.new_builder().with_credentials(credentials)
    return builder.with_endpoint(f"http://127.0.0.1:{daemon.port}").build()


def test_the_sdk_makes_a_trigger_that_starts_disabled_and_reads_once_enabled(
    sdk: Any, daemon: DaemonProcess, api: Client, deploy: Callable[..., str], kafka: KafkaBroker, name: str
) -> None:
    urn = deploy(DIARY)
    topic = kafka.topic(name)
    kafka.produce(topic, ["m1", "m2"])
    user, password = PLAIN_USER
    event_data = {
        "instance_id": "i-1", "topic_ids": [topic], "batch_size": 10, "kafka_user": user, "kafka_password": password,
        "kafka_ssl_enable": False, "kafka_connect_address": f"127.0.0.1:{kafka.sasl_port}",
        "start_position": "earliest",
    }  # fmt: skip
    body = CreateFunctionTriggerRequestBody(trigger_type_code="KAFKA", event_type_code="x", event_data=event_data)
    made = sdk.create_function_trigger(CreateFunctionTriggerRequest(function_urn=urn, body=body))
    with pytest.raises(ClientRequestException) as refused:
        sdk.create_function_trigger(CreateFunctionTriggerRequest(function_urn=urn, body=body))
    on = UpdateTriggerRequestBody(trigger_status="ACTIVE")
    of_it = {"function_urn": urn, "trigger_type_code": "KAFKA", "trigger_id": made.trigger_id}
    sdk.update_trigger(UpdateTriggerRequest(**of_it, body=on))
    assert eventually(lambda: bool(entries(api, urn)), PATIENCE_S)
    event: Any = entries(api, urn)[0][1]

    def shown() -> Any:
        return json.loads(daemon.cli("triggers", "show", made.trigger_id, "--json").stdout)

    assert eventually(lambda: shown()["state"]["figures"].get("messages") == 2, PATIENCE_S)
    at_last = shown()
    daemon.cli("triggers", "delete", made.trigger_id)

    assert "DISABLED" == made.trigger_status
    assert (409, "FSS.1150") == (refused.value.status_code, refused.value.error_code)
    assert [{"messages": ["m1", "m2"], "topic_id": topic}] == event["records"]
    assert ("KAFKA", "i-1") == (event["trigger_type"], event["instance_id"])
    assert "******" == at_last["event_data"]["kafka_password"]
    assert 0 == at_last["state"]["blocked"], "the loop was never kept from working"


def test_brokers_that_cannot_be_reached_are_a_state_and_no_refusal(
    daemon: DaemonProcess, deploy: Callable[..., str]
) -> None:
    function = deploy(DIARY).split(":")[6]
    words = ["--set", "kafka_connect_address=127.0.0.1:1", "--set", 'topic_ids=["t"]']
    made = json.loads(daemon.cli("triggers", "create", function, "opensourcekafka", *words, "--json").stdout)
    daemon.cli("triggers", "enable", made["trigger_id"])

    def state() -> Any:
        return json.loads(daemon.cli("triggers", "show", made["trigger_id"], "--json").stdout)["state"]

    assert eventually(lambda: "FSS.1115" in state()["error"], PATIENCE_S)
    daemon.cli("triggers", "delete", made["trigger_id"])
