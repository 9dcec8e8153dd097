"""System calls that Python does not offer: one thin wrapper each, errno becomes an OSError with the path in it.

Structures and numbers: linux/mount.h, linux/openat2.h, linux/capability.h; the manual pages of the calls. Numbers above
423 are the same on every architecture.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2

MOUNT_ATTR_RDONLY: Final = 1
MOUNT_ATTR_NOSUID: Final = 2
MOUNT_ATTR_NODEV: Final = 4
_MOUNT_ATTR_IDMAP = 0x100000

RESOLVE_NO_MAGICLINKS: Final = 2
RESOLVE_NO_SYMLINKS: Final = 4
RESOLVE_BENEATH: Final = 8

PR_SET_PDEATHSIG: Final = 1
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

KEYCTL_JOIN_SESSION_KEYRING: Final = 1

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_OPENAT2, _SYS_MOUNT_SETATTR = 428, 429, 437, 442
_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432
_FSOPEN_CLOEXEC, _FSMOUNT_CLOEXEC = 1, 1
_FSCONFIG_SET_FLAG, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 0, 1, 6
_SYS_KEYCTL = {"x86_64": 250, "aarch64": 219}
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, path: str = "") -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path) if path else OSError(number, os.strerror(number))
    return result


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """mount(2)."""
    encoded = None if kind is None else os.fsencode(kind)
    data = None if options is None else os.fsencode(options)
    result = _libc.mount(os.fsencode(source), os.fsencode(target), encoded, ctypes.c_ulong(flags), data)
    _check(result, target)


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(os.fsencode(target), flags), target)


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    _check(_libc.pivot_root(os.fsencode(new), os.fsencode(old)), new)


def open_beneath(folder_fd: int, path: str, flags: int) -> int:
    """openat2(2): opens `path` below a folder, through no symbolic link and never out of the folder (Linux 5.6).

    Where a filter hides that call (RestrictSUIDSGID of systemd does), a single name is opened by openat, which is as
    good for it; anything longer is refused.
    """
    resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, resolve)
    result = _libc.syscall(_SYS_OPENAT2, folder_fd, os.fsencode(path), how, ctypes.c_ulong(len(how)))
    if result < 0 and ctypes.get_errno() == errno.ENOSYS and path not in ("", ".", "..") and "/" not in path:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder_fd)
    return _check(result, path)


def clone_mount(path: str, folder_fd: int | None = None, *, recursive: bool = False) -> int:
    """open_tree(2): a detached copy of the mount at `path`, or at a folder's descriptor (Linux 5.2).

    The copy shows what is at and below that folder. It is gone when the descriptor is closed without `attach_mount`.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (0x8000 if recursive else 0)
    if folder_fd is not None:
        flags |= _AT_EMPTY_PATH
    base = _AT_FDCWD if folder_fd is None else folder_fd
    return _check(_libc.syscall(_SYS_OPEN_TREE, base, os.fsencode(path), ctypes.c_uint(flags)), path)


def set_mount_attributes(fd: int, attributes: int) -> None:
    """mount_setattr(2) on a mount's descriptor: adds attributes (Linux 5.12)."""
    request = struct.pack("=QQQQ", attributes, 0, 0, 0)
    _check(_libc.syscall(_SYS_MOUNT_SETATTR, fd, b"", _AT_EMPTY_PATH, request, ctypes.c_ulong(len(request))))


def map_mount_ids(fd: int, user_namespace: int) -> None:
    """mount_setattr(2), MOUNT_ATTR_IDMAP: owners of files are seen through a user namespace's map (Linux 5.12).

    An id of the file system is what the map has "inside", the id that processes see is what it has "outside". The mount
    must be detached and not mapped yet; the file system must allow it (EINVAL).
    """
    request = struct.pack("=QQQQ", _MOUNT_ATTR_IDMAP, 0, 0, user_namespace)
    _check(_libc.syscall(_SYS_MOUNT_SETATTR, fd, b"", _AT_EMPTY_PATH, request, ctypes.c_ulong(len(request))))


def attach_mount(fd: int, path: str) -> None:
    """move_mount(2): attaches a detached mount at a path (Linux 5.2)."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH
    _check(_libc.syscall(_SYS_MOVE_MOUNT, fd, b"", _AT_FDCWD, os.fsencode(path), flags), path)


def new_mount(kind: str, options: Mapping[str, str | None], attributes: int) -> int:
    """fsopen(2), fsconfig(2), fsmount(2): a mount of a new file system that is attached nowhere (Linux 5.2).

    It is gone when the descriptor is closed without `attach_mount` and no clone of it is left. The kernel takes at most
    255 bytes of an option's value; None is for options that have none. One over the network may wait for its server.

    Raises:
        OSError: with the kernel's own words, where it has any.
    """
    context = _check(_libc.syscall(_SYS_FSOPEN, os.fsencode(kind), ctypes.c_uint(_FSOPEN_CLOEXEC)), kind)
    try:
        for name, value in options.items():
            command = _FSCONFIG_SET_FLAG if value is None else _FSCONFIG_SET_STRING
            words = (os.fsencode(name), None if value is None else os.fsencode(value), 0)
            _configured(context, _libc.syscall(_SYS_FSCONFIG, context, command, *words), f"{kind} {name}")
        _configured(context, _libc.syscall(_SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0), kind)
        return _check(_libc.syscall(_SYS_FSMOUNT, context, _FSMOUNT_CLOEXEC, ctypes.c_uint(attributes)), kind)
    finally:
        os.close(context)


def _configured(context: int, result: int, path: str) -> None:
    """Raises what went wrong. What the kernel says about it can be read from the context, a line at a time."""
    if result != -1:
        return
    number = ctypes.get_errno()
    said = []
    with suppress(OSError):  # there is no more to read
        while line := os.read(context, 4096):
            said.append(line.decode("utf-8", "replace").removeprefix("e ").strip())
    raise OSError(number, "; ".join([os.strerror(number), *said]), path)


def prctl(option: int, *words: int) -> int:
    """prctl(2) with whole numbers."""
    padded = [ctypes.c_ulong(word) for word in words + (0,) * (4 - len(words))]
    return _check(_libc.prctl(option, *padded))


def clear_thread_capabilities() -> None:
    """capset(2): empties the effective, permitted and inheritable sets of the calling thread."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, struct.pack("=6I", 0, 0, 0, 0, 0, 0)))


def join_new_session_keyring() -> None:
    """keyctl(2): leaves the keyring of whoever started us; kernels without keyrings have nothing to leave."""
    number = _SYS_KEYCTL.get(os.uname().machine)
    if number is not None:
        _libc.syscall(number, KEYCTL_JOIN_SESSION_KEYRING, None)
