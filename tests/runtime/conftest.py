"""Fixtures for the runtime tests.

Tests that ask for `install` run with each interpreter of the host; those that start processes of their own (`spawn`)
with the ends of the range: the oldest Python 2, the oldest Python 3 and the newest.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fgd.runtime import RuntimeInstall
from tests.runtime.harness import INSTALLS, RuntimeProcess, write_files

type Spawn = Callable[..., RuntimeProcess]


@pytest.fixture(scope="session", params=INSTALLS, ids=lambda item: item.id)
def install(request: pytest.FixtureRequest) -> RuntimeInstall:
    found: RuntimeInstall = request.param
    return found


def ends_of_range() -> list[RuntimeInstall]:
    """The oldest interpreter of each major version, and the newest of all."""
    ends = {item.version.partition(".")[0]: item for item in reversed(INSTALLS)}
    return sorted({item.id: item for item in (*ends.values(), *INSTALLS[-1:])}.values(), key=INSTALLS.index)


@pytest.fixture(scope="session", params=ends_of_range(), ids=lambda item: item.id)
def end_install(request: pytest.FixtureRequest) -> RuntimeInstall:
    found: RuntimeInstall = request.param
    return found


@pytest.fixture
def spawn(end_install: RuntimeInstall, tmp_path: Path) -> Iterator[Spawn]:
    """Starts a runtime with the given `index.py` (or `files`); ended after the test."""
    processes: list[RuntimeProcess] = []

    def start(source: str = "", *, files: dict[str, str] | None = None, **init: Any) -> RuntimeProcess:
        folder = tmp_path / f"code{len(processes)}"
        folder.mkdir()
        write_files(folder, files if files is not None else {"index.py": source})
        processes.append(RuntimeProcess(end_install, folder, **init))
        return processes[-1]

    yield start
    for process in processes:
        process.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Interpreters other than the newest are for the whole suite; they would take a quick check over its minute."""
    for item in items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        chosen = params.get("install") or params.get("end_install")
        if isinstance(chosen, RuntimeInstall) and chosen is not INSTALLS[-1]:
            item.add_marker(pytest.mark.slow)
