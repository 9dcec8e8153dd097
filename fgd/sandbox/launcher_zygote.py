"""The launcher's side of a zygote: starting it, asking it for sandboxes, and learning from it how they ended."""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fgd.linux import libc
from fgd.linux.mounts import enter_new_root
from fgd.linux.namespaces import fork_into_new_pid_namespace
from fgd.linux.process import die_with_parent, drop_privileges
from fgd.sandbox.guard import failure_text
from fgd.sandbox.inside import steps
from fgd.sandbox.launcher_loop import Loop, Timer

_CONTROL = 3
_ROOT_BYTES, _ROOT_INODES = 4 << 20, 1024
_START_DEADLINE_S = 60.0
_MESSAGE_BYTES = 65536
_BOOT = "import sys; sys.path[0] = {root!r}; from inside import zygote; del sys.path[0]; zygote.main()"

type Report = dict[str, Any]


class Zygote:
    """One running zygote of one runtime.

    `children` maps process ids of its own pid namespace to who wants to hear how they ended (a wait status, None when
    it is not known). A zygote that is `retired` gets no new requests; it ends when its last child has ended.
    """

    def __init__(self, loop: Loop, runtime: dict[str, Any], ids: int, program: bytes) -> None:
        self.ready = False
        self.retired = False
        self.children: dict[int, Callable[[int | None], None]] = {}
        self.on_ready: Callable[[], None] = lambda: None
        self.on_retired: Callable[[], None] = lambda: None
        self.on_broken: Callable[[], None] = lambda: None
        self.on_end: Callable[[str], None] = lambda reason: None
        self._loop = loop
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = fork_into_new_pid_namespace()
        if self.pid == 0:
            _become_zygote(theirs, runtime, ids)
        theirs.close()
        self._pidfd = os.pidfd_open(self.pid)
        loop.watch_child(self.pid, self._ended)
        loop.watch(self._socket.fileno(), self._message)
        self._deadline: Timer = loop.after(_START_DEADLINE_S, lambda: self._give_up("start took too long"))
        self._reason = ""
        self._send(json.dumps(runtime["zygote"]).encode("ascii"))
        self._send(program)

    def _send(self, data: bytes, fds: list[int] | None = None) -> None:
        if fds:
            socket.send_fds(self._socket, [data], fds, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        else:
            self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def fork(self, fds: list[int]) -> None:
        """Asks for a blank sandbox with these descriptors: setup socket, channel, output, cgroup files.

        Raises:
            OSError: it is gone, or has not taken earlier requests.
        """
        self._send(b"fork", fds)

    def reap(self) -> None:
        """Asks for the wait statuses of ended children; those who wait are told when the answer comes."""
        try:
            self._send(b"reap")
        except OSError:
            self._give_up("does not answer")

    def retire(self, reason: str) -> None:
        """No new requests; ends now, or with its last child."""
        self.retired, self._reason = True, self._reason or reason
        self.on_retired()
        if not self.children:
            self.kill()

    def forget(self, pid: int) -> None:
        """Nobody waits for this child any more."""
        self.children.pop(pid, None)
        if self.retired and not self.children:
            self.kill()

    def kill(self) -> None:
        """Ends it, and with it, by the kernel's rule for the first process of a pid namespace, all it forked."""
        if self._pidfd >= 0:
            _signal_kill(self._pidfd)

    def _give_up(self, reason: str) -> None:
        """It is of no use any more. Its sandboxes end first, by their cgroups: a frozen one does not act on the
        kernel's kill, and the zygote's own end would wait for it for ever."""
        self.retired, self._reason = True, self._reason or reason
        self.on_retired()
        self.on_broken()
        self.kill()

    def _message(self) -> None:
        try:
            data = self._socket.recv(_MESSAGE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.forget(self._socket.fileno())
            self._give_up("ended")
        elif data == b"ready":
            self._deadline.cancel()
            self.ready = True
            self.on_ready()
        elif data.startswith(b"{"):
            self._reason = failure_text(data)
        else:
            try:
                ended = [(int(pid), int(status)) for pid, status in json.loads(data)]
            except (ValueError, TypeError):
                self._give_up("said something unknown")
                return
            for pid, status in ended:
                told = self.children.get(pid)
                if told is not None:
                    told(status)

    def _ended(self, status: int) -> None:
        self._loop.forget(self._socket.fileno())
        os.close(self._pidfd)
        self._pidfd = -1
        self._socket.close()
        self._deadline.cancel()
        self.retired = True
        for told in list(self.children.values()):
            told(None)
        self.on_end(self._reason or f"ended with status {os.waitstatus_to_exitcode(status)}")


def restore_signals() -> None:
    """What the launcher ignores, a program that it starts must not."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _signal_kill(pidfd: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def _become_zygote(control: socket.socket, runtime: dict[str, Any], ids: int) -> None:
    """In the child: makes the root, gives up all rights, runs the interpreter. Never returns; tells what failed."""
    report = {"step": "start zygote", "path": runtime["executable"], "errno": 0}
    try:
        os.dup2(control.fileno(), _CONTROL)
        os.dup2(2, 1)
        os.closerange(_CONTROL + 1, os.sysconf("SC_OPEN_MAX"))
        restore_signals()
        os.setsid()
        libc.join_new_session_keyring()
        os.unshare(os.CLONE_NEWNS | os.CLONE_NEWIPC | os.CLONE_NEWNET | os.CLONE_NEWUTS)
        report["step"] = "make root of"
        enter_new_root(_ROOT_BYTES, _ROOT_INODES, lambda host: steps.carry_out(runtime["plan"], host))
        null = os.open("/dev/null", os.O_RDONLY)  # the new root's own; the host's is not for functions to have
        os.dup2(null, 0)
        os.close(null)
        report["step"] = "give up rights for"
        drop_privileges(ids, ids)
        die_with_parent()
        report["step"] = "execute"
        boot = _BOOT.format(root=runtime["zygote_root"])
        os.execve(runtime["executable"], [runtime["executable"], "-EsBu", "-c", boot], runtime["environment"])
    except steps.StepFailed as error:
        report = error.report
    except OSError as error:
        report["errno"] = error.errno or 0
    finally:
        # Also when something unforeseen is on its way up: this child must never go on as a second launcher.
        socket.socket(fileno=_CONTROL).send(json.dumps(report).encode("ascii"))
        if sys.exc_info()[0] is not None:
            sys.excepthook(*sys.exc_info())
        os._exit(1)
