"""The state of a connection of HTTP/2 as `h2` keeps it, with what a client is promised and what is remembered of it."""

from collections.abc import Iterable
from typing import Final, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings
from hpack import Encoder, HeaderTuple

from fgd.gateway.http2_frames import FRAME_MAX_BYTES

#: Streams at once; RFC 9113, section 6.5.2 asks for no fewer.
STREAMS_MAX: Final = 100
#: Of all headers of a request with 32 bytes for each, as HTTP/2 counts; the gateway's own limits are lower.
_HEADER_LIST_MAX_BYTES: Final = 32768
#: What a client may send ahead: of one body, and of all of a connection.
_WINDOW_BYTES: Final = 262144
_CONNECTION_WINDOW_BYTES: Final = 524288
_FIRST_WINDOW_BYTES: Final = 65535


type _Text = bytes | str
type _Headers = Iterable[HeaderTuple | tuple[_Text, _Text] | tuple[_Text, _Text, bool | None]] | dict[_Text, _Text]


class PlainEncoder(Encoder):
    """Writes every header as it is, in a time that grows with its length alone, and remembers nothing.

    What comes with `hpack` takes 110 ms for a header of 30 KB (its Huffman coding, with the square of the length) and
    30 ms for 4,000 small ones, which a function may return; for those of a usual answer 21 us, and this 4.
    Source: RFC 7541, sections 6.2.2 and 6.3.
    """

    def __init__(self) -> None:
        super().__init__()
        # The first words are that the table is empty. So it stays, whatever size the client allows or takes back.
        self._first = b"\x20"

    def encode(self, headers: _Headers, huffman: bool = False) -> bytes:
        pieces = [self._first]
        self._first = b""
        for name, value in cast("list[tuple[bytes, bytes]]", headers):  # h2 has made that of them
            pieces += (b"\0", _length(name), name, _length(value), value)
        return b"".join(pieces)


def _length(text: bytes) -> bytes:
    left = len(text)
    if left < 0x7F:
        return bytes((left,))
    left -= 0x7F
    out = bytearray(b"\x7f")
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


class State(H2Connection):
    """The server's side of one connection."""

    #: It remembers how streams ended, for frames that were under way.
    MAX_CLOSED_STREAMS = 1000

    def __init__(self) -> None:
        super().__init__(
            H2Configuration(
                client_side=False,
                header_encoding=None,
                # `http2_head` checks what comes, and what goes out is the gateway's own.
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS_MAX,
                SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW_BYTES,
                SettingCodes.MAX_FRAME_SIZE: FRAME_MAX_BYTES,
                SettingCodes.MAX_HEADER_LIST_SIZE: _HEADER_LIST_MAX_BYTES,
            },
        )
        self.encoder = PlainEncoder()
        self.decoder.max_header_list_size = _HEADER_LIST_MAX_BYTES

    def begin(self) -> None:
        """Says what the client may do."""
        self.initiate_connection()
        self.increment_flow_control_window(_CONNECTION_WINDOW_BYTES - _FIRST_WINDOW_BYTES)
