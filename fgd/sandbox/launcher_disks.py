"""The launcher's side of mounts: it asks helpers for them, waits for none, and gives each a time limit.

Whoever wants mounts gets a `Job`, which ends once, with descriptors of detached mounts or with a reason. An export is
mounted by the first job that needs it, and kept for the next ones until no sandbox has used it for a while.
"""

import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from fgd.linux.namespaces import ranges
from fgd.sandbox import disk_helpers
from fgd.sandbox.guard import failure_text
from fgd.sandbox.launcher_loop import Loop, Timer
from fgd.sandbox.mount_plan import HostMount, Mount, NfsMount, Owner

_MESSAGE_BYTES = 4096
_IDS = 65536
_INSIDE_ID = 1003
#: An export that no sandbox uses is unmounted after this.
IDLE_S = 60.0
#: A server that has not answered a probe for so long is said not to answer.
_SILENT_S = 3 * disk_helpers.PROBE_S

type Made = list[tuple[int, str]]
"""Descriptors of detached mounts, each with its access path."""


class Export(NamedTuple):
    """One line of the setting `nfs_servers`."""

    host: str
    path: str
    version: str
    read_only: bool


class Root(NamedTuple):
    """One line of the setting `mount_roots`, opened."""

    fd: int
    read_only: bool


class _Helper:
    """A forked child that sends messages on a socket, and is killed when that takes too long."""

    def __init__(self, loop: Loop, run: Callable[[int], None], told: Callable[[bytes, list[int]], None]) -> None:
        """`run(control)` is called in the child and does not return; `told` gets every message, b"" at the end."""
        self._loop = loop
        self._told = told
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if self._pid == 0:
            try:
                run(theirs.fileno())
            finally:  # it must never go on as a second launcher
                os._exit(1)
        theirs.close()
        self._pidfd = os.pidfd_open(self._pid)
        loop.watch(self.socket.fileno(), self._message)

    def _message(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(
                self.socket, _MESSAGE_BYTES, 8, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self.close()
        self._told(data, fds)

    def close(self) -> None:
        """Lets go of it. It is killed, and reaped by the loop; one that hangs in the kernel ends when that lets it."""
        if self._pidfd >= 0:
            self._loop.forget(self.socket.fileno())
            self.socket.close()
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.close(self._pidfd)
            self._pidfd = -1


class Share:
    """One mounted folder of an export, and the helper that holds it."""

    def __init__(self, loop: Loop, export: Export, share: str, limit_s: float) -> None:
        self.name = "/".join((f"{export.host}:{export.path.rstrip('/')}", share)).rstrip("/")
        self.state = "mounting"
        #: Sandboxes that have it.
        self.users = 0
        #: Told of every change of `state`.
        self.on_state: Callable[[], None] = lambda: None
        self._loop = loop
        self._limit_s = limit_s
        #: Who waits for a mount of it, in the order of the requests; None for those that gave up.
        self._waiting: deque[Callable[[int, str], None]] = deque()
        self._asked: deque[bytes] = deque()
        beat, their_beat = os.pipe2(os.O_CLOEXEC)
        path = "/".join((export.path.rstrip("/"), share)) if share else export.path

        def run(control: int) -> None:
            disk_helpers.keep_export(control, their_beat, export.host, path, export.version)

        try:
            self._helper = _Helper(loop, run, self._message)
        except OSError:
            os.close(beat)
            raise
        finally:
            os.close(their_beat)
        self._beat = beat
        loop.watch(beat, self._beaten)
        self._timer: Timer = loop.after(limit_s, lambda: self.end(f"no answer within {limit_s:g} s"))
        self._silence: Timer | None = None

    @property
    def ended(self) -> bool:
        return self._beat < 0

    def get(self, read_only: bool, done: Callable[[int, str], None]) -> None:
        """Asks for a detached mount; `done(descriptor, "")` or `done(-1, reason)`."""
        self._waiting.append(done)
        kind = b"ro" if read_only else b"rw"
        if self.state == "mounting":
            self._asked.append(kind)
        else:
            self._ask(kind)

    def _ask(self, kind: bytes) -> None:
        try:
            self._helper.socket.send(kind, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            self.end("its helper does not take requests")
            return
        self._timer.cancel()
        self._timer = self._loop.after(self._limit_s, lambda: self.end(f"no answer within {self._limit_s:g} s"))

    def _message(self, data: bytes, fds: list[int]) -> None:
        if data == b"ok" and fds:
            if len(self._waiting) <= 1:
                self._timer.cancel()
            self._waiting.popleft()(fds[0], "")
        elif data == b"ok":
            self._timer.cancel()
            self._set("active")
            self._hear()
            while self._asked:
                self._ask(self._asked.popleft())
        else:
            self.end(failure_text(data).removeprefix("mount: ") if data else "its helper ended")

    def _beaten(self) -> None:
        word = os.read(self._beat, 512)
        if not word:
            self._loop.forget(self._beat)
        elif word.endswith(b"."):
            self._set("active")
            self._hear()
        else:
            self._set("error: the server does not answer")

    def _hear(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
        self._silence = self._loop.after(_SILENT_S, lambda: self._set("error: the server does not answer"))

    def _set(self, state: str) -> None:
        if self.state not in (state, "unmounted"):
            self.state = state
            self.on_state()

    def end(self, reason: str) -> None:
        """Unmounts it; those who wait get the reason. May be called twice."""
        if self.ended:
            return
        self._timer.cancel()
        if self._silence is not None:
            self._silence.cancel()
        self._helper.close()
        self._loop.forget(self._beat)
        os.close(self._beat)
        self._beat = -1
        self.state = f"error: {reason}" if reason else "unmounted"
        self.on_state()
        for done in list(self._waiting):
            done(-1, reason or "it was unmounted")
        self._waiting.clear()


class Job:
    """Mounts for one sandbox, or for a trial."""

    def __init__(self, mounts: Sequence[Mount], done: Callable[[Made | None, str], None]) -> None:
        self._paths = [mount.path for mount in mounts]
        self._fds: dict[str, int] = {}
        self._done: Callable[[Made | None, str], None] | None = done
        self._helper: _Helper | None = None
        self._timer: Timer | None = None
        #: Shares whose users this job has made more by one; whoever owns the mounts gives them back.
        self.shares: list[Share] = []

    def start(self, helper: _Helper, timer: Timer) -> None:
        self._helper, self._timer = helper, timer

    def add(self, path: str, fd: int) -> None:
        """One mount is there; the job ends with the last."""
        if self._done is None:
            os.close(fd)
            return
        self._fds[path] = fd
        if len(self._fds) == len(self._paths):
            done, self._done = self._done, None
            self._stop()
            made = [(self._fds[path], path) for path in self._paths]
            try:
                done(made, "")
            finally:
                for fd, _ in made:
                    os.close(fd)

    def fail(self, reason: str) -> None:
        """Ends it without mounts."""
        done, self._done = self._done, None
        if done is not None:
            self._stop()
            for fd in self._fds.values():
                os.close(fd)
            done(None, reason[:400])

    def _stop(self) -> None:
        if self._helper is not None:
            self._helper.close()
        if self._timer is not None:
            self._timer.cancel()


class Disks:
    """All mounts of one daemon's functions."""

    def __init__(self, loop: Loop, settings: dict[str, Any]) -> None:
        """
        Args:
            loop: the launcher's.
            settings: "roots" [[path, read only]], "exports" [[host, path, version, read only]], "limit_s".

        Raises:
            ValueError: a root is not there.
        """
        self._loop = loop
        self._limit_s: float = settings["limit_s"]
        self.roots = [Root(_open_root(path), read_only) for path, read_only in settings["roots"]]
        self.exports = [Export(*values) for values in settings["exports"]]
        self._shares: dict[tuple[int, str], Share] = {}
        #: Told of each change: number of the export, share, state.
        self.on_state: Callable[[int, str, str], None] = lambda export, share, state: None

    def make(
        self, mounts: Sequence[Mount], owner: Owner, inside: tuple[int, int], first_id: int,
        done: Callable[[Made | None, str], None],
    ) -> Job:  # fmt: skip
        """Begins to make mounts; `done` gets them, which it must not close, or None and a reason.

        Args:
            mounts: checked.
            owner: who the function is on the disks.
            inside: the host's uid and gid of the function in its sandbox.
            first_id: the host's id for 0 in its sandbox.
            done: is called once, maybe before this returns.
        """
        job = Job(mounts, done)
        own: list[Mount] = []
        try:
            for mount in mounts:
                match mount:
                    case NfsMount():
                        self._share(job, mount)
                    case HostMount(_, root):
                        own.append(replace(mount, read_only=mount.read_only or self.roots[root].read_only))
                    case _:
                        own.append(mount)
            if own:
                self._fork(job, own, owner, inside, first_id)
        except OSError as error:
            job.fail(str(error))
        return job

    def _fork(
        self, job: Job, mounts: list[Mount], owner: Owner, inside: tuple[int, int], first_id: int
    ) -> None:  # fmt: skip
        uids, gids = (
            _disk_ranges(first_id, one, kernel_id)
            for one, kernel_id in zip((owner.uid, owner.gid), inside, strict=True)
        )
        roots = [root.fd for root in self.roots]

        def run(control: int) -> None:
            disk_helpers.make_mounts(control, mounts, roots, uids, gids, inside)

        def told(data: bytes, fds: list[int]) -> None:
            if data == b"ok" and len(fds) == len(mounts):
                for mount, fd in zip(mounts, fds, strict=True):
                    job.add(mount.path, fd)
            else:
                job.fail(failure_text(data) if data else "the helper ended")

        helper = _Helper(self._loop, run, told)
        paths = ", ".join(mount.path for mount in mounts)
        timer = self._loop.after(self._limit_s, lambda: job.fail(f"mount {paths}: not done within {self._limit_s:g} s"))
        job.start(helper, timer)

    def _share(self, job: Job, mount: NfsMount) -> None:
        export = self.exports[mount.export]
        key = (mount.export, mount.share)
        share = self._shares.get(key)
        if share is None:
            share = self._shares[key] = Share(self._loop, export, mount.share, self._limit_s)
            share.on_state = lambda: self._changed(key, share)
            self.on_state(*key, share.state)
        share.users += 1
        job.shares.append(share)

        def got(fd: int, reason: str) -> None:
            if fd < 0:
                job.fail(f"mount {mount.path}: {share.name}: {reason}")
            else:
                job.add(mount.path, fd)

        if share.state.startswith("error: "):  # the mount is there, its server is not
            got(-1, share.state.removeprefix("error: "))
            return
        share.get(mount.read_only or export.read_only, got)

    def _changed(self, key: tuple[int, str], share: Share) -> None:
        if share.state.startswith("error: ") or share.state in ("active", "unmounted"):
            self.on_state(*key, share.state)
        if share.ended and self._shares.get(key) is share:
            del self._shares[key]

    def let_go(self, shares: Sequence[Share]) -> None:
        """Those that had mounts of these are gone. What nobody uses any more is unmounted after a while."""
        for share in shares:
            share.users -= 1
            if share.users == 0:
                self._loop.after(IDLE_S, lambda share=share: share.users or share.end(""))  # type: ignore[misc]

    def close(self) -> None:
        """Unmounts everything."""
        for share in list(self._shares.values()):
            share.end("")


def _open_root(path: str) -> int:
    try:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ValueError(f"mount_roots: {path}: {error.strerror}; make it, or take it out of the settings") from error


def _disk_ranges(first_id: int, owner: int, kernel_id: int) -> list[tuple[int, int, int]]:
    """Ids of a disk (inside) as processes have them (outside): the owner is the function itself, and where the function
    would be is what the owner would be. All others keep their numbers, so that `ls` in the sandbox shows them."""
    others = {owner: kernel_id}
    if owner != _INSIDE_ID:
        others[_INSIDE_ID] = first_id + owner
    return ranges(first_id, _IDS, others)
