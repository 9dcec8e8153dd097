"""Reserved instances over the API: as the official SDK and Terraform speak it, and what is refused."""

import time
from pathlib import Path
from typing import Any

import pytest
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkfunctiongraph import v2 as sdk

from fgd.config import Config
from fgd.store.history import Minute
from tests.api.harness import Api, running_api
from tests.api.test_sdk import client, new_function

__all__ = ["client"]

CRON: dict[str, object] = {"name": "c", "cron": "0 0 8 * * *", "count": 5}
METRIC: dict[str, object] = {"name": "m", "type": "Concurrency", "threshold": 60, "min": 2}


def _with(count: int, **tactics: object) -> dict[str, object]:
    return {"count": count, "tactics_config": tactics}


def _put(client: Any, urn: str, count: int, **fields: Any) -> Any:
    body = sdk.UpdateFunctionReservedInstancesCountRequestBody(count=count, **fields)
    return client.update_function_reserved_instances_count(
        sdk.UpdateFunctionReservedInstancesCountRequest(function_urn=urn, body=body)
    )


def test_sdk_sets_lists_and_takes_away(api: Api, client: Any) -> None:
    created = new_function(client, "sdk-reserved")
    tactics = sdk.TacticsConfig(
        cron_configs=[
            sdk.CronConfig(name="c", cron="0 0 8 * * *", count=5, start_time=1_900_000_000, expired_time=1_900_100_000)
        ],
        metric_configs=[sdk.MetricConfig(name="m", type="Concurrency", threshold=60, min=4)],
    )
    answer = _put(client, created.func_urn, 2, idle_mode=True, tactics_config=tactics)
    assert (2, True, tactics) == (answer.count, answer.idle_mode, answer.tactics_config)

    configs = client.list_reserved_instance_configs(sdk.ListReservedInstanceConfigsRequest(function_urn="sdk-reserved"))
    (config,) = configs.reserved_instances
    assert (created.func_urn, "version", "latest") == (
        config.function_urn, config.qualifier_type, config.qualifier_name,
    )  # fmt: skip
    assert (2, True, tactics) == (config.min_count, config.idle_mode, config.tactics_config)
    counts = client.list_function_reserved_instances(sdk.ListFunctionReservedInstancesRequest(urn=created.func_urn))
    assert [(created.func_urn, 4)] == [(one.func_urn, one.count) for one in counts.reservedinstances]
    assert (4, True) == api.keeper.aimed[created.func_id, "latest"]
    shown = client.show_function_config(sdk.ShowFunctionConfigRequest(function_urn=created.func_urn))
    assert shown.reserved_instance_idle_mode is True
    assert 2 == api.v2("GET", f"{api.of('sdk-reserved')}/config")[1]["reserved_instance_count"]

    _put(client, created.func_urn, 0, idle_mode=False)
    configs = client.list_reserved_instance_configs(sdk.ListReservedInstanceConfigsRequest(function_urn="sdk-reserved"))
    assert ([], 0) == (configs.reserved_instances, configs.count)
    assert (created.func_id, "latest") not in api.keeper.aimed


def test_report_has_a_point_for_each_minute(api: Api, client: Any) -> None:
    created = new_function(client, "sdk-report")
    minute = int(time.time() // 60) - 3
    rows = [Minute(created.func_id, "latest", minute + at, 10, 1.0, 4 + at, 2) for at in range(3)]
    old = Minute(created.func_id, "latest", minute - 1500, 10, 1.0, 99, 2)
    api.do(api.services.history.add, [*rows, old])
    request = sdk.ShowFuncReservedInstanceMetricsRequest(func_urn=created.func_urn)
    answer = client.show_func_reserved_instance_metrics(request)

    assert [4, 5, 6] == [one.value for one in answer.instance_num]
    assert [2, 2, 2] == [one.value for one in answer.reserved_instance_num]
    assert minute * 60_000 == answer.instance_num[0].timestamp
    status, page = api.v2("GET", f"{api.of('sdk-report')}/instancereports?marker=1&limit=1")
    assert (200, [5]) == (status, [one["value"] for one in page["instanceNum"]])
    forecast = api.v2("GET", f"{api.of('sdk-report')}/reservedinstances/forecast")[1]
    assert ["high_performance", "balance", "low_cost"] == [one["level"] for one in forecast["levels"]]
    assert 30 == forecast["requests"]


def test_terraform_reads_all_qualifiers_page_by_page_until_one_is_empty(api: Api) -> None:
    api.function("tf")
    path = api.of("tf")
    for version in ("v1", "v2"):
        api.v2("PUT", f"{path}/config", {"runtime": "Python3.12", "description": version})
        assert 200 == api.v2("POST", f"{path}/versions", {"version": version})[0]
    assert 200 == api.v2("POST", f"{path}/aliases", {"name": "live", "version": "v2"})[0]
    for qualifier in ("latest", "v1", "!live"):
        answer = api.v2("PUT", f"{path}:{qualifier}/reservedinstances", {"count": 1, "idle_mode": False})
        assert (200, {"count": 1, "idle_mode": False, "tactics_config": None}) == answer
    region, project = api.services.config.region, api.keys["project_id"]
    urn = f"urn:fss:{region}:{project}:function:default:tf:latest"
    found: list[tuple[str, str]] = []
    sizes: list[int] = []
    while not sizes or sizes[-1]:
        query = f"function_urn={urn}&limit=2&marker={len(found)}"
        status, page = api.v2("GET", f"/functions/reservedinstanceconfigs?{query}")
        assert (200, 3) == (status, page["count"])
        sizes.append(len(page["reserved_instances"]))
        assert sizes[-1] == page["page_info"]["current_count"]
        found += [(one["qualifier_type"], one["qualifier_name"]) for one in page["reserved_instances"]]

    assert [2, 1, 0] == sizes
    assert [("alias", "live"), ("version", "latest"), ("version", "v1")] == found
    everything = api.v2("GET", "/functions/reservedinstances")[1]
    assert {f"{urn.rpartition(':')[0]}:{name}" for name in ("!live", "latest", "v1")} <= {
        one["func_urn"] for one in everything["reservedinstances"]
    }
    assert 1 == api.v2("GET", f"{path}:v2/config")[1]["reserved_instance_count"], "the alias's main version"


def test_recommendation_is_a_policy_of_its_own(api: Api) -> None:
    api.function("wise")
    path = f"{api.of('wise')}/reservedinstances"
    tactics = {"recommend_config": {"level": "balance"}}

    assert (200, {"count": 0, "idle_mode": False, "tactics_config": tactics}) == api.v2(
        "PUT", path, {"count": 0, "tactics_config": tactics}
    )
    for other in ({"cron_configs": [CRON]}, {"metric_configs": [METRIC]}):
        status, answer = api.v2("PUT", path, {"count": 0, "tactics_config": tactics | other})
        assert (400, "FSS.0400") == (status, answer["error_code"])
        assert answer["error_msg"].startswith("tactics_config.recommend_config: ")
    assert 200 == api.v2("PUT", path, {"count": 0, "tactics_config": None})[0]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "FSS.0400", "count"),
        ({"count": None}, "FSS.0400", "count"),
        ({"count": "3"}, "FSS.0400", "count"),
        ({"count": True}, "FSS.0400", "count"),
        ({"count": -1}, "FSS.0400", "count"),
        ({"count": 1.5}, "FSS.0400", "count"),
        ({"count": 1001}, "FSS.1076", "count"),
        ({"count": 401}, "FSS.1076", "count"),  # the function may have 400 instances
        ({"count": 300}, "FSS.1076", "count"),  # more than the node can keep
        ({"count": 1, "idle_mode": "yes"}, "FSS.0400", "idle_mode"),
        ({"count": 1, "tactics_config": []}, "FSS.0400", "tactics_config"),
        ({"count": 1, "tactics_config": {"cron_configs": {}}}, "FSS.0400", "tactics_config.cron_configs"),
        ({"count": 1, "tactics_config": {"cron_configs": [1]}}, "FSS.0400", "tactics_config.cron_configs[0]"),
        *(
            (_with(2, cron_configs=[CRON | change]), code, f"tactics_config.cron_configs[0].{field}")
            for change, code, field in (
                ({"name": ""}, "FSS.0400", "name"),
                ({"name": "x" * 65}, "FSS.0400", "name"),
                ({"name": None}, "FSS.0400", "name"),
                ({"cron": None}, "FSS.0400", "cron"),
                ({"cron": "0 0 8"}, "FSS.0400", "cron"),
                ({"cron": "@every 5m"}, "FSS.0400", "cron"),
                ({"count": 1}, "FSS.0400", "count"),
                ({"count": 1001}, "FSS.1076", "count"),
                ({"count": None}, "FSS.0400", "count"),
                ({"start_time": "now"}, "FSS.0400", "start_time"),
                ({"start_time": -1}, "FSS.0400", "start_time"),
                ({"expired_time": 10**15}, "FSS.0400", "expired_time"),
                ({"start_time": 20, "expired_time": 20}, "FSS.0400", "expired_time"),
            )
        ),
        *(
            (_with(1, metric_configs=[METRIC | change]), code, f"tactics_config.metric_configs[0].{field}")
            for change, code, field in (
                ({"type": "Memory"}, "FSS.0400", "type"),
                ({"threshold": 0}, "FSS.0400", "threshold"),
                ({"threshold": 100}, "FSS.0400", "threshold"),
                ({"threshold": None}, "FSS.0400", "threshold"),
                ({"min": 0}, "FSS.0400", "min"),
                ({"min": 1001}, "FSS.1076", "min"),
            )
        ),
        ({"count": 1, "tactics_config": {"cron_configs": [CRON, CRON]}}, "FSS.0400", "tactics_config"),
        (
            {"count": 1, "tactics_config": {"cron_configs": [CRON | {"name": str(n)} for n in range(21)]}},
            "FSS.0400",
            "tactics_config",
        ),
        ({"count": 1, "tactics_config": {"cron_configs": [CRON | {"count": 150}]}}, "FSS.1076", "tactics_config"),
        (_with(1, recommend_config={"level": "best"}), "FSS.0400", "tactics_config.recommend_config.level"),
        (_with(1, recommend_config=["balance"]), "FSS.0400", "tactics_config.recommend_config"),
    ],
)  # fmt: skip
def test_bad_settings_are_refused_by_field_and_change_nothing(
    api: Api, body: dict[str, Any], code: str, field: str
) -> None:
    if api.v2("GET", f"{api.of('strict')}/config")[0] == 404:
        api.function("strict")
    path = f"{api.of('strict')}/reservedinstances"
    api.v2("PUT", path, {"count": 1})
    before = dict(api.keeper.aimed)
    status, answer = api.v2("PUT", path, body)

    assert (400, code) == (status, answer.get("error_code")), answer
    assert answer["error_msg"].startswith(f"{field}: ")
    assert before == api.keeper.aimed


def test_what_is_not_there_or_somebody_elses_is_told(api: Api, client: Any) -> None:
    created = new_function(client, "sdk-missing")
    for urn, code in (
        (created.func_urn.replace("sdk-missing", "nobody"), "FSS.1051"),
        (created.func_urn.replace("latest", "v9"), "FSS.1052"),
        (created.func_urn.replace("latest", "!none"), "FSS.1053"),
    ):
        with pytest.raises(ClientRequestException) as refused:
            _put(client, urn, 1)
        assert code == refused.value.error_code
    other = "urn:fss:local:" + "0" * 32 + ":function:default:f:latest"
    for query in (f"reservedinstanceconfigs?function_urn={other}", f"reservedinstances?urn={other}"):
        assert 403 == api.v2("GET", f"/functions/{query}")[0]
    for query in ("reservedinstanceconfigs?limit=-1", "reservedinstances?marker=x"):
        assert (400, "FSS.1001") == (
            (answer := api.v2("GET", f"/functions/{query}"))[0],
            answer[1]["error_code"],
        )


def test_settings_of_a_function_cannot_carry_the_count(api: Api) -> None:
    api.function("carried")
    change = {"runtime": "Python3.12", "reserved_instance_count": 3}
    status, answer = api.v2("PUT", f"{api.of('carried')}/config", change)

    assert (400, "FSS.0400") == (status, answer["error_code"])
    assert answer["error_msg"].startswith("reserved_instance_count: ")
    api.v2("PUT", f"{api.of('carried')}/reservedinstances", {"count": 3})
    assert 200 == api.v2("PUT", f"{api.of('carried')}/config", change)[0]


def test_reservations_survive_a_restart(tmp_path: Path) -> None:
    tactics = {"cron_configs": [CRON | {"start_time": 5, "expired_time": None}], "metric_configs": [METRIC]}
    with running_api(tmp_path, Config()) as first:
        func_id = first.function("lasting")["func_id"]
        answer = first.v2("PUT", f"{first.of('lasting')}/reservedinstances", {"count": 2, "tactics_config": tactics})
        assert (200, tactics) == (answer[0], answer[1]["tactics_config"])
    with running_api(tmp_path, Config()) as second:
        listed = second.send("GET", "/v2/0123456789abcdef0123456789abcdef/fgs/functions/reservedinstanceconfigs")[1]

        assert (2, False) == second.keeper.aimed[func_id, "latest"]
        assert [tactics] == [one["tactics_config"] for one in listed["reserved_instances"]]
