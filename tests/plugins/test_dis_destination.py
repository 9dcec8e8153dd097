"""Notifications as records of a stream, against a real broker."""

import dataclasses
import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio
from confluent_kafka import Consumer, Message

from fgd.config import Config
from fgd.destination import Delivery
from fgd.invoke.destinations import Destinations
from fgd.plugin import BadDestination, BadStream, Stream, Undeliverable
from fgd.testing.kafka import PLAIN_USER, KafkaBroker
from fgd_dis import fgd_destinations
from fgd_dis.destination import StreamDestination
from fgd_kafka.connection import Unreachable
from tests.builtin.node import PlainNode, delivery
from tests.plugins.running import PATIENCE_S


def node_with(*streams: Stream, timeout_s: float = 10.0) -> PlainNode:
    node = PlainNode()
    node.config = Config(streams={one.name: one for one in streams}, delivery_timeout_s=timeout_s)
    return node


def stream_of(kafka: KafkaBroker, topic: str) -> Stream:
    return Stream("out", (kafka.address,), topic)


def sent(kind: StreamDestination, what: Delivery | None = None) -> None:
    """One delivery, in a loop of its own as in the daemon."""

    async def main() -> None:
        with trio.fail_after(PATIENCE_S):
            await kind.deliver(what or delivery(document=b'{"n":1}'), kind.parse({"stream_name": "out"}))

    trio.run(main)


def records(kafka: KafkaBroker, topic: str, number: int) -> Iterator[Message]:
    """So many records of a topic, and those that are there beyond them."""
    consumer = Consumer({"bootstrap.servers": kafka.address, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    try:
        for wanted in range(number + 1):
            found = consumer.poll(PATIENCE_S if wanted < number else 0.5)
            if found is not None:
                yield found
    finally:
        consumer.close()


@pytest.mark.slow
def test_the_notification_is_a_record_with_the_request_id_as_its_key(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name, 3)
    kind = StreamDestination(node_with(stream_of(kafka, topic)))
    sent(kind)
    [record] = records(kafka, topic, 1)

    assert (b'{"n":1}', delivery().request_id.encode()) == (record.value(), record.key())


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ({}, "stream_name: must be a string of 1 to 64"),
        ({"stream_name": ""}, "stream_name: must be a string of 1 to 64"),
        ({"stream_name": 7}, "stream_name: must be a string of 1 to 64"),
        ({"stream_name": "x" * 65}, "stream_name: must be a string of 1 to 64"),
        ({"stream_name": "in"}, "stream_name: there is no stream 'in' on this node; there are out"),
        ({"stream_name": "out", "topic": "t"}, "topic: there is no such field; there is stream_name"),
    ],
)
def test_a_target_that_cannot_be_names_the_field(param: dict[str, Any], message: str) -> None:
    kind = StreamDestination(node_with(Stream("out", ("h:1",), "t")))
    with pytest.raises(BadDestination) as refused:
        kind.parse(param)

    assert str(refused.value).startswith(message)


def test_a_stream_that_is_not_for_the_project_gets_nothing() -> None:
    kind = StreamDestination(node_with(Stream("out", ("h:1",), "t", projects=("p2",))))
    with pytest.raises(Undeliverable, match=r"^stream_name: out is not for this project$"):
        sent(kind, delivery(project_id="p1"))


@pytest.mark.slow
def test_brokers_that_are_away_fail_the_try_in_time_and_get_it_later_once(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name)
    kind = StreamDestination(node_with(stream_of(kafka, topic), timeout_s=3.0))
    sent(kind, delivery(1))
    kafka.kill()
    try:
        with pytest.raises(Unreachable, match=r"^FSS\.1115: the brokers cannot be reached"):
            sent(kind, delivery(2))
    finally:
        kafka.start()
    sent(kind, delivery(2))
    keys = [record.key() for record in records(kafka, topic, 2)]

    assert [delivery(number).request_id.encode() for number in (1, 2)] == keys


@pytest.mark.slow
def test_a_record_that_is_too_large_is_not_tried_again(kafka: KafkaBroker, name: str) -> None:
    kind = StreamDestination(node_with(stream_of(kafka, kafka.topic(name))))
    for size in (11_000_000, 17_000_000):
        with pytest.raises(Undeliverable, match="too large for the topic"):
            sent(kind, delivery(document=b'"' + b"x" * size + b'"'))


@pytest.mark.slow
def test_a_topic_that_is_missing_is_told_and_written_to_once_it_is_there(kafka: KafkaBroker, name: str) -> None:
    kind = StreamDestination(node_with(stream_of(kafka, name)))
    with pytest.raises(Unreachable, match=r"^FSS\.1111: there is no such topic"):
        sent(kind)
    kafka.topic(name)
    sent(kind)

    assert 1 == len(list(records(kafka, name, 1)))


@pytest.mark.slow
def test_a_new_password_is_used_at_once_and_none_is_told(
    kafka: KafkaBroker, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    user, password = PLAIN_USER
    path = tmp_path / "password"
    stream = dataclasses.replace(
        stream_of(kafka, kafka.topic(name)), brokers=(f"127.0.0.1:{kafka.sasl_port}",), user=user,
        password_file=str(path),
    )  # fmt: skip
    kind = StreamDestination(node_with(stream, timeout_s=3.0))
    with caplog.at_level("DEBUG"):
        with pytest.raises(BadStream, match=r"^streams\.out\.password_file: .* cannot be read"):
            sent(kind)
        path.write_text("wrong-secret")
        with pytest.raises(Unreachable, match=r"^FSS\.1116: ") as refused:
            sent(kind)
        path.write_text(password)
        sent(kind)

    assert "secret" not in caplog.text + repr(refused.value)
    assert 1 == len(list(records(kafka, stream.topic, 1)))


@pytest.mark.slow
def test_producers_that_are_replaced_leave_nothing_behind(kafka: KafkaBroker, name: str, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("wrong")
    stream = dataclasses.replace(
        stream_of(kafka, kafka.topic(name)), brokers=(f"127.0.0.1:{kafka.sasl_port}",), user=PLAIN_USER[0],
        password_file=str(path),
    )  # fmt: skip
    kind = StreamDestination(node_with(stream, timeout_s=1.0))
    threads: list[int] = []
    gc.disable()
    try:
        for _ in range(8):
            with pytest.raises(Unreachable):
                sent(kind)
            threads.append(psutil.Process().num_threads())
    finally:
        gc.enable()

    assert threads[-1] <= threads[1] + 3, threads


@pytest.mark.slow
def test_many_deliveries_at_once_in_threads_of_the_daemon_all_arrive_once(kafka: KafkaBroker, name: str) -> None:
    topic = kafka.topic(name, 4)
    reports: list[str] = []

    async def main() -> None:
        [made_by] = fgd_destinations()
        kinds = Destinations(
            [("dis", False, made_by)], node_with(stream_of(kafka, topic)), timeout_s=PATIENCE_S,
            report=lambda plugin, text: reports.append(text),
        )  # fmt: skip
        room = trio.CapacityLimiter(32)

        async def one(number: int) -> None:
            async with room:
                await kinds.deliver("DIS", '{"stream_name": "out"}', delivery(number))

        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                for number in range(300):
                    nursery.start_soon(one, number)

    trio.run(main)
    came = Counter(record.key() for record in records(kafka, topic, 300))

    assert {delivery(number).request_id.encode(): 1 for number in range(300)} == came
    assert [] == reports
