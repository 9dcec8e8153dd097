"""The signature `SDK-HMAC-SHA256` that the cloud's SDK and Terraform put on a request.

Theory of operation: client and server both write down the request in one canonical form, the client signs that text
with its secret key, the server does the same and compares. The canonical form is made from what really arrived: the
raw target, the header values as they were on the wire, the bytes of the body. What a client leaves out of its list of
signed headers is not protected; which headers it lists is its own choice (Terraform leaves out `host`), but the
method, path, query, date and body always are.

There are two forms of the header, by which the key differs:

    SDK-HMAC-SHA256 Access=<access key>, SignedHeaders=..., Signature=...
    SDK-HMAC-SHA256 Credential=<access key>/<date>/<region>/<service>/sdk_request, SignedHeaders=..., Signature=...

With `Access` the secret key itself signs. With `Credential` a key that is derived from it for this scope does, and the
scope is a line of what is signed; region and service may be empty.

Source: rest-api.md 1.2; `huaweicloudsdkcore.signer.signer` and golangsdk's `signer.go` have the first form,
gophertelekomcloud's `signer_helper.go` the second.
"""

import hashlib
import hmac
import re
from calendar import timegm
from collections.abc import Sequence
from functools import lru_cache
from time import strptime
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from fgd.errors import Unauthorized

ALGORITHM: Final = b"SDK-HMAC-SHA256"
#: How far `X-Sdk-Date` may be from our own clock, either way.
MAX_SKEW_S: Final = 900
UNSIGNED_PAYLOAD: Final = b"UNSIGNED-PAYLOAD"

_AUTHORIZATION = re.compile(
    rb"SDK-HMAC-SHA256[ \t]+(?:Access=([^\s,=]{1,128})|"
    rb"Credential=([^\s,=/]{1,128})/(\d{8}/[A-Za-z0-9_-]{0,64}/[A-Za-z0-9_-]{0,64}/sdk_request)),[ \t]*"
    rb"SignedHeaders=([^\s,=]{1,4096}),[ \t]*Signature=([0-9a-f]{64})"
)
_DATE = re.compile(rb"\d{8}T\d{6}Z")
_HEADER_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_DAY_CHARS: Final = 8
_EMPTY_HASH = hashlib.sha256(b"").hexdigest().encode("ascii")

type Headers = Sequence[tuple[bytes, bytes]]


class SignedRequest:
    """What an `Authorization` header says: who signed, when, which headers, and the signature (hex)."""

    __slots__ = ("access_key", "date", "date_s", "names", "scope", "signature")

    def __init__(
        self, access_key: str, scope: bytes, names: list[bytes], signature: bytes, date: bytes, date_s: int
    ) -> None:
        self.access_key = access_key
        #: What the key is derived for, `<date>/<region>/<service>/sdk_request`; empty: the secret key itself signs.
        self.scope = scope
        self.names = names
        self.signature = signature
        self.date = date
        #: `X-Sdk-Date` in epoch seconds.
        self.date_s = date_s


def parse_authorization(authorization: bytes, headers: Headers, now_s: float) -> SignedRequest:
    """Reads the signature's own description, as far as that goes without key and body.

    Args:
        authorization: value of the one `Authorization` header.
        headers: all headers, names in lower case.
        now_s: epoch seconds.

    Raises:
        Unauthorized: another algorithm, malformed, no date, or a date outside of the window.
    """
    if not authorization.startswith(ALGORITHM):
        raise Unauthorized("Authorization: the algorithm must be SDK-HMAC-SHA256 (or send a token in X-Auth-Token)")
    match = _AUTHORIZATION.fullmatch(authorization)
    if match is None:
        raise Unauthorized(
            "Authorization: must be 'SDK-HMAC-SHA256 Access=<access key>, SignedHeaders=<a;b;c>, "
            "Signature=<64 hex digits in lower case>', or the same with "
            "Credential=<access key>/<date>/<region>/<service>/sdk_request"
        )
    access_key, scope = (match[1], b"") if match[1] else (match[2], match[3])
    listed, signature = match[4], match[5]
    names = listed.split(b";")
    for name in names:
        if not _HEADER_NAME.fullmatch(name):
            raise Unauthorized("Authorization: SignedHeaders must be header names in lower case, joined with ';'")
    if len(set(names)) != len(names):
        raise Unauthorized("Authorization: SignedHeaders names a header twice")
    dates = [value.strip() for name, value in headers if name == b"x-sdk-date"]
    if len(dates) != 1:
        raise Unauthorized(f"X-Sdk-Date: must be sent once with a signature, not {len(dates)} times")
    date_s = _seconds_of(dates[0])
    if abs(now_s - date_s) > MAX_SKEW_S:
        raise Unauthorized(
            f"X-Sdk-Date: is more than {MAX_SKEW_S // 60} minutes away from the server's time; "
            "sign the request anew and check the clock"
        )
    if scope and not dates[0].startswith(scope[:_DAY_CHARS]):
        raise Unauthorized("Authorization: the date in Credential is not the day of X-Sdk-Date")
    return SignedRequest(access_key.decode("latin-1"), scope, names, signature, dates[0], date_s)


@lru_cache(maxsize=256)  # clients sign many requests with the same second; strptime is slow
def _seconds_of(date: bytes) -> int:
    try:
        if not _DATE.fullmatch(date):
            raise ValueError(date)
        return timegm(strptime(date.decode("ascii"), "%Y%m%dT%H%M%SZ"))
    except ValueError as error:
        raise Unauthorized("X-Sdk-Date: must be a UTC time of the form YYYYMMDDTHHMMSSZ") from error


def verify(signed: SignedRequest, secret_key: str, method: str, target: bytes, headers: Headers, body: bytes) -> None:
    """Checks the signature over the request as it arrived.

    Raises:
        Unauthorized: a signed header is missing, the body is not the one that was signed, or the signature is wrong.
    """
    canonical = canonical_request(method, target, headers, signed.names, body)
    expected = sign(secret_key, signed.date, canonical, signed.scope)
    if not hmac.compare_digest(expected, signed.signature):
        raise Unauthorized(
            "Authorization: the signature does not match the request (wrong secret key, or method, path, query, "
            "a signed header or the body was changed after signing)"
        )


def sign(secret_key: str, date: bytes, canonical: bytes, scope: bytes = b"") -> bytes:
    """The signature, 64 hex digits; see above for `scope`."""
    key, lines = secret_key.encode("utf-8"), [ALGORITHM, date]
    if scope:
        key = _derived(key, scope)
        lines.append(scope)
    lines.append(hashlib.sha256(canonical).hexdigest().encode("ascii"))
    return hmac.new(key, b"\n".join(lines), hashlib.sha256).hexdigest().encode("ascii")


def _derived(secret_key: bytes, scope: bytes) -> bytes:
    """The key for one day, region and service: a chain over the parts of the scope, so none stands for another."""
    key = b"SDK" + secret_key
    for part in scope.split(b"/"):
        key = hmac.digest(key, part, "sha256")
    return key


def canonical_request(method: str, target: bytes, headers: Headers, names: Sequence[bytes], body: bytes) -> bytes:
    """The text whose hash is signed.

    Args:
        target: raw request target, path and query as they were on the wire.
        names: signed headers in the order of the list.

    Raises:
        Unauthorized: a listed header is not there, or `X-Sdk-Content-Sha256` contradicts the body.
    """
    path, _, query = target.partition(b"?")
    lines = [method.upper().encode("ascii"), _canonical_path(path), _canonical_query(query)]
    for name in names:
        values = sorted(value.strip() for key, value in headers if key == name)
        if not values:
            raise Unauthorized(f"Authorization: the signed header {name.decode('ascii')!r} was not sent")
        lines += [name + b":" + value for value in values]
    lines += [b"", b";".join(names), _payload_hash(headers, body)]
    return b"\n".join(lines)


def _canonical_path(path: bytes) -> bytes:
    text = quote_from_bytes(unquote_to_bytes(path), safe="/~").encode("ascii")
    return text if text.endswith(b"/") else text + b"/"


def _canonical_query(query: bytes) -> bytes:
    if not query:
        return b""
    pairs = []
    for field in query.split(b"&"):
        if field:
            key, _, value = field.partition(b"=")
            pairs.append((_form_decode(key), _form_decode(value)))
    pairs.sort()
    return "&".join(
        f"{quote_from_bytes(key, safe='~')}={quote_from_bytes(value, safe='~')}" for key, value in pairs
    ).encode("ascii")


def _form_decode(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _payload_hash(headers: Headers, body: bytes) -> bytes:
    """The body's line of the canonical request.

    A client may name the hash itself. Taken on trust, that would let whoever recorded a request send another body
    with the recorded hash in this header; so the name must be true, except for UNSIGNED-PAYLOAD, which is signed
    as such, and which the SDK uses for types other than JSON and BSON only.
    """
    actual = hashlib.sha256(body).hexdigest().encode("ascii") if body else _EMPTY_HASH
    named = [value.strip() for name, value in headers if name == b"x-sdk-content-sha256"]
    if not named or not body:
        return actual
    if len(named) > 1:
        raise Unauthorized("X-Sdk-Content-Sha256: must not be sent twice")
    if named[0] == UNSIGNED_PAYLOAD:
        types = [value.strip().lower() for name, value in headers if name == b"content-type"]
        if not types or types[0].startswith((b"application/json", b"application/bson")):
            raise Unauthorized("X-Sdk-Content-Sha256: UNSIGNED-PAYLOAD is not possible with a JSON body; sign it")
        return UNSIGNED_PAYLOAD
    if not hmac.compare_digest(named[0].lower(), actual):
        raise Unauthorized("X-Sdk-Content-Sha256: is not the SHA-256 of the body that arrived")
    return named[0]
