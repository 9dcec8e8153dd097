"""The S3 server versitygw for tests, on loopback: buckets are folders of its own."""

import os
import secrets
import subprocess
from pathlib import Path

import httpx

from fgd.testing.client import HarnessError
from fgd.testing.host import free_port
from fgd.testing.server import Server


def program() -> Path:
    """Where tools/test-servers.sh puts it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return next((cache / "fgd-test-servers").glob("versitygw-*/versitygw"), cache / "versitygw")


class S3Gateway(Server):
    """One server."""

    what = "versitygw"
    short = "versitygw"

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self.access_key, self.secret_key = "tests", secrets.token_hex(20)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        if not program().exists():
            raise HarnessError("there is no versitygw to test against; get it: tools/test-servers.sh")
        (self.folder / "buckets").mkdir()

    def launch(self) -> "subprocess.Popen[bytes]":
        # Attributes beside the files: not every file system has extended ones.
        (self.folder / "attributes").mkdir(exist_ok=True)
        return self.run(
            str(program()), "--port", f"127.0.0.1:{self.port}", "--access", self.access_key,
            "--secret", self.secret_key,
            "--region", "local", "posix", "--sidecar", str(self.folder / "attributes"), str(self.folder / "buckets"),
        )  # fmt: skip

    def ready(self) -> bool:
        try:
            return httpx.get(self.url, timeout=2.0).status_code in (200, 403)
        except httpx.HTTPError:
            return False
