"""The launcher's side of a sandbox that nsjail makes: nothing runs before `bind`, then nsjail does."""

import os
from typing import Any

from fgd.linux.cgroup import Cgroup
from fgd.linux.namespaces import new_network_namespace, within_network
from fgd.sandbox import nsjail_start
from fgd.sandbox.guard import LimitValues, failure_text
from fgd.sandbox.inside import kernel
from fgd.sandbox.launcher_disks import Made
from fgd.sandbox.launcher_loop import Loop
from fgd.sandbox.launcher_network import Networks
from fgd.sandbox.launcher_sandbox import Sandbox
from fgd.sandbox.launcher_zygote import restore_signals
from fgd.sandbox.mount_plan import Owner

_MIB = 1 << 20
_LOG_BYTES = 4096


def complaint_text(log: bytes) -> str:
    """Why nsjail, or what starts it, gave up; "" if it did not say.

    Our own child's report is JSON. Of nsjail's errors ([E], [F]) the first is the reason and the others follow from it.
    What a program's loader cannot find ("error while loading shared libraries") is a reason, what it warns of is not.
    """
    lines = log.splitlines()
    for starts in ((b"{",), (b"[E]", b"[F]")):
        for line in lines:
            if line.startswith(starts):
                return failure_text(line)
    return next((failure_text(line) for line in lines if b"error while loading" in line), "")


class NsjailSandbox(Sandbox):
    """A sandbox of the nsjail provider. nsjail is our child; its status is the function's, 128 + n for signal n."""

    def __init__(
        self, loop: Loop, name: str, ids: int, own_ids: Owner | None, cgroup: Cgroup, networks: Networks, network: str,
        *, runtime: dict[str, Any], binary: int,
    ) -> None:  # fmt: skip
        super().__init__(loop, name, ids, own_ids, cgroup, networks, network)
        self._runtime = runtime
        self._binary = binary
        self._pid = 0
        self._log = -1

    def hand_over(self) -> None:
        """There is nothing to wait for but its network: the daemon has it at once."""
        try:
            namespace = new_network_namespace()
            with within_network(namespace):
                kernel.loopback_up()
            self._join_network(namespace)
        except OSError as error:
            self.kill(str(error))
            return
        self._opened()

    def bind(self, view: int, limits: LimitValues, mounts: Made) -> None:
        self._limit(limits)
        config = nsjail_start.fill(
            self._runtime["template"],
            host_ids=self.user,
            own_ids=self.own_ids is not None,
            tmp_bytes=limits.tmp_mib * _MIB,
            tmp_inodes=limits.tmp_inodes,
        )
        joins: list[int] = []
        self._log, their_log = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            joins = self.cgroup.join_fds()
            start = nsjail_start.Start(
                binary=self._binary,
                config=config,
                root_plan=self._root_plan(),
                code=view,
                code_root=self._runtime["zygote"]["code_root"],
                mounts=mounts,
                cgroup=joins,
                network=self._namespace,
                channel=self._their_channel.fileno(),
                output=self._their_output,
                log=their_log,
                open_files=limits.open_files,
            )
            self._pid = os.fork()
            if self._pid == 0:
                restore_signals()
                nsjail_start.run(start)
        finally:
            for fd in (their_log, *joins):
                os.close(fd)
        self._let_go_of_network()
        self._pidfd = os.pidfd_open(self._pid)
        self._loop.watch_child(self._pid, self._nsjail_ended)
        self._close_theirs()
        self.state = "bound"

    def _root_plan(self) -> list[list[object]]:
        """The runtime's, with the files of its network in place of those that all have."""
        plan: list[list[object]] = self._runtime["plan"]
        if self.seat is None:
            return plan
        own = self._networks.files(self._network)
        return [["file", step[1], own[str(step[1])]] if step[0] == "file" and step[1] in own else step for step in plan]

    def _nsjail_ended(self, status: int) -> None:
        try:
            complaint = os.read(self._log, _LOG_BYTES)
        except BlockingIOError:
            complaint = b""
        self.reason = self.reason or complaint_text(complaint)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) > 128:
            status = os.WEXITSTATUS(status) - 128
        self._ended(status)

    def _ended(self, status: int | None) -> None:
        if self._log >= 0:
            os.close(self._log)
            self._log = -1
        super()._ended(status)
