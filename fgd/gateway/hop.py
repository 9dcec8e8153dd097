"""What changes in a head between the client's hop and the control plane's. Pure functions."""

import re
from typing import Final

from fgd.gateway.head import BadHttp, Head

_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"upgrade",
        b"http2-settings",
        b"expect",
        b"trailer",
        b"transfer-encoding",
    )
)
_OURS: Final = b"x-fgd-"
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: .*)?")


def forwarded_head(head: Head, address: str, peer: str | None) -> bytes:
    """The head for the control plane.

    Args:
        address: of the client, for `X-Fgd-Client`; "" for a client of the admin socket.
        peer: name of an administrator of the admin socket, for `X-Fgd-Peer`; None for everyone else.
    """
    lines = [head.raw[: head.raw.index(b"\r\n")]]
    lines += [
        name + b": " + value
        for name, value in head.headers
        if name not in _HOP_BY_HOP and not name.replace(b"_", b"-").startswith(_OURS)
    ]
    if head.content_length < 0:
        lines.append(b"Transfer-Encoding: chunked")
    if address:
        lines.append(b"X-Fgd-Client: " + address.encode("ascii"))
    if peer is not None:
        lines.append(b"X-Fgd-Peer: " + peer.encode("ascii"))
    lines.append(b"Connection: close\r\n\r\n")
    return b"\r\n".join(lines)


class AnswerHead:
    """The head of the control plane's answer: status, how its body ends, and the lines that go to the client."""

    __slots__ = ("chunked", "content_length", "lines", "status")

    def __init__(self, status: int) -> None:
        self.status = status
        #: Bytes of the body; None when it comes in chunks or ends with the connection.
        self.content_length: int | None = None
        self.chunked = False
        #: Status line and headers, each with its line end, without what belongs to the other hop.
        self.lines = b""


def parse_answer_head(raw: bytes, method: str) -> AnswerHead:
    """Reads a whole answer head.

    Raises:
        BadHttp: not an HTTP/1 answer.
    """
    lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
    match = _STATUS_LINE.fullmatch(lines[0])
    if match is None:
        raise BadHttp(400, "malformed answer of the control plane")
    answer = AnswerHead(int(match[1]))
    kept = [lines[0]]
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in (b"connection", b"keep-alive"):
            continue
        if name == b"content-length":
            answer.content_length = int(value)
        elif name == b"transfer-encoding":
            answer.chunked = value.strip().lower() == b"chunked"
        kept.append(line)
    if method == "HEAD" or answer.status in (204, 304) or answer.status < 200:
        answer.content_length, answer.chunked = 0, False
    answer.lines = b"\r\n".join(kept) + b"\r\n"
    return answer
