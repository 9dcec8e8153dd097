"""One daemon for the tests of this folder, with two projects on it. Each test is followed by a look at its health."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fgd.testing.client import Client, Keys
from fgd.testing.daemon import DaemonProcess

_SANDBOXES = 64
_NEEDS_ROOT = ("test_channel.py", "test_projects.py", "test_local_user.py", "test_state_dir.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Most of it needs root, namespaces and cgroups."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.path.name in _NEEDS_ROOT:
            item.add_marker(pytest.mark.host)
            item.add_marker(pytest.mark.slow)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="only root can start the daemon"))


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon that lives through the whole session."""
    settings: dict[str, object] = {
        "drain_s": 2.0, "async_retry_first_s": 0.05, "sandboxes_max": _SANDBOXES,
    }  # fmt: skip
    with DaemonProcess(tmp_path_factory.mktemp("fgd"), settings) as process:
        yield process


def new_project(daemon: DaemonProcess, project_id: str) -> Keys:
    """Credentials of a project of its own."""
    answer = daemon.admin("POST", "/fgd/v1/keys", {"project_id": project_id})
    assert answer.status == 200, answer.text
    made = answer.json()
    return Keys(made["access_key"], made["secret_key"], made["project_id"], made["token"])


@pytest.fixture(scope="session")
def victim_keys(daemon: DaemonProcess) -> Keys:
    return new_project(daemon, "victim")


@pytest.fixture(scope="session")
def attacker_keys(daemon: DaemonProcess) -> Keys:
    return new_project(daemon, "attacker")


@pytest.fixture
def victim(daemon: DaemonProcess, victim_keys: Keys) -> Iterator[Client]:
    """A client of one project. The daemon must have survived the test."""
    client = daemon.client(victim_keys)
    yield client
    client.close()

    assert daemon.process is not None
    assert daemon.process.poll() is None, f"the daemon ended:\n{daemon.log_tail()}"


@pytest.fixture
def attacker(daemon: DaemonProcess, attacker_keys: Keys) -> Iterator[Client]:
    """A client of another project."""
    client = daemon.client(attacker_keys)
    yield client
    client.close()
