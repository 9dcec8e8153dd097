"""A document database for tests: mongo-java-server on loopback, from the jars of tools/test-servers.sh."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final, Self

import pymongo
from pymongo.errors import PyMongoError

from fgd.testing.client import HarnessError
from fgd.testing.host import eventually, free_port

_READY_S: Final = 60.0
_SOURCE: Final = Path(__file__).parent / "document_server" / "DocumentServer.java"


def _jars() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fgd-test-servers"
    found = [one.parent for one in cache.glob("documents-*/.complete")]
    if not found or shutil.which("javac") is None:
        raise HarnessError("there is no document database to test against; get one: tools/test-servers.sh")
    return max(found)


class DocumentServer:
    """One server. As a context manager it starts it, and ends it whatever happens; its data goes with it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fgd-documents-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        try:
            command = ["javac", "-cp", f"{_jars()}/*", "-d", str(self.folder), str(_SOURCE)]
            subprocess.run(command, check=True, timeout=_READY_S)
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> Self:
        """Starts it and waits until it answers.

        Raises:
            HarnessError: it does not; with the end of its log.
        """
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                # It ends with who started it.
                ["setpriv", "--pdeathsig", "KILL", "java", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                 "-cp", f"{self.folder}:{_jars()}/*", "DocumentServer", str(self.port), str(self.folder / "data")],
                stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

        def ready() -> bool:
            try:
                with self.client(500) as client:
                    return bool(client.admin.command("ping")["ok"])
            except PyMongoError:
                return False

        if not eventually(ready, _READY_S, 0.2):
            self.kill()
            raise HarnessError(f"the database does not answer:\n{(self.folder / 'log').read_text()[-3000:]}")
        return self

    def kill(self) -> None:
        """SIGKILL; what it has answered stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def client(self, timeout_ms: int = 30_000) -> "pymongo.MongoClient[dict[str, Any]]":
        """A client for what tests write."""
        return pymongo.MongoClient(self.address, serverSelectionTimeoutMS=timeout_ms)
