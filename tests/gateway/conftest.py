"""Running gateways for tests."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fgd.config import Config
from tests.gateway.rig import Rig

type Start = Callable[..., Rig]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a gateway with the settings given; `control_path` names the control plane's socket."""
    with contextlib.ExitStack() as stack:

        def begin(*, control_path: str = "", **settings: object) -> Rig:
            config = Config(**settings)  # type: ignore[arg-type]  # checked by the tests of fgd.config
            return stack.enter_context(Rig(config, control_path or str(tmp_path / "none.sock"), tmp_path).running())

        yield begin


@pytest.fixture
def rig(start: Start) -> Rig:
    return start()
