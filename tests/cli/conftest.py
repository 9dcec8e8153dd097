"""Fixtures: a laid-out API, and the command run in this process against it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from fgd.__main__ import main
from tests.cli.api import Api


@dataclass(slots=True)
class Ran:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


class Fgd(Protocol):
    def __call__(self, *words: str) -> Ran: ...


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with Api(tmp_path / "fgd.sock") as served:
        yield served


@pytest.fixture
def fgd(tmp_path: Path, capfdbinary: Any) -> Fgd:
    """Runs `fgd --admin-socket <the API's> words`."""

    def run(*words: str) -> Ran:
        capfdbinary.readouterr()
        try:
            code = main(["--admin-socket", str(tmp_path / "fgd.sock"), *words])
        except SystemExit as stop:  # argparse ends by itself
            code = int(stop.code or 0)
        out, err = capfdbinary.readouterr()
        return Ran(code, out.decode(), err.decode())

    return run
