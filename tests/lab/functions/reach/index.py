"""What an instance reaches: addresses, the node's API, its disk."""

import os
import socket
import urllib.request
from pathlib import Path


def handler(event: dict[str, object], context: object) -> dict[str, object]:
    return {
        "connected": [_connects(str(address)) for address in event.get("addresses", ())],  # type: ignore[attr-defined]
        "api": urllib.request.urlopen(os.environ["FGD_API_ENDPOINT"] + "/healthz", timeout=20).status,
        "disk": _note(Path("/mnt/shared")),
    }


def _connects(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except OSError:
        return False
    return True


def _note(disk: Path) -> str:
    (disk / "note").write_text("written")
    return (disk / "note").read_text()
