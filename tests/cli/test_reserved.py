"""`fgd reserved`: what it sends and prints."""

import json
from typing import Any

import pytest

from tests.cli.api import PROJECT, Api
from tests.cli.conftest import Fgd
from tests.cli.test_commands import CONFIG, FUNCTIONS

URN = f"urn:fss:local:{PROJECT}:function:default:hello"
CRON = {"name": "day", "cron": "0 0 8 * * *", "count": 9, "start_time": None, "expired_time": 1_900_000_000}
METRIC = {"name": "use", "type": "Concurrency", "threshold": 60, "min": 2}
PUT = f"PUT {FUNCTIONS}/hello/reservedinstances"


def _lay_out(api: Api, qualifier: str = "latest", **tactics: Any) -> None:
    config = {
        "function_urn": f"{URN}:{qualifier}", "qualifier_type": "version", "qualifier_name": qualifier,
        "min_count": 2, "idle_mode": True, "tactics_config": tactics or None,
    }  # fmt: skip
    api.answer(f"GET {FUNCTIONS}/hello/config", CONFIG)
    api.answer(f"GET {FUNCTIONS}/reservedinstanceconfigs", {"reserved_instances": [config], "count": 1})
    api.answer(
        f"GET {FUNCTIONS}/reservedinstances",
        {"reservedinstances": [{"func_urn": f"{URN}:{qualifier}", "count": 9}], "count": 1},
    )
    api.answer(PUT, {"count": 2, "idle_mode": True, "tactics_config": tactics or None})


def _sent(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = api.sent(PUT)[-1].json()
    return found


def test_list_shows_what_is_fixed_what_is_kept_now_and_why(api: Api, fgd: Fgd) -> None:
    _lay_out(api, "v1", cron_configs=[CRON], metric_configs=[METRIC])
    ran = fgd("reserved", "list")
    named = fgd("reserved", "list", "hello", "--json")

    assert 0 == ran.code, ran.err
    assert ran.out.splitlines()[1].split()[:4] == ["hello@v1", "2", "9", "yes"]
    assert "day: 9 at 0 0 8 * * * until 2030-03-17T17:46:40Z, use: 60 % in use, 2 or more" in ran.out
    (one,) = json.loads(named.out)["reserved_instances"]
    assert (2, 9) == (one["min_count"], one["count"])
    assert "function_urn=hello" in api.sent(f"GET {FUNCTIONS}/reservedinstanceconfigs")[-1].query


def test_set_keeps_the_policies_and_the_idle_mode(api: Api, fgd: Fgd) -> None:
    _lay_out(api, cron_configs=[CRON])
    assert 0 == fgd("reserved", "set", "hello", "5").code
    assert {"count": 5, "idle_mode": True, "tactics_config": {"cron_configs": [CRON]}} == _sent(api)
    ran = fgd("reserved", "set", "hello", "5", "--no-idle-mode")
    assert not _sent(api)["idle_mode"]
    assert "kept now   9" in ran.out


def test_policies_are_added_and_replaced_by_their_name(api: Api, fgd: Fgd) -> None:
    _lay_out(api, cron_configs=[CRON], metric_configs=[METRIC])
    words = ("--cron", "0 0 20 * * *", "--count", "3", "--from", "2030-05-01T08:00:00", "--until", "2030-05-02")
    assert 0 == fgd("reserved", "schedule", "hello", "day", *words).code
    (policy,) = _sent(api)["tactics_config"]["cron_configs"]
    assert (3, 1_903_852_800, 1_903_910_400) == (policy["count"], policy["start_time"], policy["expired_time"])
    assert [METRIC] == _sent(api)["tactics_config"]["metric_configs"]
    assert 0 == fgd("reserved", "metric", "hello", "day", "--use", "70").code
    tactics = _sent(api)["tactics_config"]
    assert [] == tactics["cron_configs"]
    assert [("use", 60), ("day", 70)] == [(one["name"], one["threshold"]) for one in tactics["metric_configs"]]


def test_recommend_and_remove(api: Api, fgd: Fgd) -> None:
    _lay_out(api)
    assert 0 == fgd("reserved", "recommend", "hello", "balance").code
    assert {"recommend_config": {"level": "balance"}} == _sent(api)["tactics_config"]
    _lay_out(api, recommend_config={"level": "balance"})
    assert 0 == fgd("reserved", "remove", "hello", "recommend").code
    assert "recommend_config" not in _sent(api)["tactics_config"]
    assert "nothing is reserved" in fgd("reserved", "remove", "hello").out
    assert {"count": 0, "idle_mode": False} == _sent(api)
    missing = fgd("reserved", "remove", "hello", "night")
    assert (2, True) == (missing.code, "it has recommend" in missing.err)


def test_alias_is_told_apart_from_its_version(api: Api, fgd: Fgd) -> None:
    _lay_out(api, "!live")
    path = f"{FUNCTIONS}/{PROJECT}:default:hello:!live"
    api.answer(f"GET {path}/config", CONFIG | {"func_urn": f"{URN}:v1"})
    shown = fgd("reserved", "show", "hello@!live")

    assert 0 == shown.code, shown.err
    assert ["2", "9", "yes"] == [line.split()[-1] for line in shown.out.splitlines()]


def test_forecast_is_a_table_of_levels(api: Api, fgd: Fgd) -> None:
    levels = [{"level": "balance", "instances_now": 3, "instance_hours": 41.25, "beyond_percent": 0.125}]
    api.answer(f"GET {FUNCTIONS}/hello/reservedinstances/forecast", {"minutes": 90, "requests": 1234, "levels": levels})
    ran = fgd("reserved", "forecast", "hello")

    assert "the last 1.5 hours with 1234 requests" in ran.out
    assert ["balance", "3", "41.2", "0.12"] == ran.out.splitlines()[-1].split()


@pytest.mark.parametrize(
    "words",
    [
        ("set", "hello", "many"),
        ("schedule", "hello", "p", "--count", "3"),
        ("recommend", "hello", "best"),
        ("schedule", "hello", "p", "--cron", "0 0 8 * * *", "--count", "3", "--from", "tomorrow"),
    ],
)
def test_wrong_words_end_with_2_and_send_nothing(api: Api, fgd: Fgd, words: tuple[str, ...]) -> None:
    _lay_out(api)

    assert 2 == fgd("reserved", *words).code
    assert [] == api.sent(PUT)
