"""Requests that are wrong, hostile or not from whom they say: a clear refusal, and the daemon lives."""

import socket
import time
from datetime import UTC, datetime, timedelta

import pytest

from fgd.testing.client import Answer, Client, Keys
from fgd.testing.daemon import DaemonProcess
from tests.e2e.signing import signed_headers


def raw(daemon: DaemonProcess, data: bytes, timeout_s: float = 10.0) -> bytes:
    """Everything that comes back until the daemon closes the connection; fails if it keeps it open."""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout_s) as connection:
        connection.sendall(data)
        received = b""
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionResetError:
            pass
        return received


HEAD = b"POST /v2/p/fgs/functions/f/invocations HTTP/1.1\r\nHost: x\r\nX-Auth-Token: t\r\n"
MALFORMED = {
    "no version": b"GET /\r\n\r\n",
    "version 3": b"GET / HTTP/3.7\r\nHost: x\r\n\r\n",
    "binary": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "space before colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "zero byte in header": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: x\n\n",
    "huge header": b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 200_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"H%d: 1\r\n" % n for n in range(3000)) + b"\r\n",
    "huge path": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "length and chunked": HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "length with plus": HEAD + b"Content-Length: +3\r\n\r\nabc",
    "length is a word": HEAD + b"Content-Length: three\r\n\r\nabc",
    "endless length": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "gzip transfer": HEAD + b"Transfer-Encoding: gzip\r\n\r\nabc",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "bad chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n",
    "bad chunk end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n",
    "huge chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_http_gets_an_error_and_the_connection_is_closed(
    api: Client, daemon: DaemonProcess, data: bytes
) -> None:
    received = raw(daemon, data)

    assert received == b"" or received.startswith(b"HTTP/1.1 4"), received[:200]
    assert received.count(b"HTTP/1.1 4") <= 1
    assert api.functions("GET", "?maxitems=1").status == 200


def test_half_a_head_is_given_up(api: Client, daemon: DaemonProcess) -> None:
    start = time.monotonic()
    received = raw(daemon, b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", timeout_s=20)

    assert received == b"" or received.startswith(b"HTTP/1.1 408")
    assert time.monotonic() - start < 15
    assert api.functions("GET", "?maxitems=1").status == 200


def test_several_requests_in_one_write_are_answered_in_order(api: Client, daemon: DaemonProcess, actor: str) -> None:
    path = f"/v2/{api.project_id}/fgs/functions/{actor}/invocations"
    data = b""
    for number in range(5):
        body = b'{"do":"text","text":"answer %d"}' % number
        data += (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {api.token}\r\nContent-Length: {len(body)}\r\n"
            f"Connection: {'close' if number == 4 else 'keep-alive'}\r\n\r\n"
        ).encode() + body
    received = raw(daemon, data)

    assert [received.find(b"answer %d" % n) > 0 for n in range(5)] == [True] * 5
    assert sorted(received.find(b"answer %d" % n) for n in range(5)) == [
        received.find(b"answer %d" % n) for n in range(5)
    ]


def test_event_may_come_in_chunks_and_drop_by_drop(api: Client, daemon: DaemonProcess, actor: str) -> None:
    path = f"/v2/{api.project_id}/fgs/functions/{actor}/invocations"
    data = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {api.token}\r\nTransfer-Encoding: chunked\r\n"
        'Connection: close\r\n\r\nb\r\n{"do":"text\r\n10\r\n","text":"slow"}\r\n0\r\n\r\n'
    ).encode()
    with socket.create_connection(("127.0.0.1", daemon.port), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(data), 7):
            connection.sendall(data[at : at + 7])
            time.sleep(0.001)
        received = b""
        while part := connection.recv(65536):
            received += part

    assert received.endswith(b"slow")


def signed(
    daemon: DaemonProcess, keys: Keys, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> Answer:
    """A request with these headers and no token."""
    client = daemon.client(Keys("", "", keys.project_id, ""))
    try:
        return client.request(method, path, body or None, headers or signed_headers(keys, method, path, body))
    finally:
        client.close()


@pytest.fixture
def listing(keys: Keys) -> str:
    """A harmless path."""
    return f"/v2/{keys.project_id}/fgs/functions?maxitems=1"


def test_right_signature_is_accepted(daemon: DaemonProcess, keys: Keys, listing: str) -> None:
    assert signed(daemon, keys, "GET", listing).status == 200


def test_signature_over_unusual_headers_and_encoded_path(daemon: DaemonProcess, keys: Keys, actor: str) -> None:
    path = f"/v2/{keys.project_id}/fgs/functions/{actor.replace(':', '%3a')}/invocations"
    body = b'{"do":"text","text":"signed"}'
    extra = {"X-Own": "  spaced value ", "Accept": "*/*"}
    headers = signed_headers(keys, "POST", path, body, extra=extra)

    assert signed(daemon, keys, "POST", path, body, headers).text == "signed"


def test_wrong_secret_key(daemon: DaemonProcess, keys: Keys, listing: str) -> None:
    forged = Keys(keys.access_key, "x" * 40, keys.project_id, "")
    answer = signed(daemon, keys, "GET", listing, headers=signed_headers(forged, "GET", listing))

    assert (answer.status, answer.error_code) == (401, "FSS.0401")


def test_unknown_access_key(daemon: DaemonProcess, keys: Keys, listing: str) -> None:
    forged = Keys("NOBODYKNOWSTHISKEY12", keys.secret_key, keys.project_id, "")

    assert signed(daemon, keys, "GET", listing, headers=signed_headers(forged, "GET", listing)).status == 401


@pytest.mark.parametrize("minutes", [-20, 20])
def test_date_out_of_range(daemon: DaemonProcess, keys: Keys, listing: str, minutes: int) -> None:
    moment = datetime.now(UTC) + timedelta(minutes=minutes)

    assert (
        signed(daemon, keys, "GET", listing, headers=signed_headers(keys, "GET", listing, moment=moment)).status == 401
    )


def test_signature_of_another_body_path_or_method(daemon: DaemonProcess, keys: Keys, actor: str) -> None:
    path = f"/v2/{keys.project_id}/fgs/functions/{actor}/invocations"
    good = signed_headers(keys, "POST", path, b'{"n":1}')

    assert signed(daemon, keys, "POST", path, b'{"n":2}', good).status == 401
    assert signed(daemon, keys, "POST", path + "-async", b'{"n":1}', good).status == 401
    assert signed(daemon, keys, "PUT", path, b'{"n":1}', good).status in (401, 405)
    assert signed(daemon, keys, "POST", path, b'{"n":1}', good).status == 200


def test_recorded_request_cannot_be_sent_again_later(daemon: DaemonProcess, keys: Keys, actor: str) -> None:
    path = f"/v2/{keys.project_id}/fgs/functions/{actor}/invocations"
    headers = signed_headers(keys, "POST", path, b"{}")
    assert signed(daemon, keys, "POST", path, b"{}", headers).status == 200
    time.sleep(2.5)

    assert signed(daemon, keys, "POST", path, b"{}", headers).status == 401


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-Auth-Token": "made-up"}, {"Authorization": "Basic eDp5"}, {"Authorization": "SDK-HMAC-SHA256 Access="},
     {"Authorization": "SDK-HMAC-SHA256 Access=a, SignedHeaders=b, Signature=c", "X-Sdk-Date": "yesterday"}],
    ids=["nothing", "token", "basic", "short", "nonsense"],
)  # fmt: skip
def test_without_credentials_everything_is_401(
    daemon: DaemonProcess, keys: Keys, listing: str, headers: dict[str, str]
) -> None:
    client = daemon.client(Keys("", "", keys.project_id, ""))
    answers = [client.request("GET", listing, None, headers),
               client.request("POST", f"/v2/{keys.project_id}/fgs/functions/f/invocations", {}, headers),
               client.request("GET", "/metrics", None, headers)]  # fmt: skip
    client.close()

    assert [answer.status for answer in answers][:2] == [401, 401]
    assert answers[2].status in (401, 403, 404)
    assert answers[0].error_code == "FSS.0401"


def test_other_project_looks_the_same_with_and_without_the_function(api: Client, actor: str) -> None:
    other = "f" * 32
    answers = [api.request("POST", f"/v2/{other}/fgs/functions/{urn}/invocations", {})
               for urn in (actor, "no-such-function", f"urn:fss:local:{other}:function:default:x:latest")]  # fmt: skip

    assert {answer.status for answer in answers} == {403}
    assert {answer.error_code for answer in answers} == {"FSS.0403"}
    assert len({answer.body for answer in answers}) == 1


def test_function_of_another_project_in_the_urn(api: Client, name: str) -> None:
    urn = f"urn:fss:local:{'e' * 32}:function:default:{name}:latest"

    assert api.invoke(urn).status in (403, 404)


@pytest.mark.parametrize(
    ("urn", "status", "code"),
    [("no-such-function", 404, "FSS.1051"), ("urn:fss:local:p:function", 400, "FSS.1309"),
     ("a:b:c:d:e", 400, "FSS.1309"), ("%20", 400, "FSS.1309"), ("x" * 300, 400, "FSS.1309")],
)  # fmt: skip
def test_unknown_and_broken_urns(api: Client, urn: str, status: int, code: str) -> None:
    for answer in (api.invoke(urn), api.enqueue(urn), api.functions("GET", f"/{urn}/config")):
        assert (answer.status, answer.error_code) == (status, code), answer.text


def test_unknown_version_and_alias(api: Client, actor: str) -> None:
    base = actor.rpartition(":")[0]

    assert api.invoke(f"{base}:v9").error_code == "FSS.1052"
    assert api.invoke(f"{base}:!live").error_code == "FSS.1053"


def test_unknown_paths_and_methods(api: Client) -> None:
    assert api.request("GET", "/nothing/here").status == 404
    assert api.functions("PATCH").status in (404, 405)


def test_what_is_not_built_says_so(api: Client, actor: str) -> None:
    body = {"trigger_type_code": "ROCKETMQ", "event_data": {}}
    answer = api.request("POST", f"/v2/{api.project_id}/fgs/triggers/{actor}", body)

    assert (answer.status, answer.error_code) == (501, "FSS.0501")


def test_control_body_that_is_no_json(api: Client) -> None:
    answer = api.functions("POST", body=b"{not json")

    assert answer.status in (400, 406)
    assert answer.error_code in ("FSS.0406", "FSS.0400")
