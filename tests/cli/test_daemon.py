"""The command against a real daemon: from keys to logs, as a user would."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually, fgd_command

pytestmark = [pytest.mark.host, pytest.mark.slow]

SOURCE = """\
import os
ready = []
def init(context):
    ready.append(1)
def handler(event, context):
    if event.get("fail"):
        raise ValueError("as told")
    print("handling", event)
    return {"event": event, "ready": len(ready), "plain": context.getUserData("PLAIN"), "secret": os.environ["SECRET"]}
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("cli")) as started:
        yield started


@pytest.fixture(scope="module")
def deployed(daemon: DaemonProcess) -> str:
    """A function with variables and an initializer; gives its name."""
    folder = daemon.folder / "demo"
    folder.mkdir()
    (folder / "index.py").write_text(SOURCE)
    words = ("--env", "PLAIN=a=b", "--secret-env", "SECRET=hidden", "--initializer", "index.init", "--timeout", "10")
    assert "created" in daemon.cli("deploy", str(folder), *words).stdout
    return "demo"


def test_deploy_again_is_unchanged_and_changed_code_is_used(daemon: DaemonProcess, tmp_path: Path) -> None:
    file = tmp_path / "changing.py"
    file.write_text("def handler(event, context):\n    return 1\n")
    assert "created" in daemon.cli("deploy", str(file)).stdout
    assert "unchanged" in daemon.cli("deploy", str(file)).stdout
    assert "1\n" == daemon.cli("invoke", "changing").stdout
    file.write_text("def handler(event, context):\n    return 2\n")

    assert "updated" in daemon.cli("deploy", str(file)).stdout
    assert "2\n" == daemon.cli("invoke", "changing").stdout
    assert "deleted" in daemon.cli("functions", "delete", "changing").stdout
    assert 3 == daemon.cli("invoke", "changing", check=False).returncode


def test_invoke_gives_result_log_and_timing(daemon: DaemonProcess, deployed: str) -> None:
    ran = daemon.cli("invoke", deployed, "--data", '{"a": 1}', "--tail", "--timing")

    assert {"event": {"a": 1}, "ready": 1, "plain": "a=b", "secret": "hidden"} == json.loads(ran.stdout)
    assert "handling {'a': 1}" in ran.stderr
    assert "time: frontend" in ran.stderr


def test_a_failing_function_ends_invoke_with_1_and_its_log_is_found_by_its_request_id(
    daemon: DaemonProcess, deployed: str
) -> None:
    ran = daemon.cli("invoke", deployed, "--data", '{"fail": true}', "--json", check=False)
    answer = json.loads(ran.stdout)
    lines = daemon.cli("logs", deployed, "--request", answer["request_id"]).stdout

    assert 1 == ran.returncode
    assert 4002 == answer["error_code"]
    assert "as told" in answer["result"]["errorMessage"]
    assert f"Finish invoke request '{answer['request_id']}'" in lines


def test_secrets_are_never_shown(daemon: DaemonProcess, deployed: str) -> None:
    shown = (
        daemon.cli("functions", "show", deployed).stdout + daemon.cli("functions", "show", deployed, "--json").stdout
    )

    assert "a=b" in shown
    assert "hidden" not in shown


def test_update_changes_only_what_is_given(daemon: DaemonProcess, deployed: str) -> None:
    before = json.loads(daemon.cli("functions", "show", deployed, "--json").stdout)
    daemon.cli("functions", "update", deployed, "--memory", "256", "--description", "text")
    after = json.loads(daemon.cli("functions", "show", deployed, "--json").stdout)

    assert (256, "text") == (after["memory_size"], after["description"])
    kept = ("timeout", "handler", "user_data", "initializer_handler", "initializer_timeout", "digest")
    assert [before[name] for name in kept] == [after[name] for name in kept]
    assert "hidden" == json.loads(daemon.cli("invoke", deployed).stdout)["secret"]


def test_disabled_refuses_and_enabled_takes_again_with_the_same_limit(daemon: DaemonProcess, deployed: str) -> None:
    daemon.cli("functions", "update", deployed, "--max-instances", "7")
    daemon.cli("functions", "disable", deployed)
    refused = daemon.cli("invoke", deployed, check=False)
    daemon.cli("functions", "enable", deployed)
    strategy = json.loads(daemon.cli("functions", "show", deployed, "--json").stdout)["strategy_config"]

    assert 3 == refused.returncode
    assert "disabled" in refused.stderr
    assert 7 == strategy["concurrency"]
    assert 0 == daemon.cli("invoke", deployed).returncode


def test_async_from_queue_to_record(daemon: DaemonProcess, deployed: str) -> None:
    request = daemon.cli("invoke", deployed, "--async").stdout.strip()

    def done() -> bool:
        return "SUCCESS" in daemon.cli("async", "list", deployed, "--request", request).stdout

    assert eventually(done, 20.0)
    daemon.cli("async", "config", deployed, "--max-retries", "0")
    assert "0" == daemon.cli("async", "config", deployed).stdout.split()[1]
    assert "defaults" in daemon.cli("async", "config", deployed, "--reset").stdout


def test_code_comes_back_as_it_was_sent(daemon: DaemonProcess, deployed: str, tmp_path: Path) -> None:
    daemon.cli("functions", "code", deployed, "--output", str(tmp_path / "code.zip"))

    assert "unchanged" in daemon.cli("deploy", str(tmp_path / "code.zip"), "--name", deployed).stdout


def test_keys_are_made_listed_and_deleted(daemon: DaemonProcess) -> None:
    made = json.loads(daemon.cli("keys", "create", "--name", "one", "--json").stdout)

    assert {"access_key", "secret_key", "project_id", "token"} <= made.keys()
    assert made["access_key"] in daemon.cli("keys", "list").stdout
    assert made["secret_key"] not in daemon.cli("keys", "list", "--json").stdout
    daemon.cli("keys", "delete", made["access_key"])
    assert made["access_key"] not in daemon.cli("keys", "list").stdout


def test_the_node_tells_of_itself(daemon: DaemonProcess, deployed: str) -> None:
    assert daemon.pid == json.loads(daemon.cli("status", "--json").stdout)["pid"]
    assert "Python3" in daemon.cli("runtimes").stdout
    assert deployed in daemon.cli("functions", "list").stdout
    assert "fgd_" in daemon.cli("metrics").stdout


def test_logs_follow_shows_new_lines_until_it_is_stopped(daemon: DaemonProcess, deployed: str) -> None:
    command = [fgd_command(), "--admin-socket", str(daemon.admin_socket), "logs", deployed, "--follow", "--limit", "1"]
    environ = os.environ | {"PYTHONUNBUFFERED": "1"}
    daemon.cli("invoke", deployed, "--data", '{"marker": "before"}')
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as following:
        assert following.stdout is not None
        try:
            following.stdout.readline()
            daemon.cli("invoke", deployed, "--data", '{"marker": "followed"}')
            found = next(line for line in following.stdout if "followed" in line)
        finally:
            following.send_signal(signal.SIGINT)

    assert "handling" in found
    assert 130 == following.returncode
