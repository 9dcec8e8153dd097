"""HTTP/2 by dice: frames without sense, and connections that make some; always the same ones."""

import contextlib
import logging
import random
import struct

import pytest

from tests.gateway.conftest import Start
from tests.gateway.http2_client import PREFACE, dial, frame
from tests.gateway.rig import Rig

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 0x1, 0x4
GET, POST = b"\x82", b"\x83"
START = PREFACE + frame(SETTINGS, 0, 0)
MORE = (b"", b"", b"", b"\x0f\x0d\x015", b"\0\x01a\x01b", b"\0\x01A\x01b", b"\0\x0aconnection\x01b")
SETTING = ((4, 0), (4, 65535), (4, 10), (1, 0), (1, 100_000), (5, 16384), (3, 1))


def block(method: bytes, path: bytes, more: bytes = b"") -> bytes:
    """The headers of a request, by the static table and in literals."""
    return method + b"\x87\x41\x01a\x44" + bytes((len(path),)) + path + more


def nonsense(dice: random.Random, path: bytes) -> bytes:
    """Frames of every kind, each right in itself at best."""
    blocks = [block(GET, path), block(GET, path, b"\x0f\x0d\x011"), b"\x82", dice.randbytes(30), b""]
    wire = bytearray(START)
    for number in range(dice.randrange(1, 40)):
        kind = dice.choice((DATA, DATA, HEADERS, HEADERS, HEADERS, *range(11), 0x42))
        stream_id = dice.choice((0, 1, 1, 3, 5, 2 * number + 1, 2 * number + 1, 2**31 - 1))
        payload = (
            dice.choice(blocks) if kind in (HEADERS, CONTINUATION) else dice.randbytes(dice.choice((0, 4, 5, 8, 9)))
        )
        wire += frame(kind, dice.choice((0, 1, 4, 5, 5, 0x2D, dice.randrange(256))), stream_id, payload)
    return bytes(wire)


def sense(dice: random.Random, paths: list[bytes]) -> bytes:
    """Requests with bodies, trailers, resets, windows and settings, of which most could be meant; now and then a byte
    that is wrong."""
    wire = bytearray(START)
    stream_id, streams = 1, [0]
    for _ in range(dice.randrange(1, 80)):
        lot, one = dice.random(), dice.choice(streams)
        if lot < 0.4 or not one:
            flags = dice.choice((END_HEADERS, END_HEADERS, END_HEADERS | END_STREAM))
            head = block(dice.choice((GET, POST)), dice.choice(paths), dice.choice(MORE))
            wire += frame(HEADERS, flags, stream_id, head)
            if not flags & END_STREAM:
                streams.append(stream_id)
            stream_id += 2 * dice.choice((1, 1, 1, 3))
        elif lot < 0.7:
            flags = dice.choice((0, 0, END_STREAM))
            wire += frame(DATA, flags, one, b"y" * dice.choice((0, 1, 5, 100, 5000)))
            if flags:
                streams.remove(one)
        elif lot < 0.8:
            wire += frame(RST_STREAM, 0, one, b"\0\0\0\x08")
            if dice.random() < 0.8:
                streams.remove(one)
        elif lot < 0.9:
            wire += frame(WINDOW_UPDATE, 0, dice.choice(streams), struct.pack(">I", dice.choice((1, 1000, 65535))))
        elif lot < 0.95:
            wire += frame(SETTINGS, 0, 0, struct.pack(">HI", *dice.choice(SETTING)))
        elif lot < 0.97:
            wire += frame(HEADERS, END_HEADERS | END_STREAM, one, b"\0\x01t\x01b")
        else:
            wire += frame(PING, 0, 0, b"8 bytes.")
    if dice.random() < 0.1:
        wire[dice.randrange(len(START), len(wire))] = dice.randrange(256)
    return bytes(wire)


def play(rig: Rig, dice: random.Random, wire: bytes) -> None:
    """Sends it in pieces, reads for a moment, goes away."""
    with dial(rig.api_address, "h2") as sock, contextlib.suppress(OSError):
        sock.settimeout(dice.choice((0.01, 0.05, 0.1)))
        at = 0
        while at < len(wire):
            size = dice.choice((1, 50, 1000, 20_000))
            sock.sendall(wire[at : at + size])
            at += size
        while sock.recv(65536):
            pass


@pytest.mark.slow
@pytest.mark.parametrize("sensible", [True, False])
def test_random_frames_leave_nothing_behind(start: Start, caplog: pytest.LogCaptureFixture, sensible: bool) -> None:
    rig = start(tls=True, idle_timeout_s=20.0)
    paths = [rig.publish("/a").encode(), rig.publish("/hold", function="hold").encode()]
    rig.invoker.answer = b'{"statusCode":200,"body":"' + b"x" * 100_000 + b'"}'
    dice = random.Random(20260727)
    for _ in range(120):
        play(rig, dice, sense(dice, paths) if sensible else nonsense(dice, paths[0]))

    rig.wait_until(lambda: rig.in_loop(lambda: rig.gateway._shaking) == 0)
    rig.wait_until(lambda: rig.in_loop(lambda: rig.gateway.connections) == 0)
    assert not sensible or len(rig.invoker.calls) > 100
    assert sum(len(call.event) for call in rig.invoker.held) == rig.gateway.body_bytes
    assert [] == [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING or one.exc_info]
