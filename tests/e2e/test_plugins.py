"""A plugin of somebody else's, installed as an ordinary package, works in the daemon."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.asynchronous import enqueued
from tests.e2e.packaging import install
from tests.e2e.sources import ECHO

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugins" / "fgd_file_destination"


@pytest.fixture
def installed() -> Iterator[Path]:
    """A folder with the example in it, that the daemon's user can read."""
    with tempfile.TemporaryDirectory(prefix="fgd-plugin-") as name:
        folder = Path(name)
        install(EXAMPLE, folder)
        (folder / "lines").mkdir()
        (folder / "lines").chmod(0o777)
        yield folder


def test_the_example_is_found_and_delivers(tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(installed / "site"))
    monkeypatch.setenv("FGD_JSON_LINES_DIR", str(installed / "lines"))
    with DaemonProcess(tmp_path, {"drain_s": 1.0}) as daemon:
        plugins = {one["name"]: one for one in daemon.admin("GET", "/fgd/v1/plugins").json()["plugins"]}
        api = daemon.client(daemon.create_keys())
        urn = api.deploy("orders", ECHO)
        target = {"destination": "JsonLines", "param": '{"file": "orders"}'}
        answer = api.functions("PUT", f"/{urn}/async-invoke-config", {"destination_config": {"on_success": target}})
        wrong = {"destination": "JsonLines", "param": '{"file": "../orders"}'}
        refused = api.functions("PUT", f"/{urn}/async-invoke-config", {"destination_config": {"on_success": wrong}})
        ids = {enqueued(api, urn, {"n": number}) for number in range(5)}
        api.close()
        file = installed / "lines" / "orders.jsonl"

        assert ("1.0", False, ["JsonLines"], "") == tuple(
            plugins["file-destination"][name] for name in ("version", "builtin", "destinations", "error")
        )
        assert 200 == answer.status, answer.text
        assert "destination_config.on_success.param: file: must be 1 to 64" in refused.text
        assert eventually(lambda: file.exists() and 5 == len(file.read_text().splitlines()))
        documents = [json.loads(line) for line in file.read_text().splitlines()]
        assert ids == {document["request_context"]["request_id"] for document in documents}
