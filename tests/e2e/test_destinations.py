"""Outcomes of asynchronous invocations arrive where the settings say, and what does not is shown."""

import json
import subprocess
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually, fgd_command
from tests.e2e.asynchronous import enqueued, finished
from tests.e2e.hooks import Hooks
from tests.e2e.sources import ACTOR, ECHO


class Rig:
    """A daemon that delivers, a client, and a web server that it may post to."""

    def __init__(self, daemon: DaemonProcess, api: Client, hooks: Hooks) -> None:
        self.daemon = daemon
        self.api = api
        self.hooks = hooks

    def aim(self, urn: str, **targets: tuple[str, dict[str, Any]]) -> None:
        """Sets targets, with no further try of events; `on_success=(kind, param)`."""
        config = {when: {"destination": kind, "param": json.dumps(param)} for when, (kind, param) in targets.items()}
        body = {"max_async_retry_attempts": 0, "destination_config": config}
        answer = self.api.functions("PUT", f"/{urn}/async-invoke-config", body)
        assert answer.status == 200, answer.text

    def objects(self, bucket: str) -> dict[str, Any]:
        """Documents in a bucket by their keys; none where there is no bucket."""
        if bucket not in [one["name"] for one in self.cli("buckets", "list")["buckets"]]:
            return {}
        keys = [one["key"] for one in self.cli("objects", "list", bucket)["objects"]]
        return {key: json.loads(self.daemon.cli("objects", "get", f"{bucket}/{key}", "-").stdout) for key in keys}

    def cli(self, *words: str) -> Any:
        command = [fgd_command(), "--json", "--admin-socket", str(self.daemon.admin_socket), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    settings: dict[str, object] = {
        "delivery_retry_first_s": 0.05, "delivery_tries_max": 3,
        "async_retry_first_s": 0.05, "drain_s": 5.0,
    }  # fmt: skip
    with Hooks() as hooks:
        settings["webhook_urls"] = hooks.url
        with DaemonProcess(tmp_path_factory.mktemp("fgd"), settings) as daemon:
            api = daemon.client(daemon.create_keys())
            yield Rig(daemon, api, hooks)
            api.close()


def test_an_outcome_goes_through_three_functions_into_a_bucket(rig: Rig) -> None:
    first, second, third = (rig.api.deploy(f"chain-{number}", ECHO) for number in (1, 2, 3))
    rig.aim(third, on_success=("OBS", {"bucket": "results", "prefix": "chain/", "expires": 1}))
    rig.aim(second, on_success=("FunctionGraph", {"func_urn": third}))
    rig.aim(first, on_success=("FunctionGraph", {"func_urn": second}))
    request_id = enqueued(rig.api, first, {"n": 1})

    assert eventually(lambda: len(rig.objects("results")) == 1)
    [(key, last)] = rig.objects("results").items()
    middle = json.loads(last["response_payload"])
    start = json.loads(middle["request_payload"])

    assert key.startswith("chain/")
    assert last["request_context"]["function_urn"] == third
    assert middle["request_context"]["function_urn"] == second
    assert start["request_context"]["request_id"] == request_id
    assert json.loads(start["request_payload"]) == json.loads(start["response_payload"]) == {"n": 1}


def test_a_failure_is_posted_to_a_webhook_as_the_guide_says(rig: Rig) -> None:
    urn = rig.api.deploy("fails", ACTOR)
    rig.aim(urn, on_failure=("Webhook", {"url": rig.hooks.url + "/failed?to=me"}))
    event = {"do": "raise", "text": "no"}
    request_id = enqueued(rig.api, urn, event)
    assert eventually(lambda: bool(rig.hooks.of(request_id)))
    [(path, headers, document)] = [one for one in rig.hooks.got if one[1]["x-cff-request-id"] == request_id]

    assert (path, headers["content-type"]) == ("/fgd/failed?to=me", "application/json")
    assert list(document) == [
        "timestamp", "request_context", "request_payload", "response_context", "response_payload",
    ]  # fmt: skip
    assert datetime.fromisoformat(document["timestamp"]).utcoffset() is not None
    assert document["request_context"] == {
        "request_id": request_id, "function_urn": urn, "condition": "UnhandledInvocationError",
        "approximate_invoke_count": 1,
    }  # fmt: skip
    assert json.loads(document["request_payload"]) == event
    assert document["response_context"]["status_code"] == 500
    assert "no" in document["response_context"]["function_error"]
    assert "errorMessage" in json.loads(document["response_payload"])


def test_a_target_that_is_away_gets_it_when_it_is_back(rig: Rig) -> None:
    urn = rig.api.deploy("patient", ECHO)
    rig.aim(urn, on_success=("Webhook", {"url": rig.hooks.url}))
    rig.hooks.status = 503
    request_id = enqueued(rig.api, urn, {})
    assert eventually(lambda: len(rig.hooks.of(request_id)) == 1)
    rig.hooks.status = 204

    assert eventually(lambda: len(rig.hooks.of(request_id)) == 2)
    assert eventually(lambda: rig.cli("async", "deliveries", "patient")["deliveries"] == [])
    assert finished(rig.api, urn, request_id)["status"] == "SUCCESS"


def test_what_does_not_arrive_is_shown_and_tried_again_or_dropped(rig: Rig) -> None:
    urn = rig.api.deploy("refused", ECHO)
    rig.aim(urn, on_success=("Webhook", {"url": rig.hooks.url}))
    rig.hooks.status = 500
    request_id = enqueued(rig.api, urn, {"n": 7})

    def failed() -> list[Any]:
        return list(rig.cli("async", "deliveries", "refused", "--status", "FAIL")["deliveries"])

    assert eventually(lambda: len(failed()) == 1)
    [one] = failed()
    assert (one["request_id"], one["tries"], one["destination"]) == (request_id, 3, "Webhook")
    assert one["error"].endswith("answered 500")
    document = rig.cli("async", "delivery", "refused", str(one["id"]))["document"]
    assert json.loads(document)["request_context"]["request_id"] == request_id
    log = "\n".join(rig.cli("logs", "refused", "--request", request_id)["lines"])
    assert "ERROR notification to Webhook failed for good after 3 tries" in log
    metrics = rig.daemon.admin("GET", "/metrics").text
    assert 'function="refused",version="latest",destination="Webhook",result="failed"} 1' in metrics
    assert "fgd_node_deliveries_failed 1" in metrics

    rig.hooks.status = 200
    assert rig.cli("async", "retry", "refused", str(one["id"])) == {"count": 1}
    assert eventually(lambda: len(rig.hooks.of(request_id)) == 4)
    assert eventually(lambda: rig.cli("async", "deliveries", "refused")["deliveries"] == [])

    rig.hooks.status = 500
    enqueued(rig.api, urn, {})
    assert eventually(lambda: len(failed()) == 1)
    assert rig.cli("async", "drop", "refused", "--all") == {"count": 1}
    assert failed() == []
    rig.hooks.status = 200


def test_settings_by_command_name_targets_as_people_write_them(rig: Rig) -> None:
    rig.api.deploy("aimed", ECHO)
    rig.api.deploy("aimed-at", ECHO)
    shown = rig.cli(
        "async", "config", "aimed", "--on-success", "FunctionGraph:aimed-at",
        "--on-failure", "OBS:results/failed/?expires=30",
    )["destination_config"]  # fmt: skip
    changed = rig.cli("async", "config", "aimed", "--on-success", "none")["destination_config"]

    assert shown["on_success"] == {"destination": "FunctionGraph", "param": '{"func_urn": "aimed-at"}'}
    assert json.loads(shown["on_failure"]["param"]) == {"bucket": "results", "prefix": "failed/", "expires": 30}
    assert changed == {"on_success": None, "on_failure": shown["on_failure"]}


def test_plugins_are_listed(rig: Rig) -> None:
    found = {one["name"]: one for one in rig.cli("plugins")["plugins"]}
    one = found["destinations"]

    assert (one["builtin"], one["hooks"], one["error"]) == (True, ["fgd_destinations"], "")
    assert one["destinations"] == ["FunctionGraph", "OBS", "SMN", "Webhook"]


def test_an_event_by_an_alias_follows_the_settings_of_the_version_that_ran_it(rig: Rig) -> None:
    urn = rig.api.deploy("aliased", ECHO)
    rig.aim(urn, on_success=("OBS", {"bucket": "of-latest"}))
    base = urn.rpartition(":")[0]
    assert rig.api.functions("POST", f"/{urn}/versions", {"version": "v1"}).status == 200
    assert rig.api.functions("POST", f"/{urn}/aliases", {"name": "live", "version": "v1"}).status == 200
    rig.aim(f"{base}:v1", on_success=("OBS", {"bucket": "of-v1"}))
    request_id = enqueued(rig.api, f"{base}:!live", {})

    assert eventually(lambda: len(rig.objects("of-v1")) == 1)
    context = next(iter(rig.objects("of-v1").values()))["request_context"]
    assert (context["request_id"], context["function_urn"]) == (request_id, f"{base}:v1")
    assert rig.objects("of-latest") == {}
