"""The part of `fgd serve` that still is root: everything that must be done before privileges are dropped.

In this order, each step with one clear error: settings, account, state directory and its lock, admin socket, runtimes,
launcher, mount namespace, drop. No network socket is opened here.
"""

import contextlib
import fcntl
import grp
import os
import pwd
import socket
import stat
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fgd.config import Config
from fgd.runtime import RuntimeInstall

#: Folders of the state directory. `code` is bound into sandboxes, whose users are others.
FOLDERS = ("code", "packages", "tmp")
#: An earlier daemon that was killed holds the lock until its launcher has cleaned up, for a second at most.
_LOCK_WAIT_S = 3.0


class StartError(Exception):
    """fgd cannot start; the message says why and what to do. `status` is the exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Account:
    """Who the daemon becomes, and whose members may use the admin socket."""

    uid: int
    gid: int
    admin_gid: int


def find_account(config: Config) -> Account:
    """The account of the settings; without one, the first id of fgd's own range, which no account has."""
    try:
        entry = pwd.getpwnam(config.user)
        uid, gid = entry.pw_uid, entry.pw_gid
    except KeyError:
        uid = gid = config.first_uid
    if uid == 0:
        raise StartError(f"user: the daemon does not run as root; give another account than {config.user!r}")
    try:
        admin_gid = grp.getgrnam(config.group).gr_gid
    except KeyError:
        admin_gid = gid
    return Account(uid, gid, admin_gid)


def prepare_state(state_dir: Path, account: Account) -> int:
    """Makes the state directory and its folders, owned by the daemon's account; gives the lock's descriptor.

    What is in it was made by an unprivileged process, which hostile input may have taken over: root follows no link
    there and changes nothing that has another name elsewhere.

    Raises:
        StartError: it cannot be made, another daemon uses it, or something in it is not what fgd makes.
    """
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StartError(f"state directory {state_dir}: {error.strerror}; choose another with --state-dir") from error
    try:
        # It may have been there before, open to others: databases and code are nobody's business.
        os.fchmod(folder, 0o700)
        lock = _lock(state_dir, folder, account)
        for name in FOLDERS:
            _own_folder(state_dir, folder, name, account)
        if (os.fstat(folder).st_uid, os.fstat(folder).st_gid) != (account.uid, account.gid):
            _give_to(folder, account)
    finally:
        os.close(folder)
    return lock


def _lock(state_dir: Path, folder: int, account: Account) -> int:
    """Locks the state directory for as long as the descriptor given back is open, and writes our id into its file."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        lock = os.open("lock", flags, 0o600, dir_fd=folder)
    except OSError as error:
        raise StartError(f"state directory {state_dir}: lock: {error.strerror}; remove that file") from error
    status = os.fstat(lock)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        raise StartError(f"state directory {state_dir}: lock is no ordinary file; remove it")
    until = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if time.monotonic() > until:
                pid = os.read(lock, 20).decode("ascii", "replace").strip() or "unknown"
                raise StartError(
                    f"state directory {state_dir}: another fgd (pid {pid}) uses it;"
                    " stop that one first or choose another --state-dir"
                ) from None
            time.sleep(0.05)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    os.fchown(lock, account.uid, account.gid)
    return lock


def _own_folder(state_dir: Path, folder: int, name: str, account: Account) -> None:
    """Makes a folder of the state directory, or takes the one that is there if it is a folder and no link to one."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o755 if name == "code" else 0o700, dir_fd=folder)
    try:
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        raise StartError(f"state directory {state_dir}: {name} is no folder, or a link; move it away") from error
    try:
        os.fchown(inner, account.uid, account.gid)
    finally:
        os.close(inner)


def _give_to(top: int, account: Account) -> None:
    """The account changed (it was made after a first run, say): everything in the state directory follows it.

    Beneath descriptors, so that no folder can be swapped for a link meanwhile. A file with a second name may be
    somebody else's and keeps its owner.
    """
    for _, folders, files, here in os.fwalk(".", dir_fd=top, follow_symlinks=False):
        for name in (*folders, *files):
            status = os.stat(name, dir_fd=here, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode) or status.st_nlink == 1:
                os.chown(name, account.uid, account.gid, dir_fd=here, follow_symlinks=False)
    os.fchown(top, account.uid, account.gid)


def open_admin_socket(path: Path, account: Account) -> socket.socket:
    """A listening unix socket for administrators. What an earlier daemon left behind is replaced.

    Raises:
        StartError: somebody still answers there, or it cannot be made.
    """
    if path.is_socket():
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(path))
            except OSError:
                path.unlink(missing_ok=True)
            else:
                raise StartError(f"admin socket {path}: another fgd answers there; choose another --admin-socket")
    elif path.exists():
        raise StartError(f"admin socket {path}: the path exists and is no socket; choose another --admin-socket")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        # With its final mode at once, and no link followed: the folder may be one that others can write to.
        mask = os.umask(0o117)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        os.chown(path, 0, account.admin_gid, follow_symlinks=False)
        listener.listen(128)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise StartError(f"admin socket {path}: {reason}; choose another with --admin-socket") from error
    return listener


def write_pid_file(path: Path) -> None:
    """Writes this process's id, whole or not at all.

    Raises:
        StartError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Never through a link: where others can write, one could lie here under the name that we are about to use.
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        temporary.rename(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StartError(f"pid file {path}: {error.strerror}; choose another with --pid-file") from error


def needed_paths(state_dir: Path, runtimes: Sequence[RuntimeInstall]) -> list[Path]:
    """What the daemon reads or writes after the drop, wherever it lies."""
    package = Path(__file__).resolve().parent
    paths: set[Path] = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), package, state_dir.resolve()}
    paths |= {Path(entry).resolve() for entry in sys.path if entry and Path(entry).exists()}
    paths |= {Path(install.runtime_dir).resolve() for install in runtimes}
    return outermost(paths)


def outermost(paths: Iterable[Path]) -> list[Path]:
    """Without those that lie below another one."""
    kept: list[Path] = []
    for path in sorted(paths):
        if not kept or not path.is_relative_to(kept[-1]):
            kept.append(path)
    return kept


def parse_listen(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[IPv6]:PORT` or `:PORT`.

    Raises:
        StartError: anything else.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise StartError(f"--listen {text}: must be HOST:PORT with a port from 0 to 65535", 2)
    return host.strip("[]"), int(port)


def open_listener(host: str, port: int) -> socket.socket:
    """The TCP socket of the gateway; called after the drop.

    Raises:
        StartError: the port is in use, not permitted, or the host is not ours.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        raise StartError(
            f"--listen {host}:{port}: {error.strerror or error}; choose another address, or stop what uses it"
        ) from error
    return listener
