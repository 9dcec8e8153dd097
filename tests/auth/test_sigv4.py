"""Signatures of S3 clients: ours and botocore's are the same, and every changed piece is noticed."""

import hashlib
from calendar import timegm
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from fgd.auth.sigv4 import MAX_SKEW_S, Headers, parse, sign, verify
from fgd.errors import Unauthorized

KEY, SECRET = "AK", "secret/+="
PATHS = ["/", "/box", "/box/a%20b/%C3%BC%2B~-_.", "/box?list-type=2&prefix=a%20b%26&delimiter=%2F", "/box?delete="]


def made(
    method: str, target: str, body: bytes = b"", headers: Mapping[str, str] = {}, *, query: bool = False
) -> tuple[Any, Headers]:
    """A request that botocore has signed, and its headers as they arrive."""
    request = AWSRequest(method, f"http://127.0.0.1:9300{target}", data=body, headers=dict(headers))
    credentials = Credentials(KEY, SECRET)
    signer = S3SigV4QueryAuth(credentials, "s3", "r1", expires=60) if query else S3SigV4Auth(credentials, "s3", "r1")
    signer.add_auth(request)
    arrived = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
    return request, [(b"host", b"127.0.0.1:9300"), *arrived]


def pairs(target: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(target).query, keep_blank_values=True)


def at_s(request: Any) -> float:
    text = request.headers.get("X-Amz-Date") or dict(pairs(request.url))["X-Amz-Date"]
    day, time = text.rstrip("Z").split("T")
    numbers = [int(one) for one in (day[:4], day[4:6], day[6:], time[:2], time[2:4], time[4:])]
    return float(timegm((*numbers, 0, 0, 0)))


def check(method: str, target: str, headers: Headers, now_s: float, secret: str = SECRET) -> None:
    verify(parse(headers, pairs(target), now_s), secret, method, urlsplit(target).path.encode(), pairs(target), headers)


@pytest.mark.parametrize("target", PATHS)
def test_what_botocore_signs_is_right_and_any_change_is_not(target: str) -> None:
    request, headers = made("PUT", target, b"body", {"x-amz-meta-a": "two  words", "Content-Type": "text/plain"})
    now_s = at_s(request)
    check("PUT", target, headers, now_s)
    other_meta = [(name, b"x" if name == b"x-amz-meta-a" else value) for name, value in headers]
    added = [*headers, (b"x-amz-meta-b", b"not signed")]
    other_host = [(name, b"other" if name == b"host" else value) for name, value in headers]
    missing = [one for one in headers if one[0] != b"x-amz-meta-a"]

    for wrong in (other_meta, added, other_host, missing):
        with pytest.raises(Unauthorized):
            check("PUT", target, wrong, now_s)
    for method, where, secret in (("GET", target, SECRET), ("PUT", target + "x", SECRET), ("PUT", target, "other")):
        with pytest.raises(Unauthorized):
            check(method, where, headers, now_s, secret)


def test_a_signature_is_good_for_a_while() -> None:
    request, headers = made("GET", "/box")
    now_s = at_s(request)
    for off_s in (-MAX_SKEW_S, MAX_SKEW_S):
        check("GET", "/box", headers, now_s + off_s)
    for off_s in (-MAX_SKEW_S - 1, MAX_SKEW_S + 1):
        with pytest.raises(Unauthorized, match="too far"):
            check("GET", "/box", headers, now_s + off_s)


def test_the_header_date_does_where_it_is_signed() -> None:
    request, headers = made("GET", "/box", headers={"Date": "Fri, 27 Nov 2026 03:00:00 GMT"})
    assert "X-Amz-Date" not in request.headers
    date = request.headers["Date"]
    now_s = parsedate_to_datetime(date).timestamp()
    ours = sign(KEY, SECRET, "r1", "GET", b"/box", [], {"host": "h"}, hashlib.sha256(b"").hexdigest(), now_s)
    signed = [(name.encode(), value.encode()) for name, value in ours.items() if name != "x-amz-date"]

    with pytest.raises(Unauthorized, match="x-amz-date: must be"):
        check("GET", "/box", [(b"host", b"h"), (b"date", date.encode()), *signed], now_s)
    with pytest.raises(Unauthorized, match="too far"):
        check("GET", "/box", headers, now_s + MAX_SKEW_S + 1)
    check("GET", "/box", headers, now_s)


def test_a_presigned_url_is_good_until_it_expires() -> None:
    request, headers = made("GET", "/box/k?versionId=null", query=True)
    target = request.url.removeprefix("http://127.0.0.1:9300")
    now_s = at_s(request)
    check("GET", target, headers[:1], now_s + 60)
    for where, late_s in ((target, 61), (target.replace("Expires=60", "Expires=600"), 0), (target + "&x=y", 0)):
        with pytest.raises(Unauthorized):
            check("GET", where, headers[:1], now_s + late_s)


@pytest.mark.parametrize("target", PATHS)
def test_what_we_sign_is_what_botocore_signs(target: str) -> None:
    request, _ = made("PUT", target, b"body", {"content-type": "text/plain"})
    sent = {name.lower(): value for name, value in request.headers.items()}
    ours = sign(
        KEY, SECRET, "r1", "PUT", urlsplit(target).path.encode(), pairs(target),
        {"host": "127.0.0.1:9300", "content-type": "text/plain"}, hashlib.sha256(b"body").hexdigest(), at_s(request),
    )  # fmt: skip

    assert {name: sent[name].replace(", ", ",") for name in ours} == {
        name: value.replace(", ", ",") for name, value in ours.items()
    }


@pytest.mark.parametrize(
    "header",
    [
        "", "Basic x", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=AK/20260101/r/s3/aws4_request",
        "AWS4-HMAC-SHA256 Credential=AK/20260101/r/ec2/aws4_request, SignedHeaders=host, Signature=" + "0" * 64,
        "AWS4-HMAC-SHA256 Credential=AK/20260101/r/s3/aws4_request, SignedHeaders=host, Signature=" + "g" * 64,
        "AWS4-HMAC-SHA256 Credential=" + "A" * 5000,
    ],
)  # fmt: skip
def test_headers_that_are_no_signature(header: str) -> None:
    with pytest.raises(Unauthorized, match="Authorization"):
        parse([(b"host", b"h"), (b"authorization", header.encode())], [], 0.0)
