"""Targets as people write them, and what has not arrived."""

import json
from typing import Any

import pytest

from tests.cli.api import PROJECT, Api
from tests.cli.conftest import Fgd

CONFIG = f"/v2/{PROJECT}/fgs/functions/hello/async-invoke-config"
DELIVERIES = "/fgd/v1/functions/hello/async-deliveries"
ONE = {
    "id": 7, "request_id": "r1", "func_urn": "urn", "outcome": "failure", "destination": "Webhook", "param": "{}",
    "status": "FAIL", "tries": 20, "error": "away", "created_time": "2026-11-26T22:40:00Z", "next_try": None,
    "failed_time": "2026-11-26T23:40:00Z",
}  # fmt: skip


def stored(success: object, failure: object) -> dict[str, Any]:
    return {
        "max_async_retry_attempts": 1, "max_async_event_age_in_seconds": 3600,
        "destination_config": {"on_success": success, "on_failure": failure},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "kind", "param"),
    [
        ("FunctionGraph:other", "FunctionGraph", {"func_urn": "other"}),
        ("FunctionGraph:other@!live", "FunctionGraph", {"func_urn": f"{PROJECT}:default:other:!live"}),
        ("FunctionGraph:urn:fss:r:p:function:default:f:v1", "FunctionGraph",
         {"func_urn": "urn:fss:r:p:function:default:f:v1"}),
        ("OBS:results", "OBS", {"bucket": "results", "prefix": ""}),
        ("OBS:results/a/b-?expires=30", "OBS", {"bucket": "results", "prefix": "a/b-", "expires": 30}),
        ("Webhook:https://hooks.test/a?b=c", "Webhook", {"url": "https://hooks.test/a?b=c"}),
        ("SMN:urn:smn:r:p:topic", "SMN", {"topic_urn": "urn:smn:r:p:topic"}),
        ("DIS:stream", "DIS", {"stream_name": "stream"}),
        ('Queue:{"name": "q"}', "Queue", {"name": "q"}),
    ],
)  # fmt: skip
def test_targets_become_what_the_api_takes(api: Api, fgd: Fgd, words: str, kind: str, param: object) -> None:
    api.answer(f"PUT {CONFIG}", stored(None, None))
    ran = fgd("async", "config", "hello", "--on-success", words)
    [sent] = api.sent(f"PUT {CONFIG}")
    target = sent.json()["destination_config"]["on_success"]

    assert 0 == ran.code, ran.err
    assert (kind, param) == (target["destination"], json.loads(target["param"]))


def test_the_other_target_stays_and_none_removes_one(api: Api, fgd: Fgd) -> None:
    hook = {"destination": "Webhook", "param": '{"url":"https://hooks.test/"}'}
    api.answer(f"GET {CONFIG}", stored(hook, hook))
    api.answer(f"PUT {CONFIG}", stored(hook, None))
    ran = fgd("async", "config", "hello", "--on-failure", "none")
    [sent] = api.sent(f"PUT {CONFIG}")

    assert {"on_success": hook, "on_failure": None} == sent.json()["destination_config"]
    assert 'on success      Webhook {"url":"https://hooks.test/"}' in ran.out
    assert "on failure" not in ran.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("async", "config", "hello", "--on-success", "other"), "--on-success: must be FunctionGraph:NAME"),
        (("async", "config", "hello", "--on-failure", "OBS:"), "--on-failure: must be FunctionGraph:NAME"),
        (("async", "config", "hello", "--on-success", "OBS:b?expires=soon"), "expires must be a number of days"),
        (("async", "config", "hello", "--on-success", "Queue:q"), "settings of the kind Queue are written as JSON"),
        (("async", "config", "hello", "--on-success", "Queue:{q}"), "is not JSON"),
        (("async", "config", "hello", "--reset", "--on-success", "none"), "--reset goes alone"),
        (("async", "retry", "hello"), "name deliveries by their numbers"),
        (("async", "drop", "hello", "1", "--all"), "name deliveries by their numbers"),
        (("async", "drop", "hello", "x"), "invalid int value"),
    ],
)
def test_wrong_words_say_what_to_write_instead(api: Api, fgd: Fgd, words: tuple[str, ...], message: str) -> None:
    ran = fgd(*words)

    assert 2 == ran.code
    assert message in ran.err
    assert [] == [one for one in api.requests if one.method in ("PUT", "POST")]


def test_deliveries_are_listed_and_shown(api: Api, fgd: Fgd) -> None:
    api.answer(f"GET {DELIVERIES}", {"deliveries": [ONE], "next_marker": 1})
    api.answer(f"GET {DELIVERIES}/7", ONE | {"document": "{}"})
    table = fgd("async", "deliveries", "hello", "--status", "FAIL", "--request", "r1").out.splitlines()
    [asked] = api.sent(f"GET {DELIVERIES}")

    assert ["ID", "REQUEST", "OUTCOME", "DESTINATION", "STATUS", "TRIES", "NEXT", "TRY", "ERROR"] == table[0].split()
    assert ["7", "r1", "failure", "Webhook", "FAIL", "20", "away"] == table[1].split()
    assert "status=FAIL&request_id=r1&limit=100" == asked.query
    assert [ONE] == json.loads(fgd("async", "deliveries", "hello", "--json").out)["deliveries"]
    assert "document      {}" in fgd("async", "delivery", "hello", "7").out


def test_nothing_on_its_way_is_said_in_words(api: Api, fgd: Fgd) -> None:
    api.answer(f"GET {DELIVERIES}", {"deliveries": [], "next_marker": 0})

    assert "nothing is on its way, and nothing failed\n" == fgd("async", "deliveries", "hello").out


@pytest.mark.parametrize(("what", "done"), [("retry", "tried again"), ("drop", "dropped")])
def test_failed_ones_are_settled_by_number_or_all(api: Api, fgd: Fgd, what: str, done: str) -> None:
    api.answer(f"POST {DELIVERIES}/{what}", {"count": 2})

    assert f"2 {done}\n" == fgd("async", what, "hello", "3", "7").out
    assert {"count": 2} == json.loads(fgd("async", what, "hello", "--all", "--json").out)
    assert [{"ids": [3, 7]}, {"all": True}] == [one.json() for one in api.sent(f"POST {DELIVERIES}/{what}")]
