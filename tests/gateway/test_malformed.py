"""Bytes that are no acceptable request: one answer of the 4xx kind, then the end, and nothing is run."""

import pytest

from tests.gateway.rig import PATH, TOKEN, Rig, request

LINE = f"POST {PATH} HTTP/1.1\r\n".encode()
AUTH = f"X-Auth-Token: {TOKEN}\r\n".encode()
HOST = b"Host: fgd\r\n"
GOOD = LINE + HOST + AUTH
SMUGGLED = request("hello", b'"smuggled"')

BAD = {
    "no http": b"hello\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40,
    "empty line first": b"\r\n" + GOOD + b"\r\n",
    "http/1.0": GOOD.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n",
    "http/0.9": b"GET /\r\n\r\n",
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http/1.10": GOOD.replace(b"HTTP/1.1", b"HTTP/1.10") + b"\r\n",
    "lower case http": GOOD.replace(b"HTTP/1.1", b"http/1.1") + b"\r\n",
    "unknown method": GOOD.replace(b"POST", b"HACK") + b"\r\n",
    "lower case method": GOOD.replace(b"POST", b"post") + b"\r\n",
    "connect": b"CONNECT fgd:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "trace": b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute form": GOOD.replace(b"POST /", b"POST http://fgd/") + b"\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    "no slash": b"GET v2 HTTP/1.1\r\n" + HOST + b"\r\n",
    "fragment": b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n",
    "bad percent": b"GET /a%zz HTTP/1.1\r\n" + HOST + b"\r\n",
    "encoded nul": b"GET /a%00 HTTP/1.1\r\n" + HOST + b"\r\n",
    "raw utf-8 in target": "GET /ä HTTP/1.1\r\n".encode() + HOST + b"\r\n",
    "blank in target": b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n",
    "tab in request line": b"GET\t/a HTTP/1.1\r\n" + HOST + b"\r\n",
    "no host": LINE + AUTH + b"\r\n",
    "two hosts": GOOD + HOST + b"\r\n",
    "two equal hosts, other case": GOOD + b"hOST: fgd\r\n\r\n",
    "host with path": LINE + AUTH + b"Host: a/b\r\n\r\n",
    "host with user": LINE + AUTH + b"Host: a@b\r\n\r\n",
    "bare lf": GOOD.replace(b"\r\n", b"\n") + b"\n",
    "one bare lf": GOOD + b"X-A: b\nX-C: d\r\n\r\n",
    "bare cr": GOOD + b"X-A: b\rX-C: d\r\n\r\n",
    "folded line": GOOD + b"X-A: b\r\n c\r\n\r\n",
    "folded with tab": GOOD + b"X-A: b\r\n\tc\r\n\r\n",
    "folded first": LINE + b" x: y\r\n" + HOST + b"\r\n",
    "blank before colon": GOOD + b"Content-Length : 2\r\n\r\n{}",
    "tab before colon": GOOD + b"Content-Length\t: 2\r\n\r\n{}",
    "no colon": GOOD + b"Content-Length\r\n\r\n",
    "empty name": GOOD + b": x\r\n\r\n",
    "blank in name": GOOD + b"X A: b\r\n\r\n",
    "utf-8 in name": GOOD + "X-Ä: b\r\n\r\n".encode(),
    "nul in value": GOOD + b"X-A: b\0c\r\n\r\n",
    "nul in name": GOOD + b"X-\0A: c\r\n\r\n",
    "control in value": GOOD + b"X-A: b\x07c\r\n\r\n",
    "two lengths": GOOD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "two equal lengths": GOOD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "length list": GOOD + b"Content-Length: 2, 2\r\n\r\n{}",
    "negative length": GOOD + b"Content-Length: -1\r\n\r\n",
    "signed length": GOOD + b"Content-Length: +2\r\n\r\n{}",
    "hex length": GOOD + b"Content-Length: 0x2\r\n\r\n{}",
    "length with underscore": GOOD + b"Content-Length: 1_0\r\n\r\n0123456789",
    "empty length": GOOD + b"Content-Length: \r\n\r\n",
    "length of words": GOOD + b"Content-Length: two\r\n\r\n",
    "huge length": GOOD + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "length and chunked": GOOD + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked and length": GOOD + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked twice": GOOD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": GOOD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "gzip, chunked": GOOD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": GOOD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "coding with vt": GOOD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "quoted coding": GOOD + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n' + SMUGGLED,
    "coding, blank before colon": GOOD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "expectation": GOOD + b"Expect: a-miracle\r\nContent-Length: 2\r\n\r\n{}",
    "long target": b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "long header": GOOD + b"X-A: " + b"a" * 20000 + b"\r\n\r\n",
    "endless header": GOOD + b"X-A: " + b"a" * 20000,
    "many headers": GOOD + b"X-A: b\r\n" * 101 + b"\r\n",
}

CHUNKED = GOOD + b"Transfer-Encoding: chunked\r\n\r\n"
BAD_CHUNKS = {
    "no hex": b"zz\r\n{}\r\n0\r\n\r\n",
    "empty size": b"\r\n{}\r\n0\r\n\r\n",
    "negative size": b"-2\r\n{}\r\n0\r\n\r\n",
    "signed size": b"+2\r\n{}\r\n0\r\n\r\n",
    "0x size": b"0x2\r\n{}\r\n0\r\n\r\n",
    "size with underscore": b"0_2\r\n{}\r\n0\r\n\r\n",
    "blank before size": b" 2\r\n{}\r\n0\r\n\r\n",
    "blank behind size": b"2 \r\n{}\r\n0\r\n\r\n",
    "endless size": b"1" * 400,
    "nine digits": b"000000002\r\n{}\r\n0\r\n\r\n",
    "bare lf behind size": b"2\n{}\r\n0\r\n\r\n",
    "bare cr behind size": b"2\r{}\r\n0\r\n\r\n",
    "bare lf behind chunk": b"2\r\n{}\n0\r\n\r\n",
    "junk behind chunk": b"2\r\n{}XX0\r\n\r\n" + SMUGGLED,
    "too long chunk": b"2\r\n{}}\r\n0\r\n\r\n",
    "nul in extension": b"2;a=\0\r\n{}\r\n0\r\n\r\n",
    "lf in extension": b"2;a=\nb\r\n{}\r\n0\r\n\r\n",
    "cr in extension": b"2;a=\rb\r\n{}\r\n0\r\n\r\n",
    "long extension": b"2;" + b"a" * 300 + b"\r\n{}\r\n0\r\n\r\n",
    "bad trailer": b"2\r\n{}\r\n0\r\nno colon\r\n\r\n",
    "many trailers": b"2\r\n{}\r\n0\r\n" + b"A: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n" * 200 + b"\r\n",
    "bare lf at the end": b"2\r\n{}\r\n0\r\n\n" + SMUGGLED,
}


def _one_answer_then_end(rig: Rig, data: bytes) -> int:
    client = rig.client()
    client.send(data)
    answer = client.answer()
    assert client.closed()
    assert answer.headers["connection"] == "close"
    assert answer.code.startswith("FSS.")
    return answer.status


@pytest.mark.parametrize("name", BAD)
def test_malformed_head_gets_one_4xx_and_the_end(rig: Rig, name: str) -> None:
    status = _one_answer_then_end(rig, BAD[name])

    assert 400 <= status < 500
    assert rig.invoker.calls == []
    assert rig.client().invoke().status == 200


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_malformed_chunks_get_one_4xx_and_the_end(rig: Rig, name: str) -> None:
    status = _one_answer_then_end(rig, CHUNKED + BAD_CHUNKS[name])

    assert 400 <= status < 500
    assert rig.invoker.calls == []


@pytest.mark.parametrize("name", ["bare lf behind chunk", "junk behind chunk", "length and chunked", "two hosts"])
def test_malformed_bytes_are_refused_in_every_split(rig: Rig, name: str) -> None:
    data = BAD.get(name) or CHUNKED + BAD_CHUNKS[name]
    for at in range(len(data) - len(SMUGGLED) if SMUGGLED in data else len(data)):
        client = rig.client()
        client.send(data[:at])
        client.send(data[at:])
        assert 400 <= client.answer().status < 500
        client.sock.close()

    assert rig.invoker.calls == []


def test_too_long_a_head_is_431(rig: Rig) -> None:
    assert _one_answer_then_end(rig, BAD["endless header"]) == 431
    assert _one_answer_then_end(rig, BAD["many headers"]) == 431


def test_malformed_request_behind_a_good_one_is_refused_after_the_first_answer(rig: Rig) -> None:
    client = rig.client()
    client.send(request("hello", b"1") + BAD["two lengths"] + SMUGGLED)

    assert client.answer().body == b"1"
    assert client.answer().status == 400
    assert client.closed()
    assert len(rig.invoker.calls) == 1


def test_chunked_event_over_its_limit_is_413(rig: Rig) -> None:
    client = rig.client()
    client.send(CHUNKED.replace(b"/invocations", b"/invocations-async"))
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    for _ in range(9):
        client.send(chunk)

    assert client.answer().code == "FSS.1201"
    assert rig.queue.events == []
