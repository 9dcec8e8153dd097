"""A real server for tests and benches: a process with a folder of its own, on loopback."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final, Self

from fgd.testing.client import HarnessError
from fgd.testing.host import eventually

_OPENSSL_S: Final = 60.0
_LOOK_EVERY_S: Final = 0.2


class Server:
    """One server. As a context manager it starts it, and ends it whatever happens; its data goes with it."""

    #: What it is called in errors and, in short, in the name of its folder.
    what: ClassVar[str]
    short: ClassVar[str]
    #: How long it may take until it answers.
    ready_s: ClassVar[float] = 60.0

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"fgd-{self.short}-"))
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """What is to be there before its first start."""

    def launch(self) -> "subprocess.Popen[bytes]":
        """Starts its process."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether it answers."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.prepare()
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
        self._process = self.launch()
        if not eventually(self.ready, self.ready_s, _LOOK_EVERY_S):
            self.kill()
            raise HarnessError(f"{self.what} does not answer:\n{self.log_tail()}")
        return self

    def kill(self) -> None:
        """SIGKILL, with all that it has started; what it has answered stays."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def log_tail(self) -> str:
        """The end of what it wrote."""
        return (self.folder / "log").read_text()[-3000:]

    def run(
        self, *words: str, env: Mapping[str, str] | None = None, stdin: int = subprocess.DEVNULL
    ) -> "subprocess.Popen[bytes]":
        """A process that writes to the server's log, and ends with who started it."""
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *words],
                env={**os.environ, **(env or {})}, stdin=stdin, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def certify(self) -> None:
        """Makes `key.pem` and `cert.pem`, a certificate for `localhost` that signs itself."""
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost", "-keyout", str(self.folder / "key.pem"),
             "-out", str(self.folder / "cert.pem")],
            check=True, capture_output=True, timeout=_OPENSSL_S,
        )  # fmt: skip

    @property
    def authority(self) -> str:
        """PEM of what `certify` made."""
        return (self.folder / "cert.pem").read_text()


class JavaServer(Server):
    """One whose jars tools/test-servers.sh has fetched, to a folder of this name and a version."""

    jars_name: ClassVar[str]
    heap: ClassVar[str]

    def jars(self) -> Path:
        """Where they lie.

        Raises:
            HarnessError: nowhere.
        """
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fgd-test-servers"
        found = [one.parent for one in cache.glob(f"{self.jars_name}-*/.complete")]
        if not found or shutil.which("java") is None:
            raise HarnessError(f"{self.what} is not there to test against; get it: tools/test-servers.sh")
        return max(found)

    def java(self, classpath: str, *words: str, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
        """A small virtual machine with the jars, and what else is named before them."""
        paths = f"{classpath}{self.jars()}/*"
        return self.run(
            "java", self.heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", paths, *words, stdin=stdin
        )  # fmt: skip
