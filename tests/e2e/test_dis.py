"""Streams of a running daemon: triggers by the official SDK, notifications as records, settings and their secrets."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkfunctiongraph.v2 import (
    CreateFunctionTriggerRequest,
    CreateFunctionTriggerRequestBody,
    FunctionGraphClient,
    TriggerEventDataRequestBody,
    UpdateriggerEventData,
    UpdateTriggerRequest,
    UpdateTriggerRequestBody,
)

from fgd.testing.client import Client, HarnessError
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from fgd.testing.kafka import PLAIN_USER, KafkaBroker
from tests.e2e.asynchronous import enqueued, finished
from tests.e2e.diary import DIARY, entries
from tests.e2e.sources import ACTOR, ECHO

PATIENCE_S = 60.0


class Rig:
    """A daemon with streams: `in` with a user, `out` and `missing` without, `away` where no broker is, and `theirs`,
    which is for another project."""

    def __init__(self, daemon: DaemonProcess, api: Client, kafka: KafkaBroker) -> None:
        self.daemon = daemon
        self.api = api
        self.kafka = kafka
        keys = daemon.create_keys()
        credentials = BasicCredentials(keys.access_key, keys.secret_key, keys.project_id)
        builder = FunctionGraphClient.new_builder().with_credentials(credentials)
        self.sdk: Any = builder.with_endpoint(f"http://127.0.0.1:{daemon.port}").build()

    def cli(self, *words: str) -> Any:
        return json.loads(self.daemon.cli(*words, "--json").stdout)

    def state(self, trigger: str) -> Any:
        return self.cli("triggers", "show", trigger)["state"]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, kafka: KafkaBroker) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("fgd")
    password = folder / "password"
    password.write_text(PLAIN_USER[1] + "\n")
    password.chmod(0o644)
    streams = {
        "in": {
            "brokers": [f"127.0.0.1:{kafka.sasl_port}"], "topic": kafka.topic("dis-in"), "user": PLAIN_USER[0],
            "password_file": str(password),
        },
        "out": {"brokers": [kafka.address], "topic": kafka.topic("dis-out")},
        "missing": {"brokers": [kafka.address], "topic": "dis-missing"},
        "away": {"brokers": ["127.0.0.1:1"], "topic": "t"},
        "theirs": {"brokers": [kafka.address], "topic": "t", "projects": ["somebody-else"]},
    }  # fmt: skip
    settings: dict[str, object] = {
        "streams": streams, "delivery_retry_first_s": 0.05, "delivery_tries_max": 3, "delivery_timeout_s": 3.0,
        "async_retry_first_s": 0.05, "drain_s": 5.0,
    }  # fmt: skip
    with DaemonProcess(folder / "daemon", settings) as daemon:
        api = daemon.client(daemon.create_keys())
        yield Rig(daemon, api, kafka)
        api.close()
        assert 0 == daemon.stop(), "producers and consumers do not keep it from ending"


def test_the_sdk_makes_a_trigger_that_starts_disabled_and_reads_once_enabled(rig: Rig) -> None:
    urn = rig.api.deploy("reads", DIARY)
    rig.kafka.produce("dis-in", ["r1", b"\x00\xff"])
    data = TriggerEventDataRequestBody(
        stream_name="in", sharditerator_type="TRIM_HORIZON", polling_interval=1, polling_unit="s",
        max_fetch_bytes=1_048_576, is_serial="true",
    )  # fmt: skip
    body = CreateFunctionTriggerRequestBody(trigger_type_code="DIS", event_data=data)
    made = rig.sdk.create_function_trigger(CreateFunctionTriggerRequest(function_urn=urn, body=body))
    with pytest.raises(ClientRequestException) as refused:
        rig.sdk.create_function_trigger(CreateFunctionTriggerRequest(function_urn=urn, body=body))
    changed = UpdateriggerEventData(is_serial=True, polling_interval=20, polling_unit="ms")
    on = UpdateTriggerRequestBody(trigger_status="ACTIVE", event_data=[changed])
    of_it = {"function_urn": urn, "trigger_type_code": "DIS", "trigger_id": made.trigger_id}
    rig.sdk.update_trigger(UpdateTriggerRequest(**of_it, body=on))
    assert eventually(lambda: bool(entries(rig.api, urn)), PATIENCE_S)
    event: Any = entries(rig.api, urn)[0][1]
    assert eventually(lambda: rig.state(made.trigger_id)["figures"].get("messages") == 2, PATIENCE_S)
    shown = rig.cli("triggers", "show", made.trigger_id)
    rig.daemon.cli("triggers", "disable", made.trigger_id)
    off = rig.cli("triggers", "show", made.trigger_id)
    rig.daemon.cli("triggers", "delete", made.trigger_id)

    assert ("DISABLED", "DISABLED") == (made.trigger_status, off["trigger_status"])
    assert (409, "FSS.1143") == (refused.value.status_code, refused.value.error_code)
    assert ["shardId-0000000000", "latest", "in"] == [event[key] for key in ("ShardID", "Tag", "StreamName")]
    assert [b"r1", b"\x00\xff"] == [base64.b64decode(one["data"]) for one in event["Message"]["records"]]
    assert (20, "ms", 1_048_576) == tuple(
        shown["event_data"][key] for key in ("polling_interval", "polling_unit", "max_fetch_bytes")
    )
    assert 0 == shown["state"]["blocked"], "the loop was never kept from working"


@pytest.mark.parametrize(
    ("data", "status", "code", "message"),
    [
        ({"stream_name": "nothing"}, 404, "FSS.1130", "event_data.stream_name: there is no stream 'nothing'"),
        ({"stream_name": "theirs"}, 404, "FSS.1130", "event_data.stream_name: there is no stream 'theirs'"),
        ({}, 400, "FSS.1104", "event_data.stream_name: is needed"),
        ({"stream_name": "in", "batch_size": 0}, 400, "FSS.1104", "event_data.batch_size: "),
        ({"stream_name": "in", "polling_unit": "h"}, 400, "FSS.1104", "event_data.polling_unit: "),
        (
            {"stream_name": "in", "on_failure": "dead_letter", "dead_letter_stream": "nothing"},
            404, "FSS.1130", "event_data.dead_letter_stream: there is no stream 'nothing'",
        ),
    ],
)  # fmt: skip
def test_bad_settings_are_refused_by_name(rig: Rig, data: object, status: int, code: str, message: str) -> None:
    urn = f"urn:fss:local:{rig.api.project_id}:function:default:refused:latest"
    if rig.api.functions("GET", f"/{urn}/config").status == 404:
        rig.api.deploy("refused", ECHO)
    path = f"/v2/{rig.api.project_id}/fgs/triggers/{urn}"
    answer = rig.api.request("POST", path, {"trigger_type_code": "DIS", "event_data": data})
    gone = rig.api.request("GET", f"{path}/DIS/00000000-0000-4000-8000-000000000000")

    assert (status, code) == (answer.status, answer.error_code)
    assert answer.json()["error_msg"].startswith(message)
    assert (404, "FSS.1134") == (gone.status, gone.error_code)
    assert [] == rig.api.request("GET", path).json()


def test_brokers_that_cannot_be_reached_and_a_missing_topic_are_states_and_no_refusal(rig: Rig) -> None:
    rig.api.deploy("waits", ECHO)
    away, missing = (
        rig.cli("triggers", "create", "waits", "dis", "--set", f"stream_name={stream}")["trigger_id"]
        for stream in ("away", "missing")
    )
    for trigger in (away, missing):
        rig.daemon.cli("triggers", "enable", trigger)

    assert eventually(lambda: "FSS.1115" in rig.state(away)["error"], PATIENCE_S)
    assert eventually(lambda: "FSS.1111" in rig.state(missing)["note"], PATIENCE_S)
    for trigger in (away, missing):
        rig.daemon.cli("triggers", "delete", trigger)


def aim(rig: Rig, urn: str, stream: str) -> None:
    target = {"destination": "DIS", "param": json.dumps({"stream_name": stream})}
    config = {"max_async_retry_attempts": 0, "destination_config": {"on_success": target, "on_failure": target}}
    answer = rig.api.functions("PUT", f"/{urn}/async-invoke-config", config)
    assert 200 == answer.status, answer.text


def documents(kafka: KafkaBroker, topic: str, *request_ids: str) -> list[Any]:
    """The notifications about these invocations, each as often as it came."""
    consumer = Consumer({"bootstrap.servers": kafka.address, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    wanted, found = set(request_ids), []
    try:
        while wanted or (record := consumer.poll(0.5)) is not None:
            if wanted:
                record = consumer.poll(PATIENCE_S)
            assert record is not None
            document = json.loads(record.value() or b"")
            if document["request_context"]["request_id"] in request_ids:
                assert (record.key() or b"").decode() == document["request_context"]["request_id"]
                found.append(document)
                wanted -= {document["request_context"]["request_id"]}
    finally:
        consumer.close()
    return found


def test_outcomes_become_records_of_a_stream(rig: Rig) -> None:
    urn = rig.api.deploy("told", ACTOR)
    aim(rig, urn, "out")
    good = enqueued(rig.api, urn, {"do": "text", "text": "fine"})
    bad = enqueued(rig.api, urn, {"do": "raise", "text": "no"})
    first, second = sorted(
        documents(rig.kafka, "dis-out", good, bad), key=lambda one: one["response_context"]["status_code"]
    )

    assert (good, "", 200) == (
        first["request_context"]["request_id"], first["request_context"]["condition"],
        first["response_context"]["status_code"],
    )  # fmt: skip
    assert (bad, "UnhandledInvocationError", 500) == (
        second["request_context"]["request_id"], second["request_context"]["condition"],
        second["response_context"]["status_code"],
    )  # fmt: skip
    assert [] == rig.cli("async", "deliveries", "told")["deliveries"]


def test_a_target_on_an_unknown_stream_is_refused_and_one_that_is_away_shown_and_tried_again(rig: Rig) -> None:
    urn = rig.api.deploy("untold", ECHO)
    target = {"destination": "DIS", "param": '{"stream_name": "nothing"}'}
    refused = rig.api.functions(
        "PUT", f"/{urn}/async-invoke-config", {"destination_config": {"on_success": target}}
    )  # fmt: skip
    aim(rig, urn, "missing")
    request_id = enqueued(rig.api, urn, {"n": 7})
    assert "SUCCESS" == finished(rig.api, urn, request_id)["status"]

    def failed() -> list[Any]:
        return list(rig.cli("async", "deliveries", "untold", "--status", "FAIL")["deliveries"])

    assert eventually(lambda: len(failed()) == 1, PATIENCE_S)
    [one] = failed()
    rig.kafka.topic("dis-missing")
    rig.cli("async", "retry", "untold", str(one["id"]))
    [document] = documents(rig.kafka, "dis-missing", request_id)

    assert (400, "FSS.0400") == (refused.status, refused.error_code)
    assert refused.json()["error_msg"].startswith(
        "destination_config.on_success.param: stream_name: there is no stream 'nothing' on this node; there are in, out"
    )
    assert ("DIS", 3) == (one["destination"], one["tries"])
    assert "FSS.1111: there is no such topic" in one["error"]
    assert '{"n":7}' == document["request_payload"].replace(" ", "")
    assert eventually(lambda: rig.cli("async", "deliveries", "untold")["deliveries"] == [], PATIENCE_S)


def test_streams_are_listed_without_what_is_the_operators(rig: Rig) -> None:
    listed = {one["name"]: one for one in rig.cli("streams")["streams"]}
    table = rig.daemon.cli("streams").stdout
    client = rig.api.request("GET", "/fgd/v1/streams").json()["streams"]
    plugins = {one["name"]: one for one in rig.cli("plugins")["plugins"]}

    assert ["in", "out", "missing", "away", "theirs"] == list(listed)
    assert {
        "name": "in", "topic": "dis-in", "brokers": [f"127.0.0.1:{rig.kafka.sasl_port}"], "tls": False,
        "user": PLAIN_USER[0], "mechanism": "PLAIN", "projects": [],
    } == listed["in"]  # fmt: skip
    assert f"{PLAIN_USER[0]} (PLAIN)" in table
    assert [{"name": name} for name in ("in", "out", "missing", "away")] == client
    assert (["DIS"], ["DIS"], "") == (
        plugins["dis"]["trigger_types"], plugins["dis"]["destinations"], plugins["dis"]["error"],
    )  # fmt: skip


def test_the_password_is_nowhere(rig: Rig) -> None:
    """After everything above: neither in the state, nor in the log, nor in any answer."""
    files = [path for path in rig.daemon.state_dir.rglob("*") if path.is_file()]
    answers = [
        rig.daemon.admin("GET", path).text
        for path in ("/fgd/v1/streams", "/fgd/v1/plugins", "/fgd/v1/status", "/metrics")
    ]
    secret = PLAIN_USER[1]

    assert files
    assert [] == [path for path in files if secret.encode() in path.read_bytes()]
    assert secret not in rig.daemon.log_file.read_text() + "".join(answers)


def test_a_reload_names_what_is_wrong_and_changes_nothing(rig: Rig) -> None:
    streams: Any = rig.daemon.settings["streams"]
    good = rig.daemon.settings["streams"]
    try:
        rig.daemon.settings["streams"] = {**streams, "new": {"brokers": ["h:1"]}}
        rig.daemon.reload()
        assert rig.daemon.wait_log("settings not reloaded: streams.new.topic: must be 1 to 249")
        broken = {"brokers": ["h:1"], "topic": "t", "user": "u", "password_file": "/nowhere/password"}
        rig.daemon.settings["streams"] = {**streams, "new": broken}
        rig.daemon.reload()
        assert rig.daemon.wait_log("settings not reloaded: streams.new.password_file: /nowhere/password cannot be read")
        rig.daemon.settings["streams"] = {**streams, "new": {"brokers": ["h:1"], "topic": "t"}}
        rig.daemon.reload()
        assert rig.daemon.wait_log("these settings take effect at the next start: streams")
    finally:
        rig.daemon.settings["streams"] = good

    assert "new" not in [one["name"] for one in rig.cli("streams")["streams"]]


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ({"brokers": ["nowhere"], "topic": "t"}, "fgd: streams.s.brokers: must be HOST:PORT, not 'nowhere'"),
        (
            {"brokers": ["h:1"], "topic": "t", "user": "u", "password_file": "SECRET"},
            "cannot be read by the daemon's user: Permission denied",
        ),
    ],
)
def test_a_start_with_a_stream_that_cannot_be_says_which(tmp_path: Path, stream: dict[str, Any], message: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    if stream.get("password_file") == "SECRET":
        stream = {**stream, "password_file": str(secret)}
    process = DaemonProcess(tmp_path / "fgd", {"streams": {"s": stream}})
    with pytest.raises(HarnessError, match=message):
        process.start()
    process.__exit__()

    assert "Traceback" not in process.log_tail()
