"""cgroup version 1: one hierarchy per controller, also as found on hybrid hosts.

Source: Documentation/admin-guide/cgroup-v1/{memory,freezer-subsystem,pids}.rst and scheduler/sched-bwc.rst.
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

#: The freezer is first: a process that a crash left half moved is found by the sweep, which looks there.
CONTROLLERS = ("freezer", "memory", "cpu", "pids")
_KILL_ROUNDS = 20


class CgroupV1(Cgroup):
    """One folder in each of the four hierarchies; `folders` maps controller to path."""

    freeze_bytes = b"FROZEN"
    thaw_bytes = b"THAWED"

    def __init__(self, name: str, folders: dict[str, str]) -> None:
        self.name = name
        self._folders = folders
        self.freezer_path = f"{folders['freezer']}/freezer.state"
        self.memory_current_path = f"{folders['memory']}/memory.usage_in_bytes"

    def set_limits(self, memory_bytes: int, cpu_mcpu: int, pids: int) -> None:
        self.resize(memory_bytes, cpu_mcpu)
        write_file(f"{self._folders['pids']}/pids.max", str(pids))

    def resize(self, memory_bytes: int, cpu_mcpu: int) -> None:
        # Below what is in use the kernel reclaims what it can, and refuses with EBUSY if that does not suffice.
        memory, cpu = self._folders["memory"], self._folders["cpu"]
        set_memory(memory, memory_bytes)
        # 1024 shares are the weight of an ordinary cgroup; a full core has as much.
        write_file(f"{cpu}/cpu.shares", str(max(2, cpu_mcpu * 1024 // 1000)))
        write_file(f"{cpu}/cpu.cfs_period_us", str(CPU_PERIOD_US))
        write_file(f"{cpu}/cpu.cfs_quota_us", str(max(1000, cpu_mcpu * CPU_PERIOD_US // 1000)))

    def attach(self, pid: int) -> None:
        for folder in dict.fromkeys(self._folders.values()):
            write_file(f"{folder}/cgroup.procs", str(pid))

    def join_fds(self) -> list[int]:
        return open_all([f"{folder}/tasks" for folder in dict.fromkeys(self._folders.values())])

    def kill(self) -> None:
        """Freezes first, so that nothing can fork away from the list; a frozen task dies when it is thawed."""
        seen: set[int] = set()
        for _ in range(_KILL_ROUNDS):
            if not process_ids(self._folders["freezer"]) - seen:
                break
            with suppress(FileNotFoundError):
                write_file(self.freezer_path, "FROZEN")
            seen |= signal_processes(self._folders["freezer"], signal.SIGKILL)
            with suppress(FileNotFoundError):
                write_file(self.freezer_path, "THAWED")
        with suppress(FileNotFoundError):
            write_file(self.freezer_path, "THAWED")

    def remove(self) -> bool:
        gone = [remove_folder(folder) for folder in reversed(self._folders.values())]
        return all(gone)

    def oom_kills(self) -> int:
        return keyed_value(f"{self._folders['memory']}/memory.oom_control", "oom_kill")


def set_memory(folder: str, memory_bytes: int) -> None:
    """Limits memory, and memory with swap to the same figure, so that nothing is swapped.

    The kernel demands at every moment that the first is not above the second: whether growing or shrinking, one of
    the two orders is right, and the other is refused with EINVAL without any change.
    """
    value = str(memory_bytes)
    plain, with_swap = f"{folder}/memory.limit_in_bytes", f"{folder}/memory.memsw.limit_in_bytes"
    if not Path(with_swap).exists():
        # Swap accounting is off (swapaccount=0): keep the group from being swapped at least; the doctor warns.
        with suppress(FileNotFoundError):
            write_file(f"{folder}/memory.swappiness", "0")
        write_file(plain, value)
        return
    try:
        write_file(plain, value)
        write_file(with_swap, value)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        write_file(with_swap, value)
        write_file(plain, value)
    # Buffers of TCP sockets are not part of the figure above in version 1.
    with suppress(FileNotFoundError):
        write_file(f"{folder}/memory.kmem.tcp.limit_in_bytes", str(memory_bytes // 4))


class CgroupRootV1(CgroupRoot):
    """`<mount of the controller>/fgd/<name>` in each hierarchy."""

    version = 1

    def __init__(self, mounts: dict[str, str], name: str) -> None:
        """`mounts` maps each of `CONTROLLERS` to the mount point of its hierarchy.

        Raises:
            OSError: a controller is missing (ENOTSUP), or its folder cannot be made.
        """
        missing = [controller for controller in CONTROLLERS if controller not in mounts]
        if missing:
            raise OSError(errno.ENOTSUP, f"cgroup controllers not mounted: {', '.join(missing)}")
        # Controllers that share a mount (cpu,cpuacct) share the folder.
        self._tops = {controller: f"{mounts[controller]}/fgd" for controller in CONTROLLERS}
        self._bases = {controller: f"{top}/{checked_name(name)}" for controller, top in self._tops.items()}
        for base in self._bases.values():
            make_folder(base)

    def create(self, sandbox_name: str) -> CgroupV1:
        checked_name(sandbox_name)
        made: list[str] = []
        folders = {controller: f"{base}/{sandbox_name}" for controller, base in self._bases.items()}
        try:
            for folder in dict.fromkeys(folders.values()):
                Path(folder).mkdir(mode=0o755)
                made.append(folder)
        except OSError:
            for folder in made:
                remove_folder(folder)
            raise
        return CgroupV1(sandbox_name, folders)

    def leftovers(self) -> list[Cgroup]:
        names: set[str] = set()
        for base in self._bases.values():
            with suppress(FileNotFoundError), os.scandir(base) as entries:
                names.update(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        return [
            CgroupV1(name, {controller: f"{base}/{name}" for controller, base in self._bases.items()})
            for name in sorted(names)
        ]

    def close(self) -> None:
        for folder in [*self._bases.values(), *self._tops.values()]:
            remove_folder(folder)


def mounted_controllers(mountinfo: str) -> dict[str, str]:
    """Controller name to mount point, from the text of /proc/self/mountinfo.

    Fields before " - ": id, parent, device, root, mount point, ...; after it: type, source, super block options, in
    which each controller is a word.
    """
    mounts: dict[str, str] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(), right.split()
        if len(fields) > 4 and len(tail) > 2 and tail[0] == "cgroup":
            for word in tail[2].split(","):
                mounts.setdefault(word, fields[4])
    return mounts


def read_mounted_controllers() -> dict[str, str]:
    """The same for our own mount namespace."""
    return mounted_controllers(read_file("/proc/self/mountinfo"))
