"""Running gateways for tests."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fgd.config import Config
from fgd.gateway.tls import Certificate
from fgd.store.self_signed import write_self_signed
from tests.gateway.control import Control
from tests.gateway.rig import Rig

type Start = Callable[..., Rig]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a gateway with the settings given; `control_path` names the control plane's socket."""
    with contextlib.ExitStack() as stack:

        def begin(*, control_path: str = "", tls: bool = False, **settings: object) -> Rig:
            config = Config(**settings)  # type: ignore[arg-type]  # checked by the tests of fgd.config
            certificate = None
            if tls:
                pem = tmp_path / "gateway.pem"
                write_self_signed(pem, ec.generate_private_key(ec.SECP256R1()), "gateway", time.time(), "127.0.0.1")
                certificate = Certificate(str(pem), str(pem))
            control_path = control_path or str(tmp_path / "none.sock")
            return stack.enter_context(Rig(config, control_path, tmp_path, certificate).running())

        yield begin


@pytest.fixture
def rig(start: Start) -> Rig:
    return start()


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    server = Control(str(tmp_path / "control.sock"))
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server
    server.close()
    thread.join(5)
