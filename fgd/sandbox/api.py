"""What the rest of fgd knows of sandboxes: specs, limits, and the two interfaces behind which providers work."""

import socket
from dataclasses import dataclass
from typing import Protocol

from fgd.sandbox.mount_plan import DEFAULT_OWNER, Mount, NfsMount, Owner
from fgd.units import cpu_mcpu


@dataclass(frozen=True, slots=True)
class Limits:
    """What one instance may use. All of it is enforced by the kernel."""

    memory_mib: int = 128
    cpu_mcpu: int = 300
    pids: int = 1024
    open_files: int = 2048
    tmp_mib: int = 512
    tmp_inodes: int = 65536

    @staticmethod
    def for_memory(memory_mib: int) -> "Limits":
        """The limits that go with a memory size."""
        return Limits(memory_mib=memory_mib, cpu_mcpu=cpu_mcpu(memory_mib))


@dataclass(frozen=True, slots=True)
class Binding:
    """What makes a blank sandbox one of a function version."""

    #: Digest of its package in the code store.
    code: str
    limits: Limits = Limits()
    #: Digests of its dependencies' packages, whose files are seen beside the code.
    dependencies: tuple[str, ...] = ()
    #: What is mounted at its access paths, and who it is on those disks.
    mounts: tuple[Mount, ...] = ()
    owner: Owner = DEFAULT_OWNER
    #: Whether it reaches fgd's own API, at an address of its loopback (`fgd.control.networks.DOOR_URL`).
    door: bool = False

    @property
    def own_ids(self) -> Owner | None:
        """The host's ids that the sandbox must be opened with, None for any. NFS has no id-mapped mounts: there the
        function must really be who it is on the disk."""
        return self.owner if any(isinstance(mount, NfsMount) for mount in self.mounts) else None


@dataclass(frozen=True, slots=True)
class ExitReport:
    """How a sandbox ended.

    `status` is the exit code of its first process, None when a signal ended it; `signal` that signal, else 0.
    `oom_kills` counts the processes the kernel killed for memory. `reason` is ours when we killed it, else "".
    """

    status: int | None
    signal: int
    oom_kills: int
    reason: str


class Sandbox(Protocol):
    """A live sandbox: blank until `bind`, then running the runtime that speaks `fgd.wire.frames` on `channel`."""

    id: str
    runtime: str
    #: What it is on: "none", "public" or a name of the settings.
    network: str
    #: Stream socket to the runtime, non-blocking; whoever took the sandbox reads, writes and closes it.
    channel: socket.socket
    #: Read end of the pipe that is descriptors 1 and 2 inside, non-blocking; closed by `aclose`.
    output_fd: int
    #: Set once it has ended.
    exit_report: ExitReport | None

    def bind(self, binding: Binding) -> None:
        """Gives the blank what it was made for. Sends and returns at once.

        What fails later ends the sandbox: the channel reaches its end and `exit_report.reason` tells.
        """

    async def resize(self, limits: Limits) -> None:
        """Gives a bound sandbox other limits of memory and CPU, frozen or not; returns when they hold.

        Raises:
            PlatformError: the kernel refused, such as a memory limit below what is in use, or it has ended; all limits
                are as before.
        """

    def freeze(self) -> None:
        """Stops every process inside; one write. Does nothing if it is frozen or has ended."""

    def thaw(self) -> None:
        """Lets them run again; one write."""

    def kill(self, reason: str) -> None:
        """Ends every process inside at once. May be called twice; the first reason stays. Returns at once."""

    def memory_bytes(self) -> int:
        """Memory in use now, as the cgroup counts it; 0 when it has ended."""

    async def wait(self) -> ExitReport:
        """Waits until it has ended and everything of it is gone (processes, cgroup, mounts)."""


class Doors(Protocol):
    """Answers at listening sockets inside of sandboxes."""

    def open(self, sandbox: str, network: str, door: socket.socket) -> None:
        """A sandbox on this network has a door; the socket is the callee's to close."""

    def close(self, sandbox: str) -> None:
        """A sandbox has ended. May be one without a door."""


class SandboxHost(Protocol):
    """Makes sandboxes; the daemon's side of the launcher."""

    async def open(self, runtime: str, own_ids: Owner | None = None, network: str = "none") -> Sandbox:
        """A blank sandbox of a runtime id such as "Python3.12", on a network of the settings; see `Binding.own_ids`.

        Raises:
            SandboxError: runtime or network is unknown or the host refused a step; the message names it.
        """

    async def aclose(self) -> None:
        """Ends all sandboxes and waits until they are gone."""
