"""Headers of answers as they are written, read by a decoder that knows all of HPACK."""

import pytest
from hpack import Decoder

from fgd.gateway.http2_state import PlainEncoder


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 255, 256, 16510, 16511, 16512, 40_000])
def test_what_is_written_is_read_at_every_length(size: int) -> None:
    encoder, decoder = PlainEncoder(), Decoder()
    for _ in range(2):
        fields = [(b":status", b"200"), (b"n" * max(size, 1), b"\xff" * size), (b"set-cookie", b"a=1")]
        decoder.max_header_list_size = 200_000

        assert fields == [tuple(one) for one in decoder.decode(encoder.encode(fields), raw=True)]


def test_nothing_is_remembered_whatever_size_a_client_wishes() -> None:
    encoder, decoder = PlainEncoder(), Decoder()
    for size in (4096, 2**31, 0, 100):
        encoder.header_table_size = size  # as h2 does when the client says so
        decoder.max_allowed_table_size = size
        fields = [(b":status", b"200"), (b"x-a", b"1" * size.bit_length())]

        assert fields == [tuple(one) for one in decoder.decode(encoder.encode(fields), raw=True)]
        assert 0 == len(encoder.header_table.dynamic_entries)
