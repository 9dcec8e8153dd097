"""Giving up privileges, and keeping what is needed reachable without them."""

import errno
import fcntl
import os
import signal
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from fgd.linux import libc
from fgd.linux.mounts import make_private


def drop_privileges(uid: int, gid: int) -> None:
    """Becomes this user for good: no other groups, five empty capability sets, no way to gain any by executing a file.

    The process is not dumpable afterwards (the kernel's rule for a change of ids), so that processes of the same user
    cannot read its memory. Call it while there is one thread: capabilities belong to threads.

    Raises:
        OSError: the kernel refused a step; nothing may be relied on then, end the process.
    """
    for capability in range(64):
        try:
            libc.prctl(libc.PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            break
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    libc.prctl(libc.PR_CAP_AMBIENT, libc.PR_CAP_AMBIENT_CLEAR_ALL)
    libc.clear_thread_capabilities()
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)


def die_with_parent() -> None:
    """The kernel kills us when our parent ends. A change of ids resets it: call it after that."""
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)


def keep_only(descriptors: Iterable[int]) -> list[int]:
    """In a forked child: closes every descriptor from 3 on but these; gives their new numbers, in the same order.

    A child that lives long, or hangs, must not hold what its parent gives to others.
    """
    # Copies above all targets first, so that none is overwritten before it is used.
    copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 512) for fd in descriptors]
    kept = list(range(3, 3 + len(copies)))
    for source, target in zip(copies, kept, strict=True):
        os.dup2(source, target, inheritable=False)
    os.closerange(3 + len(copies), os.sysconf("SC_OPEN_MAX"))
    return kept


def first_for_oom_killer(pid: int) -> None:
    """Should the whole host run out of memory, this process and its children are ended before anything else.

    Needs root; inside a sandbox nobody can take it back, as its /proc is read-only.
    """
    Path(f"/proc/{pid}/oom_score_adj").write_text("1000", "ascii")


def _closed_ancestor(path: Path) -> Path | None:
    """The first folder on the way to `path` that an unprivileged user may not pass."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            return folder
    return None


def make_reachable(paths: Iterable[Path]) -> None:
    """Makes paths reachable for an unprivileged user at their own names, in a mount namespace of this process only.

    A folder above one of them may be closed to others (/root, what `mktemp -d` makes). Over such a folder goes an empty
    tmpfs, and in it the paths that are needed are bound at the same names; nothing else of it can be seen. What the
    paths hold must be accessible by its own modes. Needs root.

    Raises:
        OSError: a path does not exist, or the kernel refused a mount.
    """
    os.unshare(os.CLONE_NEWNS)
    make_private()
    wanted = sorted({path.resolve(strict=True) for path in paths})
    covered: dict[Path, list[tuple[Path, int]]] = {}
    for path in wanted:
        closed = _closed_ancestor(path)
        if closed is not None:
            covered.setdefault(closed, []).append((path, libc.clone_mount(str(path), recursive=True)))
    for folder, views in covered.items():
        libc.mount("tmpfs", str(folder), "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "size=64k,mode=755")
        for path, view in views:
            _make_way(path, view)
            libc.attach_mount(view, str(path))
            os.close(view)
    # The working directory may lie below what is covered now, and would go on showing it.
    cwd = Path("/")
    with suppress(OSError):
        cwd = Path.cwd()
    with suppress(OSError):
        os.chdir(cwd)
        return
    os.chdir("/")


def _make_way(path: Path, view: int) -> None:
    """Creates the mount point: a folder or an empty file, as the view is. It may be within an earlier view."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if stat.S_ISDIR(os.fstat(view).st_mode):
        path.mkdir(mode=0o755)
    else:
        path.touch(mode=0o644)
