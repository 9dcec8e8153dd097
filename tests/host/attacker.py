"""Runs the functions in `tests/host/attacks` as an author's FunctionGraph functions, in real sandboxes."""

import hashlib
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from fgd.sandbox.api import Binding, Limits
from fgd.sandbox.host import LauncherHost, LauncherSandbox
from fgd.wire import frames
from tests.host.sandboxes import Sandboxes

ATTACKS = Path(__file__).parent / "attacks"
PROVIDERS = ("zygote", "nsjail")
_CALL_S = 60
_REQUEST_ID = "11111111-2222-4333-8444-555555555555"


class FunctionFailed(Exception):
    """The attack raised; the message is the error's JSON."""


class Ended(Exception):
    """The sandbox ended before it answered."""


def store_attacks(code_root: Path) -> str:
    """Puts the attacks into a code root as one package; its digest."""
    digest = hashlib.sha512(b"attacks").hexdigest()
    folder = code_root / digest
    if not folder.exists():
        shutil.copytree(ATTACKS, folder, ignore=shutil.ignore_patterns("__pycache__"))
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
    return digest


class Attacker:
    """One sandbox with the attacks in it."""

    def __init__(self, sandbox: LauncherSandbox) -> None:
        self.sandbox = sandbox
        self._reader = frames.FrameReader()
        self._calls = 0
        self.log = ""

    async def start(self, timeout_s: float = 30) -> None:
        """Sends INIT and waits until the instance takes calls."""
        init = {
            "handler": "main.handler", "initializer": "", "initializer_timeout_s": 0, "timeout_s": 60, "concurrency": 1,
            "instance_id": self.sandbox.id, "load_request_id": _REQUEST_ID, "init_request_id": _REQUEST_ID, "env": {},
            "user_data": {},
            "context": {
                "function_name": "attacks", "version": "latest", "package": "default", "project_id": "p",
                "memory_mib": 128, "cpu_mcpu": 300,
            },
        }  # fmt: skip
        await self._send(frames.frame(frames.INIT, 0, json.dumps(init).encode()))
        with trio.fail_after(timeout_s):
            await self._until(frames.READY, 0)

    async def call(self, attack: str, **arguments: object) -> Any:
        """What the attack returned.

        Raises:
            FunctionFailed: it raised.
            Ended: the sandbox ended first.
            trio.TooSlowError: no answer in time.
        """
        call_id = await self.begin(attack, **arguments)
        with trio.fail_after(_CALL_S):
            return await self._until(frames.RESULT, call_id)

    async def begin(self, attack: str, **arguments: object) -> int:
        """Sends the call and does not wait."""
        self._calls += 1
        event = json.dumps({"attack": attack, "arguments": arguments}).encode()
        deadline_s = 4e9
        await self._send(frames.invoke_frame(self._calls, _REQUEST_ID, deadline_s, event, b"{}"))
        return self._calls

    async def _send(self, data: bytes) -> None:
        while data:
            await trio.lowlevel.wait_writable(self.sandbox.channel)
            with suppress(BlockingIOError):
                data = data[self.sandbox.channel.send(data) :]

    async def _until(self, kind: int, call_id: int) -> Any:
        while True:
            await trio.lowlevel.wait_readable(self.sandbox.channel)
            try:
                data = self.sandbox.channel.recv(1 << 20)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                data = b""
            if not data:
                raise Ended(f"{await self.sandbox.wait()} {self.log} {self.output()!r}")
            for found, flags, number, body in self._reader.feed(data):
                if found == frames.LOG:
                    self.log += body[frames.LOG_HEAD.size :].decode("utf-8", "replace")
                elif found == frames.ERROR:
                    raise FunctionFailed(body[frames.RESULT_HEAD.size :].decode("utf-8", "replace"))
                elif found == kind and number == call_id:
                    answer = body[frames.RESULT_HEAD.size :] if kind == frames.RESULT else body
                    return answer.decode() if flags & frames.FLAG_TEXT else json.loads(answer)

    def output(self) -> str:
        """What it wrote to descriptors 1 and 2 since the last call."""
        text = b""
        with suppress(BlockingIOError):
            while part := os.read(self.sandbox.output_fd, 65536):
                text += part
        return text.decode("utf-8", "replace")

    def processes(self) -> set[tuple[int, str]]:
        """(process id, start time) on the host of everything in its cgroup."""
        folder = Path(self.sandbox._memory_path).parent
        found = set()
        for word in (folder / "cgroup.procs").read_text().split():
            with suppress(OSError):
                found.add((int(word), started(int(word))))
        return found


def started(pid: int) -> str:
    """The start time of a process, which with its id names it for ever."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


async def alive(processes: set[tuple[int, str]], seconds: float = 2) -> set[int]:
    """Those of them that are still there after so many seconds at most; zombies count.

    The time is for the host's first process, which takes the exit status of what lost its parent (nsjail) in that kill.
    """
    deadline = trio.current_time() + seconds
    while True:
        found = set()
        for pid, moment in processes:
            with suppress(OSError):
                if started(pid) == moment:
                    found.add(pid)
        if not found or trio.current_time() > deadline:
            return found
        await trio.sleep(0.01)


def attack[T](
    sandboxes: Sandboxes,
    provider: str,
    main: Callable[[Attacker], Awaitable[T]],
    limits: Limits | None = None,
    count: int = 1,
) -> list[T]:
    """Runs `main` with an attacker, in `count` sandboxes that live at the same time; what each gave."""
    digest = store_attacks(sandboxes.code_root)

    async def body(host: LauncherHost) -> list[T]:
        attackers = []
        for _ in range(count):
            sandbox = await host.open("Python3.12")
            sandbox.bind(Binding(digest, limits or Limits()))
            attackers.append(Attacker(sandbox))
            await attackers[-1].start()
        return [await main(attacker) for attacker in attackers]

    return sandboxes.run(body, ("Python3.12",), provider, runtime_dir=None)


def look(sandboxes: Sandboxes, provider: str, what: str, limits: Limits | None = None, **arguments: object) -> Any:
    """What one attack returns in one fresh sandbox."""

    async def main(attacker: Attacker) -> Any:
        return await attacker.call(what, **arguments)

    return attack(sandboxes, provider, main, limits)[0]
