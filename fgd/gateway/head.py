"""The head of a request, read strictly.

Theory of operation: the bytes up to the empty line are complete before anything is parsed. httptools (llhttp) reads
them, and whatever two HTTP implementations could read in two ways is refused beside it: bare CR or LF, folded lines,
NUL, a length that is given twice or beside a transfer coding, another form of target than a path, a missing or second
Host. Refusing means one answer of the 4xx kind and the end of the connection. No I/O happens here.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

import httptools

HEAD_MAX_BYTES: Final = 16384
HEADERS_MAX: Final = 100
HEAD_END: Final = b"\r\n\r\n"
#: `content_length` of a request whose body comes in chunks.
CHUNKED: Final = -1

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"))
_TARGET = re.compile(rb"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]{}|^`\"<>\\]|%[0-9A-Fa-f]{2})*")
_HOST = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=:%\[\]]*")
_LENGTH = re.compile(rb"[0-9]{1,15}")


class BadHttp(Exception):
    """Bytes that are no acceptable request; `status` is the answer, after which the connection ends."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Head:
    """One request's head. `headers` holds (name in lower case, value as sent) in the order of arrival."""

    __slots__ = (
        "content_length", "expects_continue", "headers", "keep_alive", "log_tail", "method", "raw", "route", "target",
        "timing", "token", "version1",
    )  # fmt: skip

    def __init__(self, raw: bytes, method: str, target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.raw = raw
        self.method = method
        self.target = target
        self.headers = headers
        #: Bytes of the body, 0 for none, CHUNKED.
        self.content_length = 0
        self.keep_alive = True
        self.expects_continue = False
        #: The one X-Auth-Token, None when there is none or several.
        self.token: bytes | None = None
        #: What the invocation asks for: X-Cff-Log-Type, X-CFF-Request-Version, X-Fgd-Timing.
        self.log_tail = False
        self.version1 = False
        self.timing = False
        #: Set by the router.
        self.route: object = None


class _Events:
    """What httptools calls."""

    __slots__ = ("headers", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


def check_partial(data: bytes) -> None:
    """Refuses early what cannot become a head any more, so that nobody waits for a line end that never comes.

    Raises:
        BadHttp
    """
    if len(data) > HEAD_MAX_BYTES:
        raise BadHttp(431, f"the request's head is longer than {HEAD_MAX_BYTES} bytes")
    if data.count(b"\n") != data.count(b"\r\n") or data.startswith((b"\r", b"\n")):
        raise BadHttp(400, "lines must end with CR LF, and the first must be the request line")
    if b"\0" in data:
        raise BadHttp(400, "NUL in the request's head")
    if data[0] > 0x7F or data[0] < 0x21:
        raise BadHttp(400, "this is not HTTP/1.1")


def parse_head(raw: bytes) -> Head:
    """Reads a whole head, from the first byte of the request line to the empty line inclusive.

    Raises:
        BadHttp: with the status to answer.
    """
    if len(raw) > HEAD_MAX_BYTES:
        raise BadHttp(431, f"the request's head is longer than {HEAD_MAX_BYTES} bytes")
    ends = raw.count(b"\r\n")
    if raw.count(b"\n") != ends or raw.count(b"\r") != ends or b"\0" in raw:
        raise BadHttp(400, "bare CR, bare LF or NUL in the request's head")
    if b"\r\n " in raw or b"\r\n\t" in raw:
        raise BadHttp(400, "folded header lines are not accepted")
    if ends - 2 > HEADERS_MAX:
        raise BadHttp(431, f"more than {HEADERS_MAX} headers")
    events = _Events()
    parser = httptools.HttpRequestParser(events)
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # the head is complete; nothing here speaks another protocol, so the wish is ignored
    except httptools.HttpParserError as error:
        raise BadHttp(400, f"malformed request: {error}") from error
    if parser.get_http_version() != "1.1":
        raise BadHttp(400, "HTTP/1.1 is needed")
    method = parser.get_method().decode("ascii")
    if method not in _METHODS:
        raise BadHttp(405, f"the method {method} is not accepted")
    if not _TARGET.fullmatch(events.target):
        raise BadHttp(400, "the request target must be a path that starts with '/', properly percent-encoded")
    if b"%00" in events.target:
        raise BadHttp(400, "NUL in the request target")
    if len(events.headers) != ends - 2:
        raise BadHttp(400, "malformed header line")
    head = Head(raw, method, events.target, events.headers)
    _read_headers(head)
    return head


def _read_headers(head: Head) -> None:
    length = coding = host = None
    tokens = 0
    for name, value in head.headers:
        if name == b"host":
            if host is not None or not _HOST.fullmatch(value.strip()):
                raise BadHttp(400, "Host: must be sent once, as host or host:port")
            host = value
        elif name == b"content-length":
            if length is not None or not _LENGTH.fullmatch(value.strip(b" \t")):
                raise BadHttp(400, "Content-Length: must be one decimal number, sent once")
            length = int(value)
        elif name == b"transfer-encoding":
            if coding is not None or value.strip(b" \t").lower() != b"chunked":
                raise BadHttp(400, "Transfer-Encoding: only 'chunked' is known, sent once")
            coding = value
        elif name == b"connection":
            if b"close" in value.lower():
                head.keep_alive = False
        elif name == b"expect":
            if value.strip().lower() != b"100-continue":
                raise BadHttp(417, "Expect: only 100-continue is known")
            head.expects_continue = True
        elif name == b"x-auth-token":
            tokens += 1
            head.token = value.strip() if tokens == 1 else None
        elif name == b"x-cff-log-type":
            head.log_tail = value.strip().lower() == b"tail"
        elif name == b"x-cff-request-version":
            head.version1 = value.strip().lower() == b"v1"
        elif name == b"x-fgd-timing":
            head.timing = True
    if host is None:
        raise BadHttp(400, "Host: is missing")
    if length is not None and coding is not None:
        raise BadHttp(400, "Content-Length and Transfer-Encoding exclude each other")
    head.content_length = CHUNKED if coding is not None else length or 0


def path_segments(target: bytes) -> list[bytes]:
    """The decoded segments of a target's path, without the query; a `%2F` stays inside its segment."""
    return [unquote_to_bytes(segment) for segment in target.partition(b"?")[0].split(b"/")[1:]]
