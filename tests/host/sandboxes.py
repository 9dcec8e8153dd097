"""Real sandboxes for tests: a launcher of its own per test, and a runtime that evaluates what the test sends."""

import hashlib
import json
import os
import socket
import textwrap
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import trio

from fgd.runtime import RuntimeInstall, discover
from fgd.sandbox.api import Binding, Limits, Sandbox
from fgd.sandbox.host import LauncherHost, LauncherSandbox
from fgd.sandbox.launch import LauncherSettings, spawn_launcher
from fgd.sandbox.mount_plan import Owner
from fgd.sandbox.network_plan import NetworkPlan
from fgd.shares import HostRoot

#: Below the ids of a daemon with default settings, and different from those of a test run beside this one.
FIRST_ID = 0x50000000 + os.getpid() % 64 * 128 * 65536
#: Of the folder of this test run's cgroups.
NAME = f"test-{os.getpid()}"
EVALUATOR = Path(__file__).parent / "evaluator"
_ANSWER_BYTES = 1 << 20


@cache
def installs() -> dict[str, RuntimeInstall]:
    """The interpreters of this host, by runtime id."""
    return {install.id: install for install in discover()}


class InsideError(Exception):
    """What the test ran inside raised; the message is the traceback from there."""


async def ask(sandbox: Sandbox, source: str, timeout_s: float = 10) -> Any:
    """Runs source inside and gives the value (JSON) of its variable `out`.

    Raises:
        InsideError: the source raised.
        EOFError: the sandbox ended before it answered.
    """
    request = json.dumps({"source": textwrap.dedent(source)}).encode("utf-8") + b"\n"
    with trio.fail_after(timeout_s):
        while request:
            await trio.lowlevel.wait_writable(sandbox.channel)
            try:
                request = request[sandbox.channel.send(request) :]
            except (BrokenPipeError, ConnectionResetError):
                raise EOFError(await _last_words(sandbox)) from None
        answer = b""
        while not answer.endswith(b"\n"):
            await trio.lowlevel.wait_readable(sandbox.channel)
            try:
                part = sandbox.channel.recv(65536)
            except ConnectionResetError:
                part = b""
            if not part or len(answer) > _ANSWER_BYTES:
                raise EOFError(await _last_words(sandbox))
            answer += part
    found = json.loads(answer)
    if "error" in found:
        raise InsideError(found["error"])
    return found["out"]


async def _last_words(sandbox: Sandbox) -> str:
    return f"{await sandbox.wait()} {output(sandbox)!r}"


def output(sandbox: Sandbox) -> str:
    """What it has written to its descriptors 1 and 2 and nobody has read yet."""
    text = b""
    with suppress(BlockingIOError):
        while part := os.read(sandbox.output_fd, 65536):
            text += part
    return text.decode("utf-8", "replace")


class _TrackingHost(LauncherHost):
    """Remembers what it made, so that a test need not close each sandbox's descriptors."""

    def __init__(self, launcher: socket.socket) -> None:
        super().__init__(launcher)
        self.made: list[LauncherSandbox] = []

    async def open(self, runtime: str, own_ids: Owner | None = None, network: str = "none") -> LauncherSandbox:
        self.made.append(await super().open(runtime, own_ids, network))
        return self.made[-1]


class Sandboxes:
    """Runs a test's coroutine with a fresh launcher, and knows a folder for code packages."""

    def __init__(self, folder: Path, name: str) -> None:
        self.code_root = folder / "code"
        self.code_root.mkdir()
        self.name = name
        #: Of the launcher that runs, or ran last.
        self.launcher_pid = 0

    def code(self, source: str = "", filename: str = "index.py") -> str:
        """Stores a package of one file; gives its digest for `Sandbox.bind`."""
        digest = hashlib.sha512(source.encode("utf-8")).hexdigest()
        folder = self.code_root / digest
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        (folder / filename).write_text(textwrap.dedent(source), "utf-8")
        (folder / filename).chmod(0o666)  # only the mount shall stand in the way of a writer
        return digest

    def package(self, files: dict[str, str]) -> str:
        """Stores a package of several files; gives its digest."""
        digest = hashlib.sha512(json.dumps(files).encode("utf-8")).hexdigest()
        for name, text in files.items():
            path = self.code_root / digest / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            path.chmod(0o666)
        return digest

    def run[T](
        self,
        main: Callable[[LauncherHost], Awaitable[T]],
        runtimes: Sequence[str] = ("Python3.12",),
        provider: str = "auto",
        runtime_dir: Path | None = EVALUATOR,
        sandboxes_max: int = 64,
        open_deadline_s: float = 10,
        mount_roots: Sequence[HostRoot] = (),
        mount_limit_s: float = 10,
        networks: NetworkPlan | None = None,
    ) -> T:
        """Starts a launcher, runs `main` with its host, closes both. `runtime_dir` None: the real runtime."""
        found = [installs()[name] for name in runtimes]
        if runtime_dir is not None:
            found = [replace(install, runtime_dir=runtime_dir, entry="bootstrap.py") for install in found]
        settings = LauncherSettings(
            self.name, self.code_root, FIRST_ID, sandboxes_max, provider, found, open_deadline_s=open_deadline_s,
            mount_roots=mount_roots, mount_limit_s=mount_limit_s, networks=networks,
        )  # fmt: skip
        launcher, self.launcher_pid = spawn_launcher(settings)

        async def body() -> T:
            async with trio.open_nursery() as nursery:
                host = _TrackingHost(launcher)
                await nursery.start(host.run)
                try:
                    return await main(host)
                finally:
                    await host.aclose()
                    for sandbox in host.made:
                        sandbox.close_fds()
            raise AssertionError("the nursery swallowed an exception")

        try:
            return trio.run(body)
        finally:
            launcher.close()
            os.waitpid(self.launcher_pid, 0)

    async def bound(
        self, host: LauncherHost, runtime: str = "Python3.12", limits: Limits | None = None
    ) -> LauncherSandbox:
        """A sandbox that runs the evaluator, with an empty package."""
        sandbox = await host.open(runtime)
        sandbox.bind(Binding(self.code(), limits or Limits()))
        return sandbox
