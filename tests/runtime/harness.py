"""Runs the real runtime files under a real interpreter, over a socket pair and without a sandbox."""

import json
import select
import socket
import subprocess
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgd.runtime import RuntimeInstall, discover
from fgd.wire import frames

#: Every interpreter of this host that the runtime supports, found once.
INSTALLS = discover()
REQUEST_ID = "01234567-89ab-cdef-0123-456789abcdef"
_PATIENCE_S = 10.0

type Frame = tuple[int, int, int, bytes]


@dataclass
class Answer:
    """What came back for one call, with the log frames before it that carry its id."""

    kind: int
    flags: int
    code: int
    memory_bytes: int
    duration_us: int
    body: bytes
    logs: list["Log"] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Log:
    """One LOG frame."""

    call_id: int
    level: int
    time_s: float
    text: str


class Ended(Exception):
    """The runtime closed the channel; the argument is its exit status."""


class RuntimeProcess:
    """One runtime process and the daemon's side of its channel."""

    def __init__(self, install: RuntimeInstall, folder: Path, **init: Any) -> None:
        self.install = install
        ours, theirs = socket.socketpair()
        library = {"LD_LIBRARY_PATH": str(install.prefix / "lib")} if install.library_path else {}
        program = install.runtime_dir / install.entry
        self.process = subprocess.Popen(
            [str(install.executable), "-E", "-s", "-B", str(program), "--channel", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **library},
            cwd=folder,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self.channel = ours
        ours.settimeout(_PATIENCE_S)
        self.logs: list[Log] = []
        self.loaded = False
        self._reader = frames.FrameReader()
        self._frames: list[Frame] = []
        self._next_id = 1
        env = {"RUNTIME_CODE_ROOT": str(folder), "PATH": "/usr/bin:/bin", **init.pop("env", {})}
        about = {
            "function_name": "echo",
            "version": "latest",
            "package": "default",
            "project_id": "p" * 32,
            "memory_mib": 128,
            "cpu_mcpu": 300,
        }
        self.init = {
            "handler": "index.handler",
            "initializer": "",
            "initializer_timeout_s": 3,
            "timeout_s": 10,
            "concurrency": 1,
            "instance_id": "i-1",
            "load_request_id": "load",
            "init_request_id": "init",
            "env": env,
            "user_data": {"color": "blue"},
            "context": about,
            **init,
        }
        self.send(frames.frame(frames.INIT, 0, json.dumps(self.init).encode()))

    def send(self, data: bytes) -> None:
        """Sends all of it and takes what arrives meanwhile, as the daemon does: else both could wait for the other."""
        while data:
            readable, writable, _ = select.select([self.channel], [self.channel], [], _PATIENCE_S)
            if writable:
                data = data[self.channel.send(data, socket.MSG_DONTWAIT) :]
            elif readable:
                self._take()
            else:
                raise TimeoutError("the runtime takes nothing and says nothing")

    def receive(self) -> Frame:
        """The next frame of any type."""
        while not self._frames:
            self._take()
        return self._frames.pop(0)

    def _take(self) -> None:
        try:
            data = self.channel.recv(1 << 16)
        except ConnectionResetError:  # it ended without reading what we sent
            data = b""
        if not data:
            raise Ended(self.process.wait(_PATIENCE_S))
        self._frames += self._reader.feed(data)

    def next_event(self) -> Frame:
        """The next frame that is neither LOG, those are gathered in `logs`, nor LOADED, which sets `loaded`."""
        while True:
            frame = self.receive()
            if frame[0] == frames.LOADED:
                self.loaded = True
                continue
            if frame[0] != frames.LOG:
                return frame
            level, time_s = frames.LOG_HEAD.unpack_from(frame[3])
            self.logs.append(Log(frame[2], level, time_s, frame[3][frames.LOG_HEAD.size :].decode("utf-8")))

    def ready(self) -> dict[str, int]:
        """Waits for READY."""
        kind, _, call_id, body = self.next_event()
        assert (frames.READY, 0) == (kind, call_id), body
        ready: dict[str, int] = json.loads(body)
        return ready

    def start(self, event: Any = None, *, raw: bytes | None = None, extras: Any = None, timeout_s: float = 10) -> int:
        """Sends an INVOKE; gives its call id."""
        call_id = self._next_id
        self._next_id += 1
        data = json.dumps(event).encode() if raw is None else raw
        extra_data = json.dumps(extras).encode() if extras is not None else b""
        self.send(
            frames.invoke_frame(call_id, REQUEST_ID, time.time() + timeout_s if timeout_s else 0.0, data, extra_data)
        )
        return call_id

    def answer(self) -> tuple[int, Answer]:
        """The next answer and its call id."""
        kind, flags, call_id, body = self.next_event()
        assert kind in (frames.RESULT, frames.ERROR), kind
        code, memory_bytes, duration_us = frames.RESULT_HEAD.unpack_from(body)
        mine = [log for log in self.logs if log.call_id == call_id]
        data = body[frames.RESULT_HEAD.size :]
        return call_id, Answer(kind, flags, code, memory_bytes, duration_us, data, mine)

    def call(self, event: Any = None, **options: Any) -> Answer:
        """Invokes and waits."""
        call_id = self.start(event, **options)
        answered, answer = self.answer()
        assert call_id == answered
        return answer

    def status(self) -> int:
        """Waits for the end of the process."""
        return self.process.wait(_PATIENCE_S)

    def raw_output(self) -> str:
        """Everything that came through descriptors 1 and 2; only after the end."""
        assert self.process.stdout is not None
        return self.process.stdout.read().decode("utf-8", "replace")

    def close(self) -> None:
        self.channel.close()
        try:
            self.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Writes a code package: path to source text."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("# -*- coding: utf-8 -*-\n" + textwrap.dedent(text), "utf-8")
