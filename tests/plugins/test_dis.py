"""DIS triggers against a real broker: what functions get, in which order and size, and what goes wrong."""

import base64
import dataclasses
import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio
from confluent_kafka import Consumer, Message, Producer

from fgd.call import Outcome
from fgd.control.event_templates import event_template
from fgd.plugin import BadTriggerConfig, Stream, StreamNotFound
from fgd.testing.kafka import PLAIN_USER, SCRAM_USER, KafkaBroker
from fgd.testing.trigger import PLACE, ListedSources, RecordingDoor, TriggerRig, parse
from fgd_dis import fgd_trigger_types
from fgd_dis.settings import DisSettings
from fgd_dis.trigger import Dis
from fgd_kafka.partition import HELD_MAX_RECORDS
from fgd_kafka.reader import Reading
from fgd_kafka.source import STEP_MAX
from tests.plugins.running import PATIENCE_S, run_until

FAILS = Outcome(4002, b"{}", function_error=True)


def opened(
    *streams: Stream, door: RecordingDoor | None = None, kind: type[Dis] = Dis, **fields: Any
) -> TriggerRig[DisSettings]:
    """A trigger on the first stream, from its beginning."""
    door = door or RecordingDoor()
    door.sources = ListedSources(named={one.name: one for one in streams})
    data = {
        "stream_name": streams[0].name, "sharditerator_type": "TRIM_HORIZON", "polling_interval": 20,
        "polling_unit": "ms", "retry_first_ms": 10, **fields,
    }  # fmt: skip
    return TriggerRig(kind, data, door=door, real_time=True)


def stream_of(kafka: KafkaBroker, topic: str, name: str = "orders") -> Stream:
    return Stream(name, (kafka.address,), topic)


def texts(events: list[Any], shard: str = "") -> list[str]:
    records = [one for event in events if shard in ("", event["ShardID"]) for one in event["Message"]["records"]]
    return [base64.b64decode(one["data"]).decode("utf-8", "replace") for one in records]


def got(door: RecordingDoor, shard: str = "") -> list[str]:
    return texts([one.event for one in door.events], shard)


@pytest.mark.slow
def test_events_are_those_of_the_template(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name)
    producer = Producer({"bootstrap.servers": kafka.address})
    for key, value in ((b"k\xc3\xbc", b"welcome"), (b"\xff", b"\x00\xff"), (None, b""), (b"", None)):
        producer.produce(topic, value, key)
    producer.flush(PATIENCE_S)
    [event] = opened(stream_of(kafka, topic, "dis-a")).run(seconds=PATIENCE_S, events=1)
    template: Any = event_template("dis").event
    message = event["Message"]
    cursor = json.loads(base64.b64decode(message["next_partition_cursor"]))

    assert list(template) == list(event)
    assert list(template["Message"]) == list(message)
    assert [list(template["Message"]["records"][0])] * 4 == [list(one) for one in message["records"]]
    assert ("shardId-0000000000", "latest", "dis-a", "") == (
        event["ShardID"], event["Tag"], event["StreamName"], message["millis_behind_latest"],
    )  # fmt: skip
    assert [
        {"partition_key": "kü", "data": "d2VsY29tZQ==", "sequence_number": "0"},
        {"partition_key": "\ufffd", "data": "AP8=", "sequence_number": "1"},
        {"partition_key": "shardId_0000000000", "data": "", "sequence_number": "2"},
        {"partition_key": "", "data": "", "sequence_number": "3"},
    ] == message["records"]
    assert {
        "stream-name": "dis-a", "partition-id": "0", "cursor-type": "AT_SEQUENCE_NUMBER",
        "starting-sequence-number": "4",
    } == cursor["getIteratorParam"]  # fmt: skip


@pytest.mark.slow
def test_the_tag_is_the_version_or_alias_of_the_trigger(kafka: KafkaBroker, name: str) -> None:
    stream = stream_of(kafka, kafka.topic(name))
    kafka.produce(stream.topic, ["x"])
    tags = []
    for number, qualifier in enumerate(("v1", "!live")):
        place = dataclasses.replace(PLACE, qualifier=qualifier, trigger_id=f"{name}-{number}")
        [event] = opened(stream, door=RecordingDoor(place=place)).run(seconds=PATIENCE_S, events=1)
        tags.append(event["Tag"])

    assert ["v1", "live"] == tags


def test_the_type_starts_switched_off_counts_and_has_codes_of_its_own() -> None:
    [kind] = fgd_trigger_types()

    assert ("DIS", "DISABLED", True, True) == (kind.code, kind.starts, kind.pulls, kind.may_be_disabled)
    assert ("FSS.1104", "FSS.1143", "FSS.1134") == (kind.bad_code, kind.exists_code, kind.missing_code)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"stream_name": None}, "stream_name"), ({"stream_name": ""}, "stream_name"), ({"stream_name": 7}, "stream_n"),
        ({"stream_name": "x" * 65}, "stream_name"), ({"sharditerator_type": "latest"}, "sharditerator_type"),
        ({"sharditerator_type": "AT_TIMESTAMP"}, "sharditerator_type"), ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 10_001}, "batch_size"), ({"max_fetch_bytes": 1023}, "max_fetch_bytes"),
        ({"max_fetch_bytes": 4_194_305}, "max_fetch_bytes"), ({"polling_interval": 0}, "polling_interval"),
        ({"polling_interval": 61}, "polling_interval"), ({"polling_interval": "30"}, "polling_interval"),
        ({"polling_interval": 1, "polling_unit": "ms"}, "polling_interval"), ({"polling_unit": "m"}, "polling_unit"),
        ({"polling_interval": 60_001, "polling_unit": "ms"}, "polling_interval"), ({"is_serial": "yes"}, "is_serial"),
        ({"is_serial": 1}, "is_serial"), ({"retries": -1}, "retries"), ({"on_failure": "requeue"}, "on_failure"),
        ({"on_failure": "dead_letter"}, "dead_letter_stream"), ({"dead_letter_stream": "d"}, "dead_letter_stream"),
        ({"on_failure": "dead_letter", "dead_letter_stream": "s"}, "dead_letter_stream"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(fields: dict[str, object], field: str) -> None:
    with pytest.raises(BadTriggerConfig) as refused:
        parse(Dis, {"stream_name": "s", **fields})

    assert str(refused.value).startswith(f"event_data.{field}")
    assert "FSS.1104" == refused.value.code


@pytest.mark.parametrize(
    ("fields", "polling_ms", "serial"),
    [({}, 30_000, False), ({"polling_interval": 60}, 60_000, False), ({"is_serial": "true"}, 30_000, True),
     ({"polling_interval": 2, "polling_unit": "ms", "is_serial": True}, 2, True),
     ({"is_serial": "false", "polling_unit": "s"}, 30_000, False)],
)  # fmt: skip
def test_settings_as_clients_send_them(fields: dict[str, object], polling_ms: int, serial: bool) -> None:
    settings = parse(Dis, {"stream_name": "s", **fields})

    assert (polling_ms, serial) == (settings.polling_ms, settings.serial)


def test_a_stream_that_the_node_does_not_have_is_refused() -> None:
    sources = ListedSources(named={one: Stream(one, ("h:1",), topic) for one, topic in zip("abc", "xxy", strict=True)})
    letters = {"on_failure": "dead_letter", "stream_name": "a"}

    def admit(fields: dict[str, object]) -> None:
        Dis.admit(parse(Dis, fields), PLACE, sources)

    with pytest.raises(StreamNotFound, match=r"^event_data\.stream_name: there is no stream 'z' .*; there are a, b, c"):
        admit({"stream_name": "z"})
    with pytest.raises(StreamNotFound, match=r"^event_data\.dead_letter_stream: there is no stream 'z'"):
        admit({**letters, "dead_letter_stream": "z"})
    with pytest.raises(BadTriggerConfig, match=r"^event_data\.dead_letter_stream: stands for the same topic"):
        admit({**letters, "dead_letter_stream": "b"})
    admit({**letters, "dead_letter_stream": "c"})


def test_a_stream_that_has_gone_from_the_settings_is_an_error_of_the_trigger() -> None:
    rig = opened(Stream("a", ("h:1",), "x"))
    rig.door.sources = ListedSources()
    with pytest.RaisesGroup(StreamNotFound, allow_unwrapped=True, flatten_subgroups=True):
        rig.run(seconds=PATIENCE_S)

    assert [] == rig.door.events


class BusyDoor(RecordingDoor):
    """Knows how many events ran at once."""

    running = 0
    most = 0

    async def invoke(self, event: Any) -> Outcome:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await super().invoke(event)
        finally:
            self.running -= 1


@pytest.mark.slow
@pytest.mark.parametrize("serial", ["true", "false"])
def test_partitions_keep_their_order_and_run_side_by_side_unless_serial(
    kafka: KafkaBroker, name: str, serial: str
) -> None:
    topic = kafka.topic(name, 4)
    kafka.produce(topic, [f"{number % 4}:{number // 4}" for number in range(400)], lambda number: number % 4)
    door = BusyDoor(delay_s=0.02)
    rig = opened(stream_of(kafka, topic), door=door, batch_size=10, is_serial=serial)
    run_until(rig, lambda: door.figures.get("messages", 0) >= 400)

    for partition in range(4):
        wanted = [f"{partition}:{number}" for number in range(100)]
        assert wanted == got(door, f"shardId-{partition:010d}")
    assert {10} == {len(texts([one.event])) for one in door.events}
    assert door.most == 1 if serial == "true" else 1 < door.most <= 4


@pytest.mark.slow
def test_events_are_full_by_number_or_bytes_and_a_larger_record_goes_alone(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name)
    kafka.produce(topic, ["a" * 400, "b" * 400, "c" * 400, "d" * 2000, "e", "f", "g", "h"])
    rig = opened(stream_of(kafka, topic), batch_size=3, max_fetch_bytes=1024, polling_interval=500)
    run_until(rig, lambda: rig.door.figures.get("messages", 0) >= 8)

    assert ["ab", "c", "d", "efg", "h"] == [
        "".join(text[0] for text in texts([one.event])) for one in rig.door.events
    ]  # fmt: skip


@pytest.mark.slow
def test_records_wait_for_others_until_the_interval_is_over(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name)
    rig = opened(stream_of(kafka, topic), polling_interval=60, polling_unit="s", batch_size=4)

    def write() -> None:
        for number in range(4):
            assert [] == rig.door.events
            kafka.produce(topic, [str(number)])

    run_until(rig, lambda: bool(rig.door.events), write)

    assert ["0", "1", "2", "3"] == got(rig.door)


@pytest.mark.slow
def test_latest_begins_behind_the_newest_and_skips_nothing_from_then_on(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name)
    kafka.produce(topic, ["before"])
    door = RecordingDoor()
    run_until(
        opened(stream_of(kafka, topic), door=door, sharditerator_type="LATEST"),
        lambda: door.figures.get("partitions") == 1,
    )
    kafka.produce(topic, ["while it was away"])
    again = RecordingDoor(memory=door.memory)
    opened(stream_of(kafka, topic), door=again, sharditerator_type="LATEST").run(seconds=PATIENCE_S, events=1)

    assert ([], ["while it was away"]) == (got(door), got(again))


@pytest.mark.slow
def test_nothing_is_committed_before_it_succeeded(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name)
    kafka.produce(topic, ["a", "b"])
    failing = opened(stream_of(kafka, topic), door=RecordingDoor(answer=lambda event: FAILS), retries=1_000_000)
    run_until(failing, lambda: failing.door.figures.get("retried", 0) >= 2)
    again = opened(stream_of(kafka, topic))
    again.run(seconds=PATIENCE_S, events=1)
    kafka.produce(topic, ["c"])
    after = opened(stream_of(kafka, topic))
    after.run(seconds=PATIENCE_S, events=1)

    assert {("a", "b")} == {tuple(texts([one.event])) for one in failing.door.events}
    assert (["a", "b"], ["c"]) == (got(again.door), got(after.door))


@pytest.mark.slow
def test_records_that_a_function_always_fails_on_are_skipped(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name)
    kafka.produce(topic, ["bad", "good"])
    door = RecordingDoor(answer=lambda event: FAILS if texts([event]) == ["bad"] else Outcome(0, b"null"))
    run_until(
        opened(stream_of(kafka, topic), door=door, retries=2, batch_size=1), lambda: door.figures.get("messages") == 1
    )

    assert ["bad", "bad", "bad", "good"] == got(door)
    assert (3.0, 2.0, 1.0) == (door.figures["failed"], door.figures["retried"], door.figures["skipped"])


@pytest.mark.slow
def test_or_go_to_another_stream(kafka: KafkaBroker, name: str) -> None:
    stream, dead = stream_of(kafka, kafka.topic(name)), stream_of(kafka, kafka.topic(f"{name}-dead"), "dead")
    producer = Producer({"bootstrap.servers": kafka.address})
    producer.produce(stream.topic, b"\xffbad", b"key")
    producer.flush(PATIENCE_S)
    door = RecordingDoor(answer=lambda event: FAILS)
    rig = opened(stream, dead, door=door, retries=0, on_failure="dead_letter", dead_letter_stream="dead")
    run_until(rig, lambda: door.figures.get("dead_letters") == 1)
    consumer = Consumer({"bootstrap.servers": kafka.address, "group.id": name, "auto.offset.reset": "earliest"})
    consumer.subscribe([dead.topic])
    letter = consumer.poll(PATIENCE_S)
    consumer.close()

    assert letter is not None
    assert (b"\xffbad", b"key") == (letter.value(), letter.key())
    assert ("fgd-topic", stream.topic.encode()) in (letter.headers() or [])


@pytest.mark.slow
def test_records_that_no_event_can_hold_are_dropped_and_counted(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name)
    kafka.produce(topic, ["a", b"x" * 4_800_000, b"y" * 4_600_000, "b"])
    rig = opened(stream_of(kafka, topic))
    run_until(rig, lambda: rig.door.figures.get("messages", 0) >= 3)

    assert ["a", "y", "b"] == [text[0] for text in got(rig.door)]
    assert 1.0 == rig.door.figures["dropped"]


@pytest.mark.slow
def test_a_slow_function_stops_the_reading(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name)
    total = 60_000
    kafka.produce(topic, [str(number) for number in range(total)])
    read = Counter[str]()

    class Counted(Dis):
        def reading(self) -> Reading:
            found = super().reading()
            encode = found.subscription.encode

            def count(message: Message) -> bytes:
                read["messages"] += 1
                return encode(message)

            return dataclasses.replace(found, subscription=dataclasses.replace(found.subscription, encode=count))

    door = RecordingDoor(delay_s=PATIENCE_S * 10)
    rig = opened(stream_of(kafka, topic), door=door, kind=Counted, batch_size=100)
    lags: list[int] = []

    def met() -> bool:
        """Long enough that all would have been read: the same number twice, with looks at the lag between."""
        if door.figures.get("lag") == total and len(door.events) == 1:
            lags.append(read["messages"])
        return len(lags) > 40 and lags[-1] == lags[-40]

    run_until(rig, met)

    assert read["messages"] <= HELD_MAX_RECORDS + 2 * STEP_MAX + 100
    assert 1 == len(door.events)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["PLAIN", "SCRAM-SHA-256", "TLS"])
def test_users_and_encryption_and_no_password_is_told(
    kafka: KafkaBroker, name: str, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    topic = kafka.topic(name)
    kafka.produce(topic, ["secret"])
    user, password = SCRAM_USER if how.startswith("SCRAM") else PLAIN_USER
    path, authority = tmp_path / "password", tmp_path / "ca.pem"
    path.write_text(password + "\n")
    authority.write_text(kafka.authority)
    stream = Stream(
        "orders", (f"127.0.0.1:{kafka.sasl_port}",), topic, user=user, password_file=str(path),
        mechanism="PLAIN" if how == "TLS" else how,
    )  # fmt: skip
    if how == "TLS":
        brokers = (f"localhost:{kafka.ssl_port}",)
        stream = dataclasses.replace(stream, brokers=brokers, tls=True, ca_file=str(authority))
    with caplog.at_level("DEBUG"):
        rig = opened(stream)
        rig.run(seconds=PATIENCE_S, events=1)

    assert ["secret"] == got(rig.door)
    said = caplog.text + "".join(rig.door.notes) + repr(rig.settings) + repr(stream)
    assert password not in said


@pytest.mark.slow
def test_why_a_stream_cannot_be_read_is_told(kafka: KafkaBroker, name: str, tmp_path: Path) -> None:
    topic = kafka.topic(name)
    path = tmp_path / "password"

    def why(stream: Stream) -> str:
        with pytest.RaisesGroup(Exception, allow_unwrapped=True, flatten_subgroups=True) as refused:
            opened(stream).run(seconds=PATIENCE_S)
        error = refused.value.exceptions[0] if isinstance(refused.value, BaseExceptionGroup) else refused.value
        return f"{type(error).__name__}: {error}"

    sasl = Stream("s", (f"127.0.0.1:{kafka.sasl_port}",), topic, user="alice", password_file=str(path))

    assert why(sasl).startswith(f"BadStream: streams.s.password_file: {path} cannot be read")
    path.write_text("wrong-secret")
    assert why(sasl).startswith("Unreachable: FSS.1116: ")
    assert "wrong-secret" not in why(sasl)
    assert why(Stream("s", ("127.0.0.1:1",), topic)).startswith("Unreachable: FSS.1115: ")


@pytest.mark.slow
def test_a_topic_that_is_missing_is_told_and_read_once_it_is_there(kafka: KafkaBroker, name: str) -> None:
    rig = opened(stream_of(kafka, name))

    def make() -> None:
        waiting = threading.Event()
        while not any("FSS.1111" in note for note in rig.door.notes):
            waiting.wait(0.05)
        kafka.topic(name)
        kafka.produce(name, ["first"])

    run_until(rig, lambda: rig.door.figures.get("messages") == 1, make)

    assert ["first"] == got(rig.door)


@pytest.mark.slow
def test_a_function_that_is_off_leaves_records_in_the_stream(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name)
    kafka.produce(topic, [str(number) for number in range(30)])
    door = RecordingDoor(off=True)
    rig = opened(stream_of(kafka, topic), door=door, batch_size=10)

    def switch_on() -> None:
        waiting = threading.Event()
        while door.figures.get("lag") != 30 or not any("waits: " in note for note in door.notes):
            waiting.wait(0.05)
        door.off = False

    run_until(rig, lambda: door.figures.get("lag") == 0, switch_on)

    assert [str(number) for number in range(30)] == got(door)


@pytest.mark.slow
def test_reading_takes_no_thread_that_the_daemon_shares(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name)
    kafka.produce(topic, [str(number) for number in range(200)])
    door = RecordingDoor()
    rig = opened(stream_of(kafka, topic), door=door, batch_size=10)
    taken: list[int] = []

    def met() -> bool:
        taken.append(trio.to_thread.current_default_thread_limiter().statistics().borrowed_tokens)
        return door.figures.get("messages") == 200

    run_until(rig, met)

    assert {0} == set(taken)
