"""A plugin that does everything wrong harms nobody, and is known by name."""

import json
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.packaging import install
from tests.e2e.sources import ECHO

SOURCE = Path(__file__).parent / "hostile"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with it installed; of the part that ends any process, its operator has heard."""
    with tempfile.TemporaryDirectory(prefix="fgd-plugin-") as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(install(SOURCE, Path(name))))
        settings: dict[str, object] = {"drain_s": 1.0, "skip_plugins": ["hostile-kill"]}
        with DaemonProcess(tmp_path_factory.mktemp("hostile"), settings) as daemon:
            yield daemon


@pytest.fixture(scope="module")
def api(hostile: DaemonProcess) -> Iterator[Client]:
    client = hostile.client(hostile.create_keys())
    yield client
    client.close()


@pytest.fixture(scope="module")
def urn(api: Client) -> str:
    return api.deploy("victim", ECHO)


def _create(api: Client, urn: str, code: str = "HOSTILE", **data: object) -> Any:
    body = {"trigger_type_code": code, "event_data": data}
    return api.request("POST", f"/v2/{api.project_id}/fgs/triggers/{urn}", body)


def _state(daemon: DaemonProcess, trigger_id: str) -> dict[str, Any]:
    shown = daemon.cli("triggers", "list", "--json").stdout
    return next(one["state"] or {} for one in json.loads(shown)["triggers"] if one["trigger_id"] == trigger_id)


def _plugins(daemon: DaemonProcess) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in daemon.admin("GET", "/fgd/v1/plugins").json()["plugins"]}


def _well(daemon: DaemonProcess, api: Client, urn: str) -> bool:
    """Others are served: a function answers, and at once."""
    began_s = time.monotonic()
    answer = api.functions("POST", f"/{urn}/invocations", {"hello": 1})
    return answer.status == 200 and time.monotonic() - began_s < 5 and daemon.process is not None


def test_what_cannot_be_used_is_left_out_with_its_reason(hostile: DaemonProcess) -> None:
    plugins = _plugins(hostile)
    listed = hostile.cli("plugins").stdout

    assert "cannot be loaded: LookupError: no configuration" == plugins["hostile-raise"]["error"]
    assert "cannot be loaded: SystemExit: out" == plugins["hostile-exit"]["error"]
    assert "left out by the setting skip_plugins" == plugins["hostile-kill"]["error"]
    assert ["HOSTILE"] == plugins["hostile"]["trigger_types"]
    assert ["TIMER"] == plugins["timer"]["trigger_types"], "fgd's own wins"
    assert "trigger type Copy is left out: the plugin timer brings TIMER" in plugins["hostile"]["problems"]
    assert "trigger type Nonsense is left out: it must be a subclass of" in plugins["hostile"]["error"]
    assert re.search(r"^hostile-raise +6\.6 .*no configuration", listed, re.MULTILINE)


@pytest.mark.parametrize(
    ("fault", "field", "says"),
    [
        ("raise", "error", "ValueError: the source is broken"),
        ("exit", "error", "SystemExit: out of serve"),
        ("tasks", "leaked_tasks", 1),
        ("threads", "leaked_threads", 1),
        ("block", "blocked", 1),
        ("huge", "note", "the event is no JSON"),
        ("flood", "events", 100),
    ],
)
def test_what_a_trigger_does_wrong_is_its_own_state(
    hostile: DaemonProcess, api: Client, urn: str, fault: str, field: str, says: str | int
) -> None:
    made = _create(api, urn, fault=fault)
    trigger_id = made.json()["trigger_id"]

    def seen() -> bool:
        value = _state(hostile, trigger_id).get(field)
        return says in str(value) if isinstance(says, str) else int(value or 0) >= says

    there = eventually(seen, 15, 0.3)
    well = _well(hostile, api, urn)
    shown = hostile.cli("triggers", "show", trigger_id).stdout
    gone = api.request("DELETE", f"/v2/{api.project_id}/fgs/triggers/{urn}/HOSTILE/{trigger_id}")

    assert there, _state(hostile, trigger_id)
    assert well
    assert isinstance(says, int) or says in shown
    assert 204 == gone.status


def test_what_the_settings_of_a_type_raise_is_reported_and_ends_nothing(
    hostile: DaemonProcess, api: Client, urn: str
) -> None:
    refused = _create(api, urn, fault="check")
    made = _create(api, urn, fault="shown")
    listed = hostile.cli("triggers", "list").stdout
    problems = _plugins(hostile)["hostile"]["error"]

    assert 500 == refused.status
    assert "the plugin hostile failed: HOSTILE: parse failed: SystemExit: out of check" in refused.text
    assert 201 == made.status
    assert made.json()["trigger_id"] in listed
    assert "HOSTILE: shown failed: SystemExit: out of shown" in problems


def test_one_that_does_not_end_hands_nothing_in_after_it_was_deleted(
    hostile: DaemonProcess, api: Client, urn: str
) -> None:
    target = api.deploy("target", ECHO)
    trigger_id = _create(api, target, fault="stay").json()["trigger_id"]
    began = eventually(lambda: _state(hostile, trigger_id).get("events", 0) > 2)
    gone = api.request("DELETE", f"/v2/{api.project_id}/fgs/triggers/{target}/HOSTILE/{trigger_id}")
    before = len(_records(hostile))
    time.sleep(1)

    assert began
    assert 204 == gone.status
    assert before == len(_records(hostile))
    assert "does not end when it is told to" in hostile.cli("plugins", "show", "hostile").stdout
    assert _well(hostile, api, urn)


def _records(daemon: DaemonProcess) -> list[str]:
    return daemon.cli("async", "list", "target", "--limit", "500").stdout.splitlines()


def test_the_daemon_ends_although_a_thread_and_a_task_do_not(hostile: DaemonProcess) -> None:
    """The last test here: what the others have left behind is still there."""
    code = hostile.stop(30)

    assert 0 == code
    assert "ending without waiting for triggers of hostile" in hostile.log_tail(5)
