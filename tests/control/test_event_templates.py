"""The events that templates hold are what the sources send."""

import base64
import json
from typing import Any

import pytest

from fgd.control.event_templates import TEMPLATES, EventTemplate, event_template
from fgd.control.events import CONTENT_MAX_BYTES, event_content
from fgd.errors import EventTemplateNotFound

#: Table 4-2 of the user guide, in its order.
TITLES = [
    "API Gateway (APIG)", "API Gateway (Dedicated Gateway)", "Cloud Trace Service (CTS)",
    "Document Database Service (DDS)", "Data Ingestion Service (DIS)", "Log Tank Service (LTS)",
    "Object Storage Service (OBS)", "Simple Message Notification (SMN)", "Timer", "DMS (for Kafka)",
    "Kafka (OPENSOURCEKAFKA)", "DMS (for RabbitMQ)", "Blank Template", "Login Security Analysis",
    "Image Classification", "Pornographic Image Analysis", "Speech Recognition",
]  # fmt: skip


def _event(name: str) -> Any:
    return event_template(name).event


def test_every_template_of_the_guide_is_there() -> None:
    assert set() == set(TITLES) - {template.title for template in TEMPLATES}
    assert len(TEMPLATES) == len({template.name for template in TEMPLATES})


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
def test_every_template_can_be_kept_as_a_test_event(template: EventTemplate) -> None:
    text = json.dumps(template.event)

    assert len(text) <= CONTENT_MAX_BYTES
    assert event_content(base64.b64encode(text.encode()).decode())


def test_names_are_found_in_any_case() -> None:
    assert "opensourcekafka" == event_template("OPENSOURCEKAFKA").name
    with pytest.raises(EventTemplateNotFound, match=r"^template: there is no 'nothing'; there are blank, apig"):
        event_template("nothing")


def test_a_request_through_a_gateway_has_its_body_in_base64() -> None:
    for name in ("apig", "dedicatedgateway"):
        event = _event(name)

        assert {"hello": "world"} == json.loads(base64.b64decode(event["body"]))
        assert event["isBase64Encoded"] is True
        assert event["requestContext"]["requestId"] == event["headers"]["x-request-id"]
        assert [
            "body", "requestContext", "queryStringParameters", "httpMethod", "pathParameters", "headers", "path",
            "isBase64Encoded",
        ] == list(event)  # fmt: skip


def test_log_lines_are_json_in_json_in_base64() -> None:
    data = json.loads(base64.b64decode(_event("lts")["lts"]["data"]))

    assert ["logs", "owner", "log_group_id", "log_topic_id"] == list(data)
    assert [("application started", 1)] == [(one["message"], one["line_no"]) for one in json.loads(data["logs"])]


def test_odd_spellings_of_the_sources_are_kept() -> None:
    record = _event("obs")["Records"][0]
    mongo = _event("gaussmongo")["records"][0]

    assert ("principalId", "PrincipalId") == (
        next(iter(record["userIdentity"])),
        next(iter(record["s3"]["bucket"]["ownerIdentity"])),
    )
    assert "folder%2Fhello.txt" == record["s3"]["object"]["key"]
    assert '"insert"' == mongo["event_name"]
    assert {"db": "shop", "coll": "orders"} == json.loads(mongo["gauss_mongo"]["ns"])
    assert isinstance(_event("dds")["records"][0]["dds"]["full_document"], str)
    assert ["record", "functionname", "requestId", "timestamp"] == list(_event("smn"))
    assert _event("smn")["record"][0]["smn"]["message_attributes"] is None


@pytest.mark.parametrize(
    ("name", "kind", "place"),
    [
        ("kafka", "KAFKA", "topic_id"),
        ("opensourcekafka", "KAFKA", "topic_id"),
        ("rocketmq", "ROCKETMQ", "topic_id"),
        ("rabbitmq", "RABBITMQ", "exchange"),
    ],
)
def test_messages_come_in_records_of_one_place(name: str, kind: str, place: str) -> None:
    event = _event(name)

    assert ["event_version", "event_time", "trigger_type", "region", "instance_id", "records"] == list(event)
    assert kind == event["trigger_type"]
    assert isinstance(event["event_time"], int)
    assert {"messages", place} == set(event["records"][0])


def test_a_timer_ticks_with_five_texts() -> None:
    assert ["version", "time", "trigger_type", "trigger_name", "user_event"] == list(_event("timer"))
    assert all(isinstance(value, str) for value in _event("timer").values())
