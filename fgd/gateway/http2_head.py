"""Heads between HTTP/2 and the HTTP/1.1 of the gateway's connections. Pure functions.

What a request's fields may hold is checked here and not left to `h2`: nothing that is written as a line may end one,
name a body's length or coding, or speak of the hop. So the connection behind reads one head, and the one that is
meant; all else it judges by the rules that hold for everybody.

Source: RFC 9113, section 8.
"""

import re
from collections.abc import Iterable
from typing import Final

from fgd.gateway.head import BadHttp
from fgd.gateway.hop import parse_answer_head

_METHOD = re.compile(rb"[A-Z]{1,16}")
_PATH = re.compile(rb"/[\x21-\x7e]*")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_PSEUDO: Final = (b":method", b":scheme", b":authority", b":path")
#: Of a hop of HTTP/1.1; a request that has one is malformed (section 8.2.2).
_CONNECTION = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
_NOT_IN_ANSWERS = _CONNECTION | {b"te", b"trailer"}
_CLOSE = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)

type Fields = Iterable[tuple[bytes, bytes]]


class RequestHead:
    """A request's head as HTTP/1.1 has it, and how the body that follows is framed."""

    __slots__ = ("content_length", "method", "raw")

    def __init__(self, raw: bytes, method: str, content_length: int | None) -> None:
        self.raw = raw
        self.method = method
        #: Bytes of the body; None when it must be sent in chunks.
        self.content_length = content_length


def request_head(fields: Fields, ended: bool) -> RequestHead:
    """
    Args:
        fields: as they came, pseudo-headers first.
        ended: whether no body follows.

    Raises:
        BadHttp: no request that could be passed on; with the status to answer.
    """
    pseudo: dict[bytes, bytes] = {}
    lines: list[bytes] = []
    cookies: list[bytes] = []
    host: bytes | None = None
    length: int | None = None
    ordinary = False
    for name, value in fields:
        if not _VALUE.fullmatch(value) or value != value.strip(b" \t"):
            raise BadHttp(400, "the value of a header holds characters that no header can have")
        if name.startswith(b":"):
            if name not in _PSEUDO or name in pseudo or ordinary:
                raise BadHttp(400, "pseudo-headers must be known ones, sent once, before all others")
            pseudo[name] = value
            continue
        ordinary = True
        if not _NAME.fullmatch(name):
            raise BadHttp(400, "names of headers must be tokens in lower case")
        if name in _CONNECTION:
            raise BadHttp(400, f"{name.decode()}: does not belong into HTTP/2")
        if name == b"host":
            if host is not None:
                raise BadHttp(400, "Host: must be sent once")
            host = value
        elif name == b"content-length":
            if length is not None or not _LENGTH.fullmatch(value):
                raise BadHttp(400, "Content-Length: must be one decimal number, sent once")
            length = int(value)
            lines.append(b"content-length: " + value)
        elif name == b"cookie":  # may come in pieces, which are one header elsewhere (section 8.2.3)
            cookies.append(value)
        elif name == b"te":
            if value.lower() != b"trailers":
                raise BadHttp(400, "TE: only 'trailers' is known to HTTP/2")
        else:
            lines.append(name + b": " + value)
    if ended and length:
        raise BadHttp(400, "Content-Length: promises a body that does not come")
    if cookies:
        lines.append(b"cookie: " + b"; ".join(cookies))
    if not ended and length is None:
        lines.append(b"transfer-encoding: chunked")
    line, method = _request_line(pseudo, host)
    lines.insert(0, line)
    lines.append(b"\r\n")
    return RequestHead(b"\r\n".join(lines), method, 0 if ended else length)


def _request_line(pseudo: dict[bytes, bytes], host: bytes | None) -> tuple[bytes, str]:
    """The first two lines and the method."""
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if not _METHOD.fullmatch(method):
        raise BadHttp(400, ":method must be there, in capital letters")
    if method == b"CONNECT":
        raise BadHttp(405, "the method CONNECT is not accepted")
    if pseudo.get(b":scheme") != b"https":
        raise BadHttp(400, ":scheme must be https")
    if path != b"*" and not _PATH.fullmatch(path):
        raise BadHttp(400, ":path must be a path that starts with '/', properly percent-encoded")
    authority = pseudo.get(b":authority", host)
    if authority is None or (host is not None and host != authority):
        raise BadHttp(400, ":authority must be there, and Host the same if it is")
    return b"%b %b HTTP/1.1\r\nHost: %b" % (method, path, authority), method.decode("ascii")


class AnswerFields:
    """The head of an answer as HTTP/2 has it, and how its body ends."""

    __slots__ = ("chunked", "close", "content_length", "fields", "status")

    def __init__(self, raw: bytes, method: str) -> None:
        """
        Args:
            raw: a whole head of HTTP/1.1.
            method: of the request.

        Raises:
            BadHttp: it is none.
        """
        answer = parse_answer_head(raw, method)
        self.status = answer.status
        #: Bytes of the body; None when it comes in chunks or ends with the connection.
        self.content_length = answer.content_length
        self.chunked = answer.chunked
        self.close = _CLOSE.search(raw) is not None
        self.fields = fields = [(b":status", b"%d" % answer.status)]
        for line in answer.lines.split(b"\r\n")[1:-1]:
            name, _, value = line.partition(b":")
            name = name.lower()
            if name not in _NOT_IN_ANSWERS:
                fields.append((name, value.strip(b" \t")))
