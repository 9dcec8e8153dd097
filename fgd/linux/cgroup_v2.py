"""cgroup version 2: one hierarchy; under systemd our own part of it is delegated to us.

A cgroup whose children are limited must hold no process itself, except the top one. So in a delegated cgroup all our
processes move into a leaf first. Source: Documentation/admin-guide/cgroup-v2.rst, systemd's CGROUP_DELEGATION.md.
"""

import errno
import os
import signal
from contextlib import suppress
from pathlib import Path

from fgd.linux.cgroup_base import (
    CPU_PERIOD_US,
    Cgroup,
    CgroupRoot,
    checked_name,
    keyed_value,
    make_folder,
    open_all,
    process_ids,
    read_file,
    remove_folder,
    signal_processes,
    write_file,
)

CONTROLLERS = ("memory", "cpu", "pids")
_LEAF = "daemon"
_MOVE_ROUNDS = 20


class CgroupV2(Cgroup):
    """One folder of the unified hierarchy."""

    freeze_bytes = b"1"
    thaw_bytes = b"0"

    def __init__(self, name: str, folder: str) -> None:
        self.name = name
        self._folder = folder
        self.freezer_path = f"{folder}/cgroup.freeze"
        self.memory_current_path = f"{folder}/memory.current"

    def set_limits(self, memory_bytes: int, cpu_mcpu: int, pids: int) -> None:
        folder = self._folder
        write_file(f"{folder}/memory.max", str(memory_bytes))
        # The file is missing on a kernel without swap, and then nothing can be swapped.
        with suppress(FileNotFoundError):
            write_file(f"{folder}/memory.swap.max", "0")
        # Half a sandbox is of no use: the kernel ends all of it.
        write_file(f"{folder}/memory.oom.group", "1")
        self._set_cpu(cpu_mcpu)
        write_file(f"{folder}/pids.max", str(pids))

    def resize(self, memory_bytes: int, cpu_mcpu: int) -> None:
        # A limit below what is in use would have the kernel kill. Below `memory.high` it only reclaims: first that,
        # then a look at what is left, then the limit.
        folder = self._folder
        write_file(f"{folder}/memory.high", str(memory_bytes))
        try:
            used_bytes = self.memory_bytes()
            if used_bytes > memory_bytes:
                raise OSError(errno.EBUSY, f"{used_bytes} bytes are in use", f"{folder}/memory.max")
            write_file(f"{folder}/memory.max", str(memory_bytes))
        finally:
            write_file(f"{folder}/memory.high", "max")
        self._set_cpu(cpu_mcpu)

    def _set_cpu(self, cpu_mcpu: int) -> None:
        folder = self._folder
        quota_us = max(1000, cpu_mcpu * CPU_PERIOD_US // 1000)
        write_file(f"{folder}/cpu.max", f"{quota_us} {CPU_PERIOD_US}")
        # 100 is the weight of an ordinary cgroup; a full core has as much.
        write_file(f"{folder}/cpu.weight", str(min(10_000, max(1, cpu_mcpu // 10))))

    def attach(self, pid: int) -> None:
        write_file(f"{self._folder}/cgroup.procs", str(pid))

    def join_fds(self) -> list[int]:
        return open_all([f"{self._folder}/cgroup.procs"])

    def kill(self) -> None:
        """One write; the kernel reaches frozen processes and those being forked. Linux before 5.14 lacks the file."""
        try:
            write_file(f"{self._folder}/cgroup.kill", "1")
        except FileNotFoundError:
            with suppress(FileNotFoundError):
                write_file(self.freezer_path, "1")
            seen: set[int] = set()
            while new := process_ids(self._folder) - seen:
                signal_processes(self._folder, signal.SIGKILL)
                seen |= new
        with suppress(FileNotFoundError):
            write_file(self.freezer_path, "0")

    def remove(self) -> bool:
        return remove_folder(self._folder)

    def oom_kills(self) -> int:
        return keyed_value(f"{self._folder}/memory.events", "oom_kill")


class CgroupRootV2(CgroupRoot):
    """`<base>/<name>`, where `base` is our delegated cgroup or `<mount>/fgd`."""

    version = 2

    def __init__(self, mount: str, base: str, name: str, controllers: tuple[str, ...] = CONTROLLERS) -> None:
        """Makes the folder and switches the controllers on from `mount` down to it.

        Raises:
            OSError: ENOTSUP when the hierarchy lacks a controller; EBUSY when a cgroup on the way holds processes.
        """
        self._base = base
        self._folder = f"{base}/{checked_name(name)}"
        make_folder(base)
        have = read_file(f"{base if base != f'{mount}/fgd' else mount}/cgroup.controllers").split()
        missing = [controller for controller in controllers if controller not in have]
        if missing:
            raise OSError(errno.ENOTSUP, f"cgroup controllers not available in {base}: {', '.join(missing)}")
        if controllers:
            on = " ".join(f"+{controller}" for controller in controllers)
            if base == f"{mount}/fgd":
                write_file(f"{mount}/cgroup.subtree_control", on)
            write_file(f"{base}/cgroup.subtree_control", on)
            make_folder(self._folder)
            write_file(f"{self._folder}/cgroup.subtree_control", on)
        make_folder(self._folder)

    def create(self, sandbox_name: str) -> CgroupV2:
        folder = f"{self._folder}/{checked_name(sandbox_name)}"
        Path(folder).mkdir(mode=0o755)
        return CgroupV2(sandbox_name, folder)

    def leftovers(self) -> list[Cgroup]:
        with os.scandir(self._folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        return [CgroupV2(name, f"{self._folder}/{name}") for name in names]

    def close(self) -> None:
        remove_folder(self._folder)
        if self._base.endswith("/fgd"):
            remove_folder(self._base)


def is_delegated(folder: str) -> bool:
    """Whether systemd gave this cgroup to us (`Delegate=yes`): it says so in an extended attribute."""
    for attribute in ("user.delegate", "trusted.delegate"):
        with suppress(OSError):
            if os.getxattr(folder, attribute) == b"1":
                return True
    return False


def own_cgroup(text: str) -> str:
    """Our path in the unified hierarchy, from the text of /proc/self/cgroup; "/" when it is not listed."""
    for line in text.splitlines():
        if line.startswith("0::"):
            return line[3:]
    return "/"


def delegated_base(mount: str, own: str) -> str | None:
    """The folder in which we may make cgroups as systemd's delegate, or None.

    Our processes leave it for a leaf. With `DelegateSubgroup=` systemd has put them into one already: then it is the
    parent that is delegated.
    """
    folder = f"{mount}{own}".rstrip("/")
    if own == "/" or ".." in own.split("/"):
        return None
    if is_delegated(folder):
        leave_for_leaf(folder)
        return folder
    parent = folder.rpartition("/")[0]
    if len(parent) > len(mount) and is_delegated(parent):
        return parent
    return None


def leave_for_leaf(folder: str) -> None:
    """Moves every process of a cgroup into its child `daemon`; some may be forked meanwhile, so again until empty."""
    leaf = f"{folder}/{_LEAF}"
    make_folder(leaf)
    for _ in range(_MOVE_ROUNDS):
        found = process_ids(folder)
        if not found:
            return
        for pid in found:
            with suppress(ProcessLookupError):
                write_file(f"{leaf}/cgroup.procs", str(pid))
    raise OSError(errno.EBUSY, "processes keep appearing in the service's own cgroup", folder)
