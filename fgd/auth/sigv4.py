"""The signature `AWS4-HMAC-SHA256` of S3 clients: in a header, in a presigned URL, and of single chunks.

Theory of operation: as with the cloud's own signature, both sides write the request down in one canonical form. Here
the key is derived from the secret key by date, region and service, and the hash of the body is a signed header, so that
a request is checked before its body comes and the body while it comes. A body may also come in chunks of which each is
signed over the one before it. The region is whatever the client says: it is part of the signature, not of the rights.

Source: "Authenticating Requests (AWS Signature Version 4)" of the S3 API reference.
"""

import hashlib
import hmac
import re
from calendar import timegm
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from time import gmtime, strftime, strptime
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

from fgd.errors import Unauthorized

MAX_SKEW_S: Final = 900
PRESIGNED_MAX_S: Final = 7 * 86400
UNSIGNED: Final = "UNSIGNED-PAYLOAD"
SIGNED_CHUNKS: Final = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
PLAIN_CHUNKS: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_HEADER: Final = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=([^\s,/]{1,128})/(\d{8})/([^\s,/]{0,64})/s3/aws4_request,\s*"
    r"SignedHeaders=([a-z0-9;_.-]{1,4096}),\s*Signature=([0-9a-f]{64})"
)
_CREDENTIAL: Final = re.compile(r"([^\s,/]{1,128})/(\d{8})/([^\s,/]{0,64})/s3/aws4_request")
_DATE: Final = re.compile(r"\d{8}T\d{6}Z")
_HASH: Final = re.compile(r"[0-9a-f]{64}")

type Headers = Sequence[tuple[bytes, bytes]]
type Pairs = Sequence[tuple[str, str]]


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says of its signature."""

    access_key: str
    #: Of the form YYYYMMDDTHHMMSSZ.
    date: str
    region: str
    names: tuple[str, ...]
    signature: str
    #: The signed hash of the body, UNSIGNED, or one of the kinds of chunks.
    payload: str

    @property
    def scope(self) -> str:
        return f"{self.date[:8]}/{self.region}/s3/aws4_request"


def parse(headers: Headers, query: Pairs, now_s: float) -> Signed:
    """Reads the description of the signature, without the key.

    Args:
        headers: names in lower case.
        query: decoded, in any order.
        now_s: epoch seconds.

    Raises:
        Unauthorized: none, malformed, or of another time.
    """
    sent = {name.decode("latin-1"): value.decode("latin-1").strip() for name, value in headers}
    asked = dict(query)
    if "authorization" in sent:
        match = _HEADER.fullmatch(sent["authorization"])
        if match is None:
            raise Unauthorized(f"Authorization: must be a signature {_ALGORITHM} for the service s3")
        access_key, day, region, names, signature = match.groups()
        date, payload = sent.get("x-amz-date", ""), sent.get("x-amz-content-sha256", "")
        if not date and "date" in names.split(";"):
            date = _of_header(sent.get("date", ""))
        _check_time(date, day, now_s, MAX_SKEW_S)
        known = _HASH.fullmatch(payload) or payload in (UNSIGNED, PLAIN_CHUNKS, *SIGNED_CHUNKS)
        if not known:
            raise Unauthorized("x-amz-content-sha256: must be a SHA-256, or say how the body is signed")
    elif asked.get("X-Amz-Algorithm") == _ALGORITHM:
        match = _CREDENTIAL.fullmatch(asked.get("X-Amz-Credential", ""))
        lasts = asked.get("X-Amz-Expires", "")
        if match is None or not lasts.isdecimal() or not 1 <= int(lasts[:9]) <= PRESIGNED_MAX_S:
            raise Unauthorized("X-Amz-Credential, X-Amz-Expires: must be those of a presigned URL, of 7 days at most")
        access_key, day, region = match.groups()
        names, signature = asked.get("X-Amz-SignedHeaders", ""), asked.get("X-Amz-Signature", "")
        date, payload = asked.get("X-Amz-Date", ""), UNSIGNED
        _check_time(date, day, now_s, int(lasts))
    else:
        raise Unauthorized("Authorization: the request is not signed")
    signed = tuple(names.split(";"))
    missing = {name for name in sent if name.startswith("x-amz-")} - set(signed)
    if "host" not in signed or missing or not _HASH.fullmatch(signature):
        raise Unauthorized("SignedHeaders: must have host and all headers x-amz-...")
    return Signed(access_key=access_key, date=date, region=region, names=signed, signature=signature, payload=payload)


def _of_header(date: str) -> str:
    """The header Date as the signature has it; "" where it is none."""
    try:
        return strftime("%Y%m%dT%H%M%SZ", parsedate_to_datetime(date).utctimetuple())
    except (ValueError, TypeError, OverflowError):
        return ""


def _check_time(date: str, day: str, now_s: float, lasts_s: int) -> None:
    try:
        if not _DATE.fullmatch(date) or not date.startswith(day):
            raise ValueError(date)
        at_s = timegm(strptime(date, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise Unauthorized("x-amz-date: must be a UTC time YYYYMMDDTHHMMSSZ, of the credential's day") from None
    if not at_s - MAX_SKEW_S <= now_s <= at_s + lasts_s:
        raise Unauthorized("x-amz-date: is too far from the server's time, or the URL has expired")


def verify(signed: Signed, secret_key: str, method: str, path: bytes, query: Pairs, headers: Headers) -> None:
    """Checks the signature over a request as it arrived.

    Args:
        path: raw, as it was on the wire.

    Raises:
        Unauthorized: a signed header is missing, or the signature is wrong.
    """
    expected = _signature(signed, secret_key, method, path, query, headers)
    if not hmac.compare_digest(expected, signed.signature):
        raise Unauthorized("Authorization: the signature does not match the request")


def sign(
    access_key: str, secret_key: str, region: str, method: str, path: bytes, query: Pairs, headers: Mapping[str, str],
    payload: str, now_s: float,
) -> dict[str, str]:  # fmt: skip
    """Headers that sign a request of our own.

    Args:
        path: as it goes over the wire.
        query: decoded.
        headers: those that are sent and shall be signed, with `host`; names in lower case.
        payload: the SHA-256 of the body, in hex.
        now_s: epoch seconds.
    """
    date = strftime("%Y%m%dT%H%M%SZ", gmtime(now_s))
    own = {"x-amz-date": date, "x-amz-content-sha256": payload}
    every = sorted({**headers, **own}.items())
    signed = Signed(
        access_key=access_key, date=date, region=region, names=tuple(name for name, _ in every), signature="",
        payload=payload,
    )  # fmt: skip
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in every]
    signature = _signature(signed, secret_key, method, path, query, raw)
    credential = f"Credential={access_key}/{signed.scope}"
    names = f"SignedHeaders={';'.join(signed.names)}"
    return {**own, "authorization": f"{_ALGORITHM} {credential}, {names}, Signature={signature}"}


def _signature(signed: Signed, secret_key: str, method: str, path: bytes, query: Pairs, headers: Headers) -> str:
    lines = [method, quote_from_bytes(unquote_to_bytes(path), safe="/~")]
    lines.append("&".join(sorted(f"{_quoted(k)}={_quoted(v)}" for k, v in query if k != "X-Amz-Signature")))
    for name in signed.names:
        values = [value.decode("latin-1").strip() for key, value in headers if key == name.encode("latin-1")]
        if not values:
            raise Unauthorized(f"SignedHeaders: the header {name[:60]!r} was not sent")
        lines.append(f"{name}:{','.join(' '.join(value.split()) for value in values)}")
    lines += ["", ";".join(signed.names), signed.payload]
    canonical = "\n".join(lines).encode("latin-1")
    text = "\n".join((_ALGORITHM, signed.date, signed.scope, hashlib.sha256(canonical).hexdigest()))
    return hmac.new(_key(signed, secret_key), text.encode(), hashlib.sha256).hexdigest()


class ChunkSignatures:
    """Checks the chunks of a body one after the other."""

    def __init__(self, signed: Signed, secret_key: str) -> None:
        self._signed = signed
        self._key = _key(signed, secret_key)
        self._last = signed.signature

    def check(self, signature: str, sha256: str) -> None:
        """Raises Unauthorized for a chunk whose signature is not that of its bytes."""
        empty = hashlib.sha256(b"").hexdigest()
        text = "\n".join(("AWS4-HMAC-SHA256-PAYLOAD", self._signed.date, self._signed.scope, self._last, empty, sha256))
        expected = hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, signature):
            raise Unauthorized("body: the signature of a chunk does not match its bytes")
        self._last = expected


def _key(signed: Signed, secret_key: str) -> bytes:
    key = b"AWS4" + secret_key.encode()
    for text in (signed.date[:8], signed.region, "s3", "aws4_request"):
        key = hmac.new(key, text.encode(), hashlib.sha256).digest()
    return key


def _quoted(text: str) -> str:
    return quote_from_bytes(text.encode("utf-8", "surrogateescape"), safe="~")
