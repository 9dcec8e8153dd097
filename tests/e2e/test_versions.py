"""Versions and aliases as callers meet them."""

import os
import threading
from collections.abc import Callable

import pytest

from fgd.testing.client import Answer, Client, Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.parallel import Flood

SAYS = """
import os, time
def handler(event, context):
    time.sleep(event.get("s", 0))
    return {"v": %d, "version": context.getVersion(), "alias": context.getAlias(), "how": context.getInvokeType(),
            "env": os.environ["RUNTIME_FUNC_VERSION"]}
"""


def bare(urn: str) -> str:
    return urn.rpartition(":")[0]


@pytest.fixture
def versions(api: Client, deploy: Callable[..., str]) -> str:
    """A function with code 1 in v1 and code 2 in v2; its URN without a version."""
    urn = bare(deploy(SAYS % 1))
    publish(api, urn, "v1")
    replace_code(api, urn, SAYS % 2)
    publish(api, urn, "v2")
    return urn


def publish(api: Client, urn: str, name: str) -> None:
    answer = api.functions("POST", f"/{urn}/versions", {"version": name})
    assert answer.status == 200, answer.text


def replace_code(api: Client, urn: str, source: str) -> None:
    answer = api.replace_code(urn, source)
    assert answer.status == 200, answer.text


def point(api: Client, urn: str, method: str, **fields: object) -> Answer:
    rest = "" if method == "POST" else "/live"
    body = {"name": "live", **fields}
    answer = api.functions(method, f"/{urn}/aliases{rest}", body)
    assert answer.status == 200, answer.text
    return answer


def test_each_version_runs_its_own_code_and_knows_its_name(api: Client, versions: str) -> None:
    replace_code(api, versions, SAYS % 3)
    found = {name: api.invoke(f"{versions}:{name}").json() for name in ("v1", "v2", "latest")}

    assert {"v1": 1, "v2": 2, "latest": 3} == {name: one["v"] for name, one in found.items()}
    assert ["v1", "v2", "latest"] == [one["version"] for one in found.values()]
    assert ["v1", "v2", "latest"] == [one["env"] for one in found.values()]
    assert 404 == api.invoke(f"{versions}:v9").status
    assert "FSS.1052" == api.invoke(f"{versions}:v9").error_code
    assert "FSS.1053" == api.invoke(f"{versions}:!nobody").error_code


def test_a_move_of_an_alias_takes_effect_with_the_next_request_and_spares_those_at_work(
    api: Client, versions: str, daemon: DaemonProcess, keys: Keys
) -> None:
    point(api, versions, "POST", version="v1")
    live = f"{versions}:!live"
    slow: list[Answer] = []
    caller = threading.Thread(target=lambda: slow.append(daemon.client(keys).invoke(live, {"s": 1.0})))
    caller.start()
    assert eventually(lambda: api.request("GET", "/metrics").text.count('state="busy"') > 0, 5)
    point(api, versions, "PUT", version="v2")
    after = api.invoke(live).json()
    caller.join()

    assert 2 == after["v"]
    assert (1, "v1", "live") == (slow[0].json()["v"], slow[0].json()["version"], slow[0].json()["alias"])


def test_instances_of_a_version_that_no_alias_points_to_any_more_are_ended(
    api: Client, versions: str, daemon: DaemonProcess
) -> None:
    point(api, versions, "POST", version="v1")
    api.invoke(f"{versions}:!live")
    assert eventually(lambda: "v1" in _running(daemon, versions), 5)
    point(api, versions, "PUT", version="v2")

    assert eventually(lambda: "v1" not in _running(daemon, versions), 5)
    assert 1 == api.invoke(f"{versions}:v1").json()["v"]


def _running(daemon: DaemonProcess, urn: str) -> set[str]:
    """Versions of the function that have instances, by the metrics."""
    name = urn.rpartition(":")[2]
    lines = daemon.admin("GET", "/metrics").text.splitlines()
    mine = [line for line in lines if line.startswith("fgd_instances{") and f'"{name}"' in line]
    return {line.split('version="')[1].split('"')[0] for line in mine if not line.endswith(" 0")}


def test_a_share_of_the_requests_goes_to_the_additional_version(
    api: Client, versions: str, daemon: DaemonProcess, keys: Keys
) -> None:
    point(api, versions, "POST", version="v1", additional_version_weights={"v2": 20})
    live = f"{versions}:!live"
    calls = int(os.environ.get("FGD_TEST_SPLIT_CALLS", "1000"))
    # both versions have an instance, so that no call waits for one
    Flood(lambda: daemon.client(keys), 8, lambda client: client.invoke(live)).finish()
    found = [api.invoke(live).json()["v"] for _ in range(calls)]

    assert 0.20 == pytest.approx(found.count(2) / calls, abs=0.01)


def test_header_rules_choose_the_version(api: Client, versions: str) -> None:
    rules = [
        {"rule_type": "Header", "param": "X-User", "op": "=", "value": "ann"},
        {"rule_type": "Header", "param": "x-ring", "op": "in", "value": "beta, gamma"},
    ]
    strategy = {"v2": {"combine_type": "and", "rules": rules}}
    point(api, versions, "POST", version="v1", additional_version_strategy=strategy)
    live = f"{versions}:!live"

    assert 2 == api.invoke(live, x_user="ann", X_Ring="gamma").json()["v"]
    assert 1 == api.invoke(live, x_user="ann").json()["v"]
    assert 1 == api.invoke(live, x_user="Ann", x_ring="beta").json()["v"]
    [shown] = api.functions("GET", f"/{versions}/aliases").json()
    assert "and" == shown["additional_version_strategy"]["v2"]["combine_type"]
    assert "x-user" == shown["additional_version_strategy"]["v2"]["rules"][0]["param"]


def test_asynchronous_events_run_on_the_version_that_the_alias_chose(api: Client, versions: str) -> None:
    point(api, versions, "POST", version="v1")
    code = """
def handler(event, context):
    print("ran", context.getVersion(), context.getAlias(), context.getInvokeType())
"""
    replace_code(api, versions, code)
    publish(api, versions, "v3")
    point(api, versions, "PUT", version="v3")
    answer = api.enqueue(f"{versions}:!live")

    assert 202 == answer.status
    path = f"/fgd/v1/functions/{versions}/logs"
    assert eventually(lambda: "ran v3 live async" in api.request("GET", path).text, 10)


def test_a_disabled_function_refuses_its_versions_too(api: Client, versions: str) -> None:
    api.invoke(f"{versions}:v1")
    for limit, expected in ((0, 403), (5, 200)):
        api.functions("PUT", f"/{versions}/config-max-instance", {"max_instance_num": limit})

        assert expected == api.invoke(f"{versions}:v1").status
        assert expected == api.invoke(versions).status
