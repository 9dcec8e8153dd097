"""Kafka triggers against a real broker: what functions get, what is committed when, what goes wrong."""

import dataclasses
import re
import threading
from collections import Counter
from typing import Any

import pytest
import trio
from confluent_kafka import Consumer, Producer

from fgd.call import Outcome
from fgd.control.event_templates import TEMPLATES
from fgd.plugin import Place
from fgd.testing.kafka import PLAIN_USER, SCRAM_USER, KafkaBroker
from fgd.testing.trigger import PLACE, BadTriggerConfig, RecordingDoor, TriggerRig, parse
from fgd_kafka import fgd_trigger_types
from fgd_kafka.connection import Unreachable
from fgd_kafka.trigger import Kafka, OpenSourceKafka
from tests.plugins.running import PATIENCE_S, run_until

FAILS = Outcome(4002, b"{}", function_error=True)


def opened(broker: KafkaBroker, *topics: str, door: RecordingDoor | None = None, **fields: Any) -> TriggerRig[Any]:
    """A trigger that reads topics from their beginning."""
    data = {
        "kafka_connect_address": broker.address, "topic_ids": list(topics), "start_position": "earliest",
        "group_id": f"g-{topics[0]}", "batch_window_ms": 20, "retry_first_ms": 10, **fields,
    }  # fmt: skip
    return TriggerRig(OpenSourceKafka, data, door=door, real_time=True)


def messages(events: list[Any], topic: str = "") -> list[str]:
    records = [record for event in events for record in event["records"]]
    return [text for record in records if topic in ("", record["topic_id"]) for text in record["messages"]]


@pytest.mark.slow
def test_events_are_those_of_the_template_and_topics_come_apart(kafka: KafkaBroker, name: str) -> None:
    first, second = kafka.topic(f"{name}-1"), kafka.topic(f"{name}-2")
    kafka.produce(first, ["m1", "m2", 'grüß "x" \x01', b"\xff\xfe!"])
    kafka.produce(second, ["other"])
    rig = opened(kafka, first, second, instance_id="i-1")
    events = rig.run(seconds=PATIENCE_S, events=2)

    template = next(one.event for one in TEMPLATES if one.name == "opensourcekafka")
    assert [list(template)] * 2 == [list(event) for event in events]
    assert {("v1.0", "KAFKA", PLACE.region, "i-1")} == {
        (event["event_version"], event["trigger_type"], event["region"], event["instance_id"]) for event in events
    }
    assert all(type(event["event_time"]) is int for event in events)
    assert [["messages", "topic_id"]] * 2 == [list(event["records"][0]) for event in events]
    assert ["m1", "m2", 'grüß "x" \x01', "\ufffd\ufffd!"] == messages(events, first)
    assert ["other"] == messages(events, second)
    assert all(one.sync for one in rig.door.events)
    assert (5.0, 2.0) == (rig.door.figures["messages"], rig.door.figures["batches"])


def test_the_types_start_switched_off_and_count() -> None:
    assert [("KAFKA", "DISABLED", True), ("OPENSOURCEKAFKA", "DISABLED", True)] == [
        (kind.code, kind.starts, kind.pulls) for kind in fgd_trigger_types()
    ]
    assert [{"kafka_password"}] * 2 == [kind.secrets for kind in fgd_trigger_types()]


GOOD = {"instance_id": "i", "kafka_connect_address": "h:9092", "topic_ids": ["t"]}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kafka_connect_address": None}, "kafka_connect_address"), ({"kafka_connect_address": "h"}, "kafka_connect"),
        ({"kafka_connect_address": "h:0"}, "kafka_connect"), ({"kafka_connect_address": "h:70000"}, "kafka_connect"),
        ({"kafka_connect_address": "h:1,,h:2"}, "kafka_connect"), ({"kafka_connect_address": "h:1\n"}, "kafka_connect"),
        ({"kafka_connect_address": ",".join(["h:1"] * 51)}, "kafka_connect"), ({"topic_ids": []}, "topic_ids"),
        ({"topic_ids": ["a/b"]}, "topic_ids[0]"), ({"topic_ids": ["a", ".."]}, "topic_ids[1]"),
        ({"topic_ids": ["a", "a"]}, "topic_ids"), ({"topic_ids": "t"}, "topic_ids"), ({"topic_ids": ["^.*"]}, "topic"),
        ({"batch_size": 0}, "batch_size"), ({"batch_size": 1001}, "batch_size"), ({"kafka_user": "u"}, "kafka_pass"),
        ({"kafka_password": "p"}, "kafka_user"), ({"ssl_ca": "x"}, "ssl_ca"), ({"instance_id": 5}, "instance_id"),
        ({"kafka_ssl_enable": True, "kafka_user": "u", "kafka_password": "p", "ssl_ca": "x"}, "ssl_ca"),
        ({"on_failure": "dead_letter"}, "dead_letter_topic"), ({"dead_letter_topic": "d"}, "dead_letter_topic"),
        ({"on_failure": "dead_letter", "dead_letter_topic": "t"}, "dead_letter_topic"), ({"retries": -1}, "retries"),
        ({"group_id": "a b"}, "group_id"), ({"sasl_mechanism": "GSSAPI"}, "sasl_mechanism"),
        ({"instance_id": None}, "instance_id"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(fields: dict[str, object], field: str) -> None:
    with pytest.raises(BadTriggerConfig) as refused:
        parse(Kafka, {**GOOD, **fields})

    assert str(refused.value).startswith(f"event_data.{field}")
    assert "FSS.1112" == refused.value.code


def test_a_dms_instance_with_ssl_needs_a_user() -> None:
    with pytest.raises(BadTriggerConfig, match=r"^event_data\.kafka_user: ") as refused:
        parse(Kafka, {**GOOD, "kafka_ssl_enable": True})

    assert "FSS.1113" == refused.value.code
    assert parse(OpenSourceKafka, {**GOOD, "kafka_ssl_enable": True}).kafka_ssl_enable


@pytest.mark.slow
def test_partitions_keep_their_order_and_run_side_by_side_up_to_the_bound(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name, 4)
    kafka.produce(topic, [f"{number % 4}:{number // 4}" for number in range(400)], lambda number: number % 4)
    running: Counter[str] = Counter()

    class Door(RecordingDoor):
        async def invoke(self, event: Any) -> Outcome:
            running["now"] += 1
            running["most"] = max(running["most"], running["now"])
            outcome = await super().invoke(event)
            running["now"] -= 1
            return outcome

    rig = opened(kafka, topic, door=Door(delay_s=0.05), batch_size=10, concurrency=3)
    run_until(rig, lambda: rig.door.figures.get("messages", 0) >= 400)
    events = [one.event for one in rig.door.events]

    for partition in "0123":
        mine = [text for text in messages(events) if text.startswith(partition)]
        assert [f"{partition}:{number}" for number in range(100)] == mine
    assert all(len({text[0] for text in messages([event])}) == 1 for event in events)
    assert {10} == {len(messages([event])) for event in events}
    assert 1 < running["most"] <= 3


@pytest.mark.slow
def test_nothing_is_committed_before_it_succeeded(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name)
    kafka.produce(topic, ["a", "b", "c"])
    failing = opened(kafka, topic, door=RecordingDoor(answer=lambda event: FAILS), retries=1_000_000)
    run_until(failing, lambda: failing.door.figures.get("retried", 0) >= 2)
    again = opened(kafka, topic)
    again.run(seconds=PATIENCE_S, events=1)
    kafka.produce(topic, ["d"])
    after = opened(kafka, topic)
    after.run(seconds=PATIENCE_S, events=1)

    assert {("a", "b", "c")} == {tuple(messages([one.event])) for one in failing.door.events}
    assert ["a", "b", "c"] == messages([one.event for one in again.door.events])
    assert ["d"] == messages([one.event for one in after.door.events]), "what succeeded does not come again"


@pytest.mark.slow
def test_tries_that_are_used_up_skip_the_batch(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name)
    kafka.produce(topic, ["bad", "good"])

    def answer(event: Any) -> Outcome:
        return FAILS if messages([event]) == ["bad"] else Outcome(0, b"null")

    rig = opened(kafka, topic, door=RecordingDoor(answer=answer), retries=2, batch_size=1)
    run_until(rig, lambda: rig.door.figures.get("messages") == 1)

    assert ["bad", "bad", "bad", "good"] == messages([one.event for one in rig.door.events])
    figures = rig.door.figures
    assert (3.0, 2.0, 1.0) == (figures["failed"], figures["retried"], figures["skipped"])


@pytest.mark.slow
def test_dead_letters_have_key_value_headers_and_origin(kafka: KafkaBroker, name: str) -> None:
    topic, dead = kafka.topic(name), kafka.topic(f"{name}-dead")
    producer = Producer({"bootstrap.servers": kafka.address})
    producer.produce(topic, b"\xffbad", b"key", headers=[("theirs", b"1")])
    producer.flush(PATIENCE_S)
    rig = opened(
        kafka, topic, door=RecordingDoor(answer=lambda event: FAILS), retries=0, on_failure="dead_letter",
        dead_letter_topic=dead,
    )  # fmt: skip
    run_until(rig, lambda: rig.door.figures.get("dead_letters") == 1)
    consumer = Consumer({"bootstrap.servers": kafka.address, "group.id": name, "auto.offset.reset": "earliest"})
    consumer.subscribe([dead])
    letter = consumer.poll(PATIENCE_S)
    consumer.close()

    assert letter is not None
    assert (b"\xffbad", b"key") == (letter.value(), letter.key())
    assert [
        ("theirs", b"1"), ("fgd-topic", topic.encode()), ("fgd-partition", b"0"), ("fgd-offset", b"0"),
        ("fgd-error", b"code 4002"),
    ] == letter.headers()  # fmt: skip


@pytest.mark.slow
def test_messages_that_no_event_can_hold_are_dropped_and_counted(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name)
    kafka.produce(topic, ["a", b"x" * (6 * 1024 * 1024 + 1), "b", b"\x01" * (2 * 1024 * 1024), b"y" * 5_000_000, "c"])
    rig = opened(kafka, topic)
    run_until(rig, lambda: rig.door.figures.get("messages", 0) >= 4)
    got = messages([one.event for one in rig.door.events])

    assert ["a", "b", "y" * 5_000_000, "c"] == got
    assert 2.0 == rig.door.figures["dropped"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["PLAIN", "SCRAM-SHA-256", "TLS"])
def test_users_and_encryption(kafka: KafkaBroker, name: str, how: str) -> None:
    topic = kafka.topic(name)
    kafka.produce(topic, ["secret"])
    user, password = SCRAM_USER if how.startswith("SCRAM") else PLAIN_USER
    fields: dict[str, Any] = {"kafka_user": user, "kafka_password": password}
    fields["kafka_connect_address"] = f"127.0.0.1:{kafka.sasl_port}"
    if how == "TLS":
        fields |= {"kafka_connect_address": f"localhost:{kafka.ssl_port}", "kafka_ssl_enable": True}
        fields["ssl_ca"] = kafka.authority
    else:
        fields["sasl_mechanism"] = how

    assert ["secret"] == messages(opened(kafka, topic, **fields).run(seconds=PATIENCE_S, events=1))


@pytest.mark.slow
def test_why_a_broker_cannot_be_used_is_told(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name)

    def why(**fields: Any) -> str:
        with pytest.RaisesGroup(Unreachable, allow_unwrapped=True, flatten_subgroups=True) as refused:
            opened(kafka, topic, **fields).run(seconds=PATIENCE_S)
        return str(refused.value.exceptions[0] if isinstance(refused.value, BaseExceptionGroup) else refused.value)

    wrong = {"kafka_connect_address": f"127.0.0.1:{kafka.sasl_port}", "kafka_user": "alice", "kafka_password": "no"}

    assert why(**wrong).startswith("FSS.1116: ")
    assert why(kafka_connect_address="127.0.0.1:1").startswith("FSS.1115: ")
    stranger = {"kafka_connect_address": f"localhost:{kafka.ssl_port}", "kafka_ssl_enable": True}
    assert re.search("certificate|SSL", why(**stranger))


@pytest.mark.slow
def test_a_topic_that_is_missing_is_told_and_read_once_it_is_there(kafka: KafkaBroker, name: str) -> None:
    rig = opened(kafka, name)

    def make() -> None:
        with_note = threading.Event()
        while not any("FSS.1111" in note for note in rig.door.notes):
            with_note.wait(0.05)
        kafka.topic(name)
        kafka.produce(name, ["first"])

    run_until(rig, lambda: rig.door.figures.get("messages") == 1, make)

    assert ["first"] == messages([one.event for one in rig.door.events])


@pytest.mark.slow
def test_latest_begins_at_the_end_and_skips_nothing_from_then_on(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name)
    kafka.produce(topic, ["before"])
    door = RecordingDoor()
    first = opened(kafka, topic, door=door, start_position="latest")
    run_until(first, lambda: door.figures.get("partitions") == 1)
    kafka.produce(topic, ["while it was away"])
    kafka.admin().list_topics(timeout=PATIENCE_S)
    second = opened(kafka, topic, door=RecordingDoor(memory=door.memory), start_position="latest")
    second.run(seconds=PATIENCE_S, events=1)

    assert [] == door.events
    assert ["while it was away"] == messages([one.event for one in second.door.events])


@pytest.mark.slow
def test_members_of_a_group_share_partitions_and_lose_no_message(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name, 4)
    kafka.produce(topic, [str(number) for number in range(1000)], lambda number: number % 4)
    doors = [
        RecordingDoor(place=trigger_place(number), delay_s=0.02, answer=lambda event: Outcome(0, b""))
        for number in (1, 2)
    ]
    rigs = [opened(kafka, topic, door=door, batch_size=10) for door in doors]

    def seen() -> int:
        return len({text for door in doors for text in messages([one.event for one in door.events])})

    async def main() -> None:
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(rigs[0].serve, float("inf"), 0)
                while len(doors[0].events) < 5:
                    await trio.sleep(0.05)
                nursery.start_soon(rigs[1].serve, float("inf"), 0)
                while any(door.figures.get("partitions") != 2 for door in doors):
                    await trio.sleep(0.05)
                late: list[bytes | str] = [str(number) for number in range(1000, 2000)]
                await trio.to_thread.run_sync(kafka.produce, topic, late, lambda number: number % 4)
                while seen() < 2000:
                    await trio.sleep(0.05)
                nursery.cancel_scope.cancel()

    trio.run(main)
    came = Counter(text for door in doors for text in messages([one.event for one in door.events]))

    assert {str(number) for number in range(2000)} == set(came)
    assert {1} == set(came.values()), "what ran was committed before the partition went"
    assert all(door.events for door in doors)


def trigger_place(number: int) -> Place:
    return dataclasses.replace(PLACE, trigger_id=f"00000000-0000-4000-8000-{number:012d}")


@pytest.mark.slow
def test_lag_is_what_is_not_done_and_a_function_that_is_off_keeps_it(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name)
    kafka.produce(topic, [str(number) for number in range(30)])
    door = RecordingDoor(off=True)
    rig = opened(kafka, topic, door=door, batch_size=10)
    lags: list[float] = []

    def switch_on() -> None:
        waiting = threading.Event()
        while door.figures.get("lag") != 30 or not any("waits: " in note for note in door.notes):
            waiting.wait(0.05)
        lags.append(door.figures["lag"])
        door.off = False

    run_until(rig, lambda: door.figures.get("lag") == 0, switch_on)

    assert [30.0] == lags
    assert [str(number) for number in range(30)] == messages([one.event for one in door.events])
