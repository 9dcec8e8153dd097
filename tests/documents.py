"""A document database for tests: mongo-java-server on loopback, from the jars of tools/test-servers.sh."""

import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pymongo
from pymongo.errors import PyMongoError

from fgd.testing.client import HarnessError
from fgd.testing.host import free_port
from fgd.testing.server import JavaServer

_SOURCE: Final = Path(__file__).parent / "document_server" / "DocumentServer.java"


class DocumentServer(JavaServer):
    """One server."""

    what = "the document database"
    short = jars_name = "documents"
    heap = "-Xmx192m"

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def prepare(self) -> None:
        if shutil.which("javac") is None:
            raise HarnessError("there is no javac for the document database; get it: tools/test-servers.sh")
        command = ["javac", "-cp", f"{self.jars()}/*", "-d", str(self.folder), str(_SOURCE)]
        subprocess.run(command, check=True, timeout=self.ready_s)

    def launch(self) -> "subprocess.Popen[bytes]":
        words = ("DocumentServer", str(self.port), str(self.folder / "data"))
        return self.java(f"{self.folder}:", *words, stdin=subprocess.PIPE)

    def ready(self) -> bool:
        try:
            with self.client(500) as client:
                return bool(client.admin.command("ping")["ok"])
        except PyMongoError:
            return False

    def client(self, timeout_ms: int = 30_000) -> "pymongo.MongoClient[dict[str, Any]]":
        """A client for what tests write."""
        return pymongo.MongoClient(self.address, serverSelectionTimeoutMS=timeout_ms)
