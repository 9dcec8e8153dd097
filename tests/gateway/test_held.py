"""What clients make the daemon hold in memory is bounded: events until they are over, answers until they are taken."""

import socket
import struct

from fgd.call import Outcome
from tests.gateway.conftest import Start
from tests.gateway.rig import Rig, request

_EVENT = b'"' + b"x" * 6_000_000 + b'"'


def test_an_event_counts_until_it_is_over_also_when_its_client_is_gone(rig: Rig) -> None:
    client = rig.client()
    client.send(request("hold", _EVENT))
    rig.wait_until(lambda: len(rig.invoker.held) == 1)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() resets
    client.sock.close()
    rig.wait_until(lambda: rig.gateway.connections == 0)

    assert rig.gateway.body_bytes == len(_EVENT)
    call = rig.invoker.held[0]
    rig.in_loop(lambda: rig.invoker.finish(call, Outcome(0, b"1")))
    rig.wait_until(lambda: rig.gateway.body_bytes == 0)


def test_events_that_wait_are_bounded_together(rig: Rig) -> None:
    rig.gateway.body_bytes_max = 10_000_000
    rig.client().send(request("hold", _EVENT))
    rig.wait_until(lambda: len(rig.invoker.held) == 1)
    client = rig.client()
    client.send(request("hello", _EVENT))

    assert client.answer().status == 429
    assert rig.client().invoke().status == 200


def test_small_events_count_as_well(rig: Rig) -> None:
    rig.gateway.body_bytes_max = 100_000
    event = b'"' + b"x" * 40_000 + b'"'
    for number in range(2):
        rig.client().send(request("hold", event))
        rig.wait_until(lambda: len(rig.invoker.held) == number + 1)  # noqa: B023  # runs within this round
    client = rig.client()
    client.send(request("hello", event))

    assert client.answer().status == 429


def test_an_answer_that_nobody_reads_counts(start: Start) -> None:
    rig = start(body_timeout_s=60.0)
    rig.gateway.body_bytes_max = 10_000_000
    slow, other = rig.client(), rig.client()
    for client in (slow, other):
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.send(request("big"))
    rig.wait_until(lambda: rig.gateway.body_bytes > 0)
    other.send(request("big"))
    rig.wait_until(lambda: rig.gateway.connections == 1)

    assert rig.client().invoke().status == 200
    slow.sock.close()
    rig.wait_until(lambda: rig.gateway.body_bytes == 0)


def test_a_refused_invocation_holds_nothing(rig: Rig) -> None:
    client = rig.client()
    client.send(request("busy", _EVENT))

    assert client.answer().status == 429
    assert rig.gateway.body_bytes == 0
