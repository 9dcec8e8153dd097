"""Quotas: every type, what is used of it, and the setting behind it."""

from typing import Any

from huaweicloudsdkfunctiongraph import v2 as sdk

from fgd.config import Config
from tests.api.harness import Api
from tests.api.test_sdk import client

__all__ = ["client"]

#: As the API names them.
TYPES = {
    "fgs_func_scale_down_timeout", "fgs_func_occurs", "fgs_func_pat_idle_time", "fgs_func_num", "fgs_func_code_size",
    "fgs_workflow_num", "fgs_on_demand_instance_limit", "fgs_func_qos_limit",
}  # fmt: skip


def _quotas(api: Api) -> dict[str, dict[str, Any]]:
    status, answer = api.v2("GET", "/quotas")
    assert 200 == status
    return {one["type"]: one for one in answer["quotas"]["resources"]}


def test_every_type_has_a_total_and_what_is_used(api: Api) -> None:
    found = _quotas(api)
    config = api.services.config

    assert TYPES == set(found)
    assert config.functions_max == found["fgs_func_num"]["quota"]
    assert (config.code_quota_mib, "MB") == (
        found["fgs_func_code_size"]["quota"], found["fgs_func_code_size"]["unit"],
    )  # fmt: skip
    assert config.sandboxes_max == found["fgs_func_qos_limit"]["quota"]
    assert {""} == {one["unit"] for name, one in found.items() if name != "fgs_func_code_size"}


def test_settings_that_are_named_exist(api: Api) -> None:
    for one in _quotas(api).values():
        assert not one["setting"] or hasattr(Config(), one["setting"])


def test_functions_code_and_instances_are_counted(api: Api) -> None:
    before = _quotas(api)["fgs_func_num"]["used"]
    first, second = api.function("counted-1"), api.function("counted-2")
    api.instances |= {first["func_id"]: 3, second["func_id"]: 2, "of another project": 9}
    found = _quotas(api)

    assert before + 2 == found["fgs_func_num"]["used"]
    assert 1 == found["fgs_func_code_size"]["used"]
    assert 5 == found["fgs_func_qos_limit"]["used"]
    assert 3 == found["fgs_on_demand_instance_limit"]["used"]


def test_the_sdk_reads_them(client: Any) -> None:
    found = client.list_quotas(sdk.ListQuotasRequest()).quotas.resources

    assert set() == TYPES - {one.type for one in found}
    assert all(isinstance(one.quota, int) and isinstance(one.used, int) for one in found)


def test_reserved_instances_are_counted(api: Api) -> None:
    before = _quotas(api)["fgs_func_occurs"]
    api.function("reserving")
    status, answer = api.v2("PUT", api.of("reserving") + "/reservedinstances", {"count": 2})
    assert 200 == status, answer
    after = _quotas(api)["fgs_func_occurs"]

    assert before["used"] + 2 == after["used"] <= after["quota"]
    api.v2("PUT", api.of("reserving") + "/reservedinstances", {"count": 0})
    assert before["used"] == _quotas(api)["fgs_func_occurs"]["used"]
