"""One daemon for all tests of this folder that do not kill it; each test makes functions of its own."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fgd.testing.client import Client, Keys
from fgd.testing.daemon import DaemonProcess
from tests.e2e.sources import ACTOR

#: Small limits, so that a test reaches them soon.
SETTINGS: dict[str, object] = {
    "queue_max": 30,
    "async_retry_first_s": 0.05,
    "header_timeout_s": 2.0,
    "keep_alive_s": 30.0,
    "functions_max": 1000,
    "drain_s": 5.0,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs root, namespaces and cgroups."""
    for item in items:
        if "e2e" in item.path.parts or "faults" in item.path.parts:
            item.add_marker(pytest.mark.host)
            item.add_marker(pytest.mark.slow)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="only root can start the daemon"))


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon that lives through the whole session."""
    with DaemonProcess(tmp_path_factory.mktemp("fgd"), dict(SETTINGS)) as process:
        yield process


@pytest.fixture(scope="session")
def keys(daemon: DaemonProcess) -> Keys:
    """Credentials of the default project."""
    return daemon.create_keys()


@pytest.fixture
def api(daemon: DaemonProcess, keys: Keys) -> Iterator[Client]:
    """A client with a token. The daemon must have survived the test."""
    client = daemon.client(keys)
    yield client
    client.close()

    assert daemon.process is not None
    assert daemon.process.poll() is None, f"the daemon ended:\n{daemon.log_tail()}"


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name of a function, different for every test."""
    raw = "".join(c if c.isalnum() else "-" for c in request.node.name)[:48].strip("-")
    return f"f-{raw}-{abs(hash(request.node.nodeid)) % 10000}"


@pytest.fixture
def deploy(api: Client, name: str) -> Iterator[Callable[..., str]]:
    """Creates a function for this test; gives its URN. `strategy` goes into a second request, as the API has it."""
    made: list[str] = []

    def create(source: str, *, strategy: dict[str, int] | None = None, **fields: Any) -> str:
        urn = api.deploy(f"{name}-{len(made)}", source, **fields)
        made.append(urn)
        if strategy:
            fields.pop("func_code", None)
            answer = api.configure(urn, strategy_config=strategy, **fields)
            assert answer.status == 200, answer.text
        return urn

    yield create
    for urn in made:
        api.functions("DELETE", f"/{urn.rpartition(':')[0]}")


@pytest.fixture
def actor(deploy: Callable[..., str]) -> str:
    """A function that does what its event says."""
    return deploy(ACTOR)
