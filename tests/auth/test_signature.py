"""Signatures: those of the official SDK and of Terraform's client are accepted, altered ones are not."""

import hashlib
import time

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer

from fgd.auth.keyring import Keyring
from fgd.auth.replay import ReplayGuard
from fgd.auth.signature import canonical_request, sign
from fgd.errors import Unauthorized
from fgd.store.api import AccessKey, Token

NOW_S = 1_700_000_000.0
DATE = b"20231114T221320Z"
KEY = AccessKey(access_key="AKIAX", secret_key="sécret+/=", project_id="p1", name="deploy", created_s=0.0)
type Signed = tuple[str, bytes, list[tuple[bytes, bytes]], bytes]


class Watch:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def keyring(watch: Watch) -> Keyring:
    ring = Keyring(watch)
    ring.load([KEY], [])
    return ring


def by_sdk(
    method: str = "POST",
    path: str = "/v2/p1/fgs/functions/urn%3Afss%3Alocal%3Ap1%3Afunction%3Adefault%3Ax%3Alatest/invocations",
    query: list[tuple[str, object]] | None = None,
    body: bytes = b'{"a": 1}',
    **headers: str,
) -> Signed:
    """What the SDK would send."""
    sent = {"Content-Type": "application/json", "X-Project-Id": "p1", "User-Agent": "huaweicloud-usdk-python/3.0"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    sent.setdefault("X-Sdk-Date", DATE.decode())
    sdk = SdkRequest(
        method=method, schema="http", host="127.0.0.1:8080", resource_path=path, uri=path,
        query_params=query or [], header_params=sent, body=body,
    )  # fmt: skip
    Signer(BasicCredentials(KEY.access_key, KEY.secret_key, "p1")).sign(sdk)
    lines = [(name.lower().encode(), value.encode("latin-1")) for name, value in sdk.header_params.items()]
    return method, sdk.uri.encode(), lines, body


def by_hand(
    target: bytes, names: list[bytes], headers: list[tuple[bytes, bytes]], body: bytes = b"", method: str = "GET"
) -> Signed:
    """A request signed over just those headers."""
    headers = [*headers, (b"x-sdk-date", DATE)]
    signature = sign(KEY.secret_key, DATE, canonical_request(method, target, headers, names, body))
    listed = b";".join(names)
    value = b"SDK-HMAC-SHA256 Access=%b, SignedHeaders=%b, Signature=%b" % (KEY.access_key.encode(), listed, signature)
    return method, target, [*headers, (b"authorization", value)], body


def by_scope(scope: bytes = b"20231114///sdk_request", signed: bytes | None = None) -> Signed:
    """A request signed with the key that is derived for a scope; `signed` is another scope than the one it names."""
    headers, names = [(b"x-sdk-date", DATE), (b"host", b"127.0.0.1:8080")], [b"host", b"x-sdk-date"]
    canonical = canonical_request("POST", b"/v2/p1", headers, names, b"{}")
    signature = sign(KEY.secret_key, DATE, canonical, scope if signed is None else signed)
    value = b"SDK-HMAC-SHA256 Credential=AKIAX/%b, SignedHeaders=host;x-sdk-date, Signature=%b" % (scope, signature)
    return "POST", b"/v2/p1", [*headers, (b"authorization", value)], b"{}"


def replaced(headers: list[tuple[bytes, bytes]], name: bytes, *values: bytes) -> list[tuple[bytes, bytes]]:
    return [pair for pair in headers if pair[0] != name] + [(name, value) for value in values]


def test_request_of_the_sdk_is_accepted(keyring: Keyring) -> None:
    principal = keyring.authenticate(*by_sdk())

    assert (principal.name, principal.project_id, principal.admin) == ("deploy", "p1", False)


@pytest.mark.parametrize(
    "query",
    [
        [("maxitems", 10), ("marker", "0")],
        [("b", "2"), ("a", "ü /+&=?"), ("a", ""), ("A", "1")],
        [("flag", True), ("list", ["z", "y"])],
    ],
)  # fmt: skip
def test_query_of_the_sdk_is_accepted(keyring: Keyring, query: list[tuple[str, object]]) -> None:
    assert keyring.authenticate(*by_sdk("GET", "/v2/p1/fgs/functions", query, b"")).name == "deploy"


@pytest.mark.parametrize("path", ["/", "/a b", "/a%20b/", "/%E4%BD%A0/~x-_.", "/a%2Fb", "/a:b!c", "/a//b"])
def test_path_of_the_sdk_is_accepted(keyring: Keyring, path: str) -> None:
    assert keyring.authenticate(*by_sdk("GET", path, None, b"")).name == "deploy"


def test_raw_and_encoded_colons_are_the_same_path(keyring: Keyring) -> None:
    method, target, headers, body = by_sdk()

    assert keyring.authenticate(method, target.replace(b"%3A", b":"), headers, body).name == "deploy"


def test_request_without_host_among_the_signed_headers_is_accepted(keyring: Keyring) -> None:
    headers = [(b"accept", b"application/json"), (b"host", b"anything"), (b"user-agent", b" terraform ")]
    request = by_hand(b"/v2/p1/fgs/functions?b=2&a=1", [b"accept", b"user-agent", b"x-sdk-date"], headers)

    assert keyring.authenticate(*request).name == "deploy"


@pytest.mark.parametrize("scope", [b"20231114///sdk_request", b"20231114/eu-de/functiongraph/sdk_request"])
def test_signature_with_a_derived_key_is_accepted(keyring: Keyring, scope: bytes) -> None:
    assert keyring.authenticate(*by_scope(scope)).name == "deploy"


def test_derived_key_is_that_of_the_go_library() -> None:
    """Computed with the signer of gophertelekomcloud v0.9.3, for a request without headers of its own."""
    headers = [(b"host", b"fgd.example"), (b"x-sdk-date", DATE)]
    canonical = canonical_request("GET", b"/v2/p1/fgs/functions?marker=0", headers, [b"host", b"x-sdk-date"], b"")

    assert b"a4e2b24525cbfe53d950d90eba76caf948f665090c2bac7617c490bc26730141" == sign(
        "secret", DATE, canonical, b"20231114///sdk_request"
    )


@pytest.mark.parametrize(
    "signed", [b"", b"20231113///sdk_request", b"20231114/a//sdk_request", b"20231114//a/sdk_request"]
)
def test_key_of_another_scope_is_refused(keyring: Keyring, signed: bytes) -> None:
    with pytest.raises(Unauthorized, match="does not match"):
        keyring.authenticate(*by_scope(signed=signed))


def test_scope_of_another_day_than_the_date_is_refused(keyring: Keyring) -> None:
    with pytest.raises(Unauthorized, match="not the day of X-Sdk-Date"):
        keyring.authenticate(*by_scope(b"20231115///sdk_request"))


def test_altered_request_with_a_derived_key_is_refused(keyring: Keyring) -> None:
    method, target, headers, _ = by_scope()
    value = dict(headers)[b"authorization"]

    for other in (
        ("PUT", target, headers, b"{}"), (method, b"/v2/p2", headers, b"{}"), (method, target, headers, b"[]"),
        (method, target, replaced(headers, b"host", b"elsewhere"), b"{}"),
        (method, target, replaced(headers, b"authorization", value.replace(b"///", b"/eu-de//")), b"{}"),
        (method, target, replaced(headers, b"authorization", value.replace(
            b"Credential=AKIAX/20231114///sdk_request", b"Access=AKIAX")), b"{}"),
    ):  # fmt: skip
        with pytest.raises(Unauthorized, match="does not match"):
            keyring.authenticate(*other)


def test_header_given_twice_is_one_line_per_value_sorted(keyring: Keyring) -> None:
    method, target, headers, body = by_hand(b"/", [b"x-a", b"x-sdk-date"], [(b"x-a", b"2"), (b"x-a", b"1")])

    assert keyring.authenticate(method, target, replaced(headers, b"x-a", b"1", b"2"), body).name == "deploy"
    with pytest.raises(Unauthorized, match="does not match"):
        keyring.authenticate(method, target, replaced(headers, b"x-a", b"1"), body)


def test_body_of_another_type_may_be_unsigned_when_the_client_says_so(keyring: Keyring) -> None:
    method, target, headers, _ = by_sdk(body=b"raw", Content_Type="application/octet-stream")

    assert keyring.authenticate(method, target, headers, b"other").name == "deploy"


def test_json_body_cannot_be_unsigned(keyring: Keyring) -> None:
    named = [(b"content-type", b"application/json"), (b"x-sdk-content-sha256", b"UNSIGNED-PAYLOAD")]
    other = [(b"content-type", b"text/plain"), (b"x-sdk-content-sha256", b"UNSIGNED-PAYLOAD")]
    method, target, headers, _ = by_hand(b"/", [b"x-sdk-date"], other, b"{}", "POST")

    with pytest.raises(Unauthorized, match="UNSIGNED-PAYLOAD"):
        keyring.authenticate(method, target, [*named, *headers[2:]], b"{}")


def test_recorded_hash_does_not_cover_another_body(keyring: Keyring) -> None:
    method, target, headers, body = by_sdk()
    recorded = hashlib.sha256(body).hexdigest().encode()

    with pytest.raises(Unauthorized, match="Content-Sha256"):
        keyring.authenticate(method, target, [*headers, (b"x-sdk-content-sha256", recorded)], b'{"a": 2}')


def test_named_hash_of_the_real_body_is_accepted(keyring: Keyring) -> None:
    digest = hashlib.sha256(b"{}").hexdigest().encode()
    request = by_hand(b"/", [b"x-sdk-date"], [(b"x-sdk-content-sha256", digest)], b"{}", "POST")

    assert keyring.authenticate(*request).name == "deploy"


@pytest.mark.parametrize("part", ["method", "path", "query", "header", "body", "date", "signature", "list"])
def test_every_altered_part_is_refused(keyring: Keyring, part: str) -> None:
    method, target, headers, body = by_sdk(query=[("a", "1")])
    if part == "method":
        method = "PUT"
    elif part == "path":
        target = target.replace(b"default", b"other")
    elif part == "query":
        target += b"&b=2"
    elif part == "header":
        headers = replaced(headers, b"x-project-id", b"p2")
    elif part == "body":
        body = b'{"a": 2}'
    elif part == "date":
        headers = replaced(headers, b"x-sdk-date", b"20231114T221321Z")
    else:
        value = dict(headers)[b"authorization"]
        if part == "signature":
            value = value[:-1] + (b"0" if value[-1:] != b"0" else b"1")
        else:
            value = value.replace(b";user-agent", b"")
        headers = replaced(headers, b"authorization", value)

    with pytest.raises(Unauthorized, match="does not match"):
        keyring.authenticate(method, target, headers, body)


def test_wrong_secret_key_is_refused_and_no_secret_is_told(keyring: Keyring) -> None:
    request = by_sdk()
    keyring.add_access_key(AccessKey(access_key="AKIAX", secret_key="other", project_id="p1", name="", created_s=0.0))

    with pytest.raises(Unauthorized) as caught:
        keyring.authenticate(*request)
    assert "other" not in str(caught.value).split()
    assert KEY.secret_key not in str(caught.value)


@pytest.mark.parametrize(("skew_s", "fine"), [(-900, True), (900, True), (-901, False), (901, False), (86400, False)])
def test_date_may_be_fifteen_minutes_off(keyring: Keyring, watch: Watch, skew_s: float, fine: bool) -> None:
    watch.now_s += skew_s
    if fine:
        assert keyring.authenticate(*by_sdk()).name == "deploy"
    else:
        with pytest.raises(Unauthorized, match="15 minutes"):
            keyring.authenticate(*by_sdk())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((), "once"), ((DATE, DATE), "once"), ((b"20231114T221320",), "YYYYMMDDTHHMMSSZ"),
        ((b"20231314T221320Z",), "YYYYMMDDTHHMMSSZ"), ((b"Tue, 14 Nov 2023",), "YYYYMMDDTHHMMSSZ"), ((b"",), "YYYY"),
        ((b"99999999T999999Z",), "YYYYMMDDTHHMMSSZ"), ((b"\xff" * 16,), "YYYYMMDDTHHMMSSZ"),
    ],
)  # fmt: skip
def test_bad_dates(keyring: Keyring, values: tuple[bytes, ...], message: str) -> None:
    method, target, headers, body = by_sdk()

    with pytest.raises(Unauthorized, match=message):
        keyring.authenticate(method, target, replaced(headers, b"x-sdk-date", *values), body)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"Basic YTpi", "algorithm"), (b"V11-HMAC-SHA256 Credential=a", "algorithm"), (b"", "algorithm"),
        (b"SDK-HMAC-SHA256", "must be"), (b"SDK-HMAC-SHA256 Access=AKIAX", "must be"),
        (b"SDK-HMAC-SHA256 Access=AKIAX, SignedHeaders=host, Signature=" + b"A" * 64, "must be"),
        (b"SDK-HMAC-SHA256 Access=AKIAX, SignedHeaders=host, Signature=" + b"a" * 63, "must be"),
        (b"SDK-HMAC-SHA256 Access=AKIAX, SignedHeaders=host, Signature=" + b"a" * 65, "must be"),
        (b"SDK-HMAC-SHA256 Credential=AKIAX, SignedHeaders=host, Signature=" + b"a" * 64, "must be"),
        (b"SDK-HMAC-SHA256 Credential=AKIAX/20231114//sdk_request, SignedHeaders=host, Signature=" + b"a" * 64,
         "must be"),
        (b"SDK-HMAC-SHA256 Credential=/20231114///sdk_request, SignedHeaders=host, Signature=" + b"a" * 64, "must be"),
        (b"SDK-HMAC-SHA256 Access=A, Credential=A/20231114///sdk_request, SignedHeaders=host, Signature=" + b"a" * 64,
         "must be"),
        (b"SDK-HMAC-SHA256 Credential=nobody/20231114///sdk_request, SignedHeaders=host, Signature=" + b"a" * 64,
         "no such access key"),
        (b"SDK-HMAC-SHA256 Access=AKIAX, SignedHeaders=Host, Signature=" + b"a" * 64, "lower case"),
        (b"SDK-HMAC-SHA256 Access=AKIAX, SignedHeaders=host;;a, Signature=" + b"a" * 64, "lower case"),
        (b"SDK-HMAC-SHA256 Access=AKIAX, SignedHeaders=host;host, Signature=" + b"a" * 64, "twice"),
        (b"SDK-HMAC-SHA256 Access=AKIAX, SignedHeaders=x-nothing, Signature=" + b"a" * 64, "'x-nothing' was not sent"),
        (b"SDK-HMAC-SHA256 Access=nobody, SignedHeaders=host, Signature=" + b"a" * 64, "no such access key"),
        (b"SDK-HMAC-SHA256 Access=\xff\xfe, SignedHeaders=host, Signature=" + b"a" * 64, "no such access key"),
    ],
)  # fmt: skip
def test_bad_authorizations(keyring: Keyring, value: bytes, message: str) -> None:
    method, target, headers, body = by_sdk()

    with pytest.raises(Unauthorized, match=message):
        keyring.authenticate(method, target, replaced(headers, b"authorization", value), body)


def test_authorization_given_twice_is_refused(keyring: Keyring) -> None:
    method, target, headers, body = by_sdk()

    with pytest.raises(Unauthorized, match="twice"):
        keyring.authenticate(method, target, [*headers, (b"authorization", b"x")], body)


def test_equal_requests_of_one_second_are_accepted(keyring: Keyring, watch: Watch) -> None:
    for _ in range(20):
        assert keyring.authenticate(*by_sdk()).name == "deploy"
        watch.now_s += 0.1


def test_recorded_request_is_refused_later(keyring: Keyring, watch: Watch) -> None:
    assert keyring.authenticate(*by_sdk()).name == "deploy"
    for later_s in (2.5, 60, 600, 890):
        watch.now_s = NOW_S + later_s
        with pytest.raises(Unauthorized, match="used before"):
            keyring.authenticate(*by_sdk())

    assert keyring.authenticate(*by_sdk(X_Sdk_Date="20231114T222700Z")).name == "deploy"


def test_request_that_changes_nothing_may_come_again(keyring: Keyring, watch: Watch) -> None:
    for _ in range(3):
        assert keyring.authenticate(*by_sdk("GET", "/", None, b"")).name == "deploy"
        watch.now_s += 100


def test_signatures_are_forgotten_when_their_time_is_over() -> None:
    guard = ReplayGuard()
    guard.check("GET", b"a" * 64, NOW_S, NOW_S)
    assert len(guard) == 0
    guard.check("POST", b"a" * 64, NOW_S, NOW_S)
    guard.check("POST", b"b" * 64, NOW_S, NOW_S)
    assert len(guard) == 2
    guard.check("POST", b"c" * 64, NOW_S + 2000, NOW_S + 2000)
    assert len(guard) == 1


def test_key_that_was_removed_is_refused(keyring: Keyring) -> None:
    keyring.remove_access_key("AKIAX")
    keyring.remove_access_key("AKIAX")

    with pytest.raises(Unauthorized, match="no such access key"):
        keyring.authenticate(*by_sdk())


def test_token_is_accepted_until_it_expires_or_is_removed(watch: Watch) -> None:
    keyring = Keyring(watch)
    digest = hashlib.sha256(b"abc").hexdigest()
    keyring.add_token(Token(digest=digest, project_id="p1", name="n", expires_s=NOW_S + 60))
    headers = [(b"x-auth-token", b" abc "), (b"authorization", b"ignored beside a token")]

    assert keyring.authenticate("GET", b"/", headers, b"").project_id == "p1"
    assert keyring.by_token(b"abc").project_id == "p1"
    watch.now_s += 60
    with pytest.raises(Unauthorized, match="expired"):
        keyring.by_token(b"abc")
    with pytest.raises(Unauthorized, match="no such token"):
        keyring.by_token(b"abc")
    keyring.add_token(Token(digest=digest, project_id="p1", name="n", expires_s=NOW_S + 600))
    assert keyring.by_token(b"abc").name == "n"
    keyring.remove_token(digest)
    with pytest.raises(Unauthorized):
        keyring.by_token(b"abc")


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ([], "no credentials"), ([(b"x-auth-token", b"")], "no such token"),
        ([(b"x-auth-token", b"x" * 9000)], "no such token"),
        ([(b"x-auth-token", b"a"), (b"x-auth-token", b"a")], "twice"), ([(b"authorization", b"Bearer x")], "algorithm"),
    ],
)  # fmt: skip
def test_precheck_tells_without_a_body(keyring: Keyring, headers: list[tuple[bytes, bytes]], message: str) -> None:
    with pytest.raises(Unauthorized, match=message):
        keyring.precheck(headers)


def test_precheck_lets_plausible_requests_pass(keyring: Keyring) -> None:
    keyring.precheck(by_sdk()[2])


def test_signing_with_the_real_clock() -> None:
    keyring = Keyring(time.time)
    keyring.add_access_key(KEY)
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())

    assert keyring.authenticate(*by_sdk(X_Sdk_Date=date)).name == "deploy"
