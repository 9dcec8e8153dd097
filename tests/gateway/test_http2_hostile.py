"""HTTP/2 from those who mean harm: it costs them their connection or their speed, and nobody else anything."""

import contextlib
import gc
import logging
import os
import socket
import struct
from collections.abc import Iterator

import psutil
import pytest

from fgd.gateway.http2_state import STREAMS_MAX
from tests.gateway.conftest import Start
from tests.gateway.http2_client import PREFACE, Http2, dial, frame, pour
from tests.gateway.rig import PATH, TOKEN, Rig

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, CANCEL, ENHANCE_YOUR_CALM = 1, 3, 6, 8, 11
START = PREFACE + frame(SETTINGS, 0, 0)


@pytest.fixture
def rig(start: Start, caplog: pytest.LogCaptureFixture) -> Iterator[Rig]:
    """A gateway that must serve others, hold nothing and log no traceback after each test."""
    rig = start(tls=True, idle_timeout_s=20.0)
    path = rig.publish("/good")
    yield rig
    assert 200 == Http2(rig.api_address).ask(path, method="POST", body=b"x").status
    assert [] == [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR or one.exc_info]
    assert 0 == rig.in_loop(lambda: rig.gateway.body_bytes) - sum(len(call.event) for call in rig.invoker.held)


def memory_bytes() -> int:
    gc.collect()
    return int(psutil.Process(os.getpid()).memory_info().rss)


# Requests that would become others


@pytest.mark.parametrize(
    "field",
    [
        ("x-a", "1\r\ntransfer-encoding: chunked"), ("x-a", "1\nx-b: 2"), ("x-a", "1\0"), ("x-a\r\nx-b", "1"),
        ("transfer-encoding", "chunked"), ("connection", "x-fgd-client"), ("x a", "1"), ("X-A", "1"),
        ("host", "other.example"), (":path", "/other"), ("upgrade", "websocket"), ("", "1"),
    ],
)  # fmt: skip
def test_a_malformed_request_is_refused_and_the_connection_goes_on(rig: Rig, field: tuple[str, str]) -> None:
    path = rig.publish("/a")
    client = Http2(rig.api_address)
    for ended in (True, False):
        refused = client.answer(client.begin(path, field, method="POST", ended=ended))
        assert (400, "FSS.0400") == (refused.status, refused.code)

    assert [] == rig.invoker.calls
    assert 200 == client.ask(path).status


def test_a_smuggled_request_reaches_nobody(rig: Rig) -> None:
    path = rig.publish("/a")
    client = Http2(rig.secure_address)
    inner = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nX-Auth-Token: {TOKEN}\r\nContent-Length: 2\r\n\r\n{{}}"
    head = client.ask(f"{path} HTTP/1.1\r\nHost: a\r\n\r\n{inner}")
    body = client.ask(path, method="POST", body=f"0\r\n\r\n{inner}".encode())
    counted = client.ask(path, ("content-length", "5"), method="POST", body=b"0\r\n\r\n")

    assert [400, 200, 200] == [head.status, body.status, counted.status]
    assert ["web", "web"] == [call.function.name for call in rig.invoker.calls]


@pytest.mark.parametrize(("promised", "body"), [("3", b"1234"), ("5", b"1234"), ("0", b"1"), ("4, 4", b"1234")])
def test_a_body_of_another_length_than_promised_ends_the_connection(rig: Rig, promised: str, body: bytes) -> None:
    client = Http2(rig.api_address)
    stream_id = client.begin(rig.publish("/a"), ("content-length", promised), method="POST", ended=False)
    with contextlib.suppress(OSError):  # it may be closed already
        client.body(stream_id, body)
    client.until_gone()

    assert client.goaway is not None
    assert PROTOCOL_ERROR == client.goaway[0]
    assert [] == [call for call in rig.invoker.calls if promised not in "30"]


def test_connect_and_websockets_are_refused(rig: Rig) -> None:
    client = Http2(rig.secure_address)
    tunnel = client.answer(client.send_fields([(":method", "CONNECT"), (":authority", "127.0.0.1:22")], False))
    extended = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/"),
        (":authority", "a"),
    ]
    websocket = client.answer(client.send_fields(extended, False))

    assert [405, 400] == [tunnel.status, websocket.status]
    assert 0 == client.settings.get(8, 0)  # ENABLE_CONNECT_PROTOCOL
    assert 405 == client.ask("/", method="TRACE").status


def test_what_the_gateway_refuses_is_refused_by_http_2_as_well(rig: Rig) -> None:
    path = rig.publish("/a")
    client = Http2(rig.api_address)

    assert 400 == client.ask(path + "?a=%zz").status
    assert 431 == client.ask(path, ("x-a", "x" * 17_000)).status
    assert 431 == client.ask(path, *((f"x-{number}", "") for number in range(120))).status
    assert 400 == client.ask(path + "/%00").status
    assert 400 == client.ask(path, method="BREW").status


# Floods


FLOODS = {
    "ping": frame(PING, 0, 0, b"8 bytes.") * 500,
    "settings": frame(SETTINGS, 0, 0) * 500,
    "window update": frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * 500,
    "priority": frame(PRIORITY, 0, 1, b"\0\0\0\3\1") * 500,
    "unknown": frame(0x42, 0, 0) * 500,
    "ping answers": frame(PING, ACK, 0, b"8 bytes.") * 500,
}


@pytest.mark.slow
@pytest.mark.parametrize("data", FLOODS.values(), ids=FLOODS)
def test_a_flood_of_frames_is_read_slowly_or_ended(rig: Rig, data: bytes) -> None:
    before = memory_bytes()
    with dial(rig.api_address, "h2") as sock:
        sock.sendall(START)
        sent = pour(sock, data, 4000)

    assert sent < 4000 * len(data)  # 2,000,000 frames
    assert memory_bytes() - before < 24 * 2**20


def test_pings_whose_answers_nobody_reads_are_not_collected(rig: Rig) -> None:
    before = memory_bytes()
    with dial(rig.api_address, "h2") as sock:
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            sock.sendall(START)
            for _ in range(1000):
                sock.sendall(frame(PING, 0, 0, b"8 bytes.") * 1000)
        assert memory_bytes() - before < 48 * 2**20


def test_answers_without_bodies_that_nobody_reads_are_not_collected(rig: Rig) -> None:
    """No window holds heads back."""
    path = rig.publish("/a")
    rig.invoker.answer = b'{"statusCode":204,"headers":{"x-a":"' + b"x" * 8000 + b'"}}'
    client = Http2(rig.api_address)
    client.forget_limit()
    (slow,) = rig.in_loop(lambda: list(rig.gateway._http2))
    calls = 0
    while len(slow._out) < 262_144:
        for _ in range(STREAMS_MAX // 2):
            client.begin(path)
        calls += STREAMS_MAX // 2
        rig.wait_until(lambda: len(rig.invoker.calls) == calls or len(slow._out) > 262_144)  # noqa: B023 - for now
    for _ in range(STREAMS_MAX // 2):
        client.begin(path)
    rig.wait_until(lambda: not slow._streams)
    calls, waiting = len(rig.invoker.calls), len(slow._out)
    other = Http2(rig.api_address)
    for _ in range(50):
        assert 204 == other.ask(path).status
    assert (calls + 50, waiting) == (len(rig.invoker.calls), len(slow._out))
    assert waiting < 262_144 + STREAMS_MAX * 8200
    rig.invoker.answer = b'{"statusCode":200}'


def test_rapid_resets_end_the_connection(rig: Rig) -> None:
    path = rig.publish("/hold", function="hold")
    client = Http2(rig.api_address)
    for _ in range(STREAMS_MAX * 5):
        if client.gone or client.goaway is not None:
            break
        try:
            stream_id = client.begin(path)
            client.h2.reset_stream(stream_id, CANCEL)
            client.flush()
        except OSError:
            break
    client.until_gone()

    assert client.goaway is None or ENHANCE_YOUR_CALM == client.goaway[0]
    assert len(rig.invoker.calls) <= STREAMS_MAX * 2
    rig.wait_until(lambda: rig.in_loop(lambda: rig.gateway.connections) == 0)


def test_resets_that_the_server_is_made_to_send_count_as_well(rig: Rig) -> None:
    path = rig.publish("/hold", function="hold")
    client = Http2(rig.api_address)
    for _ in range(STREAMS_MAX * 5):
        try:
            stream_id = client.begin(path)
            client.send_raw(frame(WINDOW_UPDATE, 0, stream_id, b"\x7f\xff\xff\xff"))  # over what a window may have
        except OSError:
            break
    client.until_gone()

    assert len(rig.invoker.calls) <= STREAMS_MAX * 2


def test_a_client_that_cancels_now_and_then_stays(rig: Rig) -> None:
    hold, path = rig.publish("/hold", function="hold"), rig.publish("/a")
    client = Http2(rig.api_address)
    for _ in range(STREAMS_MAX * 2):
        stream_id = client.begin(hold)
        client.h2.reset_stream(stream_id, CANCEL)
        client.flush()
        assert 200 == client.ask(path).status


def test_streams_over_the_promised_number_end_the_connection(rig: Rig) -> None:
    path = rig.publish("/hold", function="hold")
    client = Http2(rig.api_address)
    client.forget_limit()
    for _ in range(STREAMS_MAX + 1):
        client.begin(path)
    client.until_gone()

    assert STREAMS_MAX >= len(rig.invoker.calls)
    rig.wait_until(lambda: rig.in_loop(lambda: rig.gateway.connections) == 0)


def test_an_endless_header_block_ends_the_connection(rig: Rig) -> None:
    before = memory_bytes()
    for piece in (frame(CONTINUATION, 0, 1, b"\0" * 16384), frame(CONTINUATION, 0, 1)):
        with dial(rig.api_address, "h2") as sock:
            sock.sendall(START + frame(HEADERS, 0, 1, b"\x82"))
            pour(sock, piece, 5000)
            rig.wait_until(lambda: rig.in_loop(lambda: rig.gateway._shaking) == 0)
    assert memory_bytes() - before < 24 * 2**20


def test_headers_that_grow_when_unpacked_end_the_connection(rig: Rig) -> None:
    # One entry of 4,000 bytes in the table, then named again and again with a byte each.
    block = b"\x40\x01a" + b"\x7f\xa1\x1e" + b"x" * 4000 + b"\xbe" * 8000
    client = Http2(rig.api_address)
    client.send_raw(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
    client.until_gone()

    assert client.goaway is not None
    assert client.goaway[0] in (ENHANCE_YOUR_CALM, 9)


def test_a_frame_over_the_agreed_length_is_not_collected(rig: Rig) -> None:
    client = Http2(rig.api_address)
    client.send_raw(struct.pack(">I", 2**24 - 1)[1:] + bytes((DATA, 0)) + struct.pack(">I", 1))
    client.until_gone()

    assert client.goaway is not None
    assert FRAME_SIZE_ERROR == client.goaway[0]


def test_thousands_of_settings_are_not_remembered(rig: Rig) -> None:
    entries = b"".join(struct.pack(">HI", number, 1) for number in range(0x100, 0x100 + 2000))
    client = Http2(rig.api_address)
    client.send_raw(frame(SETTINGS, 0, 0, entries))
    client.until_gone()

    assert client.goaway is not None
    assert ENHANCE_YOUR_CALM == client.goaway[0]


def test_a_large_table_for_answers_is_not_ours(rig: Rig) -> None:
    path = rig.publish("/a")
    client = Http2(rig.api_address)
    client.h2.update_settings({1: 2**31})
    client.flush()
    for _ in range(200):
        assert 200 == client.ask(path).status

    one = next(iter(rig.in_loop(lambda: list(rig.gateway._http2))))
    assert 0 == len(one._h2.encoder.header_table.dynamic_entries)
    assert len(one._h2._closed_streams) <= 1000


def test_single_bytes_of_a_body_come_slowly(rig: Rig) -> None:
    path = rig.publish("/a")
    client = Http2(rig.api_address)
    stream_id = client.begin(path, method="POST", ended=False)
    client.send_raw(frame(DATA, 0, stream_id, b"x") * 900 + frame(DATA, END_STREAM, stream_id))

    assert 200 == client.answer(stream_id).status
    assert len(rig.invoker.calls[-1].event) > 900


# Clients that wait


def test_windows_that_stay_shut_end_the_streams(start: Start) -> None:
    rig = start(tls=True, body_timeout_s=0.4)
    path = rig.publish("/a")
    rig.invoker.answer = b'{"statusCode":200,"body":"' + b"x" * 2_000_000 + b'"}'
    client = Http2(rig.api_address, window=0)
    streams = [client.begin(path) for _ in range(30)]

    assert [CANCEL] * 30 == [client.wait(one).reset for one in streams]
    rig.wait_until(lambda: rig.in_loop(lambda: rig.gateway.connections) == 0)
    assert 0 == rig.in_loop(lambda: rig.gateway.body_bytes)


def test_a_client_that_does_not_read_is_ended(start: Start) -> None:
    rig = start(tls=True, body_timeout_s=0.4)
    path = rig.publish("/a")
    rig.invoker.answer = b'{"statusCode":200,"body":"' + b"x" * 5_000_000 + b'"}'
    client = Http2(rig.api_address, window=2**31 - 1)
    client.h2.increment_flow_control_window(2**31 - 1 - 65535)
    client.flush()
    for _ in range(10):
        client.begin(path)
    rig.wait_until(lambda: len(rig.invoker.calls) == 10)

    rig.wait_until(lambda: rig.in_loop(lambda: rig.gateway._shaking) == 0)
    assert 0 == rig.in_loop(lambda: rig.gateway.body_bytes)


def test_a_body_that_does_not_come_is_408(start: Start) -> None:
    rig = start(tls=True, body_timeout_s=0.3)
    client = Http2(rig.api_address)
    stream_id = client.begin(rig.publish("/a"), ("content-length", "9"), method="POST", ended=False)
    client.body(stream_id, b"1", ended=False)

    assert 408 == client.answer(stream_id).status


def test_half_a_header_block_is_given_up(start: Start) -> None:
    rig = start(tls=True, idle_timeout_s=0.3)
    client = Http2(rig.api_address)
    client.send_raw(frame(HEADERS, 0, 1, b"\x82"))
    client.until_gone()

    assert [] == rig.invoker.calls


def test_a_client_that_does_not_read_does_not_hold_up_the_end(start: Start) -> None:
    rig = start(tls=True)
    path = rig.publish("/a")
    rig.invoker.answer = b'{"statusCode":200,"body":"' + b"x" * 5_000_000 + b'"}'
    client = Http2(rig.api_address, window=2**31 - 1)
    client.h2.increment_flow_control_window(2**31 - 1 - 65535)
    client.flush()
    for _ in range(10):
        client.begin(path)
    rig.wait_until(lambda: len(rig.invoker.calls) == 10)
    held = rig.in_loop(lambda: rig.gateway.body_bytes)

    assert False is rig.drain(0.2)  # and the fixture sees that the gateway ends
    assert held > 40_000_000
    assert rig.in_loop(lambda: rig.gateway.body_bytes) > 40_000_000  # counted there, not collected for the client


# Nonsense

WRONG = {
    "no preface": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "half a preface": PREFACE[:10],
    "preface without settings": PREFACE + frame(PING, 0, 0, b"8 bytes."),
    "data without a stream": START + frame(DATA, 0, 1, b"x"),
    "stream of the server's": START + frame(HEADERS, END_HEADERS | END_STREAM, 2, b"\x82\x84\x87\x41\x01a"),
    "stream 0": START + frame(HEADERS, END_HEADERS, 0, b"\x82"),
    "continuation of nothing": START + frame(CONTINUATION, END_HEADERS, 1, b"\x82"),
    "push": START + frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2\x82"),
    "settings of a stream": START + frame(SETTINGS, 0, 1),
    "settings of odd length": START + frame(SETTINGS, 0, 0, b"12345"),
    "window of nothing": START + frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0"),
    "window over all": START + frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2,
    "initial window over all": START + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**32 - 1)),
    "frame size of nothing": START + frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 0)),
    "padding over all": START + frame(HEADERS, END_HEADERS | 0x8, 1, b"\xff\x82"),
    "no table entry": START + frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff\xff\xff"),
    "short huffman": START + frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x40\x81\xff\x81\xff"),
    "depends on itself": START + frame(HEADERS, END_HEADERS | END_STREAM | 0x20, 1, b"\0\0\0\1\1\x82"),
    "priority of itself": START + frame(PRIORITY, 0, 1, b"\0\0\0\1\1"),
    "short priority": START + frame(PRIORITY, 0, 1, b"\0"),
    "short ping": START + frame(PING, 0, 0, b"1"),
    "short reset": START + frame(RST_STREAM, 0, 1, b"1"),
    "reset of an idle stream": START + frame(RST_STREAM, 0, 1, b"\0\0\0\0"),
    "goodbye": START + frame(GOAWAY, 0, 0, b"\0" * 8),
    "short goodbye": START + frame(GOAWAY, 0, 0, b"\0"),
    "alternative service": START + frame(0xA, 0, 0, b"\0\1ah2"),
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_nonsense_ends_its_connection_quietly(start: Start, caplog: pytest.LogCaptureFixture, data: bytes) -> None:
    rig = start(tls=True, idle_timeout_s=0.4)
    path = rig.publish("/a")
    with dial(rig.api_address, "h2") as sock:
        pour(sock, data, patience_s=5.0)
        rig.wait_until(lambda: rig.in_loop(lambda: rig.gateway._shaking) == 0)

    assert 200 == Http2(rig.api_address).ask(path).status
    assert [] == [one.getMessage() for one in caplog.records if one.exc_info or one.levelno >= logging.ERROR]


def test_a_connection_cut_in_the_middle_is_nothing_to_log(rig: Rig) -> None:
    path = rig.publish("/hold", function="hold")
    for _ in range(5):
        client = Http2(rig.api_address)
        client.begin(path)
        client.begin(path, method="POST", ended=False)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sock.close()

    rig.wait_until(lambda: rig.in_loop(lambda: rig.gateway._shaking) == 0)
