"""Daemons of their own, since these tests kill them. After each test nothing of its daemon may be left."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import mounts


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs root, namespaces and cgroups."""
    for item in items:
        if "faults" in item.path.parts:
            item.add_marker(pytest.mark.host)
            item.add_marker(pytest.mark.slow)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="only root can start the daemon"))


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon that is not started yet. Processes, cgroups and mounts are checked at the end."""
    before = set(mounts())
    process = DaemonProcess(tmp_path, {"drain_s": 5.0, "async_retry_first_s": 0.05})
    try:
        yield process
        if process.process is not None:
            process.stop()
        left = process.wait_gone()
        groups = process.own_cgroups()
    finally:
        process.__exit__()

    assert left == []
    assert groups == []
    assert set(mounts()) - before == set()
