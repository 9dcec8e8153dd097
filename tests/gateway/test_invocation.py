"""What an invocation answers, and who may invoke what."""

import base64
import hashlib
import json
import re

import pytest

from fgd.call import Outcome
from fgd.errors import StorageFull
from tests.gateway.conftest import Start
from tests.gateway.rig import PATH, PROJECT, TOKEN, URN, Rig, function, request

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def test_result_comes_back_with_the_headers_of_the_cloud(rig: Rig) -> None:
    answer = rig.client().invoke("hello", b'{"a":1}')

    assert answer.status == 200
    assert answer.body == b'{"a":1}'
    assert re.fullmatch(UUID, answer.headers["x-cff-request-id"])
    assert json.loads(answer.headers["x-cff-invoke-summary"]) == {
        "duration": 1.913, "billingDuration": 2, "memorySize": 128, "memoryUsed": 41.512,
    }  # fmt: skip
    assert answer.headers["x-cff-billing-duration"] == "2"
    assert answer.headers["x-cff-response-version"] == "v0"
    assert answer.headers["x-func-err-code"] == "0"
    assert answer.headers["x-is-func-err"] == "false"
    assert answer.headers["content-type"] == "application/json"
    assert "x-cff-function-log" not in answer.headers
    assert "x-fgd-timing" not in answer.headers


def test_text_result_is_plain_text(rig: Rig) -> None:
    answer = rig.client().invoke("text")

    assert answer.body.decode() == "grüße"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_version_1_wraps_the_result_as_a_string(rig: Rig) -> None:
    answer = rig.client().invoke("hello", b'{"a": "\xc3\xa4"}', "X-CFF-Request-Version: v1", "X-Cff-Log-Type: tail")

    assert json.loads(answer.body) == {
        "request_id": answer.headers["x-cff-request-id"],
        "result": '{"a": "ä"}',
        "log": "Start\nprinted\nFinish\n",
        "status": 200,
    }
    assert answer.headers["x-cff-response-version"] == "v1"


def test_version_1_of_a_failure_has_status_and_code(rig: Rig) -> None:
    answer = rig.client().invoke("fails", b"{}", "X-CFF-Request-Version: v1")
    body = json.loads(answer.body)

    assert answer.status == 200
    assert (body["status"], body["error_code"]) == (500, "FSS.4002")
    assert json.loads(body["result"])["errorType"] == "ValueError"


def test_failing_function_is_200_with_the_error_in_the_headers(rig: Rig) -> None:
    answer = rig.client().invoke("fails")

    assert answer.status == 200
    assert answer.headers["x-is-func-err"] == "true"
    assert answer.headers["x-func-err-code"] == "4002"
    assert json.loads(answer.body)["errorMessage"] == "no"


def test_fault_of_the_platform_is_500_and_not_the_functions(rig: Rig) -> None:
    answer = rig.client().invoke("broken")

    assert answer.status == 500
    assert json.loads(answer.body) == {"error_code": "FSS.4201", "error_msg": "no sandbox"}
    assert answer.headers["x-is-func-err"] == "false"
    assert answer.headers["x-func-err-code"] == "4201"


def test_tail_of_the_log_comes_in_base64(rig: Rig) -> None:
    answer = rig.client().invoke("hello", b"{}", "X-Cff-Log-Type: tail")

    assert base64.b64decode(answer.headers["x-cff-function-log"]) == b"Start\nprinted\nFinish\n"


def test_timing_comes_only_when_asked_for(rig: Rig) -> None:
    client = rig.client()
    client.send(request("hold", b"{}", "X-Fgd-Timing: 1"))
    rig.wait_until(lambda: len(rig.invoker.held) == 1)
    call = rig.invoker.held[0]
    call.cold = True
    outcome = Outcome(0, b"1", duration_us=2500)
    outcome.queue_us = 1000
    rig.in_loop(lambda: rig.invoker.finish(call, outcome))
    timing = json.loads(client.answer().headers["x-fgd-timing"])

    assert (timing["runtime"], timing["queue"], timing["cold"]) == (2.5, 1.0, True)
    assert timing["instance"] == 1.5


def test_without_body_the_event_is_an_empty_object(rig: Rig) -> None:
    assert rig.client().invoke("hello", b"").body == b"{}"


@pytest.mark.parametrize("event", [b"1", b'"x"', b"null", b"[1, 2.5e3]", b' {"a" : [] } ', b'"\xc3\xa4"'])
def test_any_json_value_is_an_event(rig: Rig, event: bytes) -> None:
    assert rig.client().invoke("hello", event).body == event


@pytest.mark.parametrize(
    "event",
    [
        b"{",
        b"{'a':1}",
        b"a=1",
        b'{"a":1}x',
        b"NaN",
        b"[1,]",
        b'"\xff"',
        b'"\x01"',
        b"[" * 100000,
        b" ",
        b"\xef\xbb\xbf{}",
    ],
)
def test_malformed_event_is_406_and_reaches_no_function(rig: Rig, event: bytes) -> None:
    client = rig.client()
    answer = client.invoke("hello", event)

    assert (answer.status, answer.code) == (406, "FSS.0406")
    assert rig.invoker.calls == []
    assert client.invoke().status == 200


@pytest.mark.parametrize(
    "urn",
    [
        URN, URN.replace(":", "%3A"), URN.replace(":", "%3a"), URN.removesuffix(":latest"), "hello", "default:hello",
        f"{PROJECT}:default:hello", f"{PROJECT}:default:hello:latest", "%68ello",
    ],
)  # fmt: skip
def test_every_form_of_the_urn_leads_to_the_function(rig: Rig, urn: str) -> None:
    line = f"POST /v2/{PROJECT}/fgs/functions/{urn}/invocations?x=1 HTTP/1.1\r\n"
    answer = rig.client().ask(f"{line}Host: a\r\nX-Auth-Token: {TOKEN}\r\nContent-Length: 1\r\n\r\n7".encode())

    assert (answer.status, answer.body) == (200, b"7")


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("nothing", 404, "FSS.1051"), (f"{PROJECT}:default:hello:v1", 404, "FSS.1052"), ("a:b:c:d:e", 400, "FSS.1309"),
        ("busy", 429, "FSS.0429"), ("disabled", 403, "FSS.0403"), ("a%20b", 400, "FSS.1309"),
        ("other:default:hello", 403, "FSS.0403"),
    ],
)  # fmt: skip
def test_refusals(rig: Rig, name: str, status: int, code: str) -> None:
    client = rig.client()
    line = f"POST /v2/{PROJECT}/fgs/functions/{name}/invocations HTTP/1.1\r\n"
    answer = client.ask(f"{line}Host: a\r\nX-Auth-Token: {TOKEN}\r\nContent-Length: 2\r\n\r\n{{}}".encode())

    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["x-request-id"]
    assert client.invoke().status == 200


def test_another_project_is_403_whether_the_function_exists_or_not(rig: Rig) -> None:
    answers = []
    for name in ("hello", "nothing"):
        line = f"POST /v2/other/fgs/functions/{name}/invocations HTTP/1.1\r\n"
        answer = rig.client().ask(f"{line}Host: a\r\nX-Auth-Token: {TOKEN}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        answers.append((answer.status, answer.body))

    assert answers[0] == answers[1]
    assert answers[0][0] == 403
    assert rig.directory.asked == 0


@pytest.mark.parametrize("line", ["X-Auth-Token: wrong", "Authorization: Basic abc", "X-Other: 1"])
def test_wrong_or_no_credentials_are_401(rig: Rig, line: str) -> None:
    data = f"POST {PATH} HTTP/1.1\r\nHost: a\r\n{line}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    answer = rig.client().ask(data)

    assert (answer.status, answer.code) == (401, "FSS.0401")
    assert rig.directory.asked == 0


def test_change_of_the_directory_is_seen_by_the_next_request_of_a_connection(rig: Rig) -> None:
    client = rig.client()
    assert [client.invoke().status for _ in range(3)] == [200, 200, 200]
    assert rig.directory.asked == 1
    del rig.directory.functions["hello"]
    rig.directory.generation += 1

    assert client.invoke().status == 404
    rig.directory.functions["hello"] = function("hello", memory_mib=256)
    rig.directory.generation += 1
    assert '"memorySize":256' in client.invoke().headers["x-cff-invoke-summary"]


def test_removed_token_is_refused_on_a_connection_that_used_it(rig: Rig) -> None:
    client = rig.client()
    assert client.invoke().status == 200
    rig.in_loop(lambda: rig.keyring.remove_token(hashlib.sha256(TOKEN.encode()).hexdigest()))

    assert client.invoke().status == 401


def test_async_is_202_only_after_the_event_is_stored(rig: Rig) -> None:
    rig.queue.hold = True
    client = rig.client()
    client.send(request("hello", b'{"n":1}', async_=True))
    rig.wait_until(lambda: len(rig.queue.waiting) == 1)
    client.sock.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.answer()
    client.sock.settimeout(10)
    rig.in_loop(lambda: rig.queue.waiting[0](None))
    answer = client.answer()

    assert answer.status == 202
    assert json.loads(answer.body) == {"request_id": answer.headers["x-cff-request-id"]}
    assert rig.queue.events == [("hello", answer.headers["x-cff-request-id"], b'{"n":1}')]


@pytest.mark.parametrize(("error", "code"), [(StorageFull("the disk is full"), "FSS.0503"), (OSError(5), "FSS.0500")])
def test_async_event_that_is_not_stored_is_no_202(rig: Rig, error: Exception, code: str) -> None:
    rig.queue.error = error
    client = rig.client()
    answer = client.invoke(async_=True)

    assert answer.status >= 500
    assert answer.code == code
    rig.queue.error = None
    assert client.invoke(async_=True).status == 202


def test_async_of_a_disabled_function_is_refused(rig: Rig) -> None:
    assert rig.client().invoke("disabled", async_=True).status == 403


@pytest.mark.parametrize(("async_", "size"), [(False, 6 * 1024 * 1024 + 1), (True, 256 * 1024 + 1)])
def test_event_over_its_limit_is_refused_before_its_body_and_before_credentials(
    rig: Rig, async_: bool, size: int
) -> None:
    client = rig.client()
    path = PATH + ("-async" if async_ else "")
    client.send(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode())
    answer = client.answer()

    assert (answer.status, answer.code) == (413, "FSS.1201")
    assert client.closed()


@pytest.mark.parametrize(("async_", "size"), [(False, 6 * 1024 * 1024), (True, 256 * 1024)])
def test_largest_event_passes(rig: Rig, async_: bool, size: int) -> None:
    event = b'"' + b"x" * (size - 2) + b'"'
    client = rig.client()
    answer = client.invoke("hello", event, async_=async_)

    assert answer.status == (202 if async_ else 200)
    assert async_ or answer.body == event
    assert client.invoke().status == 200


def test_largest_answer_reaches_a_client_that_reads_late(rig: Rig) -> None:
    client = rig.client()
    client.send(request("big") + request("hello", b"5"))
    rig.wait_until(lambda: bool(rig.records))

    assert len(client.answer().body) == 6 * 1024 * 1024
    assert client.answer().body == b"5"


def test_memory_wish_counts_only_with_dynamic_memory(rig: Rig) -> None:
    client = rig.client()

    assert client.invoke("hello", b"{}", "X-Cff-Instance-Memory: 7").status == 200
    assert client.invoke("dynamic", b"{}", "X-Cff-Instance-Memory: 256").status == 200
    assert client.invoke("dynamic", b"{}").status == 200
    assert [0, 256, 0] == [call.options.memory_mib for call in rig.invoker.calls]
    for wrong in ("7", "", "256, 512", "0256"):
        assert client.invoke("dynamic", b"{}", f"X-Cff-Instance-Memory: {wrong}").code == "FSS.0406"
    twice = ("X-Cff-Instance-Memory: 256", "X-Cff-Instance-Memory: 256")
    assert client.invoke("dynamic", b"{}", *twice).code == "FSS.0406"
    assert client.invoke("dynamic", b"{}", "X-Cff-Instance-Memory: 7", async_=True).code == "FSS.0406"


def test_late_answer_is_504_and_the_result_is_still_recorded(start: Start) -> None:
    rig = start(sync_timeout_s=0.2, idle_timeout_s=1.0)
    client = rig.client()
    client.send(request("hold"))
    answer = client.answer()

    assert (answer.status, answer.code) == (504, "FSS.0504")
    assert answer.headers["x-cff-request-id"] == rig.invoker.held[0].request_id
    assert rig.records == []
    rig.in_loop(lambda: rig.invoker.finish(rig.invoker.held[0], Outcome(0, b"late")))
    assert client.invoke("hello", b"3").body == b"3"
    rig.wait_until(lambda: [call.function.name for call, _outcome, _us in rig.records] == ["hold", "hello"])


def test_client_that_leaves_does_not_stop_the_function(rig: Rig) -> None:
    client = rig.client()
    client.send(request("hold"))
    rig.wait_until(lambda: len(rig.invoker.held) == 1)
    client.sock.close()
    rig.in_loop(lambda: rig.invoker.finish(rig.invoker.held[0], Outcome(0, b"1")))
    rig.wait_until(lambda: len(rig.records) == 1)

    assert rig.client().invoke().status == 200


def test_fault_while_answering_costs_one_connection(rig: Rig) -> None:
    client = rig.client()
    client.send(request("crash"))

    assert client.rest() == b""
    assert rig.client().invoke().status == 200


def test_fault_of_the_invoker_is_an_answer_without_details(rig: Rig) -> None:
    client = rig.client()
    answer = client.invoke("bug")

    assert (answer.status, answer.code) == (500, "FSS.0500")
    assert b"Zero" not in answer.body
    assert client.invoke().status == 200


def test_administrators_need_no_credentials_and_reach_every_project(rig: Rig) -> None:
    client = rig.admin()
    answer = client.ask(f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{{}}".encode())

    assert answer.status == 200
