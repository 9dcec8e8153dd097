"""The trigger type SMN by itself: its settings, and what a message becomes."""

from typing import Any

import pytest

from fgd.plugin import BadTriggerConfig, TopicMessage
from fgd.testing.trigger import PLACE, RecordingDoor, TriggerRig, parse
from fgd_smn import SmnTrigger

TOPIC = f"urn:smn:local:{PLACE.project_id}:news"


def message(**fields: Any) -> TopicMessage:
    known = {"topic_urn": TOPIC, "message_id": "9" * 32, "message": '{"a":1}', "timestamp": "2024-01-09T07:11:40Z"}
    return TopicMessage(**(known | fields))


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        ({}, "event_data.topic_urn: is needed"),
        ({"topic_urn": ""}, "event_data.topic_urn: "),
        ({"topic_urn": "x" * 256}, "event_data.topic_urn: "),
        ({"topic_urn": "news"}, "must be urn:smn:"),
        ({"topic_urn": f"urn:smn:local:{'q' * 32}:news"}, "must be a topic of the function's project"),
    ],
)
def test_bad_settings_are_refused_with_the_field(data: dict[str, object], rule: str) -> None:
    with pytest.raises(BadTriggerConfig, match=rule) as refused:
        parse(SmnTrigger, data)

    assert "FSS.1102" == refused.value.code


def test_a_message_becomes_the_event_of_the_template() -> None:
    door = RecordingDoor(messages=[message(subject="SMN-Test")])
    [event] = TriggerRig(SmnTrigger, {"topic_urn": TOPIC}, door=door).run(events=1, seconds=5)

    assert {"record": [{
        "event_version": "1.0",
        "event_subscription_urn": PLACE.function_urn,
        "event_source": "smn",
        "smn": {
            "topic_urn": TOPIC, "timestamp": "2024-01-09T07:11:40Z", "message_attributes": None,
            "message": '{"a":1}', "type": "notification", "message_id": "9" * 32, "subject": "SMN-Test",
        },
    }]} == event  # fmt: skip


def test_a_message_that_is_no_event_is_counted_and_the_next_one_comes() -> None:
    door = RecordingDoor(messages=[message(message="x" * 262144), message()])
    events = TriggerRig(SmnTrigger, {"topic_urn": TOPIC}, door=door).run(events=1, seconds=5)

    assert ['{"a":1}'] == [one["record"][0]["smn"]["message"] for one in events]
    assert {"skipped": 1} == door.figures
    assert "was skipped" in door.notes[0]
