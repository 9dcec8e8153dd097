"""Heads of HTTP/2 frames: counted and bounded before anything else sees them."""

import pytest

from fgd.gateway.http2_frames import (
    BLOCK_MAX_BYTES,
    ENHANCE_YOUR_CALM,
    FRAME_MAX_BYTES,
    FRAME_SIZE_ERROR,
    SETTINGS_FRAMES_MAX,
    Allowance,
    BadFrame,
    FrameScan,
)
from tests.gateway.http2_client import PREFACE, frame

DATA, HEADERS, SETTINGS, PING, CONTINUATION = 0, 1, 4, 6, 9
HARMLESS = (
    PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, 0, 1, b"x" * 300) + frame(CONTINUATION, 4, 1)
    + frame(DATA, 0, 1, b"y" * 10) + frame(PING, 0, 0, b"8 bytes.") + frame(SETTINGS, 1, 0)
)  # fmt: skip


def scan(data: bytes) -> int:
    return FrameScan().feed(PREFACE + data)


def test_frames_are_counted_wherever_they_are_split() -> None:
    assert 6 == FrameScan().feed(HARMLESS)
    for at in range(len(HARMLESS) + 1):
        one = FrameScan()

        assert 6 == one.feed(HARMLESS[:at]) + one.feed(HARMLESS[at:])
    one = FrameScan()
    assert 6 == sum(one.feed(bytes((byte,))) for byte in HARMLESS)


def test_bodies_in_large_pieces_make_up_for_frames() -> None:
    assert scan(frame(DATA, 0, 1, b"x" * FRAME_MAX_BYTES)) < 0
    assert 1 == scan(frame(DATA, 0, 1, b"x"))
    assert 1 == scan(frame(DATA, 1, 1))


def test_headers_cost_by_their_size() -> None:
    assert 1 == scan(frame(HEADERS, 4, 1, b"x" * 500))
    assert 1 + 32 == scan(frame(HEADERS, 4, 1, b"x" * 16384))


def test_a_frame_over_the_agreed_length_is_refused_by_its_head() -> None:
    assert scan(frame(DATA, 0, 1, b"x" * FRAME_MAX_BYTES)[:9]) < 0
    with pytest.raises(BadFrame) as refused:
        scan(frame(DATA, 0, 1, b"x" * (FRAME_MAX_BYTES + 1))[:9])

    assert FRAME_SIZE_ERROR == refused.value.error_code


def test_a_header_block_is_bounded_over_all_its_frames() -> None:
    block = frame(HEADERS, 0, 1, b"x" * 1000) + frame(CONTINUATION, 0, 1, b"x" * 1000) * 50
    assert 51 + 51 == scan(block)
    assert 2 * (51 + 51) == scan(block + block)  # each has its own
    with pytest.raises(BadFrame) as refused:
        scan(block + frame(CONTINUATION, 0, 1, b"x" * 1000) * (BLOCK_MAX_BYTES // 1000 - 50))

    assert ENHANCE_YOUR_CALM == refused.value.error_code


def test_settings_come_a_few_times_with_a_few_entries() -> None:
    assert SETTINGS_FRAMES_MAX == scan(frame(SETTINGS, 0, 0) * SETTINGS_FRAMES_MAX)
    assert 100 == scan(frame(SETTINGS, 1, 0) * 100)
    for wrong in (frame(SETTINGS, 0, 0) * (SETTINGS_FRAMES_MAX + 1), frame(SETTINGS, 0, 0, b"\0" * 126)):
        with pytest.raises(BadFrame) as refused:
            scan(wrong)

        assert ENHANCE_YOUR_CALM == refused.value.error_code


def test_an_allowance_grows_with_time_up_to_its_size() -> None:
    allowance = Allowance(0.0)

    assert 0 == allowance.take(1000, 0.0)
    assert 1.0 == allowance.take(500, 0.0)
    assert 0 == allowance.take(0, 1.0)
    assert 0 == allowance.take(1000, 100.0)
    assert 0.2 == pytest.approx(allowance.take(100, 100.0))
    allowance.earn(100)
    assert 0 == allowance.take(0, 100.0)
    assert 0 == allowance.take(-10_000, 100.0)
    assert 0.5 == pytest.approx(allowance.take(1250, 100.0))
