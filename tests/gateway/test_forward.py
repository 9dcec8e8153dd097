"""Requests that are no invocation, against a small real server on a unix socket."""

import contextlib
import socket

import pytest

from fgd.gateway.head import BadHttp, parse_head
from fgd.gateway.hop import forwarded_head, parse_answer_head
from tests.gateway.conftest import Start
from tests.gateway.control import Control
from tests.gateway.rig import TOKEN, Client, Rig, request

AUTH = f"X-Auth-Token: {TOKEN}"


@pytest.fixture
def rig(start: Start, control: Control) -> Rig:
    return start(control_path=control.path)


def get(path: str, *lines: str, method: str = "GET", body: bytes = b"") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: fgd", *lines]
    if body:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def test_head_goes_on_as_it_came_without_what_is_ours(rig: Rig, control: Control) -> None:
    lines = ("X-Odd:  a, b ", "User-Agent: t", "x-fgd-peer: root", "X-FGD-Client: 1.2.3.4", "X_Fgd_Peer: root")
    answer = rig.client().ask(get("/a%3Ab?x=%20&y", *lines, "Connection: keep-alive", AUTH, method="PUT", body=b"12"))

    assert (answer.status, answer.body) == (200, b"12")
    assert answer.headers["x-kept"] == "yes"
    assert "connection" not in answer.headers
    assert control.heads[0].split(b"\r\n") == [
        b"PUT /a%3Ab?x=%20&y HTTP/1.1", b"host: fgd", b"x-odd: a, b ", b"user-agent: t",
        b"x-auth-token: " + TOKEN.encode(), b"content-length: 2", b"X-Fgd-Client: 127.0.0.1", b"Connection: close",
    ]  # fmt: skip


def test_administrator_is_named_to_the_control_plane(rig: Rig, control: Control) -> None:
    answer = rig.admin().ask(get("/x", "X-Fgd-Peer: uid:7"))

    assert answer.status == 200
    assert b"X-Fgd-Peer: root" in control.heads[0]
    assert b"uid:7" not in control.heads[0]


def test_answers_of_every_ending_keep_the_connection_where_possible(rig: Rig) -> None:
    client = rig.client()

    assert client.ask(get("/chunked")).body == b"abcde"
    assert client.ask(get("/none")).status == 204
    assert client.ask(get("/interim")).body == b"1"
    client.send(get("/x", method="HEAD"))
    assert client.answer(head_only=True).status == 200
    assert client.invoke("hello", b"1").body == b"1"
    assert client.ask(get("/until-close")).body == b"abc"
    assert client.closed()


def test_pipelined_forwards_and_invocations_stay_in_order(rig: Rig) -> None:
    client = rig.client()
    client.send(get("/1", body=b"a") + request("hello", b"1") + get("/2", body=b"b") + request("hello", b"2"))

    assert [client.answer().body for _ in range(4)] == [b"a", b"1", b"b", b"2"]


def test_body_streams_through(rig: Rig, control: Control) -> None:
    body = bytes(range(256)) * 16_000
    answer = rig.client().ask(get("/x", AUTH, method="POST", body=body))

    assert answer.body == body
    assert control.bodies == [body]


def test_chunked_body_is_written_anew(rig: Rig, control: Control) -> None:
    client = rig.client()
    client.send(get("/x", "Transfer-Encoding: chunked", AUTH, method="POST"))
    client.send(b"3;ext=1\r\nabc\r\n00004\r\ndefg\r\n0\r\nX-T: 1\r\n\r\n")

    assert client.answer().status == 200
    assert control.bodies[0].replace(b"3\r\nabc\r\n4\r\ndefg\r\n", b"7\r\nabcdefg\r\n") == b"7\r\nabcdefg\r\n0\r\n\r\n"
    assert client.invoke().status == 200


def test_malformed_chunks_never_reach_the_end_of_the_forwarded_body(rig: Rig, control: Control) -> None:
    client = rig.client()
    client.send(get("/x", "Transfer-Encoding: chunked", AUTH, method="POST") + b"3\r\nabcX\r\n0\r\n\r\n")

    assert client.answer().status == 400
    assert client.closed()
    assert control.bodies == []


def test_large_answer_reaches_a_slow_reader_whole(rig: Rig) -> None:
    client = rig.client()

    assert len(client.ask(get("/big")).body) == 8_000_000


def test_upload_over_the_limit_is_413_before_it_is_read(start: Start, control: Control) -> None:
    rig = start(control_path=control.path, upload_max_mib=1)
    client = rig.client()
    client.send(get("/x", AUTH, "Content-Length: 1048577", "Expect: 100-continue", method="POST"))
    assert (answer := client.answer()).status == 413
    assert answer.code == "FSS.0413"
    assert control.heads == []

    client = rig.client()
    client.send(get("/x", AUTH, "Transfer-Encoding: chunked", method="POST"))
    with contextlib.suppress(OSError):
        for _ in range(40):
            client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    assert client.answer().status == 413


@pytest.mark.parametrize("chunked", [False, True])
def test_large_upload_without_credentials_is_401(rig: Rig, control: Control, chunked: bool) -> None:
    client = rig.client()
    if chunked:
        client.send(get("/x", "Transfer-Encoding: chunked", method="POST"))
        for _ in range(2):
            client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    else:
        client.send(get("/x", "Content-Length: 1000000", method="POST"))

    assert client.answer().status == 401
    assert control.bodies == []


def test_small_body_without_credentials_passes(rig: Rig) -> None:
    assert rig.client().ask(get("/v3/auth/tokens", method="POST", body=b"{}")).body == b"{}"


def test_client_is_told_to_continue_by_the_gateway(rig: Rig, control: Control) -> None:
    client = rig.client()
    client.send(get("/x", "Expect: 100-continue", "Content-Length: 2", method="POST"))
    assert client.answer().status == 100
    client.send(b"ab")

    assert client.answer().body == b"ab"
    assert b"expect" not in control.heads[0].lower()


def test_early_answer_ends_the_upload(rig: Rig) -> None:
    client = rig.client()
    client.send(get("/early", AUTH, "Content-Length: 5000000", method="POST") + b"x" * 100_000)

    assert client.answer().status == 413
    assert client.closed()


def test_control_plane_that_is_down_is_503(start: Start) -> None:
    client = start().client()
    answer = client.ask(get("/x"))

    assert (answer.status, answer.code) == (503, "FSS.0503")


def test_control_plane_that_dies_is_503_or_a_cut_answer(rig: Rig) -> None:
    assert rig.client().ask(get("/die")).code == "FSS.0503"
    client = rig.client()
    client.send(get("/half"))
    with pytest.raises(EOFError):
        client.answer()


@pytest.mark.slow
def test_a_stranger_gets_no_more_time_for_a_small_body_than_for_a_head(start: Start, control: Control) -> None:
    client = start(control_path=control.path, header_timeout_s=0.2, body_timeout_s=60.0).client()
    client.send(get("/x", "Content-Length: 10", method="POST") + b"abc")

    assert client.answer().status == 408


@pytest.mark.slow
def test_upload_that_stops_is_408(start: Start, control: Control) -> None:
    client = start(control_path=control.path, body_timeout_s=0.2).client()
    client.send(get("/x", "Content-Length: 10", method="POST") + b"abc")

    assert client.answer().status == 408
    assert client.closed()


def test_client_that_leaves_in_its_upload_leaves_nothing(rig: Rig, control: Control) -> None:
    client = rig.client()
    client.send(get("/x", "Content-Length: 10", method="POST") + b"abc")
    rig.wait_until(lambda: len(control.heads) == 1)
    client.sock.close()

    assert control.ended_early.wait(5)
    rig.wait_until(lambda: rig.gateway.connections == 0)


def test_client_that_leaves_while_it_waits_is_noticed(
    rig: Rig, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fgd.gateway.forward._HALF_CLOSED_S", 0.05)
    client = rig.client()
    client.send(get("/wait"))
    rig.wait_until(lambda: len(control.bodies) == 1)
    client.sock.close()

    assert control.ended_early.wait(5)
    rig.wait_until(lambda: rig.gateway.connections == 0)


def test_client_that_closed_its_side_gets_the_forwarded_answer(rig: Rig) -> None:
    client = rig.client()
    client.send(get("/x", body=b"1"))
    client.sock.shutdown(socket.SHUT_WR)

    assert client.answer().body == b"1"
    assert client.closed()


def test_cancelled_gateway_ends_forwards(rig: Rig, control: Control) -> None:
    rig.client().send(get("/wait"))
    rig.wait_until(lambda: len(control.bodies) == 1)


def test_invocation_path_with_another_method_is_the_control_planes(rig: Rig, control: Control) -> None:
    rig.client().ask(get("/v2/p/fgs/functions/hello/invocations"))
    assert len(control.heads) == 1


def test_many_forwards_at_once(rig: Rig) -> None:
    clients: list[Client] = [rig.client() for _ in range(40)]
    for number, client in enumerate(clients):
        client.send(get("/x", body=b"%d" % number))

    assert [client.answer().body for client in clients] == [b"%d" % number for number in range(40)]


def test_forwarded_head_of_a_chunked_request_names_the_coding_once() -> None:
    head = parse_head(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nTE: trailers\r\n\r\n")
    sent = forwarded_head(head, "", None)

    assert sent == b"POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


def test_answer_head_that_is_no_http_is_refused() -> None:
    with pytest.raises(BadHttp):
        parse_answer_head(b"junk\r\n\r\n", "GET")
