"""Requests to published APIs: how they are found, what the function gets, what the client gets back."""

import base64
import json
import time
from typing import Any

import pytest

from fgd.auth.signature import canonical_request, sign
from fgd.call import Outcome
from fgd.control.event_templates import TEMPLATES
from fgd.store.apis import ApiApp
from tests.gateway.conftest import Start
from tests.gateway.rig import KEY, PROJECT, TOKEN, Answer, Client, Rig, request


def ask(path: str, *lines: str, method: str = "GET", body: bytes = b"", host: str = "gateway:8320") -> bytes:
    head = [f"{method} {path} HTTP/1.1", f"Host: {host}", *lines]
    if body:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def call(rig: Rig, path: str, *lines: str, **how: Any) -> Answer:
    return rig.client().ask(ask(path, *lines, **how))


def event(rig: Rig) -> dict[str, Any]:
    found = json.loads(rig.invoker.calls[-1].event)
    assert isinstance(found, dict)
    return found


# What the function gets


def test_the_event_has_the_fields_of_the_template(rig: Rig) -> None:
    path = rig.publish("/demo", prefix=True)

    answer = call(rig, path + "/sub?responseType=html", "User-Agent: t", method="POST", body=b'{"hello":"world"}')

    got = event(rig)
    template = next(one.event for one in TEMPLATES if one.name == "apig")
    assert 200 == answer.status
    assert template.keys() == got.keys()
    assert {*template["requestContext"], "sourceIp"} == got["requestContext"].keys()  # type: ignore[misc]  # it is an object
    assert b'{"hello":"world"}' == base64.b64decode(got["body"])
    assert True is got["isBase64Encoded"]
    assert ("POST", "/demo/sub", {"": "sub"}) == (got["httpMethod"], got["path"], got["pathParameters"])
    assert {"responseType": "html"} == got["queryStringParameters"]
    assert "RELEASE" == got["requestContext"]["stage"]
    assert got["requestContext"]["requestId"] == got["headers"]["x-request-id"] == answer.headers["x-request-id"]


def test_headers_say_who_asked_and_where(rig: Rig) -> None:
    path = rig.publish("/h")

    call(
        rig, path, "X-Forwarded-For: 198.51.100.1", "X-Real-IP: 6.6.6.6", "X-Forwarded-Proto: https", "Accept: a",
        "Accept: b", "Cookie: x=1", "Cookie: y=2", "Connection: keep-alive, X-Hop", "X-Hop: 1", "X-Request-Id: mine",
        "Upgrade: h2c", "X-Fgd-Client: 1",
    )  # fmt: skip

    headers = event(rig)["headers"]
    assert "198.51.100.1, 127.0.0.1" == headers["x-forwarded-for"]
    assert "127.0.0.1" == headers["x-real-ip"]
    assert "http" == headers["x-forwarded-proto"]
    assert "gateway:8320" == headers["x-forwarded-host"]
    assert str(rig.address[1]) == headers["x-forwarded-port"]
    assert ("a, b", "x=1; y=2") == (headers["accept"], headers["cookie"])
    assert "mine" != headers["x-request-id"]
    assert set() == headers.keys() & {"connection", "x-hop", "upgrade", "x-fgd-client"}


def test_parameters_of_path_and_query_are_decoded(rig: Rig) -> None:
    path = rig.publish("/users/{id}/files/{file}", prefix=True)

    url = path.replace("{id}", "a%20b").replace("{file}", "%C3%BC")
    call(rig, url + "/x/y%2Fz?q=1&q=2%2B&q=a+b&flag&e=")

    got = event(rig)
    assert {"id": "a b", "file": "ü", "": "x/y/z"} == got["pathParameters"]
    assert {"q": ["1", "2+", "a b"], "flag": "", "e": ""} == got["queryStringParameters"]
    assert "/users/a%20b/files/%C3%BC/x/y%2Fz" == got["path"]


def test_binary_bodies_come_in_base64_and_texts_as_they_are_where_that_is_wanted(rig: Rig) -> None:
    always, texts = rig.publish("/always"), rig.publish("/texts", base64=False)

    seen = []
    for path, body in ((always, b"\xff\x00"), (texts, b"\xff\x00"), (texts, 'gr"üße'.encode()), (always, b"")):
        call(rig, path, method="POST", body=body)
        seen.append((event(rig)["body"], event(rig)["isBase64Encoded"]))

    assert [("/wA=", True), ("/wA=", True), ('gr"üße', False), ("", True)] == seen


def test_a_second_request_with_the_same_head_gets_its_own_body_and_id(rig: Rig) -> None:
    path = rig.publish("/again")
    client = rig.client()

    answers = [client.ask(ask(path, method="POST", body=body)) for body in (b"one", b"two", b"six")]

    events = [json.loads(one.event) for one in rig.invoker.calls]
    assert [b"one", b"two", b"six"] == [base64.b64decode(one["body"]) for one in events]
    assert 3 == len(
        {one["requestContext"]["requestId"] for one in events} & {a.headers["x-request-id"] for a in answers}
    )


def test_a_body_in_chunks_reaches_the_function(rig: Rig) -> None:
    path = rig.publish("/chunks")
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()

    answer = rig.client().ask(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    assert 200 == answer.status
    assert b"abcde" == base64.b64decode(event(rig)["body"])


# How APIs are found


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/a/b", "exact"), ("GET", "/a/x", "parameter"), ("GET", "/a/b/c", "deep"), ("GET", "/a", "top"),
        ("GET", "/a/x/y", "top"), ("POST", "/a/b", "post"), ("DELETE", "/a/b", "parameter"), ("GET", "/a/", "top"),
        ("GET", "/b", ""), ("GET", "/ab", ""),
    ],
)  # fmt: skip
def test_the_most_exact_api_goes_first(rig: Rig, method: str, path: str, name: str) -> None:
    prefix = ""
    for one, route, fields in (
        ("exact", "/a/b", {"method": "GET"}),
        ("post", "/a/b", {"method": "POST"}),
        ("parameter", "/a/{p}", {}),
        ("deep", "/a/b", {"prefix": True, "method": "GET"}),
        ("top", "/a", {"prefix": True}),
    ):
        prefix = rig.publish(route, name=one, **fields).removesuffix(route)
    answer = call(rig, prefix + path, method=method)

    if name:
        wanted = [api.api_id for api in rig.apis.of_project(PROJECT) if api.route.name == name]
        assert wanted == [event(rig)["requestContext"]["apiId"]]
    else:
        assert (404, "APIG.0101") == (answer.status, answer.code)


def test_environments_have_paths_of_their_own(rig: Rig) -> None:
    rig.make("environment", name="TEST")
    path = rig.publish("/e")
    rig.publish("/e", environment="TEST")

    call(rig, path, "X-Stage: TEST")
    stage = event(rig)["requestContext"]["stage"]
    call(rig, path)

    assert ("TEST", "RELEASE") == (stage, event(rig)["requestContext"]["stage"])
    assert 404 == call(rig, path, "X-Stage: NONE").status


def test_a_group_is_found_by_its_host_names(start: Start) -> None:
    rig = start(apig_url="https://{group}.apig.example.com")
    group = rig.make("group", name="shop", domains=["Shop.example.com"])
    rig.publish("/p", group="shop")

    hosts = [f"{group.id}.APIG.example.com", "shop.example.com:443", "other.example.com"]
    statuses = [call(rig, "/p", host=host).status for host in hosts]

    rig.publish("/api/{id}/x", group="shop")
    assert 200 == call(rig, f"/api/{'0' * 32}/x", host="shop.example.com").status
    assert {"id": "0" * 32} == event(rig)["pathParameters"]
    assert 200 == call(rig, "/p", host=hosts[0]).status
    assert [200, 200, 503] == statuses  # the last one is none of ours: it goes to the control plane, which is not there
    assert "/p" == event(rig)["path"]


def test_the_listener_for_apis_has_nothing_else(rig: Rig) -> None:
    path = rig.publish("/p")
    client = rig.client(apis_only=True)

    assert 200 == client.ask(ask(path)).status
    assert 404 == client.ask(request()).status
    assert 404 == client.ask(ask("/fgd/v1/status", f"X-Auth-Token: {TOKEN}")).status
    assert 200 == rig.client().invoke().status


def test_a_withdrawn_api_is_gone_for_connections_that_know_it(rig: Rig) -> None:
    path = rig.publish("/p")
    client = rig.client()
    first = client.ask(ask(path)).status
    rig.in_loop(lambda: rig.apis.withdraw("trigger-API_0"))

    assert (200, 404) == (first, client.ask(ask(path)).status)


@pytest.mark.parametrize("path", ["/../x", "/a/%2e%2e/x", "/./x", "/" + "a/" * 200])
def test_paths_that_climb_are_refused(rig: Rig, path: str) -> None:
    prefix = rig.publish("/", prefix=True).removesuffix("/")

    assert (400, "APIG.0106") == ((answer := call(rig, prefix + path)).status, answer.code)


# What the client gets


def answered(rig: Rig, answer: object) -> Answer:
    rig.invoker.answer = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    path = rig.publish("/w") if not rig.apis.of_project(PROJECT) else rig.apis.shown("trigger-API_0")["invoke_url"]
    return call(rig, str(path).removeprefix("http://gateway"))


def test_status_headers_and_binary_body_are_the_functions(rig: Rig) -> None:
    headers = {
        "Content-Type": "image/png",
        "X-A": 5,
        "Set-Cookie": ["a=1", "b=2"],
        "X-L": ["1", "2"],
        "Connection": "x",
    }
    answer = answered(rig, {"statusCode": 201, "headers": headers, "body": "/wA=", "isBase64Encoded": True})

    assert (201, b"\xff\x00") == (answer.status, answer.body)
    assert ("image/png", "5", "1, 2") == tuple(answer.headers[name] for name in ("content-type", "x-a", "x-l"))
    assert "connection" not in answer.headers


def test_cookies_are_lines_of_their_own(rig: Rig) -> None:
    rig.invoker.answer = json.dumps({"statusCode": 200, "headers": {"set-cookie": ["a=1", "b=2"]}}).encode()
    client = rig.client()
    client.send(ask(rig.publish("/c"), "Connection: close"))

    assert 2 == client.rest().count(b"set-cookie: ")


def test_a_bodiless_status_has_no_length_and_head_no_body(rig: Rig) -> None:
    path = rig.publish("/b")
    rig.invoker.answer = b'{"statusCode":204,"headers":{},"body":"x","isBase64Encoded":false}'
    client = rig.client()
    client.send(ask(path))
    none = client.answer(head_only=True)
    rig.invoker.answer = b'{"statusCode":200,"headers":{},"body":"abc","isBase64Encoded":false}'
    client.send(ask(path, method="HEAD"))
    head = client.answer(head_only=True)

    assert "content-length" not in none.headers
    assert "3" == head.headers["content-length"]
    assert b"abc" == client.ask(ask(path)).body


@pytest.mark.parametrize(
    "answer",
    [
        b'"text"', b"{}", b"no json", {"body": "x"}, {"statusCode": "200"}, {"statusCode": 99}, {"statusCode": 700},
        {"statusCode": 101}, {"statusCode": 200, "body": {}}, {"statusCode": 200, "headers": []},
        {"statusCode": 200, "headers": {"a": {}}}, {"statusCode": 200, "headers": {"a b": "x"}},
        {"statusCode": 200, "headers": {"a": "x\r\nSet-Cookie: b=1"}}, {"statusCode": 200, "headers": {"a": "x\n"}},
        {"statusCode": 200, "headers": {"a\r\nb": "x"}}, {"statusCode": 200, "headers": {"a": "\u20ac"}},
        {"statusCode": 200, "headers": {"set-cookie": ["a", "b\r\n\r\n"]}}, {"statusCode": 200, "headers": {"": "x"}},
        {"statusCode": 200, "body": "*", "isBase64Encoded": True}, {"statusCode": 200, "headers": {"a": "x" * 40000}},
        b'{"statusCode":200,"body":"\xff"}', b"[" * 5000,
    ],
)  # fmt: skip
def test_other_answers_are_500(rig: Rig, answer: object) -> None:
    got = answered(rig, answer)

    assert (500, "FSS.1202") == (got.status, got.code)


def test_length_and_coding_are_ours_to_say(rig: Rig) -> None:
    headers = {"Content-Length": "9999", "Transfer-Encoding": "chunked", "Date": "never", "X-Request-Id": "1"}
    answer = answered(rig, {"statusCode": 200, "headers": headers, "body": "abc", "isBase64Encoded": False})

    assert (b"abc", "3") == (answer.body, answer.headers["content-length"])
    assert "transfer-encoding" not in answer.headers
    assert "never" != answer.headers["date"]


@pytest.mark.parametrize(("name", "code"), [("fails", "FSS.1202"), ("broken", "FSS.4201"), ("text", "FSS.1202")])
def test_what_a_function_did_wrong_is_not_told_to_strangers(rig: Rig, name: str, code: str) -> None:
    answer = call(rig, rig.publish("/f", name))

    assert (500, code) == (answer.status, answer.code)
    assert b"ValueError" not in answer.body


def test_a_slow_function_is_504_and_its_late_answer_goes_nowhere(rig: Rig) -> None:
    client = rig.client()
    answer = client.ask(ask(rig.publish("/slow", "hold", timeout_ms=50)))

    assert (504, "APIG.0201") == (answer.status, answer.code)
    rig.in_loop(lambda: rig.invoker.finish(rig.invoker.held[0], Outcome(0, rig.invoker.answer)))
    rig.wait_until(lambda: bool(rig.records))
    assert 200 == client.ask(ask(rig.publish("/quick"))).status


def test_asynchronous_apis_answer_with_the_events_id(rig: Rig) -> None:
    answer = call(rig, rig.publish("/a", async_=True), method="POST", body=b"x")

    name, request_id, stored = rig.queue.events[0]
    assert (202, "web", request_id) == (answer.status, name, answer.headers["x-request-id"])
    assert "eA==" == json.loads(stored)["body"]


def test_bodies_over_the_limit_are_refused_before_they_are_read(rig: Rig) -> None:
    sync, later = rig.publish("/s"), rig.publish("/l", async_=True)
    for path, length in ((sync, 4_700_000), (later, 262_145)):
        client = rig.client()
        client.send(ask(path, f"Content-Length: {length}", method="POST"))
        answer = client.answer()

        assert (413, "APIG.0201") == (answer.status, answer.code)
    got = call(rig, sync, method="POST", body=b"x" * 4_600_000)
    assert 200 == got.status
    assert 413 == call(rig, later, method="POST", body=b"x" * 250_000).status  # too long in Base64


# Who may ask


def test_credentials_of_the_project_open_iam_apis(rig: Rig) -> None:
    path = rig.publish("/iam", auth="IAM")

    assert (401, "APIG.0301") == ((answer := call(rig, path)).status, answer.code)
    assert 401 == call(rig, path, "X-Auth-Token: wrong").status
    assert 200 == call(rig, path, f"X-Auth-Token: {TOKEN}", "Authorization: Bearer x").status
    assert set() == event(rig)["headers"].keys() & {"x-auth-token", "authorization"}


def test_functions_behind_open_apis_see_the_clients_authorization(rig: Rig) -> None:
    call(rig, rig.publish("/open"), "Authorization: Bearer x")

    assert "Bearer x" == event(rig)["headers"]["authorization"]


def signed(path: str, key: str, secret: str, method: str = "GET") -> tuple[str, str]:
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    headers = [(b"host", b"gateway:8320"), (b"x-sdk-date", date.encode())]
    text = canonical_request(method, path.encode(), headers, [b"host", b"x-sdk-date"], b"")
    signature = sign(secret, date.encode(), text).decode()
    return (
        f"Authorization: SDK-HMAC-SHA256 Access={key}, SignedHeaders=host;x-sdk-date, Signature={signature}",
        f"X-Sdk-Date: {date}",
    )


def test_apps_sign_with_their_key(rig: Rig) -> None:
    path = rig.publish("/app", auth="APP")
    app = rig.make("app", name="a", apis=["trigger-API_0"])
    other = rig.make("app", name="b")
    assert isinstance(app, ApiApp)
    assert isinstance(other, ApiApp)
    lines = signed(path + "?b=2&a=1", app.key, app.secret)

    first = call(rig, path + "?b=2&a=1", *lines)
    wrong = call(rig, path, *signed(path, app.key, "x"))
    changed = call(rig, path + "?b=3", *lines)
    unbound = call(rig, path, *signed(path, other.key, other.secret))
    of_project = call(rig, path, *signed(path, KEY.access_key, KEY.secret_key))

    assert [200, 401, 401, 403, 401] == [one.status for one in (first, wrong, changed, unbound, of_project)]
    assert "APIG.0304" == unbound.code


def test_a_recorded_signature_is_refused(rig: Rig) -> None:
    path = rig.publish("/app", auth="APP")
    app = rig.make("app", name="a", apis=["trigger-API_0"])
    assert isinstance(app, ApiApp)
    lines = signed(path, app.key, app.secret, "POST")
    first = call(rig, path, *lines, method="POST")
    rig.ahead_s = 5.0

    assert (200, 401) == (first.status, call(rig, path, *lines, method="POST").status)


def test_appcodes_are_the_simple_way(rig: Rig) -> None:
    path = rig.publish("/app", auth="APP")
    rig.make("app", name="a", apis=["trigger-API_0"])
    code = rig.run(lambda: rig.apis.add_code(PROJECT, "a"))

    assert 200 == call(rig, path, f"X-Apig-AppCode: {code}").status
    assert "x-apig-appcode" not in event(rig)["headers"]
    assert 401 == call(rig, path, "X-Apig-AppCode: wrong").status
    assert 401 == call(rig, path, f"X-Apig-AppCode: {code}", f"X-Apig-AppCode: {code}").status
    rig.run(lambda: rig.apis.remove_code(PROJECT, "a", code))
    assert 401 == call(rig, path, f"X-Apig-AppCode: {code}").status


def test_bodies_of_strangers_are_not_read(rig: Rig) -> None:
    for auth in ("IAM", "APP"):
        client = rig.client()
        client.send(ask(rig.publish(f"/{auth}", auth=auth), "Content-Length: 1000000", method="POST"))

        assert 401 == client.answer().status


def test_strangers_bodies_leave_half_of_the_room_to_others(rig: Rig) -> None:
    path = rig.publish("/open")
    rig.gateway.body_bytes_max = 8_000_000
    held = rig.client()
    held.send(ask(path, "Content-Length: 3900000", method="POST"))
    rig.wait_until(lambda: rig.gateway.body_bytes == 3_900_000)
    stranger, known = rig.client(), rig.client()
    stranger.send(ask(path, "Content-Length: 200000", method="POST"))
    big = json.dumps("x" * 2_000_000).encode()

    assert 429 == stranger.answer().status
    assert 200 == known.invoke("hello", big).status
    held.sock.close()
    rig.wait_until(lambda: rig.gateway.body_bytes == 0)


# Limits and origins


def test_policies_count_per_api_app_and_address(rig: Rig) -> None:
    path = rig.publish("/p")
    free = rig.publish("/free")
    policy = rig.make("throttle", name="few", interval=1, unit="DAY", api_limit=5, ip_limit=2, apis=["trigger-API_0"])

    statuses = [call(rig, path).status for _ in range(3)]
    answer = call(rig, path)

    assert [200, 200, 429] == statuses
    assert "APIG.0308" == answer.code
    assert 200 == call(rig, free).status
    rig.run(lambda: rig.apis.delete(PROJECT, "throttle", policy.id))
    assert 200 == call(rig, path).status


def test_scripts_of_other_origins_may_call_what_allows_them(rig: Rig) -> None:
    path = rig.publish("/cors", method="POST", origins=("https://a.example",))
    preflight = ask(
        path, "Origin: https://a.example", "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: x-a", method="OPTIONS",
    )  # fmt: skip
    client = rig.client()
    client.send(preflight)
    allowed = client.answer(head_only=True)
    client.send(preflight.replace(b"a.example", b"b.example"))
    other = client.answer(head_only=True)
    actual = client.ask(ask(path, "Origin: https://a.example", method="POST", body=b"x"))

    assert 0 == len(rig.invoker.calls) - 1
    assert (204, "https://a.example", "POST", "x-a") == (
        allowed.status, allowed.headers["access-control-allow-origin"],
        allowed.headers["access-control-allow-methods"], allowed.headers["access-control-allow-headers"],
    )  # fmt: skip
    assert "access-control-allow-origin" not in other.headers
    assert "https://a.example" == actual.headers["access-control-allow-origin"]


def test_without_cors_the_function_answers_preflights_itself(rig: Rig) -> None:
    answer = call(rig, rig.publish("/x"), "Access-Control-Request-Method: GET", "Origin: a", method="OPTIONS")

    assert 200 == answer.status
    assert "OPTIONS" == event(rig)["httpMethod"]


# Hostile bytes


@pytest.mark.parametrize(
    "wire",
    [
        b"GET %b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET %b HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET %b HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        b"GET %b HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        b"GET %b%%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET %b HTTP/1.1\r\n\r\n",
        b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n",
        b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
    ],
)
def test_malformed_requests_get_one_answer_and_the_end(rig: Rig, wire: bytes) -> None:
    client = rig.client()
    client.send(wire % rig.publish("/p").encode())

    assert 400 == client.answer().status
    assert client.closed()
    assert [] == rig.invoker.calls


@pytest.mark.parametrize("query", ["%", "%zz", "a=%ff%fe", "&&&", "=", "a=" + "b" * 4000, "a" + "&a" * 3000])
def test_odd_queries_harm_nobody(rig: Rig, query: str) -> None:
    client = Client(rig.client().sock)
    answer = client.ask(ask(f"{rig.publish('/q')}?{query}"))

    assert answer.status in (200, 400)
    assert 200 == rig.client().invoke().status
