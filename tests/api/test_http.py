"""HTTP around the operations: credentials, paths, methods, sizes, the shape of errors."""

import re
import socket

import pytest

from tests.api.harness import MINIMAL, PEER, PROJECT, Api

SECRET_WORDS = ("Traceback", "/secret/folder", "site-packages")


def test_an_error_has_a_code_a_message_and_a_request_id(api: Api) -> None:
    status, answer, headers = api.send("GET", f"/v2/{PROJECT}/fgs/functions/absent/config")

    assert 404 == status
    assert {"error_code", "error_msg"} == set(answer)
    assert re.fullmatch(r"[0-9a-f-]{36}", headers["x-request-id"])


def test_nobody_gets_401(api: Api) -> None:
    status, answer, _ = api.send("GET", f"/v2/{PROJECT}/fgs/functions", headers={})

    assert (401, "FSS.0401") == (status, answer["error_code"])


def test_a_wrong_token_gets_401(api: Api) -> None:
    assert 401 == api.send("GET", f"/v2/{PROJECT}/fgs/functions", headers={"X-Auth-Token": "wrong"})[0]


def test_nobody_is_refused_before_the_body_is_sent(api: Api) -> None:
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(
            b"POST /v2/p/fgs/functions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"{" * 100
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 401")


def test_another_project_is_403_whether_it_exists_or_not(api: Api) -> None:
    api.send("POST", "/v2/theirs/fgs/functions", {**MINIMAL, "func_name": "private"}, PEER)
    answers = [
        api.send("GET", path)[:2]
        for path in ("/v2/theirs/fgs/functions/private/config", "/v2/theirs/fgs/functions/nothing/config")
    ]

    assert answers[0] == answers[1]
    assert (403, "FSS.0403") == (answers[0][0], answers[0][1]["error_code"])


def test_an_urn_of_another_project_is_403(api: Api) -> None:
    assert 403 == api.v2("GET", "/functions/urn:fss:testland:theirs:function:default:private/config")[0]
    assert 403 == api.v2("GET", "/functions/theirs:default:private/config")[0]


@pytest.mark.parametrize(
    "path", ["/", "/nope", "/v2", f"/v2/{PROJECT}/fgs", f"/v2/{PROJECT}/fgs/functions/", "//v2//x"]
)
def test_unknown_paths_are_404(api: Api, path: str) -> None:
    status, answer, _ = api.send("GET", path)

    assert (404, "FSS.0404") == (status, answer["error_code"])


def test_a_wrong_method_is_405_and_says_which_are_right(api: Api) -> None:
    status, answer, headers = api.send("PATCH", f"/v2/{PROJECT}/fgs/functions")

    assert (405, "FSS.0405", {"GET", "POST"}) == (status, answer["error_code"], set(headers["allow"].split(", ")))


@pytest.mark.parametrize(
    ("line", "length"),
    [("PUT /v2/{}/fgs/functions/f/config", 1024 * 1024 + 1), ("POST /v2/{}/fgs/functions", 2 * 1024 * 1024 + 1),
     ("POST /v2/{}/fgs/functions", 10**15)],
)  # fmt: skip
def test_an_oversized_body_is_413_before_it_is_sent(api: Api, line: str, length: int) -> None:
    head = (
        f"{line.format(PROJECT)} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {api.keys['token']}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(head.encode())
        received = connection.recv(4096)

    assert received.startswith(b"HTTP/1.1 413")


def test_an_oversized_chunked_body_is_413(api: Api) -> None:
    head = (
        f"POST /v2/{PROJECT}/fgs/functions HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {api.keys['token']}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(head.encode() + b"200001\r\n" + b" " * 0x200001)
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


def test_the_content_type_is_of_no_importance(api: Api) -> None:
    api.function("typed")
    headers = {"X-Auth-Token": api.keys["token"], "Content-Type": "text/plain"}
    path = f"/v2/{PROJECT}/fgs{api.of('typed')}/config"

    assert 200 == api.send("PUT", path, {"timeout": 9}, headers)[0]


def test_a_get_with_a_body_is_answered(api: Api) -> None:
    assert 200 == api.v2("GET", "/functions", {"ignored": True})[0]


def test_head_has_no_body(api: Api) -> None:
    assert (200, "") == api.send("HEAD", "/healthz")[:2]


def test_inner_errors_are_500_and_tell_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("/secret/folder")

    monkeypatch.setattr(type(api.services.functions), "usage", broken)
    status, answer = api.v2("GET", "/quotas")

    assert (500, "FSS.0500") == (status, answer["error_code"])
    assert not any(word in str(answer) for word in (*SECRET_WORDS, "ZeroDivision"))


def test_invocations_do_not_run_here(api: Api) -> None:
    status, answer = api.v2("POST", "/functions/any/invocations", {})

    assert (503, "FSS.0503") == (status, answer["error_code"])
