"""A destination that appends each outcome to a file of JSON lines below one folder.

    {"destination": "JsonLines", "param": "{\"file\": \"orders\"}"}

The folder is named by the environment variable FGD_JSON_LINES_DIR of the daemon. A delivery may come twice, after a
crash; the request id in each line is the same then.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trio

from fgd.plugin import BadDestination, Delivery, Destination, Node, Undeliverable, hookimpl

_NAME = re.compile(r"[a-z0-9-]{1,64}\Z")


class JsonLines:
    """The kind. fgd makes one object of it; the settings of a target are a file name without its ending."""

    kind = "JsonLines"

    def __init__(self, node: Node) -> None:
        folder = os.environ.get("FGD_JSON_LINES_DIR")
        self._folder = Path(folder) if folder else None

    def parse(self, param: Mapping[str, Any]) -> str:
        name = param.get("file")
        if not isinstance(name, str) or not _NAME.match(name):
            raise BadDestination("file: must be 1 to 64 lower-case letters, digits and hyphens")
        return name

    async def deliver(self, delivery: Delivery, settings: str) -> None:
        if self._folder is None:
            raise Undeliverable("the daemon has no FGD_JSON_LINES_DIR")
        path = self._folder / f"{settings}.jsonl"
        # Files have no asynchronous interface: another thread waits for the disk.
        await trio.to_thread.run_sync(_append, path, delivery.document)


def _append(path: Path, document: bytes) -> None:
    with path.open("ab") as file:
        file.write(document + b"\n")
        file.flush()
        os.fsync(file.fileno())


@hookimpl
def fgd_destinations() -> Sequence[type[Destination[Any]]]:
    return [JsonLines]
