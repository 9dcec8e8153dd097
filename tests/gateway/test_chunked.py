"""The reader of chunked bodies, without a socket."""

import pytest

from fgd.gateway.chunked import ChunkedReader
from fgd.gateway.head import BadHttp

BODY = b'4;a="b"\r\nWiki\r\n005\r\npedia\r\nE\r\n in\r\n\r\nchunks.\r\n0\r\nExpires: now\r\n\r\n'
NEXT = b"POST / HTTP/1.1\r\n"


def test_every_split_gives_the_same_body_and_rest() -> None:
    data = BODY + NEXT
    for first in range(len(data)):
        for second in range(first, len(data), 5):
            reader = ChunkedReader()
            out = rest = b""
            for piece in (data[:first], data[first:second], data[second:]):
                if reader.done:
                    rest += piece
                else:
                    out += reader.feed(piece)
                    rest += reader.rest

            assert out == b"Wikipedia in\r\n\r\nchunks."
            assert reader.done
            assert rest == NEXT


def test_incomplete_body_is_not_done() -> None:
    for end in range(len(BODY)):
        reader = ChunkedReader()
        reader.feed(BODY[:end])

        assert not reader.done


@pytest.mark.parametrize("at", [0, 9, 13, 14, 15, 18, 19])
def test_junk_at_a_border_is_refused(at: int) -> None:
    with pytest.raises(BadHttp):
        ChunkedReader().feed(BODY[:at] + b"\x00" + BODY[at:])


def test_line_without_end_is_refused_early() -> None:
    reader = ChunkedReader()
    with pytest.raises(BadHttp):
        for _ in range(300):
            reader.feed(b"0")
