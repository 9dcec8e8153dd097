"""What holds for every test: the cheap ones first, and no skipping where CI is set."""

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from fgd.testing.kafka import KafkaBroker
from tests.documents import DocumentServer
from tests.rabbits import RabbitNode

_HERE = Path(__file__).parent
#: Folders from cheap to dear; what is in none of them is a unit test.
_DEAR = ("contract", "host", "e2e")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Unit tests, then what needs sandboxes, then whole daemons; the order inside of each stays."""

    def rank(item: pytest.Item) -> int:
        folder = item.path.relative_to(_HERE).parts[0]
        if folder in _DEAR:
            return _DEAR.index(folder) + 1
        return 1 if item.get_closest_marker("host") else 0

    items.sort(key=rank)


def pytest_configure() -> None:
    """A shell starts what runs in its background with SIGINT ignored, and all that is started from there inherits that;
    with a handler here, those that tests interrupt have the default."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _no_skipping() -> bool:
    return os.environ.get("CI", "") not in ("", "0", "false")


def _refuse(report: Any) -> None:
    """Turns the report of a skip into one of a failure; expected failures (xfail) stay what they are."""
    if report.skipped and not hasattr(report, "wasxfail") and _no_skipping():
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: skipped, and with CI set a skip is a failure: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse(report)
    return report


@pytest.fixture(scope="session")
def documents() -> Iterator[DocumentServer]:
    """One document database for all tests that need one; a test that kills it starts it again."""
    with DocumentServer() as server:
        yield server


@pytest.fixture(scope="session")
def rabbit() -> Iterator[RabbitNode]:
    """One RabbitMQ node for all tests that need one; a test that kills it starts it again."""
    with RabbitNode() as node:
        yield node


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaBroker]:
    """One broker for all tests that need one; a test that kills it starts it again."""
    with KafkaBroker() as broker:
        yield broker
