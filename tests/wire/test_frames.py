"""The frame format, fed in every split."""

import pytest

from fgd.wire import frames
from fgd.wire.frames import FrameReader, WireError

FRAMES = [
    frames.frame(frames.READY, 0, b"{}"),
    frames.frame(frames.HEARTBEAT, 1),
    frames.invoke_frame((1 << 64) - 1, "r" * 36, 1.5, b'{"a": 1}', b"{}"),
    frames.frame(frames.RESULT, 3, b"text", frames.FLAG_TEXT),
    frames.frame(frames.LOG, 4, b"x" * 40),
]
EXPECTED = [
    (frames.READY, 0, 0, b"{}"),
    (frames.HEARTBEAT, 0, 1, b""),
    (frames.INVOKE, 0, (1 << 64) - 1, frames.INVOKE_HEAD.pack(b"r" * 36, 1.5, 2) + b'{}{"a": 1}'),
    (frames.RESULT, frames.FLAG_TEXT, 3, b"text"),
    (frames.LOG, 0, 4, b"x" * 40),
]
STREAM = b"".join(FRAMES)


def test_frames_fed_at_once_come_out_whole() -> None:
    assert EXPECTED == FrameReader().feed(STREAM)


@pytest.mark.parametrize("size", range(1, 70))
def test_frames_fed_in_pieces_of_any_size_come_out_whole(size: int) -> None:
    reader = FrameReader()

    assert EXPECTED == [frame for at in range(0, len(STREAM), size) for frame in reader.feed(STREAM[at : at + size])]


@pytest.mark.parametrize("cut", range(1, len(STREAM)))
def test_frames_cut_in_two_anywhere_come_out_whole(cut: int) -> None:
    reader = FrameReader()

    assert EXPECTED == reader.feed(STREAM[:cut]) + reader.feed(STREAM[cut:])


def test_a_frame_comes_out_with_its_last_byte_and_not_before() -> None:
    reader = FrameReader()
    for at in range(len(FRAMES[2]) - 1):
        assert [] == reader.feed(FRAMES[2][at : at + 1])

    assert EXPECTED[2:3] == reader.feed(FRAMES[2][-1:])


def test_feeding_nothing_gives_nothing() -> None:
    reader = FrameReader()
    assert [] == reader.feed(b"")
    assert [] == reader.feed(STREAM[:5])
    assert [] == reader.feed(b"")

    assert EXPECTED == reader.feed(STREAM[5:])


@pytest.mark.parametrize("kind", [0, frames.STOP + 1, 255])
def test_an_unknown_type_is_an_error(kind: int) -> None:
    with pytest.raises(WireError, match="unknown type"):
        FrameReader().feed(frames.HEADER.pack(0, kind, 0, 0, 1))


def test_a_header_with_something_in_its_zero_field_is_an_error() -> None:
    with pytest.raises(WireError):
        FrameReader().feed(frames.HEADER.pack(0, frames.LOG, 0, 1, 1))


@pytest.mark.parametrize(("kind", "most"), [(frames.RESULT, frames.MAX_BODY_BYTES), (frames.LOG, frames.MAX_LOG_BYTES)])
def test_a_length_over_the_limit_is_an_error_before_its_body_comes(kind: int, most: int) -> None:
    assert [] == FrameReader().feed(frames.HEADER.pack(most, kind, 0, 0, 1))
    with pytest.raises(WireError, match="body of"):
        FrameReader().feed(frames.HEADER.pack(most + 1, kind, 0, 0, 1))


@pytest.mark.parametrize("cut", range(1, frames.HEADER_BYTES))
def test_a_bad_header_in_two_pieces_is_an_error(cut: int) -> None:
    data = frames.HEADER.pack(frames.MAX_LOG_BYTES + 1, frames.LOG, 0, 0, 1)
    reader = FrameReader()
    reader.feed(data[:cut])

    with pytest.raises(WireError):
        reader.feed(data[cut:])


def test_the_longest_body_comes_out_of_many_pieces() -> None:
    body = bytes(range(256)) * (frames.MAX_BODY_BYTES // 256)
    data = frames.frame(frames.RESULT, 8, body)
    reader = FrameReader()
    got = [frame for at in range(0, len(data), 65536) for frame in reader.feed(data[at : at + 65536])]

    assert [(frames.RESULT, 0, 8, body)] == got
