"""Makes the mounts of functions, in processes of their own: a disk that hangs must not hang the launcher.

Theory of operation: whatever looks a name up on a disk, or waits for a server, runs in a child that the launcher forks
and gives up after a time. There are two kinds. `make_mounts` opens folders below the roots and makes in-memory disks
for one start of an instance, hands over detached mounts and ends. `keep_export` mounts one NFS export, holds it in a
mount namespace of its own, and hands over clones of that mount until its socket is closed; it is the last to let go of
it, so that nobody else ever waits for what is still to be written to a dead server. The kernel unmounts everything when
it ends, also by kill -9. Messages to the launcher are "ok" with descriptors, or a report as of a failed step.
"""

import errno
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from fgd.linux import libc
from fgd.linux.mounts import make_private
from fgd.linux.namespaces import Range, user_namespace
from fgd.linux.process import die_with_parent, keep_only
from fgd.sandbox.mount_plan import HostMount, Mount, TmpfsMount

SAFE: Final = libc.MOUNT_ATTR_NOSUID | libc.MOUNT_ATTR_NODEV
#: The helper asks its server now and again whether it is there; see `keep_export`.
PROBE_S: Final = 5.0
#: A share is mounted here, in the helper's own mount namespace.
_POINT: Final = "/tmp/share"
#: An unanswered request is repeated after so many tenths of a second, and given up after the next such time.
_TIMEO, _RETRANS = "50", "1"
_VERSIONS: Final = ("4.2", "4.1", "4.0", "3")
_TMPFS_INODES_PER_MIB: Final = 128


def _begin(control: int, *others: int) -> tuple[socket.socket, list[int]]:
    """What every helper does first: it dies with the launcher, and holds nothing of the launcher's but these."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    die_with_parent()
    control, *rest = keep_only([control, *others])
    return socket.socket(fileno=control), rest


def _end() -> NoReturn:
    """A helper must never go on as a second launcher, also when something unforeseen is on its way up."""
    if sys.exc_info()[0] is not None:
        sys.excepthook(*sys.exc_info())
    os._exit(0)


def _tell_failure(control: socket.socket, path: str, error: OSError) -> None:
    text = error.strerror or str(error)
    with suppress(OSError):
        control.send(json.dumps({"step": "mount", "path": path, "text": text}).encode("ascii"))


def open_share(root: int, share: str) -> int:
    """A folder below a root, name by name, through no link.

    Raises:
        OSError: there is none, or a link or something else is in its place.
    """
    folder = os.dup(root)
    for name in share.split("/") if share else ():
        try:
            inner = libc.open_beneath(folder, name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            number = error.errno or errno.EIO
            linked = number in (errno.ELOOP, errno.ENOTDIR)  # a link, opened as a folder, is the latter
            reason = "is a link or no folder" if linked else os.strerror(number)
            raise OSError(number, f"the folder {share!r} cannot be mounted: {name!r} {reason}") from error
        finally:
            os.close(folder)
        folder = inner
    return folder


def make_mounts(
    control: int,
    mounts: Sequence[Mount],
    roots: Sequence[int],
    uids: list[Range],
    gids: list[Range],
    user: tuple[int, int],
) -> NoReturn:
    """In a forked child: makes host and tmpfs mounts and sends their descriptors, in order.

    Args:
        control: socket to the launcher.
        mounts: `HostMount` and `TmpfsMount` only.
        roots: the directories, as descriptors.
        uids: ids on the disk as the sandbox has them: what is seen "outside" is the host's id of the process.
        gids: the same for groups.
        user: the host's uid and gid of the function.
    """
    path = ""
    ours, folders = _begin(control, *roots)
    try:
        made = []
        for mount in mounts:
            path = mount.path
            match mount:
                case HostMount(_, root, share, read_only):
                    made.append(_host_mount(folders[root], share, read_only, uids, gids))
                case TmpfsMount(_, size_mib):
                    made.append(_memory_mount(size_mib, user))
        socket.send_fds(ours, [b"ok"], made)
    except OSError as error:
        _tell_failure(ours, path, error)
    finally:
        _end()


def _host_mount(root: int, share: str, read_only: bool, uids: list[Range], gids: list[Range]) -> int:
    folder = open_share(root, share)
    if not read_only and os.fstatvfs(folder).f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, "the host directory is read-only for fgd; mount it read-only, or make it writable")
    view = libc.clone_mount("", folder)
    attributes = SAFE | (libc.MOUNT_ATTR_RDONLY if read_only else 0)
    libc.set_mount_attributes(view, attributes)
    namespace = user_namespace(uids, gids)
    try:
        libc.map_mount_ids(view, namespace)
    except OSError as error:
        # Without a map others' rights are what the function has; for reading that is as good as it gets.
        if error.errno != errno.EINVAL or not read_only:
            reason = "its file system does not support id-mapped mounts on this kernel; mount it read-only"
            raise OSError(error.errno or 0, reason) from error
    return view


def _memory_mount(size_mib: int, user: tuple[int, int]) -> int:
    inodes = size_mib * _TMPFS_INODES_PER_MIB
    options = {"size": f"{size_mib}m", "nr_inodes": str(inodes), "mode": "0755"}
    return libc.new_mount("tmpfs", options | {"uid": str(user[0]), "gid": str(user[1])}, SAFE)


def keep_export(control: int, beat: int, host: str, path: str, version: str) -> NoReturn:
    """In a forked child: mounts `path` of an NFS server and gives out clones of that mount until nobody asks any more.

    Sends "ok" when it is mounted. After that each message b"ro" or b"rw" is answered with one detached mount.

    Args:
        control: socket to the launcher.
        beat: a pipe into which a process of its own writes "." whenever the server has answered, "x" when it has not.
        host: name or address of the server.
        path: absolute, on the server.
        version: "3", "4.0", "4.1", "4.2", or "" for the highest that the server has.
    """
    ours, (beat,) = _begin(control, beat)
    try:
        os.unshare(os.CLONE_NEWNS)
        make_private()
        address = socket.getaddrinfo(host, 2049, type=socket.SOCK_STREAM)[0][4][0]
        view = _nfs_mount(host, str(address), path, version)
        libc.mount("tmpfs", "/tmp", "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "size=64k,mode=700")
        Path(_POINT).mkdir()
        libc.attach_mount(view, _POINT)
        os.close(view)
        # By this descriptor the kernel finds the mount without asking the server.
        share = os.open(_POINT, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if os.fork() == 0:
            _probe(beat)
        os.close(beat)
        ours.send(b"ok")
        while kind := ours.recv(16):
            clone = libc.clone_mount("", share)
            libc.set_mount_attributes(clone, SAFE | (libc.MOUNT_ATTR_RDONLY if kind == b"ro" else 0))
            socket.send_fds(ours, [b"ok"], [clone])
            os.close(clone)
    except socket.gaierror as error:
        _tell_failure(ours, "", OSError(errno.EHOSTUNREACH, f"{host}: {error.strerror}"))
    except OSError as error:
        _tell_failure(ours, "", error)
    finally:
        _end()


def _nfs_mount(host: str, address: str, path: str, version: str) -> int:
    source = f"[{host}]:{path}" if ":" in host else f"{host}:{path}"
    for number in (version,) if version else _VERSIONS:
        options: dict[str, str | None] = {
            "source": source, "addr": address, "vers": number, "proto": "tcp", "soft": None,
            "timeo": _TIMEO, "retrans": _RETRANS,
        }  # fmt: skip
        if number == "3":
            # Its locks would need a daemon of the host; functions have locks among the instances of this node.
            options |= {"nolock": None, "mountproto": "tcp", "mountaddr": address}
        try:
            return libc.new_mount("nfs", options, SAFE)
        except OSError as error:
            if error.errno != errno.EPROTONOSUPPORT or number == _VERSIONS[-1] or version:
                raise
    raise OSError(errno.EPROTONOSUPPORT, "the server has no version of NFS that this host has")


def _probe(beat: int) -> NoReturn:
    """Asks the server again and again. It may hang: nobody waits for it."""
    try:
        die_with_parent()
        os.closerange(3, beat)
        while True:
            time.sleep(PROBE_S)
            try:
                os.statvfs(_POINT)
                word = b"."
            except OSError:
                word = b"x"
            os.write(beat, word)
    finally:
        os._exit(0)
