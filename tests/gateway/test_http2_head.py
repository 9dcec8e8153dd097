"""Heads between HTTP/2 and HTTP/1.1."""

import pytest

from fgd.gateway.head import BadHttp, parse_head
from fgd.gateway.http2_head import AnswerFields, request_head

type Fields = list[tuple[bytes, bytes]]


def fields(*more: tuple[bytes, bytes], method: bytes = b"GET", path: bytes = b"/a?b=c") -> Fields:
    pseudo = [(b":method", method), (b":scheme", b"https"), (b":authority", b"a.example:1"), (b":path", path)]
    return [*pseudo, *more]


def test_a_request_becomes_the_head_that_it_would_have_been() -> None:
    head = request_head(fields((b"accept", b"*/*"), (b"x-a", b""), (b"te", b"trailers")), ended=True)

    assert b"GET /a?b=c HTTP/1.1\r\nHost: a.example:1\r\naccept: */*\r\nx-a: \r\n\r\n" == head.raw
    assert ("GET", 0) == (head.method, head.content_length)
    assert 0 == parse_head(head.raw).content_length


def test_bodies_have_their_length_or_come_in_chunks() -> None:
    counted = request_head(fields((b"content-length", b"5"), method=b"POST"), ended=False)
    chunked = request_head(fields(method=b"POST"), ended=False)

    assert 5 == counted.content_length == parse_head(counted.raw).content_length
    assert None is chunked.content_length
    assert -1 == parse_head(chunked.raw).content_length


def test_pieces_of_cookies_are_one_header() -> None:
    head = request_head(fields((b"cookie", b"a=1"), (b"accept", b"*/*"), (b"cookie", b"b=2")), ended=True)

    assert b"cookie: a=1; b=2" in head.raw.split(b"\r\n")
    assert 1 == head.raw.count(b"cookie")


def test_host_stands_for_a_missing_authority() -> None:
    given = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b"host", b"b.example")]

    assert b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n" == request_head(given, ended=True).raw
    assert 1 == request_head(fields((b"host", b"a.example:1")), ended=True).raw.lower().count(b"host:")


BAD: dict[str, Fields] = {
    "line end in a value": fields((b"x-a", b"1\r\nX-B: 2")),
    "bare line feed in a value": fields((b"x-a", b"1\nX-B: 2")),
    "bare carriage return in a value": fields((b"x-a", b"1\rX-B: 2")),
    "nul in a value": fields((b"x-a", b"1\x002")),
    "control character in a value": fields((b"x-a", b"1\x7f2")),
    "space around a value": fields((b"x-a", b" 1")),
    "tab behind a value": fields((b"x-a", b"1\t")),
    "line end in a name": fields((b"x-a\r\nx-b", b"1")),
    "colon in a name": fields((b"x-a: 1", b"1")),
    "space in a name": fields((b"x a", b"1")),
    "space behind a name": fields((b"content-length ", b"1")),
    "nul in a name": fields((b"x\x00a", b"1")),
    "capital in a name": fields((b"X-A", b"1")),
    "empty name": fields((b"", b"1")),
    "bytes in a name": fields((b"x-\xff", b"1")),
    "transfer encoding": fields((b"transfer-encoding", b"chunked")),
    "connection": fields((b"connection", b"x-a")),
    "keep alive": fields((b"keep-alive", b"1")),
    "proxy connection": fields((b"proxy-connection", b"close")),
    "upgrade": fields((b"upgrade", b"websocket")),
    "te": fields((b"te", b"gzip")),
    "length twice": fields((b"content-length", b"1"), (b"content-length", b"1")),
    "length with a sign": fields((b"content-length", b"+1")),
    "length of two": fields((b"content-length", b"1, 1")),
    "length with an underscore": fields((b"content-length", b"1_0")),
    "endless length": fields((b"content-length", b"1" * 16)),
    "host twice": fields((b"host", b"a.example:1"), (b"host", b"a.example:1")),
    "another host": fields((b"host", b"b.example")),
    "line end in the path": fields(path=b"/ HTTP/1.1\r\nX-A: 1\r\n\r\nGET /"),
    "space in the path": fields(path=b"/a b"),
    "empty path": fields(path=b""),
    "whole address as path": fields(path=b"https://a.example/"),
    "path in bytes": fields(path=b"/\xff"),
    "line end in the method": fields(method=b"GET / HTTP/1.1\r\nX: "),
    "small method": fields(method=b"get"),
    "empty method": fields(method=b""),
    "line end in the authority": [(b":authority", b"a\r\nX-A: 1"), *fields()[:2], *fields()[3:]],
    "no authority": [*fields()[:2], *fields()[3:]],
    "no method": fields()[1:],
    "no path": fields()[:3],
    "no scheme": [fields()[0], *fields()[2:]],
    "http": [fields()[0], (b":scheme", b"http"), *fields()[2:]],
    "pseudo-header twice": [*fields(), (b":path", b"/")],
    "pseudo-header behind others": [*fields()[:3], (b"x-a", b"1"), (b":path", b"/")],
    "pseudo-header behind the host": [*fields()[:3], (b"host", b"a.example:1"), (b":path", b"/")],
    "unknown pseudo-header": [*fields(), (b":x", b"1")],
    "status": [*fields(), (b":status", b"200")],
    "websocket": [(b":protocol", b"websocket"), *fields(method=b"CONNECT")],
    "nothing": [],
}  # fmt: skip


@pytest.mark.parametrize("given", BAD.values(), ids=BAD)
def test_what_would_become_another_request_is_refused(given: Fields) -> None:
    for ended in (True, False):
        with pytest.raises(BadHttp) as refused:
            request_head(given, ended)

        assert 400 == refused.value.status


def test_a_promised_body_must_come() -> None:
    with pytest.raises(BadHttp):
        request_head(fields((b"content-length", b"1")), ended=True)


def test_connect_is_refused_as_a_method() -> None:
    with pytest.raises(BadHttp) as refused:
        request_head([(b":method", b"CONNECT"), (b":authority", b"a.example:443")], ended=False)

    assert 405 == refused.value.status


def test_every_byte_in_a_value_is_carried_or_refused() -> None:
    for byte in range(256):
        value = b"a" + bytes((byte,)) + b"b"
        try:
            raw = request_head(fields((b"x-a", value)), ended=True).raw
        except BadHttp:
            assert byte < 0x20 or byte == 0x7F
        else:
            assert b"GET /a?b=c HTTP/1.1\r\nHost: a.example:1\r\nx-a: " + value + b"\r\n\r\n" == raw


def test_what_is_of_the_hop_is_not_in_answers() -> None:
    raw = (
        b"HTTP/1.1 200 OK\r\nDate: now\r\nConnection: close\r\nKeep-Alive: 5\r\nTransfer-Encoding: chunked\r\n"
        b"Upgrade: h2c\r\nX-A:  b \r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n"
    )
    answer = AnswerFields(raw, "GET")

    assert (200, True, True) == (answer.status, answer.chunked, answer.close)
    assert [
        (b":status", b"200"), (b"date", b"now"), (b"x-a", b"b"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"),
    ] == answer.fields  # fmt: skip


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("GET", 100)])
def test_answers_without_a_body_have_none_whatever_their_length_says(method: str, status: int) -> None:
    answer = AnswerFields(b"HTTP/1.1 %d X\r\nContent-Length: 7\r\n\r\n" % status, method)

    assert (0, False, False) == (answer.content_length, answer.chunked, answer.close)


def test_an_answer_may_end_with_the_connection() -> None:
    answer = AnswerFields(b"HTTP/1.1 200 OK\r\n\r\n", "GET")

    assert (None, False) == (answer.content_length, answer.chunked)
