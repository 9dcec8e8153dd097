"""HTTP/2 at listeners with TLS: what a client gets, and that functions see no difference."""

import base64
import json
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from h2.settings import SettingCodes

from fgd.call import Outcome
from fgd.gateway.api_event import BODY_MAX_BYTES
from fgd.gateway.http2_state import STREAMS_MAX
from tests.gateway.conftest import Start
from tests.gateway.control import Control
from tests.gateway.http2_client import Http2, dial, unchecked
from tests.gateway.rig import PATH, TOKEN, Client, Rig, request

REFUSED_STREAM = 0x7
CANCEL = 0x8


@pytest.fixture
def rig(start: Start, control: Control) -> Rig:
    return start(tls=True, control_path=control.path)


@pytest.fixture
def client(rig: Rig) -> Http2:
    return Http2(rig.api_address)


def event(rig: Rig) -> dict[str, Any]:
    found = json.loads(rig.invoker.calls[-1].event)
    assert isinstance(found, dict)
    return found


def web(rig: Rig, **answer: object) -> None:
    rig.invoker.answer = json.dumps({"statusCode": 200} | answer).encode()


# What is spoken


@pytest.mark.parametrize(
    ("offered", "chosen"), [(("h2", "http/1.1"), "h2"), (("http/1.1",), "http/1.1"), (("h3",), None), ((), None)]
)
def test_the_client_chooses_what_is_spoken(rig: Rig, offered: tuple[str, ...], chosen: str | None) -> None:
    with dial(rig.api_address, *offered) as sock:
        assert chosen == sock.selected_alpn_protocol()


def test_without_the_choice_it_is_http_1_1_as_before(rig: Rig) -> None:
    path = rig.publish("/a")
    with dial(rig.api_address, "http/1.1") as sock:
        client = Client(sock)
        for _ in range(2):
            assert 200 == client.ask(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()).status
    with dial(rig.api_address) as sock:
        client = Client(sock)
        refused = client.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert (400, True) == (refused.status, client.closed())


def test_without_tls_there_is_none(rig: Rig) -> None:
    upgrade = (
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n"
    )
    knowing = rig.client().ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    wishing = rig.client().ask(upgrade.encode())

    assert 400 == knowing.status
    assert wishing.status != 101


def test_httpx_and_its_pool(rig: Rig) -> None:
    path = rig.publish("/a")
    web(rig, body="x" * 300_000)
    host, port = rig.api_address
    with httpx.Client(http2=True, verify=False) as http:
        answers = [
            http.post(f"https://{host}:{port}{path}", content=b"y" * size) for size in (0, 1, 100_000, 4_000_000)
        ]

    assert [("HTTP/2", 200, 300_000)] * 4 == [(one.http_version, one.status_code, len(one.content)) for one in answers]
    assert b"y" * 4_000_000 == base64.b64decode(event(rig)["body"])


def test_curl(rig: Rig, tmp_path: Path) -> None:
    path = rig.publish("/a")
    sent = tmp_path / "sent"
    sent.write_bytes(bytes(range(256)) * 4000)
    host, port = rig.api_address
    how = [
        "curl",
        "-sk",
        "--http2",
        "-w",
        "%{http_version} %{http_code}",
        "-o",
        "/dev/null",
        "-H",
        "Expect: 100-continue",
    ]
    done = subprocess.run(
        [*how, "--data-binary", f"@{sent}", f"https://{host}:{port}{path}"], check=True, capture_output=True, timeout=30
    )

    assert b"2 200" == done.stdout
    assert sent.read_bytes() == base64.b64decode(event(rig)["body"])


# What the function sees


def test_the_event_is_the_one_of_http_1_1(rig: Rig, client: Http2) -> None:
    path = rig.publish("/users/{id}", prefix=True) + "/"
    path = path.replace("{id}", "a%2Fb") + "rest?x=1&x=%20&y"
    fields = (("content-type", "text/plain"), ("x-a", "1"), ("cookie", "a=1; b=2"), ("content-length", "5"))
    lines = "".join(f"{name.title()}: {value}\r\n" for name, value in fields)
    with dial(rig.api_address, "http/1.1") as sock:
        Client(sock).ask(f"POST {path} HTTP/1.1\r\nHost: gateway:8443\r\n{lines}\r\n12345".encode())
    old = event(rig)
    client.ask(path, *fields, method="POST", body=b"12345")
    new = event(rig)

    for one in (old, new):
        one["requestContext"].pop("requestId")
        one["headers"].pop("x-request-id")
    assert old == new
    assert ("https", "127.0.0.1") == (new["headers"]["x-forwarded-proto"], new["headers"]["x-real-ip"])
    assert str(rig.api_address[1]) == new["headers"]["x-forwarded-port"]


def test_split_cookies_and_trailers_and_te(rig: Rig, client: Http2) -> None:
    path = rig.publish("/a")
    stream_id = client.begin(path, ("cookie", "a=1"), ("te", "trailers"), ("cookie", "b=2"), method="POST", ended=False)
    client.body(stream_id, b"body", ended=False)
    client.h2.send_headers(stream_id, [("x-trailer", "1")], end_stream=True)
    client.flush()

    assert 200 == client.answer(stream_id).status
    assert "a=1; b=2" == event(rig)["headers"]["cookie"]
    assert {"te", "x-trailer"}.isdisjoint(event(rig)["headers"])
    assert b"body" == base64.b64decode(event(rig)["body"])


def test_an_api_for_https_is_reached(rig: Rig, client: Http2) -> None:
    path = rig.publish("/a", https=True)

    assert 403 == rig.client().ask(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()).status
    assert 200 == client.ask(path).status


def test_a_listener_for_apis_has_nothing_else_by_http_2(rig: Rig, client: Http2) -> None:
    secure = Http2(rig.secure_address)
    token = ("x-auth-token", TOKEN)

    assert 404 == client.ask(PATH, token, method="POST", body=b"{}").status
    assert (200, b"{}") == ((found := secure.ask(PATH, token, method="POST", body=b"{}")).status, found.body)
    assert 401 == secure.ask(PATH, method="POST", body=b"{}").status
    assert 404 == client.ask("/fgd/v1/status", token).status


# Answers


def test_status_headers_and_binary_bodies(rig: Rig, client: Http2) -> None:
    path = rig.publish("/a")
    binary = bytes(range(256)) * 100
    web(
        rig,
        statusCode=201,
        headers={"X-A": "1", "Set-Cookie": ["a=1", "b=2"], "Connection": "close", "Transfer-Encoding": "chunked"},
        body=base64.b64encode(binary).decode(),
        isBase64Encoded=True,
    )
    stream_id = client.begin(path)
    answer = client.answer(stream_id)
    fields = client.heard[stream_id].fields

    assert (201, binary) == (answer.status, answer.body)
    assert ["a=1", "b=2"] == [value for name, value in fields if name == "set-cookie"]
    assert ("x-a", "1") in fields
    assert {"connection", "transfer-encoding", "keep-alive"}.isdisjoint(answer.headers)
    assert all(name == name.lower() for name, _ in fields)


def test_an_answer_may_have_long_headers(rig: Rig, client: Http2) -> None:
    path = rig.publish("/a")
    web(rig, headers={"x-a": "x" * 30_000}, body="body")

    for _ in range(3):
        answer = client.ask(path)
        assert ("x" * 30_000, b"body") == (answer.headers["x-a"], answer.body)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answers_without_a_body(rig: Rig, client: Http2, method: str, status: int) -> None:
    path = rig.publish("/a")
    web(rig, statusCode=status, body="body")
    answers = [client.ask(path, method=method) for _ in range(3)]

    assert [(status, b"")] * 3 == [(one.status, one.body) for one in answers]
    assert ("4" if method == "HEAD" else None) == answers[0].headers.get("content-length")


def test_answers_of_the_control_plane_however_they_end(rig: Rig, control: Control) -> None:
    client = Http2(rig.secure_address)
    auth = ("x-auth-token", TOKEN)

    assert b"abcde" == client.ask("/chunked", auth).body
    assert b"abc" == client.ask("/until-close", auth).body
    assert (204, b"") == ((none := client.ask("/none", auth)).status, none.body)
    assert b"1" == client.ask("/interim", auth).body
    assert 8_000_000 == len(client.ask("/big", auth).body)
    echo = client.ask("/echo", auth, ("content-length", "300000"), method="PUT", body=b"x" * 300_000)
    assert b"x" * 300_000 == echo.body
    assert client.ask("/echo", auth, method="PUT", body=b"abc").body.endswith(b"abc\r\n0\r\n\r\n")
    cut = client.begin("/half", auth)
    assert (False, 0x2) == ((heard := client.wait(cut)).ended, heard.reset)
    assert 502 <= client.ask("/die", auth).status <= 503
    assert 200 == client.ask("/echo", auth).status
    assert b"X-Fgd-Client: 127.0.0.1" in control.heads[-1]


def test_100_continue_is_said(rig: Rig, client: Http2) -> None:
    path = rig.publish("/a")
    stream_id = client.begin(path, ("expect", "100-continue"), ("content-length", "4"), method="POST", ended=False)
    while not client.heard[stream_id].interim:
        client.pump()
    client.body(stream_id, b"body")

    assert [100] == client.heard[stream_id].interim
    assert 200 == client.answer(stream_id).status
    assert 417 == client.ask(path, ("expect", "more")).status


def test_a_body_over_the_limit_is_refused_and_the_connection_goes_on(rig: Rig, client: Http2) -> None:
    path = rig.publish("/a")
    size = BODY_MAX_BYTES + 1
    counted = client.begin(path, ("content-length", str(size)), method="POST", ended=False)
    refused = client.answer(counted)
    chunked = client.begin(path, method="POST", ended=False)
    client.body(chunked, b"x" * size, ended=False)
    late = client.answer(chunked)

    assert [(413, "APIG.0201")] * 2 == [(one.status, one.code) for one in (refused, late)]
    assert 0 == rig.in_loop(lambda: rig.gateway.body_bytes)
    while client.heard[counted].reset is None:  # what is left of the body is not wanted
        client.pump()
    assert 0 == client.heard[counted].reset
    assert 200 == client.ask(path, method="POST", body=b"x" * 1000).status
    assert [] == [call for call in rig.invoker.calls if len(call.event) > 10_000]


def test_bodies_of_strangers_are_not_read_by_http_2_either(rig: Rig, client: Http2) -> None:
    path = rig.publish("/a", auth="IAM")
    stream_id = client.begin(path, method="POST", ended=False)

    assert 401 == client.answer(stream_id).status
    assert [] == rig.invoker.calls


# Many streams


def test_streams_are_answered_as_they_are_ready(rig: Rig, client: Http2) -> None:
    slow, fast = rig.publish("/slow", function="hold"), rig.publish("/fast")
    first = [client.begin(slow) for _ in range(20)]
    for _ in range(5):
        assert 200 == client.ask(fast).status
    rig.wait_until(lambda: len(rig.invoker.held) == 20)
    for call in reversed(list(rig.invoker.held)):
        rig.in_loop(lambda call=call: rig.invoker.finish(call, Outcome(0, rig.invoker.answer)))  # type: ignore[misc]  # bound now

    assert [200] * 20 == [client.answer(one).status for one in first]


def test_as_many_streams_as_promised_at_once(rig: Rig, client: Http2) -> None:
    path = rig.publish("/a", function="hold")
    streams = [client.begin(path) for _ in range(STREAMS_MAX)]
    rig.wait_until(lambda: len(rig.invoker.held) == STREAMS_MAX)

    def finish() -> None:
        for call in list(rig.invoker.held):
            rig.invoker.finish(call, Outcome(0, rig.invoker.answer))

    rig.in_loop(finish)
    assert [200] * STREAMS_MAX == [client.answer(one).status for one in streams]
    assert STREAMS_MAX == client.settings[SettingCodes.MAX_CONCURRENT_STREAMS]


def test_a_connection_is_used_again_and_few_are_kept(rig: Rig, client: Http2) -> None:
    path = rig.publish("/a")
    for _ in range(50):
        client.ask(path)
    assert 1 == rig.in_loop(lambda: rig.gateway.connections)
    streams = [client.begin(path) for _ in range(50)]
    for one in streams:
        client.answer(one)

    rig.wait_until(lambda: rig.gateway.connections <= 8)


def test_a_connection_that_ended_meanwhile_costs_no_request(start: Start) -> None:
    rig = start(tls=True, idle_timeout_s=60.0)
    path = rig.publish("/a")
    client = Http2(rig.api_address)

    def close_all() -> None:
        for one in list(rig.gateway._connections):
            one.close()

    for _ in range(20):
        assert 200 == client.ask(path).status
        rig.in_loop(close_all)

    assert 20 == len(rig.invoker.calls)


def test_without_room_for_a_connection_that_ended_meanwhile_it_is_503(start: Start) -> None:
    rig = start(tls=True, connections_max=1)
    path = rig.publish("/a")
    client = Http2(rig.api_address)
    assert 200 == client.ask(path).status
    rig.in_loop(lambda: next(iter(rig.gateway._connections)).close())
    other = rig.client()
    other.send(request("hold"))
    rig.wait_until(lambda: len(rig.invoker.held) == 1)
    refused = client.ask(path)

    assert (503, "FSS.0503") == (refused.status, refused.code)
    rig.in_loop(lambda: rig.invoker.finish(rig.invoker.held[0], Outcome(0, b"{}")))
    assert 200 == other.answer().status
    other.sock.close()
    rig.wait_until(lambda: rig.in_loop(lambda: rig.gateway.connections) == 0)
    assert 200 == client.ask(path).status


def test_a_large_answer_stays_behind_while_its_client_does_not_read(rig: Rig) -> None:
    path, fast = rig.publish("/big"), rig.publish("/fast")
    web(rig, body="x" * 5_000_000)
    client = Http2(rig.api_address, acknowledge=False)
    streams = [client.begin(path) for _ in range(10)]
    rig.wait_until(lambda: len(rig.invoker.calls) == 10)
    # All that is held is counted with the answers, as for other clients that do not read.
    rig.wait_until(lambda: rig.in_loop(lambda: rig.gateway.body_bytes) > 45_000_000)
    other = Http2(rig.api_address)
    web(rig)
    assert 200 == other.ask(fast).status
    client.acknowledge = True
    client.h2.increment_flow_control_window(1_000_000)
    for one in streams:
        client.h2.increment_flow_control_window(1_000_000, one)
    client.flush()
    for one in streams:
        client.wait(one)
    assert [5_000_000] * 10 == [len(client.heard[one].body) for one in streams]
    assert 0 == rig.in_loop(lambda: rig.gateway.body_bytes)


# Ends


def test_a_cancelled_stream_ends_its_request_alone(rig: Rig, client: Http2) -> None:
    held, path = rig.publish("/hold", function="hold"), rig.publish("/a")
    gone = client.begin(held)
    kept = client.begin(held)
    rig.wait_until(lambda: len(rig.invoker.held) == 2)
    assert 2 == rig.in_loop(lambda: rig.gateway.connections)
    client.h2.reset_stream(gone, CANCEL)
    client.flush()
    rig.wait_until(lambda: rig.in_loop(lambda: rig.gateway.connections) == 1)

    for call in list(rig.invoker.held):
        rig.in_loop(lambda call=call: rig.invoker.finish(call, Outcome(0, rig.invoker.answer)))  # type: ignore[misc]  # bound now
    assert 200 == client.answer(kept).status
    assert 200 == client.ask(path).status
    assert False is client.heard[gone].ended


def test_a_cancelled_upload_ends_at_the_control_plane(rig: Rig, control: Control) -> None:
    client = Http2(rig.secure_address)
    stream_id = client.begin("/wait", ("x-auth-token", TOKEN), ("content-length", "9"), method="PUT", ended=False)
    client.body(stream_id, b"x", ended=False)
    rig.wait_until(lambda: len(control.heads) == 1)
    client.h2.reset_stream(stream_id, CANCEL)
    client.flush()

    assert control.ended_early.wait(5)


def test_a_client_that_goes_takes_its_streams_along(rig: Rig) -> None:
    path = rig.publish("/hold", function="hold")
    client = Http2(rig.api_address)
    for _ in range(5):
        client.begin(path)
    rig.wait_until(lambda: len(rig.invoker.held) == 5)
    client.close()

    rig.wait_until(lambda: rig.in_loop(lambda: rig.gateway.connections) == 0)
    rig.wait_until(lambda: rig.in_loop(lambda: rig.gateway._shaking) == 0)


def test_an_idle_client_is_told_and_closed(start: Start) -> None:
    rig = start(tls=True, idle_timeout_s=0.3)
    path = rig.publish("/a")
    client = Http2(rig.api_address)
    assert 200 == client.ask(path).status
    client.until_gone()

    assert (0, 1) == client.goaway


def test_pings_do_not_keep_an_idle_client(start: Start) -> None:
    rig = start(tls=True, idle_timeout_s=0.3)
    client = Http2(rig.api_address)
    while not client.gone:
        if client.goaway is None:
            client.h2.ping(b"8 bytes.")
            client.flush()
        client.pump()

    assert client.pings > 0


def test_a_client_with_a_stream_is_not_idle(start: Start) -> None:
    rig = start(tls=True, idle_timeout_s=0.2)
    client = Http2(rig.api_address)
    stream_id = client.begin(rig.publish("/hold", function="hold"))
    rig.wait_until(lambda: len(rig.invoker.held) == 1)
    idle = Http2(rig.api_address)
    idle.until_gone()  # so long it took

    rig.in_loop(lambda: rig.invoker.finish(rig.invoker.held[0], Outcome(0, rig.invoker.answer)))
    assert 200 == client.answer(stream_id).status


def test_a_drained_gateway_takes_no_streams_and_ends_clients_without(rig: Rig, client: Http2) -> None:
    path = rig.publish("/hold", function="hold")
    first = client.begin(path)
    rig.wait_until(lambda: len(rig.invoker.held) == 1)
    idle = Http2(rig.api_address)
    idle.pump()
    assert False is rig.drain(0.1)
    idle.until_gone()
    assert (0, 0) == idle.goaway
    refused = client.begin(path)
    assert REFUSED_STREAM == client.wait(refused).reset

    rig.in_loop(lambda: rig.invoker.finish(rig.invoker.held[0], Outcome(0, rig.invoker.answer)))
    assert 200 == client.answer(first).status
    client.until_gone()
    assert (0, first) == client.goaway


def test_a_client_whose_handshake_ends_too_late_is_told(rig: Rig) -> None:
    with socket.create_connection(rig.api_address) as sock:
        rig.wait_until(lambda: rig.in_loop(lambda: rig.gateway._shaking) == 1)
        assert rig.drain(1)
        sock.settimeout(10)
        with unchecked("h2").wrap_socket(sock) as secure:
            received = b""
            while piece := secure.recv(65536):
                received += piece

    assert b"\0\0\x08\x07\0\0\0\0\0" + bytes(8) == received[-17:]  # GOAWAY: no error, no stream


def test_streams_finish_while_the_gateway_drains(rig: Rig, client: Http2) -> None:
    path = rig.publish("/hold", function="hold")
    web(rig, body="x" * 10_000)
    streams = [client.begin(path) for _ in range(3)]
    rig.wait_until(lambda: len(rig.invoker.held) == 3)

    async def drain() -> bool:
        for call in list(rig.invoker.held):
            rig.invoker.finish(call, Outcome(0, rig.invoker.answer))
        return await rig.gateway.drain(5)

    assert rig.run(drain)
    client.until_gone()
    assert [(True, 10_000)] * 3 == [(client.heard[one].ended, len(client.heard[one].body)) for one in streams]
    assert (0, streams[-1]) == client.goaway


def test_a_client_counts_as_one_and_each_stream_too(start: Start) -> None:
    rig = start(tls=True, connections_max=4)
    path = rig.publish("/hold", function="hold")
    client = Http2(rig.api_address)
    streams = [client.begin(path) for _ in range(4)]
    rig.wait_until(lambda: len(rig.invoker.held) == 4)
    over = client.ask(path)
    assert (503, "FSS.0503") == (over.status, over.code)
    others = [Http2(rig.api_address) for _ in range(3)]
    with pytest.raises((ConnectionError, ssl.SSLError, EOFError)):
        Http2(rig.api_address)

    def finish() -> None:
        for call in list(rig.invoker.held):
            rig.invoker.finish(call, Outcome(0, rig.invoker.answer))

    rig.in_loop(finish)
    assert [200] * 4 == [client.answer(one).status for one in streams]
    for one in others:
        one.close()
    rig.wait_until(lambda: rig.in_loop(lambda: rig.gateway._shaking) == 1)
    rig.wait_until(lambda: bool(rig.gateway._evictable))  # those that the first one keeps
    assert 200 == Http2(rig.api_address).ask(rig.publish("/a")).status


def test_a_slow_handshake_is_cut_off(start: Start) -> None:
    rig = start(tls=True, header_timeout_s=0.3)
    with socket.create_connection(rig.api_address) as sock:
        sock.settimeout(10)
        sock.sendall(b"\x16\x03\x01")

        assert b"" == sock.recv(100)


def test_a_silent_client_is_cut_off(start: Start) -> None:
    rig = start(tls=True, idle_timeout_s=0.3)
    with dial(rig.api_address, "h2") as sock:
        received = b""
        while piece := sock.recv(65536):
            received += piece

        assert b"\x04" == received[3:4]  # SETTINGS
