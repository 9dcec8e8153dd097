"""Questions to the kernel and the host, each with a plain answer; nothing is changed. `fgd.doctor` judges them."""

import ctypes
import errno
import grp
import os
import pwd
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from fgd.linux import libc

#: Calls that sandboxes are made with, by number (above 423 the same everywhere).
NEEDED_CALLS: Final = {
    "pidfd_send_signal": 424, "open_tree": 428, "move_mount": 429, "pidfd_open": 434, "close_range": 436,
    "openat2": 437, "mount_setattr": 442,
}  # fmt: skip
NAMESPACES: Final = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
_NOBODY = 65534
_MS_SAFE = 2 | 4 | 8


def kernel_version(release: str | None = None) -> tuple[int, int]:
    """Major and minor number of the running kernel, or of a text such as "6.1.0-18-amd64"; (0, 0) if unreadable."""
    match = re.match(r"(\d+)\.(\d+)", os.uname().release if release is None else release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def first_line(path: str) -> str | None:
    """The first line of a small file; None when it is not there or not readable."""
    try:
        with Path(path).open("r", encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return None


def sysctl(name: str) -> str | None:
    """A kernel setting by its dotted name; None when this kernel does not have it."""
    return first_line("/proc/sys/" + name.replace(".", "/"))


def missing_calls() -> list[str]:
    """Those of `NEEDED_CALLS` that the kernel, or a filter around us, answers with ENOSYS. Called with nonsense."""
    calls = ctypes.CDLL(None, use_errno=True)
    missing = []
    for name, number in NEEDED_CALLS.items():
        # A descriptor of -1 and sizes of 0 make every one of them fail before it does anything.
        if calls.syscall(number, -1, None, 0xFFFFFFFF, 0, 0) == -1 and ctypes.get_errno() == errno.ENOSYS:
            missing.append(name)
    return missing


def missing_namespaces() -> list[str]:
    """Kinds of namespaces that this kernel does not have."""
    return [name for name in NAMESPACES if not Path("/proc/self/ns", name).exists()]


def try_namespaces() -> str:
    """Makes all namespaces as an ordinary user and mounts /proc in them, in a child process.

    Returns "" when it worked, else the step and the kernel's reason. As root it becomes `nobody` first, because root
    may do what the sandboxes' users may not.
    """
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        with suppress(BaseException):
            os.write(write_end, _in_child().encode("utf-8", "replace"))
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as file:
        answer = file.read().decode("utf-8", "replace")
    os.waitpid(pid, 0)
    return "" if answer == "ok" else answer or "the trial process ended without an answer"


def _in_child() -> str:
    step = "become nobody"
    try:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        step = "create namespaces"
        os.unshare(
            os.CLONE_NEWUSER | os.CLONE_NEWNS | os.CLONE_NEWPID | os.CLONE_NEWNET | os.CLONE_NEWIPC
            | os.CLONE_NEWUTS | os.CLONE_NEWCGROUP
        )  # fmt: skip
        step = "mount /proc in them"
        pid = os.fork()
        if pid == 0:
            calls = ctypes.CDLL(None, use_errno=True)
            failed = calls.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(_MS_SAFE), None) != 0
            os._exit(ctypes.get_errno() if failed else 0)
        _, status = os.waitpid(pid, 0)
        number = os.waitstatus_to_exitcode(status)
        return "ok" if number == 0 else f"{step}: {os.strerror(abs(number))}"
    except OSError as error:
        return f"{step}: {error.strerror}"


def try_overlay() -> str:
    """Makes an overlay of two folders that every host has, attached nowhere, and lets it go. "" when that worked, else
    the kernel's reason. Who may not mount gets to know whether the kernel names overlayfs among its file systems."""
    try:
        os.close(libc.new_mount("overlay", {"lowerdir": "/etc:/usr"}, libc.MOUNT_ATTR_RDONLY))
    except PermissionError:
        with suppress(OSError):
            names = [line.split()[-1] for line in Path("/proc/filesystems").read_text("utf-8").splitlines()]
            return "" if "overlay" in names else "not among the file systems of this kernel; it may be a module"
        return "cannot be told"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def knows_filesystem(name: str) -> bool:
    """Whether the kernel has a file system, or a module for it."""
    with suppress(OSError):
        if name in Path("/proc/filesystems").read_text("ascii").split():
            return True
    return any(Path("/lib/modules", os.uname().release, "kernel", "fs").glob(f"{name}/{name}.ko*"))


def total_memory_mib() -> int:
    """The host's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1 << 20)


def swap_in_use() -> bool:
    """Whether the host has swap space switched on."""
    try:
        return len(Path("/proc/swaps").read_text("utf-8").splitlines()) > 1
    except OSError:
        return False


def range_clashes(first: int, last: int, subordinate: Iterable[str] = ("/etc/subuid", "/etc/subgid")) -> list[str]:
    """Who else uses host ids from `first` to `last`: accounts, groups, and ranges given to users for containers."""
    clashes = [f"user {item.pw_name} ({item.pw_uid})" for item in pwd.getpwall() if first <= item.pw_uid <= last]
    clashes += [f"group {item.gr_name} ({item.gr_gid})" for item in grp.getgrall() if first <= item.gr_gid <= last]
    for path in subordinate:
        with suppress(OSError):
            clashes += subordinate_clashes(Path(path).read_text("utf-8", "replace"), path, first, last)
    return clashes


def subordinate_clashes(text: str, path: str, first: int, last: int) -> list[str]:
    """Lines "name:start:count" whose ids overlap with `first` to `last`."""
    clashes = []
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit():
            start, count = int(fields[1]), int(fields[2])
            if count and start <= last and start + count - 1 >= first:
                clashes.append(f"{path}: {line.strip()}")
    return clashes
