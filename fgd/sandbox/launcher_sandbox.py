"""The launcher's side of one sandbox, from its cgroup to its end.

States, in order: `new` (asked of the zygote), `mapped` (it has its ids), `blank` (the daemon has it), `bound` (it has
its code and runs), `dying` (its first process has ended), `gone` (reported). Any of the first four may turn to `dying`.
The first process of a sandbox is watched by a pidfd, which the kernel signals only when every process of its pid
namespace has ended.
"""

import array
import json
import os
import signal
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fgd.linux.cgroup import Cgroup
from fgd.linux.namespaces import check_network_namespace, map_ids
from fgd.linux.process import first_for_oom_killer
from fgd.sandbox.guard import LimitValues, failure_text
from fgd.sandbox.launcher_disks import Job, Made
from fgd.sandbox.launcher_loop import Loop, Timer
from fgd.sandbox.launcher_network import NONE, Networks, Seat, open_door
from fgd.sandbox.launcher_zygote import Zygote
from fgd.sandbox.mount_plan import Owner

_RETIRED_REAP_S = 0.2
_REMOVE_FIRST_S, _REMOVE_MAX_S, _REMOVE_TRIES = 0.002, 0.05, 200
_MESSAGE_BYTES = 4096
_CREDENTIALS = struct.Struct("3i")
#: Credentials and one descriptor.
_ANCILLARY_BYTES = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4)
_IDS = 65536
_INSIDE_ID = 1003
_MIB = 1 << 20
#: What a blank is made with; the same as `fgd.sandbox.api.Limits()`, by which the plan for /tmp is made.
DEFAULT_LIMITS = LimitValues(memory_mib=128, cpu_mcpu=300, pids=1024, open_files=2048, tmp_mib=512, tmp_inodes=65536)
_CGROUP_LIMITS = 3  # the first fields: memory, cpu, pids


class Sandbox:
    """What both providers share: cgroup, channel, output pipe, ids, and the orderly end.

    A provider's class starts a first process, sets `_pidfd`, and calls `_ended` with its wait status.
    """

    def __init__(
        self, loop: Loop, name: str, ids: int, own_ids: Owner | None, cgroup: Cgroup, networks: Networks, network: str
    ) -> None:
        self.name = name
        self.ids = ids
        #: Ids of the host that were asked for; else the function has two of the sandbox's own block.
        self.own_ids = own_ids
        self.user = (ids + _INSIDE_ID, ids + _INSIDE_ID) if own_ids is None else (own_ids.uid, own_ids.gid)
        #: What makes its mounts, or has made them.
        self.mounting: Job | None = None
        self.state = "new"
        self.reason = ""
        #: Told once: with the descriptors for the daemon (channel, output, freezer), or with what failed.
        self.on_open: Callable[[list[int] | None, str], None] = lambda fds, error: None
        #: Told once, when nothing of it is left: wait status (None: unknown) and count of OOM kills.
        self.on_gone: Callable[[int | None, int], None] = lambda status, oom_kills: None
        self._loop = loop
        self._networks = networks
        self._network = network
        #: Its place on a network, to be given back when it is gone.
        self.seat: Seat | None = None
        #: Of its network namespace, which ends with the last descriptor and the last process.
        self._namespace = -1
        self.cgroup = cgroup
        # Most functions have the smallest memory size: then `bind` has nothing to change.
        self._limits = DEFAULT_LIMITS
        self._set_limits(DEFAULT_LIMITS)
        self._pidfd = -1
        self._timer: Timer | None = None
        self._channel, self._their_channel = socket.socketpair()
        self._output, self._their_output = os.pipe2(os.O_CLOEXEC)
        # So that /dev/stdout can be opened by the function, it must own the pipe.
        os.fchown(self._their_output, *self.user)

    def bind(self, view: int, limits: LimitValues, mounts: Made) -> None:
        """Gives it its code (a detached mount), limits, and what is mounted; nothing of it is closed here.

        Raises:
            OSError: the kernel refused a limit.
        """
        raise NotImplementedError

    def open_door(self) -> socket.socket:
        """A listening socket in its network namespace; before `bind`.

        Raises:
            OSError: the kernel refused it.
        """
        return open_door(self._namespace)

    def _join_network(self, namespace: int) -> None:
        """Takes the descriptor of its network namespace and puts an interface there.

        Raises:
            OSError: no address is free, or the host refused a step.
        """
        self._namespace = namespace
        if self._network != NONE:
            self.seat = self._networks.attach(self._network, namespace)

    def _let_go_of_network(self) -> None:
        if self._namespace >= 0:
            os.close(self._namespace)
            self._namespace = -1

    def _set_limits(self, limits: LimitValues) -> None:
        self.cgroup.set_limits(limits.memory_mib * _MIB, limits.cpu_mcpu, limits.pids)

    def _limit(self, limits: LimitValues) -> None:
        if limits[:_CGROUP_LIMITS] != self._limits[:_CGROUP_LIMITS]:
            self._set_limits(limits)
        self._limits = limits

    def resize(self, memory_mib: int, cpu_mcpu: int) -> None:
        """Gives it other limits of memory and CPU while it runs.

        Raises:
            OSError: the kernel refused; the limits are as before.
        """
        old = self._limits
        try:
            self.cgroup.resize(memory_mib * _MIB, cpu_mcpu)
        except OSError:
            with suppress(OSError):  # what took effect is taken back; larger than what is in use always works
                self._set_limits(old)
            raise
        self._limits = old._replace(memory_mib=memory_mib, cpu_mcpu=cpu_mcpu)

    def _opened(self) -> None:
        """Hands the descriptors over and closes our copies."""
        self.state = "blank"
        freezer = os.open(self.cgroup.freezer_path, os.O_WRONLY | os.O_CLOEXEC)
        fds = [self._channel.fileno(), self._output, freezer]
        try:
            self.on_open(fds, "")
        finally:
            os.close(freezer)
            self._close_ours()

    def _close_ours(self) -> None:
        self._channel.close()
        if self._output >= 0:
            os.close(self._output)
            self._output = -1

    def _close_theirs(self) -> None:
        self._their_channel.close()
        if self._their_output >= 0:
            os.close(self._their_output)
            self._their_output = -1

    def kill(self, reason: str) -> None:
        """Ends every process of it, frozen or not. The first reason stays."""
        if self.state in ("dying", "gone"):
            return
        self.reason = self.reason or reason
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self.cgroup.kill()
        if self._pidfd < 0:
            self._ended(None)

    def _ended(self, status: int | None) -> None:
        """The first process has ended and its status is known, or never will be."""
        if self.state in ("dying", "gone"):
            return
        opening, self.state = self.state in ("new", "mapped"), "dying"
        if self._timer is not None:
            self._timer.cancel()
        if self._pidfd >= 0:
            self._loop.forget(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        self._close_theirs()
        self._close_ours()
        self._let_go_of_network()
        if opening:
            self.on_open(None, self.reason or "the sandbox ended before it was ready")
        self._remove(status, _REMOVE_TRIES)

    def _remove(self, status: int | None, tries: int) -> None:
        """Removes the cgroup; the kernel needs a moment until the last process has left it."""
        oom_kills = self.cgroup.oom_kills()
        if self.cgroup.remove() or tries == 0:
            self.state = "gone"
            self.on_gone(status, oom_kills)
            return
        self.cgroup.kill()
        wait_s = min(_REMOVE_FIRST_S * 2 ** (_REMOVE_TRIES - tries), _REMOVE_MAX_S)
        self._loop.after(wait_s, lambda: self._remove(status, tries - 1))


class ZygoteSandbox(Sandbox):
    """A sandbox forked by a zygote. It talks with us on its setup socket until the function's code is about to run."""

    def __init__(
        self, loop: Loop, name: str, ids: int, own_ids: Owner | None, cgroup: Cgroup, networks: Networks, network: str,
        *, zygote: Zygote, deadline_s: float,
    ) -> None:  # fmt: skip
        super().__init__(loop, name, ids, own_ids, cgroup, networks, network)
        self.zygote = zygote
        self._inner_pid = 0
        self._setup, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._setup.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._setup.setblocking(False)
        loop.watch(self._setup.fileno(), self._message)
        self._deadline_s = deadline_s
        self._timer = loop.after(deadline_s, self._too_late)
        joins = cgroup.join_fds()
        try:
            zygote.fork([theirs.fileno(), self._their_channel.fileno(), self._their_output, *joins])
        finally:
            theirs.close()
            for fd in joins:
                os.close(fd)
        self._close_theirs()

    def _too_late(self) -> None:
        self.kill("it was not ready in time")
        self.zygote.retire("a sandbox was not ready in time")

    def _message(self) -> None:
        try:
            data, ancillary, _, _ = self._setup.recvmsg(_MESSAGE_BYTES, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data, ancillary = b"", []
        pid, fds = _parts(ancillary)
        try:
            self._handle(data, pid, fds)
        except (OSError, ValueError, IndexError) as error:
            self.kill(f"{self.state}: {error}")
        finally:
            for fd in fds:
                os.close(fd)

    def _handle(self, data: bytes, pid: int, fds: list[int]) -> None:
        """`fds`: taken out of the list where they are kept."""
        if not data:
            # Closed by the sandbox: the code runs, or the process has ended, of which the pidfd will tell.
            self._close_setup()
            if self.state == "new":
                self._ended(None)
        elif data.startswith(b"{"):
            self.reason = self.reason or failure_text(data)
        elif data.startswith(b"hello ") and self.state == "new":
            self._map(int(data[6:]), pid, fds)
        elif data == b"ready" and self.state == "mapped" and self._timer is not None:
            self._timer.cancel()
            self._opened()

    def _map(self, inner_pid: int, pid: int, fds: list[int]) -> None:
        self._inner_pid = inner_pid
        self.zygote.children[inner_pid] = self._ended
        self._pidfd = os.pidfd_open(pid)
        self._loop.watch(self._pidfd, self._first_process_ended)
        first_for_oom_killer(pid)
        map_ids(pid, self.ids, _IDS, (_INSIDE_ID, *self.user))
        check_network_namespace(fds[0])
        self._join_network(fds.pop(0))
        self.state = "mapped"
        self._setup.send(b"mapped" if self.seat is None else b"mapped %02d" % self._networks.number(self._network))

    def bind(self, view: int, limits: LimitValues, mounts: Made) -> None:
        blank = self._limits
        self._limit(limits)
        same_tmp = (limits.tmp_mib, limits.tmp_inodes) == (blank.tmp_mib, blank.tmp_inodes)
        order = {
            "tmp": "" if same_tmp else f"size={limits.tmp_mib}m,nr_inodes={limits.tmp_inodes}",
            "open_files": limits.open_files,
            "mounts": [path for _, path in mounts],
        }
        fds = [view, *(fd for fd, _ in mounts)]
        socket.send_fds(self._setup, [json.dumps(order).encode("ascii")], fds)
        self._let_go_of_network()
        self.state = "bound"

    def _close_setup(self) -> None:
        self._loop.forget(self._setup.fileno())
        self._setup.close()

    def _first_process_ended(self) -> None:
        self._loop.forget(self._pidfd)
        if self._setup.fileno() >= 0:
            self._message()  # its last words
        self.zygote.reap()
        # One that did not answer before will hardly do so now.
        wait_s = _RETIRED_REAP_S if self.zygote.retired else self._deadline_s
        self._timer = self._loop.after(wait_s, self._not_reaped)

    def _not_reaped(self) -> None:
        self.zygote.retire("does not tell how a sandbox ended")
        self._ended(None)

    def _ended(self, status: int | None) -> None:
        if self.state in ("dying", "gone"):
            return
        if self._setup.fileno() >= 0:
            self._close_setup()
        super()._ended(status)
        self.zygote.forget(self._inner_pid)


def _parts(ancillary: list[Any]) -> tuple[int, list[int]]:
    """Who sent a message (process id, 0 when it does not say) and the descriptors that came with it."""
    pid, fds = 0, array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid = _CREDENTIALS.unpack(data)[0]
    return pid, list(fds)
