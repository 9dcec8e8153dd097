"""Connections: splits, pipelines, keep-alive, slow clients, full houses, and the end."""

import os
import socket
import threading
import time

import pytest

from fgd.call import Outcome
from tests.gateway.conftest import Start
from tests.gateway.rig import PATH, TOKEN, Rig, request

CHUNKED = (
    f"POST {PATH} HTTP/1.1\r\nHost: a\r\nX-Auth-Token: {TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n"
    '3;x=y\r\n{"a\r\nA\r\n":12345678\r\n1\r\n}\r\n00\r\nTrailer: x\r\n\r\n'
).encode()


@pytest.mark.parametrize("data", [request("hello", b'{"a":12345678}'), CHUNKED], ids=["length", "chunked"])
def test_request_in_every_split(rig: Rig, data: bytes) -> None:
    client = rig.client()
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(1, len(data)):
        client.send(data[:at])
        time.sleep(0.0005)
        client.send(data[at:])
        assert client.answer().body == b'{"a":12345678}'

    assert len(rig.invoker.calls) == len(data) - 1


def test_request_byte_by_byte(rig: Rig) -> None:
    client = rig.client()
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for data in (request("hello", b'{"a":1}'), CHUNKED):
        for byte in data:
            client.send(bytes([byte]))

        assert client.answer().status == 200


def test_pipelined_requests_are_answered_in_order(rig: Rig) -> None:
    client = rig.client()
    client.send(b"".join(request("hello", b"%d" % number) for number in range(300)))

    assert [client.answer().body for _ in range(300)] == [b"%d" % number for number in range(300)]


def test_second_request_waits_for_the_first_answer(rig: Rig) -> None:
    client = rig.client()
    client.send(request("hold", b"1") + request("hello", b"2"))
    rig.wait_until(lambda: len(rig.invoker.held) == 1)
    client.send(request("hello", b"3") * 2)
    time.sleep(0.05)

    assert len(rig.invoker.calls) == 1
    rig.in_loop(lambda: rig.invoker.finish(rig.invoker.held[0], Outcome(0, b"1")))
    assert [client.answer().body for _ in range(4)] == [b"1", b"2", b"3", b"3"]


def test_different_requests_on_one_connection(rig: Rig) -> None:
    client = rig.client()

    assert client.invoke("hello", b"1").body == b"1"
    assert client.invoke("hello", b"1").body == b"1"
    assert client.invoke("fails", b"1").headers["x-func-err-code"] == "4002"
    assert client.invoke("hello", b"22").body == b"22"
    assert client.invoke("hello", b"22", "X-CFF-Request-Version: v1").headers["x-cff-response-version"] == "v1"
    assert client.invoke("hello", b"1").body == b"1"


def test_connection_close_is_honoured(rig: Rig) -> None:
    client = rig.client()
    answer = client.invoke("hello", b"1", "Connection: close")

    assert answer.headers["connection"] == "close"
    assert client.closed()


def test_client_that_closed_its_side_still_gets_its_answer(rig: Rig) -> None:
    client = rig.client()
    client.send(request("hold"))
    client.sock.shutdown(socket.SHUT_WR)
    rig.wait_until(lambda: len(rig.invoker.held) == 1)
    rig.in_loop(lambda: rig.invoker.finish(rig.invoker.held[0], Outcome(0, b"1")))

    assert client.answer().body == b"1"
    assert client.closed()


def test_client_is_told_to_continue_before_it_sends_its_body(rig: Rig) -> None:
    client = rig.client()
    data = request("hello", b'{"a":1}', "Expect: 100-continue")
    client.send(data[:-7])
    assert client.answer().status == 100
    client.send(data[-7:])

    assert client.answer().body == b'{"a":1}'


def test_client_without_credentials_is_not_told_to_continue(rig: Rig) -> None:
    client = rig.client()
    client.send(f"POST {PATH} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n".encode())

    assert client.answer().status == 401
    assert client.closed()


def test_body_of_a_client_without_credentials_is_not_awaited(rig: Rig) -> None:
    client = rig.client()
    client.send(f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 6000000\r\n\r\n".encode() + b"x" * 1000)

    assert client.answer().status == 401
    assert rig.gateway.body_bytes == 0


def test_events_in_transfer_are_bounded_together(rig: Rig) -> None:
    rig.gateway.body_bytes_max = 10_000_000
    first, second = rig.client(), rig.client()
    data = request("hello", b'"' + b"x" * 6_000_000 + b'"')
    first.send(data[:1000])
    rig.wait_until(lambda: rig.gateway.body_bytes > 0)
    second.send(data[:1000])

    assert second.answer().status == 429
    first.send(data[1000:])
    assert first.answer().status == 200
    assert rig.gateway.body_bytes == 0


@pytest.mark.slow
@pytest.mark.parametrize("sent", [b"P", b"POST / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nX-A"])
def test_half_a_head_is_given_up(start: Start, sent: bytes) -> None:
    client = start(header_timeout_s=0.2).client()
    client.send(sent)
    answer = client.answer()

    assert (answer.status, answer.code) == (408, "FSS.0408")
    assert client.closed()


@pytest.mark.slow
def test_head_that_trickles_is_given_up(start: Start) -> None:
    rig = start(header_timeout_s=0.3)
    client = rig.client()
    with pytest.raises(OSError):
        for number in range(500):
            client.send(b"P" if number == 0 else b"O")
            time.sleep(0.01)

    rig.wait_until(lambda: rig.gateway.connections == 0)


@pytest.mark.slow
def test_half_a_body_is_given_up(start: Start) -> None:
    client = start(body_timeout_s=0.2).client()
    client.send(request("hello", b"x" * 1000)[:-500])

    assert client.answer().code == "FSS.0408"
    assert client.closed()


@pytest.mark.slow
def test_idle_connection_is_closed_without_a_word(start: Start) -> None:
    rig = start(idle_timeout_s=0.2)
    fresh, used = rig.client(), rig.client()
    assert used.invoke().status == 200

    assert fresh.closed()
    assert used.closed()


@pytest.mark.slow
def test_client_that_does_not_read_is_given_up(start: Start) -> None:
    rig = start(body_timeout_s=0.3)
    client = rig.client()
    client.send(request("big"))
    rig.wait_until(lambda: bool(rig.records))
    rig.wait_until(lambda: rig.gateway.connections == 0)

    assert rig.client().invoke().status == 200


def test_idle_connections_make_room_for_new_ones(start: Start) -> None:
    rig = start(connections_max=4)
    idle = [rig.client() for _ in range(4)]
    assert [client.invoke().status for client in idle] == [200] * 4
    time.sleep(0.3)

    assert rig.client().invoke().status == 200
    assert rig.gateway.connections == 4


def test_full_house_of_busy_clients_turns_new_ones_away(start: Start) -> None:
    rig = start(connections_max=2)
    for number in range(2):
        rig.client().send(request("hold"))
        rig.wait_until(lambda: len(rig.invoker.held) == number + 1)  # noqa: B023  # runs within this round
    late = rig.client()
    answer = late.answer()

    assert (answer.status, answer.code) == (503, "FSS.0503")
    assert late.closed()


def test_half_sent_heads_do_not_keep_others_out(start: Start) -> None:
    rig = start(connections_max=8)
    for _ in range(8):
        rig.client().send(b"POST / HTTP/1.1\r\nHost")
    rig.wait_until(lambda: rig.gateway.connections == 8)
    time.sleep(0.3)

    assert rig.client().invoke().status == 200


def test_drain_finishes_what_is_in_work(rig: Rig) -> None:
    busy, idle = rig.client(), rig.client()
    assert idle.invoke().status == 200
    busy.send(request("hold"))
    rig.wait_until(lambda: len(rig.invoker.held) == 1)
    drained: list[bool] = []
    thread = threading.Thread(target=lambda: drained.append(rig.drain(5.0)))
    thread.start()
    assert idle.closed()
    rig.in_loop(lambda: rig.invoker.finish(rig.invoker.held[0], Outcome(0, b"1")))
    answer = busy.answer()
    busy.sock.close()
    thread.join()

    assert (answer.body, answer.headers["connection"]) == (b"1", "close")
    assert drained == [True]
    with pytest.raises(TimeoutError):  # the socket is its owner's, and nobody accepts from it
        rig.client(timeout_s=0.1).invoke()


def test_drain_gives_up_after_its_time(rig: Rig) -> None:
    rig.client().send(request("hold"))
    rig.wait_until(lambda: len(rig.invoker.held) == 1)

    assert rig.drain(0.05) is False


def test_hundreds_of_connections_come_and_go_without_a_leak(rig: Rig) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # a list of descriptors, not a folder
    for _ in range(5):
        clients = [rig.client() for _ in range(100)]
        for client in clients:
            client.send(request("hello", b"1"))
        assert [client.answer().body for client in clients] == [b"1"] * 100
        for client in clients:
            client.sock.close()
    rig.wait_until(lambda: rig.gateway.connections == 0)

    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208  # as above
