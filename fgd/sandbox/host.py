"""The daemon's side of the launcher: `SandboxHost` and `Sandbox` over its socket, in trio."""

import errno
import json
import logging
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import trio

from fgd.errors import SandboxError, Unavailable
from fgd.sandbox.api import Binding, Doors, ExitReport, Limits
from fgd.sandbox.mount_plan import Mount, Owner, plain

log = logging.getLogger(__name__)

_MESSAGE_BYTES = 8192
_FDS_MAX = 8


class NoDoors:
    """Nobody answers at doors: they are closed as they come."""

    def open(self, sandbox: str, network: str, door: socket.socket) -> None:
        door.close()

    def close(self, sandbox: str) -> None:
        pass


class LauncherLost(Exception):
    """The launcher has ended on its own, and every sandbox with it: the daemon cannot go on."""


class LauncherSandbox:
    """A sandbox of the launcher; see `fgd.sandbox.api.Sandbox`."""

    def __init__(
        self, host: "LauncherHost", name: str, runtime: str, fds: tuple[int, int, int], words: tuple[bytes, bytes, str]
    ) -> None:
        self.id = name
        self.runtime = runtime
        self.network = "none"
        self.channel = socket.socket(fileno=fds[0])
        self.channel.setblocking(False)
        self.output_fd = fds[1]
        os.set_blocking(self.output_fd, False)
        self.exit_report: ExitReport | None = None
        self._host = host
        self._freezer = fds[2]
        self._freeze_bytes, self._thaw_bytes, self._memory_path = words
        self._frozen = False
        self._bound = False
        self._reason: str | None = None
        self._ended = trio.Event()

    def bind(self, binding: Binding) -> None:
        if self._bound:
            raise RuntimeError(f"sandbox {self.id} has its code already")
        self._bound = True
        limits = binding.limits
        values = [
            limits.memory_mib, limits.cpu_mcpu, limits.pids, limits.open_files, limits.tmp_mib, limits.tmp_inodes
        ]  # fmt: skip
        more: dict[str, object] = {"dependencies": binding.dependencies} if binding.dependencies else {}
        if binding.mounts:
            more |= {"mounts": plain(binding.mounts), "owner": [binding.owner.uid, binding.owner.gid]}
        if binding.door:
            more["door"] = True
        self._host.send(["bind", self.id, binding.code, values, more])

    async def resize(self, limits: Limits) -> None:
        await self._host.resize(self, limits)

    def freeze(self) -> None:
        if not self._frozen and self._reason is None:
            self._frozen = self._write_freezer(self._freeze_bytes)

    def thaw(self) -> None:
        if self._frozen:
            self._frozen = False
            self._write_freezer(self._thaw_bytes)

    def _write_freezer(self, word: bytes) -> bool:
        if self._freezer < 0:
            return False
        try:
            os.write(self._freezer, word)
        except OSError as error:
            if error.errno not in (errno.ENODEV, errno.ENOENT):  # the cgroup is gone: the end is being reported
                raise
            return False
        return True

    def kill(self, reason: str) -> None:
        if self._reason is None and self.exit_report is None:
            self._reason = reason
            self._host.send(["kill", self.id])

    def memory_bytes(self) -> int:
        if self.exit_report is not None:
            return 0
        try:
            fd = os.open(self._memory_path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return 0
        try:
            return int(os.read(fd, 32))
        except (OSError, ValueError):
            return 0
        finally:
            os.close(fd)

    async def wait(self) -> ExitReport:
        await self._ended.wait()
        assert self.exit_report is not None
        return self.exit_report

    async def aclose(self) -> None:
        """Ends it, waits until it is gone, closes channel and output pipe. Waits also when cancelled: it is short."""
        self.kill("closed")
        with trio.CancelScope(shield=True):
            await self._ended.wait()
        self.close_fds()

    def close_fds(self) -> None:
        """Closes the channel and the output pipe; may be called again."""
        self.channel.close()
        if self.output_fd >= 0:
            os.close(self.output_fd)
            self.output_fd = -1

    def end(self, report: ExitReport) -> None:
        """Called by the host when the launcher reported the end."""
        if self.exit_report is None:
            self._host.doors.close(self.id)
            if self._reason is not None and not report.reason:  # the launcher's own came first, and says more
                report = ExitReport(report.status, report.signal, report.oom_kills, self._reason)
            self.exit_report = report
            os.close(self._freezer)
            self._freezer = -1
            self._frozen = False
            self._ended.set()


class _Opening:
    """A request for a sandbox that has not been answered; `abandoned` when whoever asked was cancelled."""

    __slots__ = ("abandoned", "answered", "error", "network", "runtime", "sandbox")

    def __init__(self, runtime: str, network: str) -> None:
        self.runtime = runtime
        self.network = network
        self.answered = trio.Event()
        self.sandbox: LauncherSandbox | None = None
        self.error = ""
        self.abandoned = False


class _Trial:
    """A request whether mounts can be made; `reason` is "" when they can."""

    __slots__ = ("done", "reason")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.reason = ""


class _Resizing:
    """A request for other limits that has not been answered."""

    __slots__ = ("answered", "refusal")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.refusal = ""

    def answer(self, refusal: str) -> None:
        self.refusal = refusal
        self.answered.set()


class LauncherHost:
    """Makes sandboxes by the launcher that `spawn_launcher` started. `run` must run for anything to be answered."""

    def __init__(self, launcher: socket.socket, doors: Doors | None = None) -> None:
        #: Who answers at the doors of sandboxes that have one.
        self.doors = doors or NoDoors()
        self._socket = launcher
        self._number = 0
        self._openings: dict[int, _Opening] = {}
        self._trials: dict[int, _Trial] = {}
        #: What became of NFS mounts, by number of the export and folder in it: active, mounting, unmounted or an error.
        self.shares: dict[tuple[int, str], str] = {}
        self._resizings: dict[int, _Resizing] = {}
        self._sandboxes: dict[str, LauncherSandbox] = {}
        self._unsent: list[bytes] = []
        self._flush = trio.Event()
        self._closing = False
        self._lost = False
        self._ended = trio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def send(self, message: list[Any]) -> None:
        """Sends a request at once; what the socket does not take now goes when it does, in order."""
        if self._closing or self._lost:
            return
        data = json.dumps(message).encode("ascii")
        if not self._unsent:
            try:
                self._socket.send(data, socket.MSG_NOSIGNAL)
                return
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                return  # `run` is about to read the same
        self._unsent.append(data)
        self._flush.set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Reads what the launcher tells, until `aclose`.

        Raises:
            LauncherLost: the launcher ended.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_unsent)
            task_status.started()
            try:
                while self._read():
                    await trio.lowlevel.wait_readable(self._socket)
            finally:
                self._lost = True
                self._fail_all()
            nursery.cancel_scope.cancel()
        if not self._closing:
            raise LauncherLost("the launcher has ended; its last words are in the log above")

    async def _send_unsent(self) -> None:
        while True:
            await self._flush.wait()
            while self._unsent:
                await trio.lowlevel.wait_writable(self._socket)
                with suppress(BlockingIOError):
                    self._socket.send(self._unsent[0], socket.MSG_NOSIGNAL)
                    del self._unsent[0]
            self._flush = trio.Event()

    def _read(self) -> bool:
        """Takes all messages that are there; False when the launcher is gone."""
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self._socket, _MESSAGE_BYTES, _FDS_MAX, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return True
            except ConnectionResetError:
                return False
            if not data:
                return False
            self._handle(json.loads(data), fds)

    def _handle(self, message: list[Any], fds: list[int]) -> None:
        match message:
            case ["opened", number, name, freeze, thaw, memory_path]:
                opening = self._openings.pop(number)
                words = (freeze.encode("ascii"), thaw.encode("ascii"), memory_path)
                sandbox = LauncherSandbox(self, name, opening.runtime, (fds[0], fds[1], fds[2]), words)
                sandbox.network = opening.network
                self._sandboxes[name] = sandbox
                if opening.abandoned:
                    sandbox.kill("not wanted any more")
                    sandbox.close_fds()
                opening.sandbox = sandbox
                opening.answered.set()
            case ["failed", number, text]:
                opening = self._openings.pop(number)
                opening.error = text
                opening.answered.set()
            case ["tried", number, text]:
                trial = self._trials.pop(number, None)
                if trial is not None:
                    trial.reason = text
                    trial.done.set()
            case ["share", export, share, state]:
                self.shares[(export, share)] = state
            case ["resized", number, refusal]:
                resizing = self._resizings.pop(number, None)
                if resizing is not None:
                    resizing.answer(refusal)
            case ["door", name]:
                self.doors.open(name, self._sandboxes[name].network, socket.socket(fileno=fds[0]))
            case ["gone", name, status, number, oom_kills, reason]:
                gone = self._sandboxes.pop(name, None)
                if gone is not None:
                    gone.end(ExitReport(status, number, oom_kills, reason))
            case _:
                log.error("the launcher said something unknown: %s", message[:1])

    def _fail_all(self) -> None:
        for opening in self._openings.values():
            opening.error = "the launcher has ended"
            opening.answered.set()
        self._openings.clear()
        for trial in self._trials.values():
            trial.reason = "the launcher has ended"
            trial.done.set()
        self._trials.clear()
        for resizing in self._resizings.values():
            resizing.answer("the launcher has ended")
        self._resizings.clear()
        for sandbox in self._sandboxes.values():
            # Its zygote dies with the launcher, but on cgroup v1 what is frozen does not act on the kernel's kill.
            sandbox.thaw()
            sandbox.end(ExitReport(None, 9, 0, "the launcher has ended"))
        self._sandboxes.clear()
        self._ended.set()

    async def open(self, runtime: str, own_ids: Owner | None = None, network: str = "none") -> LauncherSandbox:
        """A blank sandbox; if this is cancelled, the sandbox that comes is ended at once.

        Raises:
            SandboxError: the runtime is unknown or the host refused a step.
            Unavailable: the host is being closed.
        """
        if self._closing or self._lost:
            raise Unavailable("sandboxes: shutting down")
        self._number += 1
        opening = self._openings[self._number] = _Opening(runtime, network)
        ids = [] if own_ids is None else [[own_ids.uid, own_ids.gid]]
        self.send(["open", self._number, runtime, network, *ids])
        try:
            await opening.answered.wait()
        except trio.Cancelled:
            opening.abandoned = True
            if opening.sandbox is not None:
                opening.sandbox.kill("not wanted any more")
                opening.sandbox.close_fds()
            raise
        if opening.sandbox is None:
            raise SandboxError(f"sandbox: {opening.error}")
        return opening.sandbox

    async def try_mounts(self, mounts: Sequence[Mount], owner: Owner) -> str:
        """Makes these mounts and lets them go again; "" or why they cannot be made. It takes no longer than the
        launcher's limit."""
        if self._closing or self._lost:
            return "shutting down"
        self._number += 1
        number, trial = self._number, _Trial()
        self._trials[number] = trial
        self.send(["try", number, plain(mounts), [owner.uid, owner.gid]])
        try:
            await trial.done.wait()
        finally:
            self._trials.pop(number, None)
        return trial.reason

    async def resize(self, sandbox: LauncherSandbox, limits: Limits) -> None:
        """See `fgd.sandbox.api.Sandbox.resize`. Not cancelled: whoever gives up waiting would not know the limits."""
        if self._closing or self._lost:
            raise Unavailable("sandboxes: shutting down")
        self._number += 1
        resizing = self._resizings[self._number] = _Resizing()
        self.send(["resize", self._number, sandbox.id, limits.memory_mib, limits.cpu_mcpu])
        with trio.CancelScope(shield=True):
            await resizing.answered.wait()
        if resizing.refusal:
            raise SandboxError(f"sandbox {sandbox.id}: resize: {resizing.refusal}")

    async def aclose(self) -> None:
        """Ends all sandboxes and the launcher, and waits until they are gone; `run` then returns."""
        if not self._closing:
            self._closing = True
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
        with trio.CancelScope(shield=True):
            await self._ended.wait()
        self._socket.close()
