"""Harness: a real `fgd serve` in a folder of its own. For tests and benches.

Theory of operation: `DaemonProcess` starts the command as a user would and sees it only from outside: the HTTP port,
the admin socket, signals, and what the kernel tells of its processes. Every daemon gets a range of uids of its own
(`fgd.testing.uids`), so that whatever process has such a uid is its, also after the daemon died and its children were
adopted by others.
"""

import contextlib
import http.client
import json
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

from fgd.testing.client import Answer, Client, HarnessError, Keys, UnixConnection
from fgd.testing.host import (
    alive,
    cgroups_of,
    eventually,
    fgd_cgroups,
    fgd_command,
    free_port,
    named,
    uid_of,
)
from fgd.testing.uids import BLOCK, UidRange

READY_S = 20.0
FUNCTION_UID = 1003


@dataclass(slots=True)
class DaemonProcess:
    """One `fgd serve`. As a context manager it starts it, and ends it whatever happens.

    Args:
        folder: gets the state directory, the sockets, the configuration and the daemon's log.
        settings: what the configuration file holds.
        host: address that the API is served at.
        netns: name of a network namespace (ip-netns(8)) in which it shall run.
    """

    folder: Path
    settings: dict[str, object] = field(default_factory=dict)
    port: int = 0
    host: str = "127.0.0.1"
    netns: str = ""
    process: "subprocess.Popen[bytes] | None" = None
    _uids: UidRange | None = None
    _seen: set[psutil.Process] = field(default_factory=set)
    _cgroups: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port()
        # Nothing that runs for a test changes the machine's own network.
        self.settings.setdefault("network", "none")
        if "first_uid" not in self.settings:
            self._uids = UidRange(self.sandboxes_max + 2)
            self.settings["first_uid"] = self._uids.first

    @property
    def sandboxes_max(self) -> int:
        """So many blocks of ids belong to it; daemons that run side by side must not share any."""
        return int(str(self.settings.setdefault("sandboxes_max", 256)))

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    @property
    def admin_socket(self) -> Path:
        return self.folder / "admin.sock"

    @property
    def pid_file(self) -> Path:
        return self.folder / "fgd.pid"

    @property
    def log_file(self) -> Path:
        return self.folder / "daemon.log"

    @property
    def pid(self) -> int:
        if self.process is None:
            raise HarnessError("the daemon is not running")
        return self.process.pid

    def command(self) -> list[str]:
        """What a user would type."""
        # Not `ip netns exec`, which covers /sys and with it the cgroups.
        inside = ["nsenter", f"--net=/run/netns/{self.netns}"] if self.netns else []
        return [
            *inside, fgd_command(), "serve", "--state-dir", str(self.state_dir), "--listen", f"{self.host}:{self.port}",
            "--admin-socket", str(self.admin_socket), "--pid-file", str(self.pid_file),
            "--config", str(self.folder / "fgd.toml"),
        ]  # fmt: skip

    def write_settings(self) -> None:
        """Writes the configuration file; a running daemon reads it again on SIGHUP."""
        lines = [f"{name} = {_toml(value)}\n" for name, value in self.settings.items()]
        (self.folder / "fgd.toml").write_text("".join(lines), "utf-8")

    def start(self, *, wait: bool = True) -> Self:
        """Starts it and waits until it is ready.

        Raises:
            HarnessError: it ended, or was not ready in time.
        """
        self.write_settings()
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )  # fmt: skip
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout_s: float = READY_S) -> None:
        """Waits until the admin socket says that the daemon is healthy."""

        def healthy() -> bool:
            if self.process is not None and self.process.poll() is not None:
                raise HarnessError(f"the daemon ended with {self.process.returncode}:\n{self.log_tail()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.admin("GET", "/healthz").status == 200
            return False

        if not eventually(healthy, timeout_s):
            raise HarnessError(f"the daemon was not ready after {timeout_s} s:\n{self.log_tail()}")
        self.processes()

    def stop(self, timeout_s: float = 45.0) -> int:
        """SIGTERM, as systemd would; gives the exit code."""
        if self.process is None:
            raise HarnessError("the daemon is not running")
        self.processes()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise HarnessError(f"the daemon did not stop within {timeout_s} s:\n{self.log_tail()}") from error
        self.process = None
        return code

    def kill9(self) -> None:
        """SIGKILL to the daemon alone. What belongs to it must end by itself, see `wait_gone`."""
        self.processes()
        os.kill(self.pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
        self.process = None

    def reload(self) -> None:
        """Writes the settings and sends SIGHUP."""
        self.write_settings()
        os.kill(self.pid, signal.SIGHUP)

    def wait_log(self, word: str, timeout_s: float = 5.0) -> bool:
        """Waits until the daemon's log holds a word; gives whether it does."""
        return eventually(lambda: word in self.log_file.read_text("utf-8", "replace"), timeout_s)

    def wait_gone(self, timeout_s: float = 5.0) -> list[str]:
        """Waits until no process of this daemon is left; gives those that stayed."""
        eventually(lambda: not self.remains(), timeout_s)
        return self.remains()

    def remains(self) -> list[str]:
        """Processes that were seen in the daemon's tree, or have one of its uids, and still run."""
        return sorted({named(one) for one in [*self._seen, *self._by_uid()] if alive(one)})

    def processes(self) -> list[psutil.Process]:
        """The daemon and everything below it: launcher, zygotes, sandboxes."""
        if self.process is None or self.process.poll() is not None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            main = psutil.Process(self.process.pid)
            found = {main, *main.children(recursive=True), *self._by_uid()}
            self._seen |= found
            for one in found:
                self._cgroups |= set(cgroups_of(one.pid))
            return sorted(found, key=lambda one: one.pid)
        return []

    def launcher(self) -> psutil.Process:
        """The process of the tree that kept its privileges."""
        for one in self.processes():
            if one.pid != self.pid and uid_of(one) == 0 and alive(one) and one.ppid() == self.pid:
                return one
        raise HarnessError(f"no launcher below the daemon: {[named(one) for one in self.processes()]}")

    def zygotes(self) -> list[psutil.Process]:
        """Children of the launcher that are the first process of a runtime."""
        launcher = self.launcher().pid
        return [one for one in self.processes() if alive(one) and one.ppid() == launcher]

    def instances(self) -> list[psutil.Process]:
        """Processes of functions (uid 1003 inside); blanks that wait for their code are not among them."""
        return [one for one in self._by_uid() if uid_of(one) % BLOCK == FUNCTION_UID]

    def cpu_s(self) -> float:
        """CPU seconds that all living processes of the tree have used."""
        total = 0.0
        for one in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                total += times.user + times.system
        return total

    def log_tail(self, lines: int = 30) -> str:
        """The end of what the daemon wrote."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log_file.read_text("utf-8", "replace").splitlines()[-lines:])
        return ""

    def admin(self, method: str, path: str, body: Any = None) -> Answer:
        """A request through the admin socket, on a connection of its own."""
        client = Client(lambda: UnixConnection(str(self.admin_socket), 30.0), "")
        try:
            return client.request(method, path, body)
        finally:
            client.close()

    def cli(self, *words: str, check: bool = True, timeout_s: float = 60.0) -> "subprocess.CompletedProcess[str]":
        """Runs `fgd --admin-socket ... words`."""
        return subprocess.run(
            [fgd_command(), "--admin-socket", str(self.admin_socket), *words],
            capture_output=True, text=True, check=check, timeout=timeout_s, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def create_keys(self) -> Keys:
        """New credentials, by the command."""
        made = self.cli("keys", "create", "--json", check=False)
        if made.returncode:
            raise HarnessError(f"keys create: exit code {made.returncode}: {made.stderr}\n{self.log_tail()}")
        values = json.loads(made.stdout)
        return Keys(values["access_key"], values["secret_key"], values["project_id"], values["token"])

    def client(self, keys: Keys, timeout_s: float = 100.0) -> Client:
        """A client over TCP with the token of `keys`."""
        return Client(
            lambda: http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s), keys.project_id, keys.token
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.processes()
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
        for one in [*self._seen, *self._by_uid()]:  # a broken daemon must not disturb what runs after it
            if not eventually(lambda one=one: not alive(one), 3.0):  # type: ignore[misc]
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()

    def own_cgroups(self) -> list[str]:
        """Cgroups below a parent `fgd` that belong to this daemon alone and are still there."""
        return sorted(one for one in self._cgroups if Path(one).exists())

    def cgroups_now(self) -> set[str]:
        """All cgroups that exist now below the folders of this daemon, which its processes showed."""
        self.processes()
        own = {"/".join(one.split("/")[: one.split("/").index("fgd") + 2]) for one in self._cgroups}
        return {one for one in fgd_cgroups() if any(one == top or one.startswith(top + "/") for top in own)}

    def _by_uid(self) -> list[psutil.Process]:
        first = int(str(self.settings["first_uid"]))
        last = first + self.sandboxes_max * BLOCK
        return [one for one in psutil.process_iter() if first <= uid_of(one) < last]


def _toml(value: object) -> str:
    """A setting's value; a table stands in braces."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(inner)}" for name, inner in value.items()) + "}"
    return json.dumps(value)
