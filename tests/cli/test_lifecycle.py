"""Options for memory by request, heartbeat and pre-stop."""

from pathlib import Path

import pytest

from tests.cli.api import Api
from tests.cli.conftest import Fgd
from tests.cli.test_commands import CONFIG, FUNCTIONS, HELLO


def test_settings_travel_with_deploy_and_update(api: Api, fgd: Fgd, tmp_path: Path) -> None:
    options = ("--dynamic-memory", "--heartbeat", "index.beat", "--pre-stop", "index.bye", "--pre-stop-timeout", "20")
    api.answer(f"POST {FUNCTIONS}", CONFIG)
    assert 0 == fgd("deploy", HELLO, "--runtime", "Python3.12", *options).code
    body = api.sent(f"POST {FUNCTIONS}")[0].json()
    assert (True, "index.beat") == (body["enable_dynamic_memory"], body["heartbeat_handler"])
    assert ("index.bye", 20) == (body["pre_stop_handler"], body["pre_stop_timeout"])

    api.answer(f"GET {FUNCTIONS}/hello/config", CONFIG)
    api.answer(f"PUT {FUNCTIONS}/hello/config", CONFIG)
    assert 0 == fgd("functions", "update", "hello", "--no-dynamic-memory", "--heartbeat", "", "--pre-stop", "").code
    body = api.sent(f"PUT {FUNCTIONS}/hello/config")[0].json()
    assert (False, "", "") == (body["enable_dynamic_memory"], body["heartbeat_handler"], body["pre_stop_handler"])
    assert "pre_stop_timeout" not in body


def test_show_tells_them(api: Api, fgd: Fgd) -> None:
    more = {
        "enable_dynamic_memory": True, "heartbeat_handler": "index.beat", "pre_stop_handler": "index.bye",
        "pre_stop_timeout": 20,
    }  # fmt: skip
    api.answer(f"GET {FUNCTIONS}/hello/config", CONFIG | more)
    shown = fgd("functions", "show", "hello").out

    assert "128 MB, 300 millicores; a request may choose" in shown
    assert "index.beat" in shown
    assert "index.bye (20 s)" in shown


@pytest.mark.parametrize("how", [(), ("--async",), ("--tail",)])
def test_invoke_sends_the_memory_it_was_told(api: Api, fgd: Fgd, how: tuple[str, ...]) -> None:
    kind = "invocations-async" if "--async" in how else "invocations"
    answer = {"request_id": "r-1"} if "--async" in how else b'"done"'
    api.answer(f"POST {FUNCTIONS}/hello/{kind}", answer, 202 if "--async" in how else 200)
    ran = fgd("invoke", "hello", "--memory", "512", *how)
    plain = fgd("invoke", "hello", *how)
    first, second = api.sent(f"POST {FUNCTIONS}/hello/{kind}")

    assert (0, 0) == (ran.code, plain.code), ran.err
    assert "512" == first.headers["x-cff-instance-memory"]
    assert "x-cff-instance-memory" not in second.headers


def test_refused_memory_ends_with_3(api: Api, fgd: Fgd) -> None:
    for kind, how in (("invocations", ()), ("invocations-async", ("--async",))):
        refusal = {"error_code": "FSS.0406", "error_msg": "X-Cff-Instance-Memory: must be one of 128, ..."}
        api.answer(f"POST {FUNCTIONS}/hello/{kind}", refusal, 406)
        ran = fgd("invoke", "hello", "--memory", "7", *how)

        assert 3 == ran.code
        assert "FSS.0406" in ran.err
