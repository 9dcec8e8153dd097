"""Calls of the kernel that the in-sandbox part needs, by ctypes; works on Python 2.7 and 3.

Every function raises OSError with the kernel's errno. Structures and numbers: linux/mount.h, linux/capability.h, the
manual pages. System call numbers above 423 are the same on every architecture.
"""

from __future__ import absolute_import

import ctypes
import os
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_UNBINDABLE, MS_PRIVATE = 4096, 16384, 1 << 17, 1 << 18
MNT_DETACH = 2
#: mount_setattr(2): the same bits mean the same as for mount(2), but for NODEV and NOEXEC no others are used.
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV = 1, 2, 4
_AT_RECURSIVE = 0x8000
_AT_FDCWD = -100
_MOVE_MOUNT_F_EMPTY_PATH = 4
_SYS_MOVE_MOUNT, _SYS_CLOSE_RANGE, _SYS_MOUNT_SETATTR = 429, 436, 442

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 22, 24
PR_SET_NO_NEW_PRIVS, PR_SET_THP_DISABLE, PR_CAP_AMBIENT = 38, 41, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
_EINVAL = 22

_SOL_SOCKET, _SCM_RIGHTS = 1, 1
_MSG_NOSIGNAL, _MSG_CMSG_CLOEXEC = 0x4000, 0x40000000
_AF_INET, _SOCK_DGRAM_CLOEXEC = 2, 2 | 0o2000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)
#: The same, but calls keep the interpreter's lock, so that a child finds it held by itself.
_locked_libc = ctypes.PyDLL(None, use_errno=True)
_word = ctypes.c_ulong


class _Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class _Msghdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.POINTER(_Iovec)),
        ("iov_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _SockFprog(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def _bytes(text):
    return text if isinstance(text, bytes) else text.encode("utf-8")


def _check(result):
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def mount(source, target, kind, flags, options=None):
    _check(
        _libc.mount(
            _bytes(source), _bytes(target), kind and _bytes(kind), _word(flags), options and _bytes(options)
        )
    )


def detach(path):
    """Takes a mount and all below it out of this namespace."""
    _check(_libc.umount2(_bytes(path), MNT_DETACH))


def pivot_root(new, old):
    _check(_libc.pivot_root(_bytes(new), _bytes(old)))


def set_attributes(path, attributes, recursive):
    """Adds attributes to a mount (mount_setattr, Linux 5.12)."""
    request = struct.pack("=QQQQ", attributes, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    _check(_libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, _bytes(path), flags, request, _word(len(request))))


def attach_mount(fd, path):
    """Attaches a detached mount, as open_tree gave it."""
    _check(_libc.syscall(_SYS_MOVE_MOUNT, fd, b"", _AT_FDCWD, _bytes(path), _MOVE_MOUNT_F_EMPTY_PATH))


def unshare(flags):
    _check(_libc.unshare(flags))


def close_from(first):
    """Closes every descriptor from this number on."""
    _check(_libc.syscall(_SYS_CLOSE_RANGE, first, ctypes.c_uint(0xFFFFFFFF), 0))


def fork():
    """Forks without what Python does at a fork: renewing locks for threads that are gone, seeding `random`, asking
    /proc for the number of threads. A process with one thread needs none of it; it took 0.3 ms and dirtied 40 pages.
    """
    return _check(_locked_libc.fork())


def set_hostname(name):
    _check(_libc.sethostname(_bytes(name), ctypes.c_size_t(len(name))))


def loopback_up():
    """Brings up `lo`, the one interface of a new network namespace."""
    fd = _check(_libc.socket(_AF_INET, _SOCK_DGRAM_CLOEXEC, 0))
    try:
        _check(_libc.ioctl(fd, _word(_SIOCSIFFLAGS), struct.pack("16sH22x", b"lo", _IFF_UP)))
    finally:
        os.close(fd)


def prctl(option, *words):
    padded = [_word(word) for word in words + (0,) * (4 - len(words))]
    return _check(_libc.prctl(option, *padded))


_CAPABILITIES = [_word(number) for number in range(64)]


def drop_bounding_set():
    """Nothing that is executed from here on can gain a capability. Asks until the kernel knows no more of them."""
    for capability in _CAPABILITIES:
        if _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == -1:
            if ctypes.get_errno() != _EINVAL:
                _check(-1)
            return


def clear_capabilities():
    """Empties the ambient, effective, permitted and inheritable sets of this thread."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, struct.pack("=6I", 0, 0, 0, 0, 0, 0)))


def install_filter(program):
    """Puts this seccomp program (an array of struct sock_filter) on the calling thread, for ever."""
    buffer = ctypes.create_string_buffer(program, len(program))
    head = _SockFprog(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    _check(_libc.prctl(PR_SET_SECCOMP, _word(SECCOMP_MODE_FILTER), ctypes.byref(head), _word(0), _word(0)))


def send(fd, data):
    """Sends one message on a SOCK_SEQPACKET socket."""
    _check(_libc.send(fd, data, ctypes.c_size_t(len(data)), _MSG_NOSIGNAL))


def send_descriptor(fd, data, descriptor):
    """Sends one message with a copy of one of our descriptors."""
    buffer = ctypes.create_string_buffer(data, len(data))
    iov = _Iovec(ctypes.cast(buffer, ctypes.c_void_p), len(data))
    control = ctypes.create_string_buffer(struct.pack("=Qiii4x", 20, _SOL_SOCKET, _SCM_RIGHTS, descriptor), 24)
    address = ctypes.cast(control, ctypes.c_void_p)
    message = _Msghdr(None, 0, ctypes.pointer(iov), 1, address, len(control), 0)
    _check(_libc.sendmsg(fd, ctypes.byref(message), _MSG_NOSIGNAL))


class Receiver(object):
    """Takes messages from a SOCK_SEQPACKET socket into buffers that are made once: see immortal.py for why."""

    def __init__(self, fd, size, fds_max):
        self._fd = fd
        self._data = ctypes.create_string_buffer(size)
        self._control = ctypes.create_string_buffer(16 + 4 * fds_max + 8)
        self._iov = _Iovec(ctypes.cast(self._data, ctypes.c_void_p), size)
        control = ctypes.cast(self._control, ctypes.c_void_p)
        self._message = _Msghdr(None, 0, ctypes.pointer(self._iov), 1, control, 0, 0)
        self._reference = ctypes.byref(self._message)

    def next(self):
        """The next message and the descriptors that came with it: (bytes, list of int); b"" at the end."""
        self._message.control_length = len(self._control)
        got = _check(_libc.recvmsg(self._fd, self._reference, _MSG_CMSG_CLOEXEC))
        fds = []
        if self._message.control_length >= 16:
            length, level, kind = struct.unpack_from("=Qii", self._control, 0)
            if level == _SOL_SOCKET and kind == _SCM_RIGHTS:
                fds = list(struct.unpack_from("=%di" % ((length - 16) // 4), self._control, 16))
        return self._data[:got], fds


def receive(fd, size, fds_max):
    """One message; see `Receiver.next`."""
    return Receiver(fd, size, fds_max).next()
