"""What the kernel tells of processes, cgroups and mounts, for the checks that nothing is left behind."""

import contextlib
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import psutil

from fgd.linux import libc


def fgd_command() -> str:
    """The command beside the running interpreter."""
    return str(Path(sys.prefix, "bin", "fgd"))


#: Below those that the kernel gives to clients, so that a server that is killed and started again finds its own free.
_PORTS: Final = range(10_000, 32_768)


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on."""
    return free_ports(1)[0]


def free_ports(number: int) -> list[int]:
    """Several that differ: one that is asked for after another may be the same again."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(found) < number:
            port = secrets.choice(_PORTS)
            with contextlib.suppress(OSError):  # somebody has it
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
    return found


def eventually(condition: Callable[[], bool], timeout_s: float = 10.0, step_s: float = 0.02) -> bool:
    """Asks until the condition holds or the time is over; gives whether it holds."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(step_s)
    return True


def fgd_cgroups() -> Iterator[str]:
    """Paths of all cgroups below a parent named `fgd`, in every hierarchy."""
    for top, folders, _ in os.walk("/sys/fs/cgroup"):
        if "fgd" in top.split("/"):
            for folder in folders:
                yield f"{top}/{folder}"


def cgroups_of(pid: int) -> Iterator[str]:
    """Folders of the cgroups that a process is in and that lie below a parent `fgd`; also those between the two."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text("utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            parts = path.strip("/").split("/")
            if "fgd" not in parts[:-1]:
                continue
            name = controllers.removeprefix("name=")
            tops = [Path("/sys/fs/cgroup", name or "unified"), Path("/sys/fs/cgroup")]
            tops = [top for top in tops if top.joinpath(*parts).is_dir()]
            for end in range(parts.index("fgd") + 2, len(parts) + 1):
                yield from (str(Path(top, *parts[:end])) for top in tops[:1])


def mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text("utf-8").splitlines():
        fields = line.split()
        yield f"{fields[4]} ({fields[fields.index('-') + 1]})"


@contextlib.contextmanager
def hanging_disk(folder: Path) -> Iterator[None]:
    """Mounts a file system at a new folder whose server never answers: whoever looks a name up there waits for it.

    Needs root and /dev/fuse.
    """
    folder.mkdir()
    server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        options = {"fd": str(server), "rootmode": "40000", "user_id": "0", "group_id": "0", "allow_other": None}
        mount = libc.new_mount("fuse", options, 0)
        libc.attach_mount(mount, str(folder))
        os.close(mount)
        try:
            yield
        finally:
            libc.umount(str(folder), libc.MNT_DETACH)
    finally:
        os.close(server)  # whoever still waits gets an error


def alive(one: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(one.is_running()) and one.status() != psutil.STATUS_ZOMBIE
    return False


def named(one: psutil.Process) -> str:
    with contextlib.suppress(psutil.NoSuchProcess):
        return f"{one.pid} {' '.join(one.cmdline())[:100] or one.name()} (uid {one.uids().effective})"
    return f"{one.pid} (ended)"


def uid_of(one: psutil.Process) -> int:
    """The effective uid of a process; -1 when it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return int(one.uids().effective)
    return -1
