"""Fixtures for tests with real namespaces and cgroups. Each is followed by a check that nothing of it is left."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fgd.testing.host import eventually, fgd_cgroups, mounts
from tests.host.sandboxes import NAME, Sandboxes, installs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is for the host's kernel."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.host)


def _missing(feature: str) -> str | None:
    """Why the host cannot do this, or None if it can."""
    match feature:
        case "root":
            return None if os.geteuid() == 0 else "needs root"
        case "userns":
            limit = Path("/proc/sys/user/max_user_namespaces")
            able = limit.exists() and int(limit.read_text("ascii")) > 0
            return None if able else "user namespaces are turned off"
        case "cgroup1":
            return None if Path("/sys/fs/cgroup/memory/tasks").exists() else "no cgroup version 1"
        case "cgroup2":
            able = "memory" in _words(Path("/sys/fs/cgroup/cgroup.controllers"))
            return None if able else "no cgroup version 2 with a memory controller"
        case runtime:
            return None if runtime in installs() else f"no {runtime} on this host"


def _words(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return path.read_text("ascii").split()
    return []


@pytest.fixture
def requires() -> Callable[..., None]:
    """`requires("root", "userns", "cgroup1", "cgroup2", "Python3.6")`: skips the test, with the reason, without one."""

    def check(*features: str) -> None:
        for feature in features:
            reason = _missing(feature)
            if reason is not None:
                pytest.skip(reason)

    return check


def _descriptors() -> set[str]:
    """Open descriptors of this process as number and target; sockets and pipes count by number."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(f"{entry.name} {entry.readlink()}")
    return found


def _cgroups() -> list[str]:
    """Those of this test run; another daemon on this host has its own."""
    return [path for path in fgd_cgroups() if NAME in path.split("/")]


def _new_children(me: psutil.Process, before: set[psutil.Process]) -> list[psutil.Process]:
    """Processes below us, but for those from before and what they started: a daemon of other tests may be one."""
    found = []
    for child in me.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child not in before and not before & set(child.parents()):
                found.append(child)
    return found


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """After the test: no descriptor, child process, mount or cgroup more than before."""
    me = psutil.Process()
    descriptors, tables = _descriptors(), set(mounts())
    children = set(me.children(recursive=True))

    yield

    assert eventually(lambda: not _new_children(me, children)), _new_children(me, children)
    assert eventually(lambda: _cgroups() == []), _cgroups()
    # Other tests on this host may mount file systems in temporary folders of theirs.
    assert {mount for mount in set(mounts()) - tables if "/pytest-" not in mount} == set()
    # The listing's own descriptor is gone when its target is read.
    assert {text for text in _descriptors() - descriptors if "/proc/" not in text} == set()


@pytest.fixture
def sandbox_host(tmp_path: Path, requires: Callable[..., None]) -> Sandboxes:
    """Sandboxes of the test's own: `sandbox_host.run(main)` starts a launcher and hands its host to `main`."""
    requires("root", "userns", "Python3.12")
    return Sandboxes(tmp_path, NAME)
