"""RABBITMQ triggers against a real RabbitMQ node."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import trio

from fgd.call import Outcome
from fgd.control.event_templates import TEMPLATES
from fgd.testing.host import eventually
from fgd.testing.trigger import BadTriggerConfig, RecordingDoor, TriggerRig, parse
from fgd_rabbitmq.trigger import EVENT_MAX_BYTES, RabbitMq
from tests.rabbits import RabbitNode

DEADLINE_S = 60.0
DATA: dict[str, object] = {
    "instance_id": "81335d56-b9fe-4679-ba95-7030949cc76b", "exchange_name": "orders", "access_password": "guest",
    "batch_size": 10,
}  # fmt: skip
FAILS = Outcome(4002, b"{}", function_error=True)
_numbers = itertools.count()


@pytest.fixture
def exchange(rabbit: RabbitNode) -> str:
    """An exchange with a queue of the same name, which no other test has."""
    name = f"e{next(_numbers)}"
    rabbit.exchange(name, name, **{"x-dead-letter-exchange": f"{name}-dead"})
    rabbit.exchange(f"{name}-dead", f"{name}-dead")
    return name


def rig_of(rabbit: RabbitNode, exchange: str, door: RecordingDoor | None = None, **fields: object) -> TriggerRig[Any]:
    data = {**DATA, "exchange_name": exchange, "queue_name": exchange, "connect_address": rabbit.address, **fields}
    return TriggerRig(RabbitMq, data, door=door, real_time=True)


def publishing(rabbit: RabbitNode, exchange: str, *bodies: bytes | str) -> Callable[[], Any]:
    """Something for `ready` of a rig."""
    return lambda: trio.to_thread.run_sync(lambda: rabbit.publish(exchange, *bodies))


def messages(events: list[Any]) -> list[str]:
    return [text for event in events for record in event["records"] for text in record["messages"]]


def until_figure(rig: TriggerRig[Any], name: str, number: int) -> None:
    """Runs the trigger until one of its counters is so high."""

    async def main() -> None:
        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                await nursery.start(rig.kind(rig.settings, rig.door).serve)
                while rig.door.figures.get(name, 0) < number:
                    await trio.sleep(0.02)
                nursery.cancel_scope.cancel()

    trio.run(main)


def test_messages_are_an_event_as_the_cloud_s_and_acknowledged_after_success(rabbit: RabbitNode, exchange: str) -> None:
    rabbit.publish(exchange, "one", "zwei é", b"\xff")
    rig = rig_of(rabbit, exchange)
    until_figure(rig, "messages", 3)
    event = rig.door.events[0].event
    template = next(one.event for one in TEMPLATES if one.name == "rabbitmq")

    assert isinstance(template, dict) and template.keys() == event.keys()
    assert ["one", "zwei é", "\ufffd"] == messages([one.event for one in rig.door.events])
    assert ("v1.0", "RABBITMQ", "local", DATA["instance_id"], exchange) == (
        event["event_version"], event["trigger_type"], event["region"], event["instance_id"],
        event["records"][0]["exchange"],
    )  # fmt: skip
    assert isinstance(event["event_time"], int) and rig.door.events[0].sync
    assert eventually(lambda: rabbit.waiting(exchange) == 0, DEADLINE_S)


def test_batches_are_full_or_what_came_in_time(rabbit: RabbitNode, exchange: str) -> None:
    rabbit.publish(exchange, *map(str, range(25)))
    rig = rig_of(rabbit, exchange, batch_wait_ms=500)
    until_figure(rig, "messages", 25)

    assert list(map(str, range(25))) == messages([one.event for one in rig.door.events])
    assert 10 == max(len(messages([one.event])) for one in rig.door.events)


def test_the_trigger_makes_a_queue_of_its_own_which_keeps_messages_while_it_is_off(
    rabbit: RabbitNode, exchange: str
) -> None:
    rig = rig_of(rabbit, exchange, queue_name=None)
    rig.run(seconds=DEADLINE_S, events=1, ready=publishing(rabbit, exchange, "a"))
    rabbit.publish(exchange, "b")
    again = rig_of(rabbit, exchange, queue_name=None)
    until_figure(again, "messages", 1)

    assert ["a"] == messages([rig.door.events[0].event])
    assert "b" in messages([one.event for one in again.door.events])


def test_a_failing_function_gets_a_batch_again_and_then_it_is_dead_lettered(
    rabbit: RabbitNode, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fgd_rabbitmq.trigger._RETRY_FIRST_S", 0.02)
    rabbit.publish(exchange, "poison")
    rig = rig_of(rabbit, exchange, RecordingDoor(answer=lambda event: FAILS), attempts=3, on_failure="dead_letter")
    until_figure(rig, "dead_lettered", 1)

    assert ["poison"] * 3 == messages([one.event for one in rig.door.events])
    assert 3 == rig.door.figures["failed"]
    assert eventually(lambda: rabbit.waiting(f"{exchange}-dead") == 1, DEADLINE_S)
    assert 0 == rabbit.waiting(exchange)


def test_a_failing_function_s_messages_go_back_into_the_queue_until_it_succeeds(
    rabbit: RabbitNode, exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fgd_rabbitmq.trigger._RETRY_FIRST_S", 0.02)
    answers = iter([FAILS, FAILS])
    rabbit.publish(exchange, "a", "b")
    door = RecordingDoor(answer=lambda event: next(answers, Outcome(0, b"null")))
    rig = rig_of(rabbit, exchange, door, attempts=1)
    until_figure(rig, "messages", 2)

    assert rig.door.figures["requeued"] >= 2
    assert rig.door.figures["redelivered"] >= 2
    assert {"a", "b"} == set(messages([one.event for one in rig.door.events]))
    assert eventually(lambda: rabbit.waiting(exchange) == 0, DEADLINE_S)


def test_the_broker_gives_no_more_than_a_batch_to_a_slow_function(rabbit: RabbitNode, exchange: str) -> None:
    rabbit.publish(exchange, *map(str, range(30)))
    rig = rig_of(rabbit, exchange, RecordingDoor(delay_s=3600.0), batch_size=4)
    left: list[int] = []

    async def main() -> None:
        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                await nursery.start(rig.kind(rig.settings, rig.door).serve)
                await rig.door.wait_for(1)
                left.append(await trio.to_thread.run_sync(lambda: rabbit.waiting(exchange)))
                nursery.cancel_scope.cancel()

    trio.run(main)

    assert [26] == left
    assert eventually(lambda: rabbit.waiting(exchange) == 30, DEADLINE_S), "what was not acknowledged is there again"


def test_a_message_too_large_for_any_event_is_refused_alone(rabbit: RabbitNode, exchange: str) -> None:
    rabbit.publish(exchange, "before", b"\x00" * (EVENT_MAX_BYTES // 5), "after")
    rig = rig_of(rabbit, exchange)
    until_figure(rig, "messages", 2)

    assert ["before", "after"] == messages([one.event for one in rig.door.events])
    assert 1 == rig.door.figures["too_large"]
    assert eventually(lambda: rabbit.waiting(f"{exchange}-dead") == 1, DEADLINE_S)


def test_an_encrypted_connection_trusts_the_named_authority_only(rabbit: RabbitNode, exchange: str) -> None:
    rabbit.publish(exchange, "a")
    fields: dict[str, Any] = {"ssl_enable": True, "connect_address": rabbit.tls_address}
    stranger = failure_of(rig_of(rabbit, exchange, **fields))
    rig = rig_of(rabbit, exchange, ssl_ca=rabbit.authority, **fields)
    until_figure(rig, "messages", 1)

    assert "certificate" in stranger.lower()
    assert ["a"] == messages([one.event for one in rig.door.events])


def failure_of(rig: TriggerRig[Any]) -> str:
    """Why a trigger ended by itself."""
    with pytest.raises(BaseExceptionGroup) as failed:
        rig.run(seconds=DEADLINE_S, events=1)
    error: BaseException = failed.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def test_what_is_wrong_with_a_broker_is_said(rabbit: RabbitNode, exchange: str) -> None:
    wrong = failure_of(rig_of(rabbit, exchange, access_password="wr0ng"))
    host = failure_of(rig_of(rabbit, exchange, vhost="nowhere"))
    queue = failure_of(rig_of(rabbit, exchange, queue_name="missing"))
    own = failure_of(rig_of(rabbit, "missing", queue_name=None))
    gone = failure_of(rig_of(rabbit, exchange, connect_address="127.0.0.1:1"))

    assert "refuses the user 'guest'" in wrong and "wr0ng" not in wrong
    assert "nowhere" in host
    assert "no queue 'missing'" in queue
    assert "no exchange 'missing'" in own
    assert "LinkFailed: 127.0.0.1:1 cannot be reached" in gone


def test_a_queue_that_is_deleted_is_a_failure(rabbit: RabbitNode, exchange: str) -> None:
    def delete() -> None:
        with rabbit.connect() as connection:
            connection.channel().queue_delete(exchange)

    rig = rig_of(rabbit, exchange)
    with pytest.raises(BaseExceptionGroup) as failed:
        rig.run(seconds=DEADLINE_S, events=1, ready=lambda: trio.to_thread.run_sync(delete))

    assert failed.group_contains(Exception, match="deleted")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"exchange_name": ""}, "exchange_name"), ({"exchange_name": None}, "exchange_name"),
        ({"exchange_name": "é" * 128}, "exchange_name"), ({"access_password": None}, "access_password"),
        ({"batch_size": 0}, "batch_size"), ({"batch_size": 1001}, "batch_size"), ({"batch_size": None}, "batch_size"),
        ({"instance_id": "a/b"}, "instance_id"), ({"connect_address": "h:0"}, "connect_address"),
        ({"connect_address": "amqp://h"}, "connect_address"), ({"connect_address": "a,"}, "connect_address"),
        ({"vhost": ""}, "vhost"), ({"ssl_enable": "yes"}, "ssl_enable"), ({"ssl_ca": "x"}, "ssl_ca"),
        ({"ssl_enable": True, "ssl_ca": "x"}, "ssl_ca"), ({"attempts": 0}, "attempts"),
        ({"on_failure": "drop"}, "on_failure"), ({"batch_wait_ms": 9}, "batch_wait_ms"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be(fields: dict[str, object], field: str) -> None:
    with pytest.raises(BadTriggerConfig) as refused:
        parse(RabbitMq, {**DATA, **fields})

    assert str(refused.value).startswith(f"event_data.{field}: ")


def test_limits_and_what_is_there_without_being_said() -> None:
    settings = parse(RabbitMq, {**DATA, "batch_size": 1000})
    several = parse(RabbitMq, {**DATA, "ssl_enable": True, "connect_address": "a, b:7"})

    assert [(DATA["instance_id"], 5672)] == settings.addresses()
    assert [("a", 5671), ("b", 7)] == several.addresses()
    assert ("/", "guest", "#", "requeue") == (
        settings.vhost, settings.access_user, settings.routing_key, settings.on_failure,
    )  # fmt: skip
    assert {"access_password"} == set(RabbitMq.secrets)
    assert "ACTIVE" == RabbitMq.starts
