"""Making namespaces for a child, and telling the kernel which ids a user namespace has."""

import os
from pathlib import Path


def fork_into_new_pid_namespace() -> int:
    """Forks; the child is process 1 of a new pid namespace, and still our child. 0 in the child, as os.fork.

    Only children of a process that unshares enter the new namespace, so the parent unshares, forks and turns back.
    """
    with Path("/proc/self/ns/pid").open("rb") as own:
        os.unshare(os.CLONE_NEWPID)
        try:
            pid = os.fork()
        except OSError:
            os.setns(own.fileno(), os.CLONE_NEWPID)
            raise
        if pid:
            os.setns(own.fileno(), os.CLONE_NEWPID)
        return pid


def map_ids(pid: int, first_id: int, count: int) -> None:
    """Gives the user namespace of a process the ids 0..count-1, which are first_id.. outside.

    Raises:
        OSError: the process is gone, or has a map already.
    """
    line = b"0 %d %d" % (first_id, count)
    for name in ("uid_map", "gid_map"):
        fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, line)
        finally:
            os.close(fd)
