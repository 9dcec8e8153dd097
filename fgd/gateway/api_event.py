"""The event that a request to an API becomes, and the answer that a function's result becomes. Pure functions.

All of the event but the body and the request's id follows from the head of the request. It is made once per head, in
three pieces between which those belong; a client that sends the same head again costs a join.
"""

import base64
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from fgd.control.api_table import Published
from fgd.gateway.head import Head
from fgd.units import SYNC_PAYLOAD_MAX_BYTES

#: Room in an event for all but the body: a head may become six times as long in JSON.
_FRAME_BYTES: Final = 131072
#: Largest body of a request that fits into an event in Base64.
BODY_MAX_BYTES: Final = (SYNC_PAYLOAD_MAX_BYTES - _FRAME_BYTES) // 4 * 3
_HEADER_BYTES_MAX: Final = 32768
_CACHED_MAX: Final = 512

_HOP_BY_HOP = frozenset(
    (
        "connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "te", "trailer",
        "trailers", "transfer-encoding", "upgrade", "http2-settings", "expect",
    )
)  # fmt: skip
#: Headers that say what the gateway alone knows.
_OURS = frozenset(("x-request-id", "x-real-ip", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port",
                   "x-forwarded-proto", "x-stage"))  # fmt: skip
#: Credentials that the gateway has checked; the function has no use for them.
_CREDENTIALS = frozenset(("authorization", "x-auth-token", "x-security-token", "x-apig-appcode"))
#: What the gateway says of an answer, not the function.
_NOT_THEIRS = _HOP_BY_HOP | {"content-length", "date", "x-request-id", "x-cff-request-id"}

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
_DEFAULT_TYPE: Final = b"Content-Type: text/plain; charset=utf-8\r\n"

type Pieces = tuple[bytes, bytes, bytes]


class BadAnswer(Exception):
    """What the function gave is no answer to a request; says why."""


class _Reply(msgspec.Struct, gc=False):
    statusCode: int  # noqa: N815 - as functions spell it
    body: str | None = None
    headers: msgspec.Raw = msgspec.Raw(b"{}")
    isBase64Encoded: bool | None = False  # noqa: N815


_REPLY = msgspec.json.Decoder(_Reply)
_HEADERS = msgspec.json.Decoder(dict[str, str | int | float | bool | list[str]] | None)
_STRING = msgspec.json.Encoder().encode


def query_parameters(query: bytes) -> dict[str, str | list[str]]:
    """The decoded parameters: a text, or a list of texts where one comes more than once."""
    found: dict[str, str | list[str]] = {}
    for field in query.split(b"&"):
        if field:
            key, _, value = field.partition(b"=")
            name, text = _form_text(key), _form_text(value)
            old = found.get(name)
            if old is None:
                found[name] = text
            elif isinstance(old, list):
                old.append(text)
            else:
                found[name] = [old, text]
    return found


def _form_text(text: bytes) -> str:
    return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8", "replace")


def event_headers(head: Head, address: str, port: int, secure: bool, *, authenticated: bool) -> dict[str, str]:
    """The headers of a request as its event has them, names in lower case; `x-request-id` is not among them."""
    headers: dict[str, str] = {}
    named: set[str] = set()
    forwarded = host = ""
    for raw_name, raw_value in head.headers:
        name, value = raw_name.decode("latin-1"), raw_value.strip(b" \t").decode("latin-1")
        if name == "connection":
            named |= {one.strip().lower() for one in value.split(",")}
        elif name == "x-forwarded-for":
            forwarded = f"{forwarded}, {value}" if forwarded else value
        if name == "host":
            host = value
        if name in _HOP_BY_HOP or name in _OURS or name.replace("_", "-").startswith("x-fgd-"):
            continue
        if authenticated and name in _CREDENTIALS:
            continue
        if name in headers:
            value = headers[name] + ("; " if name == "cookie" else ", ") + value
        headers[name] = value
    for name in named - {"host", "content-type"}:
        headers.pop(name, None)
    headers["x-real-ip"] = address
    headers["x-forwarded-for"] = f"{forwarded}, {address}" if forwarded else address
    headers["x-forwarded-host"] = host
    headers["x-forwarded-port"] = str(port)
    headers["x-forwarded-proto"] = "https" if secure else "http"
    return headers


def event_pieces(
    head: Head, api: Published, path: str, parameters: Mapping[str, str], query: bytes, headers: Mapping[str, str]
) -> Pieces:
    """All that surrounds the body and the two places of the request's id."""
    encode = msgspec.json.encode
    first = b',"requestContext":{"apiId":%b,"requestId":"' % encode(api.api_id)
    second = (
        b'","stage":%b,"sourceIp":%b},"queryStringParameters":%b,"httpMethod":%b,"pathParameters":%b,"headers":{"x-request-id":"'
        % (
            encode(api.stage),
            encode(headers["x-real-ip"]),
            encode(query_parameters(query)),
            encode(head.method),
            encode(parameters),
        )
    )
    third = b'",%b,"path":%b,"isBase64Encoded":' % (encode(headers)[1:], encode(path))
    return first, second, third


def event_bytes(pieces: Pieces, request_id: bytes, body: bytes, as_base64: bool) -> bytes:
    """The event's JSON."""
    first, second, third = pieces
    if not as_base64:
        try:
            return b"".join(
                (b'{"body":', _STRING(body.decode("utf-8")), first, request_id, second, request_id, third, b"false}")
            )
        except UnicodeDecodeError:
            pass
    # Line ends are what b2a_base64 would add and b64encode copies to leave out.
    coded = base64.b64encode(body) if body else b""
    return b"".join((b'{"body":"', coded, b'"', first, request_id, second, request_id, third, b"true}"))


class Answers:
    """Makes HTTP answers of what functions return. Header blocks that come again and again are checked once."""

    def __init__(self) -> None:
        self._lines: dict[bytes, tuple[bytes, bool]] = {}

    def answer(self, result: bytes, request_id: bytes, lines: bytes, origin: bytes, head_only: bool) -> bytes:
        """
        Args:
            result: the function's result.
            lines: whole lines that every answer carries, such as Date and Connection.
            origin: lines for scripts of other origins, unless the function has its own; b"" for none.

        Raises:
            BadAnswer: it has not the form that the user guide asks for.
        """
        try:
            reply = _REPLY.decode(result)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadAnswer(
                f"the result must be an object with statusCode, headers, body, isBase64Encoded: {error}"
            ) from error
        status = reply.statusCode
        if not 200 <= status <= 599:
            raise BadAnswer(f"statusCode must be from 200 to 599, not {status}")
        raw = bytes(reply.headers)
        known = self._lines.get(raw)
        if known is None:
            known = header_lines(raw)
            if len(raw) < 2048:
                if len(self._lines) >= _CACHED_MAX:
                    self._lines.clear()
                self._lines[raw] = known
        own, allows = known
        body = (reply.body or "").encode("utf-8", "surrogatepass")
        if reply.isBase64Encoded and body:
            try:
                body = base64.b64decode(body, validate=True)
            except ValueError as error:
                raise BadAnswer("body is not the Base64 that isBase64Encoded promises") from error
        bare = status in (204, 304)
        return b"HTTP/1.1 %d %b\r\n%b%b%b%bX-Request-Id: %b\r\n\r\n%b" % (
            status,
            _REASONS.get(status, b"Unknown"),
            lines,
            own,
            b"" if allows else origin,
            b"" if bare else b"Content-Length: %d\r\n" % len(body),
            request_id,
            b"" if bare or head_only else body,
        )


def header_lines(raw: bytes) -> tuple[bytes, bool]:
    """The headers of an answer as lines, and whether they say which origins may read it.

    Raises:
        BadAnswer: a name or a value that cannot be sent.
    """
    try:
        headers = _HEADERS.decode(raw) or {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer(f"headers must be an object of texts or lists of texts: {error}") from error
    lines: list[bytes] = []
    typed = allows = False
    for name, value in headers.items():
        lower = name.lower()
        if not _NAME.fullmatch(name):
            raise BadAnswer(f"headers: {name[:80]!r} is no name of a header")
        if lower in _NOT_THEIRS:
            continue
        typed = typed or lower == "content-type"
        allows = allows or lower == "access-control-allow-origin"
        texts = value if isinstance(value, list) else [_text(value)]
        if lower != "set-cookie":
            texts = [", ".join(texts)]
        for text in texts:
            if not _VALUE.fullmatch(text):
                raise BadAnswer(f"headers: the value of {name} holds characters that no header can have")
            lines.append(f"{name}: {text}\r\n".encode("latin-1"))
    block = b"".join(lines)
    if len(block) > _HEADER_BYTES_MAX:
        raise BadAnswer(f"headers: {len(block)} bytes are more than {_HEADER_BYTES_MAX}")
    return (block if typed else _DEFAULT_TYPE + block), allows


def _text(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
