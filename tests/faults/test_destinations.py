"""An outcome that is on disk arrives, also when the daemon is killed before it could be taken there."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.asynchronous import enqueued, finished
from tests.e2e.hooks import Hooks
from tests.e2e.sources import ECHO


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with Hooks() as served:
        yield served


def test_a_daemon_killed_between_outcome_and_delivery_delivers_after_its_next_start(
    tmp_path: Path, hooks: Hooks
) -> None:
    with DaemonProcess(tmp_path, {"webhook_urls": hooks.url, "drain_s": 1.0}) as daemon:
        api = daemon.client(daemon.create_keys())
        urn = api.deploy("told", ECHO)
        target = {"destination": "Webhook", "param": json.dumps({"url": hooks.url})}
        config = {"destination_config": {"on_success": target}}
        assert 200 == api.functions("PUT", f"/{urn}/async-invoke-config", config).status
        hooks.gate.clear()
        ids = [enqueued(api, urn, {"n": number}) for number in range(10)]
        assert {"SUCCESS"} == {finished(api, urn, one)["status"] for one in ids}
        # Some are on the wire, unanswered; the others have not begun.
        assert eventually(lambda: len(hooks.got) == 4)
        api.close()
        daemon.kill9()
        assert [] == daemon.wait_gone()
        hooks.gate.set()
        daemon.start()

        assert eventually(lambda: all(hooks.of(one) for one in ids))
        assert eventually(lambda: _none_left(daemon))
        assert 14 == len(hooks.got), "what was on the wire comes twice, the others once"
        assert {json.loads(document["request_payload"])["n"] for _, _, document in hooks.got} == set(range(10))


def _none_left(daemon: DaemonProcess) -> bool:
    answer = daemon.admin("GET", "/fgd/v1/functions/told/async-deliveries")
    return bool([] == answer.json()["deliveries"])
