"""Making namespaces for a child, and telling the kernel which ids a user namespace has."""

import errno
import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OWN_NETWORK = "/proc/self/ns/net"
_NS_GET_USERNS, _NS_GET_NSTYPE = 0xB701, 0xB703

type Range = tuple[int, int, int]
"""(first id inside, first id outside, count)"""


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


def map_ids(pid: int, first_id: int, count: int, shared: tuple[int, int, int] | None = None) -> None:
    """Gives the user namespace of a process the ids 0..count-1, which are first_id.. outside.

    Args:
        pid: a process in it.
        first_id: the host's id for 0 inside.
        count: how many.
        shared: an id inside and the host's uid and gid for it, which are not first_id and more.

    Raises:
        OSError: the process is gone, or has a map already.
    """
    inside, uid, gid = shared or (0, first_id, first_id)
    map_ranges(pid, ranges(first_id, count, {inside: uid}), ranges(first_id, count, {inside: gid}))


def ranges(first_id: int, count: int, others: dict[int, int]) -> list[Range]:
    """Ranges (inside, outside, count) for the ids 0..count-1, which are first_id.. outside, but for some `others`."""
    found: list[Range] = []
    begin = 0
    for inside in sorted(others):
        if others[inside] == first_id + inside:
            continue  # no exception, and one range less for the kernel to search
        if inside > begin:
            found.append((begin, first_id + begin, inside - begin))
        found.append((inside, others[inside], 1))
        begin = inside + 1
    if begin < count:
        found.append((begin, first_id + begin, count - begin))
    return found


def map_ranges(pid: int, uids: list[Range], gids: list[Range]) -> None:
    """Writes the maps of a process's user namespace."""
    for name, lines in (("uid_map", uids), ("gid_map", gids)):
        fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"".join(b"%d %d %d\n" % line for line in lines))
        finally:
            os.close(fd)


def user_namespace(uids: list[Range], gids: list[Range]) -> int:
    """A descriptor of a new user namespace with these maps and no process in it. Forks; needs root and one thread.

    Raises:
        OSError: the kernel refused the namespace or a map.
    """
    told, tell = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.unshare(os.CLONE_NEWUSER)
            os.write(tell, b"!")
            signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    try:
        if not os.read(told, 1):
            raise OSError(errno.EPERM, "a user namespace was refused")
        map_ranges(pid, uids, gids)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(told)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def check_network_namespace(fd: int) -> None:
    """Makes sure that a descriptor which another process sent is a network namespace, and one that belongs to a user
    namespace below ours: not the host's own (ioctl_ns(2)).

    Raises:
        OSError: it is something else.
    """
    if fcntl.ioctl(fd, _NS_GET_NSTYPE) != os.CLONE_NEWNET:
        raise OSError(errno.EINVAL, "not a network namespace")
    owner = fcntl.ioctl(fd, _NS_GET_USERNS)
    try:
        if os.fstat(owner).st_ino == Path("/proc/self/ns/user").stat().st_ino:
            raise OSError(errno.EPERM, "a network namespace of the host")
    finally:
        os.close(owner)


def new_network_namespace() -> int:
    """A descriptor of a new network namespace, in which nobody is. It ends with the last descriptor or process."""
    own = os.open(_OWN_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.unshare(os.CLONE_NEWNET)
        try:
            return os.open(_OWN_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.setns(own, os.CLONE_NEWNET)
    finally:
        os.close(own)


@contextmanager
def within_network(namespace: int) -> Iterator[None]:
    """The block runs in that network namespace: sockets made in it stay there. For processes with one thread."""
    own = os.open(_OWN_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.setns(namespace, os.CLONE_NEWNET)
        try:
            yield
        finally:
            os.setns(own, os.CLONE_NEWNET)
    finally:
        os.close(own)
