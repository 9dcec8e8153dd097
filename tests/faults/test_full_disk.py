"""A full disk: what cannot be stored is refused, what needs no disk goes on, and nothing is lost."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess
from tests.e2e.asynchronous import enqueued, finished
from tests.e2e.sources import ECHO


@pytest.fixture
def tiny(daemon: DaemonProcess) -> Iterator[DaemonProcess]:
    """A daemon whose state directory is a tmpfs of 16 MB."""
    daemon.state_dir.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(daemon.state_dir)], check=True)
    try:
        daemon.start()
        yield daemon
        daemon.stop()
    finally:
        daemon.__exit__()
        subprocess.run(["umount", str(daemon.state_dir)], check=True)


def fill(folder: Path) -> Path:
    """Writes until there is no room left."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            return path
    return path


def test_full_disk_is_refused_with_503_and_recovers(tiny: DaemonProcess) -> None:
    api: Client = tiny.client(tiny.create_keys())
    urn = api.deploy("echo", ECHO)
    before = enqueued(api, urn, {"n": 0})
    assert finished(api, urn, before)["status"] == "SUCCESS"
    filler = fill(tiny.state_dir)

    acknowledged = []
    refused = []
    for number in range(20):
        answer = api.enqueue(urn, {"n": number, "text": "x" * 20000})
        if answer.status == 202:
            acknowledged.append(answer.json()["request_id"])
        else:
            refused.append(answer)
    assert refused
    assert {(one.status, one.error_code) for one in refused} == {(503, "FSS.0503")}
    body = {"func_name": "more", "package": "default", "runtime": "Python3.12", "timeout": 3, "memory_size": 128,
            "handler": "index.handler", "code_type": "inline", "func_code": {"file": "cHJpbnQoMSkK" * 300}}  # fmt: skip
    answer = api.functions("POST", body=body)
    assert answer.status in (200, 503), answer.text
    assert api.invoke(urn, {"still": "here"}).json() == {"still": "here"}
    assert tiny.admin("GET", "/healthz").status == 200

    filler.unlink()
    after = enqueued(api, urn, {"n": 1})
    assert finished(api, urn, after)["status"] == "SUCCESS"
    for one in acknowledged:
        assert finished(api, urn, one, 30.0)["status"] == "SUCCESS"
    api.close()
