"""What both cgroup versions share: the two interfaces, reading and writing control files, and signalling safely."""

import errno
import os
import re
import signal
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
#: Length of a CPU accounting period; a sandbox that has used its quota waits for the next one.
CPU_PERIOD_US = 100_000
_SIGNAL_BATCH = 200
_SWEEP_DEADLINE_S = 5.0


def checked_name(name: str) -> str:
    """The name itself, if it can be one folder's name in every hierarchy.

    Raises:
        ValueError: anything else, so that no name can lead out of the folder.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a cgroup: 1-64 letters, digits, dots, dashes, not a leading dot")
    return name


def write_file(path: str, text: str) -> None:
    """One write to a control file.

    Raises:
        OSError: with the file's name; the kernel answers each refused value with an errno of its own.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode("ascii"))
    except OSError as error:
        raise OSError(error.errno, f"{os.strerror(error.errno or 0)} (writing {text!r})", path) from None
    finally:
        os.close(fd)


def read_file(path: str) -> str:
    """The whole text of a control file; OSError if it is gone."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
        return b"".join(parts).decode("ascii")
    finally:
        os.close(fd)


def open_all(paths: list[str]) -> list[int]:
    """Opens control files for writing; if one fails, none stays open."""
    fds: list[int] = []
    try:
        for path in paths:
            fds.append(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
    except OSError:
        for fd in fds:
            os.close(fd)
        raise
    return fds


def keyed_value(path: str, key: str) -> int:
    """The number after `key` in a file of "key number" lines; 0 when the file or the key is not there."""
    with suppress(FileNotFoundError, OSError):
        for line in read_file(path).splitlines():
            name, _, value = line.partition(" ")
            if name == key:
                return int(value)
    return 0


def process_ids(folder: str) -> set[int]:
    """Processes in a cgroup (not in its children), as numbers of our own pid namespace; empty when it is gone.

    A 0 stands for a process that our pid namespace cannot name; there is nothing to signal.
    """
    try:
        return {int(word) for word in read_file(f"{folder}/cgroup.procs").split()} - {0}
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):
            return set()
        raise


def signal_processes(folder: str, number: int) -> set[int]:
    """Signals every process of a cgroup and returns their ids.

    A process id may be given to a stranger between reading the list and sending the signal. So: open a descriptor for
    each id, read the list again, and signal only those descriptors whose id is still in it.
    """
    signalled: set[int] = set()
    found = sorted(process_ids(folder))
    for start in range(0, len(found), _SIGNAL_BATCH):
        handles: dict[int, int] = {}
        try:
            for pid in found[start : start + _SIGNAL_BATCH]:
                with suppress(ProcessLookupError):
                    handles[pid] = os.pidfd_open(pid)
            still = process_ids(folder)
            for pid, handle in handles.items():
                if pid in still:
                    signalled.add(pid)
                    with suppress(ProcessLookupError):
                        signal.pidfd_send_signal(handle, number)
        finally:
            for handle in handles.values():
                os.close(handle)
    return signalled


def make_folder(path: str) -> None:
    """Makes a cgroup and those above it. Another daemon may remove an empty parent meanwhile: try again."""
    for _ in range(10):
        try:
            Path(path).mkdir(mode=0o755, parents=True, exist_ok=True)
            return
        except FileNotFoundError:
            continue
    Path(path).mkdir(mode=0o755)


def remove_folder(path: str) -> bool:
    """Removes an empty cgroup. False: it still holds a process or a child; gone already counts as removed."""
    try:
        Path(path).rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        raise
    return True


class Cgroup(ABC):
    """The cgroup of one sandbox: limits, membership, freezing, and the sure end of everything in it."""

    name: str
    #: Write `freeze_bytes` or `thaw_bytes` here; a descriptor of it may be given to an unprivileged process.
    freezer_path: str
    freeze_bytes: bytes
    thaw_bytes: bytes
    #: Reading it from offset 0 gives the bytes in use as decimal text.
    memory_current_path: str

    @abstractmethod
    def set_limits(self, memory_bytes: int, cpu_mcpu: int, pids: int) -> None:
        """Limits memory (no swap beyond it), millicores and processes; may be called again with others.

        Raises:
            OSError: the kernel refused one; the file's name is in it.
        """

    @abstractmethod
    def resize(self, memory_bytes: int, cpu_mcpu: int) -> None:
        """Other limits of memory and millicores for what runs inside; nothing of it is killed for that.

        Raises:
            OSError: EBUSY: more memory is in use and cannot be reclaimed. Some limits may be the new ones then.
        """

    @abstractmethod
    def attach(self, pid: int) -> None:
        """Moves a process (all its threads) into the cgroup; what it forks later is born there."""

    @abstractmethod
    def join_fds(self) -> list[int]:
        """Descriptors into which a process with one thread writes b"0" to move itself; the caller closes them.

        `attach` waits for a grace period of the kernel, because the process could be forking: 5 to 15 ms on an idle
        host. A process that moves itself does not: 0.3 ms for all four hierarchies of version 1. It needs no privilege
        of its own, as the kernel looks at who opened the descriptor. Close them before any user code runs.
        """

    @abstractmethod
    def kill(self) -> None:
        """Sends SIGKILL to everything inside, frozen or not, also to what is being forked meanwhile. Does not wait."""

    @abstractmethod
    def remove(self) -> bool:
        """Removes it; False when processes have not finished dying yet (call again later)."""

    @abstractmethod
    def oom_kills(self) -> int:
        """How many of its processes the kernel killed for memory."""

    def memory_bytes(self) -> int:
        """Memory in use with page cache and tmpfs; 0 when the cgroup is gone."""
        try:
            return int(read_file(self.memory_current_path))
        except OSError:
            return 0


class CgroupRoot(ABC):
    """The folder of one daemon, in which the cgroups of its sandboxes are."""

    version: int

    @abstractmethod
    def create(self, sandbox_name: str) -> Cgroup:
        """An empty cgroup without limits.

        Raises:
            ValueError: a name that cannot be a folder's.
            OSError: it exists already, or the kernel has no room for more.
        """

    @abstractmethod
    def leftovers(self) -> list[Cgroup]:
        """The cgroups that are there now, whoever made them."""

    @abstractmethod
    def close(self) -> None:
        """Removes the daemon's own empty folders; one that still holds something stays."""

    def sweep(self) -> list[str]:
        """Kills and removes what an earlier daemon of this name left; returns the names.

        Waits up to five seconds for the processes to die.

        Raises:
            OSError: ETIMEDOUT if some did not (a process stuck in the kernel); names them.
        """
        left = self.leftovers()
        names = sorted(cgroup.name for cgroup in left)
        deadline = time.monotonic() + _SWEEP_DEADLINE_S
        while left:
            for cgroup in left:
                cgroup.kill()
            left = [cgroup for cgroup in left if not cgroup.remove()]
            if left and time.monotonic() > deadline:
                stuck = ", ".join(cgroup.name for cgroup in left)
                raise OSError(errno.ETIMEDOUT, f"processes of an earlier run do not end; cgroups: {stuck}")
            if left:
                time.sleep(0.01)
        return names
