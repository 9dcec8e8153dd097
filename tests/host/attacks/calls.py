"""System calls that no function may make, and the side doors to them."""

import ctypes
import errno
import mmap
import os
import resource
import socket
import threading
from pathlib import Path

import raw  # type: ignore[import-not-found]  # beside this file in the package, not in the repository

#: Number on x86_64 and harmless arguments; where the kernel would let them in, the filter must not.
_FORBIDDEN: dict[str, tuple[int, ...]] = {
    "ptrace": (101, 0, 0, 0, 0),
    "syslog": (103, 10, 0, 0),
    "personality": (135, 0x0400000),
    "sysfs": (139, 3),
    "modify_ldt": (154, 0, 0, 0),
    "pivot_root": (155, 0, 0),
    "adjtimex": (159, 0),
    "chroot": (161, 0),
    "acct": (163, 0),
    "settimeofday": (164, 0, 0),
    "mount": (165, 0, 0, 0, 0, 0),
    "umount2": (166, 0, 0),
    "swapon": (167, 0, 0),
    "swapoff": (168, 0),
    "reboot": (169, 0, 0, 0, 0),
    "sethostname": (170, 0, 0),
    "iopl": (172, 0),
    "ioperm": (173, 0, 0, 0),
    "init_module": (175, 0, 0, 0),
    "delete_module": (176, 0, 0),
    "quotactl": (179, 0, 0, 0, 0),
    "setxattr": (188, 0, 0, 0, 0, 0),
    "io_setup": (206, 1, 0),
    "remap_file_pages": (216, 0, 0, 0, 0, 0),
    "mbind": (237, 0, 0, 0, 0, 0, 0),
    "set_mempolicy": (238, 0, 0, 0),
    "mq_open": (240, 0, 0, 0, 0),
    "kexec_load": (246, 0, 0, 0, 0),
    "add_key": (248, 0, 0, 0, 0, 0),
    "request_key": (249, 0, 0, 0, 0),
    "keyctl": (250, 0, 0, 0, 0, 0),
    "ioprio_set": (251, 0, 0, 0),
    "inotify_init": (253,),
    "inotify_add_watch": (254, -1, 0, 0),
    "migrate_pages": (256, 0, 0, 0, 0),
    "fcntl F_NOTIFY": (72, 0, 1026, 32),
    "fcntl F_SETLEASE": (72, 0, 1024, 0),
    "unshare": (272, 0x10000000),
    "vmsplice": (278, 0, 0, 0, 0),
    "move_pages": (279, 0, 0, 0, 0, 0, 0),
    "perf_event_open": (298, 0, 0, -1, -1, 0),
    "inotify_init1": (294, 0),
    "fanotify_init": (300, 0, 0),
    "name_to_handle_at": (303, -100, 0, 0, 0, 0),
    "open_by_handle_at": (304, -100, 0, 0),
    "clock_adjtime": (305, 0, 0),
    "setns": (308, -1, 0),
    "process_vm_readv": (310, 1, 0, 0, 0, 0, 0),
    "process_vm_writev": (311, 1, 0, 0, 0, 0, 0),
    "kcmp": (312, 1, 1, 0, 0, 0),
    "finit_module": (313, -1, 0, 0),
    "seccomp": (317, 2, 0, 0),
    "kexec_file_load": (320, -1, -1, 0, 0, 0),
    "bpf": (321, 0, 0, 0),
    "userfaultfd": (323, 1),
    "pkey_alloc": (330, 0, 0),
    "io_uring_setup": (425, 1, 0),
    "io_uring_enter": (426, -1, 0, 0, 0, 0),
    "io_uring_register": (427, -1, 0, 0, 0),
    "open_tree": (428, -100, 0, 0),
    "move_mount": (429, -1, 0, -1, 0, 0),
    "fsopen": (430, 0, 0),
    "fsconfig": (431, -1, 0, 0, 0, 0),
    "fsmount": (432, -1, 0, 0),
    "fspick": (433, -1, 0, 0),
    "pidfd_getfd": (438, -1, 0, 0),
    "process_madvise": (440, -1, 0, 0, 0, 0),
    "mount_setattr": (442, -1, 0, 0, 0, 0),
    "quotactl_fd": (443, -1, 0, 0, 0),
    "landlock_create_ruleset": (444, 0, 0, 1),
    "memfd_secret": (447, 0),
    "set_mempolicy_home_node": (450, 0, 0, 0, 0),
}

_NAMESPACE_FLAGS = {
    "mnt": 0x20000, "cgroup": 0x02000000, "uts": 0x04000000, "ipc": 0x08000000, "user": 0x10000000,
    "pid": 0x20000000, "net": 0x40000000,
}  # fmt: skip


def forbidden() -> dict[str, str]:
    """Each forbidden call and how it failed."""
    return {what: raw.name(raw.call(*arguments)) for what, arguments in _FORBIDDEN.items()}


def clone_namespaces() -> dict[str, str]:
    """clone with a namespace flag, alone and with a user namespace; a child that was made ends at once."""
    found = {}
    for kind, flag in _NAMESPACE_FLAGS.items():
        for label, flags in ((kind, flag), (f"user+{kind}", flag | 0x10000000)):
            result = raw.call(56, flags | 17, 0, 0, 0, 0)
            if result == 0:
                os._exit(0)
            found[label] = raw.name(result)
    found["clone3"] = raw.name(raw.call(435, 0, 0))
    return found


def other_architectures() -> dict[str, object]:
    """getpid as an x32 call, and as an i386 call from machine code in a child (which may be killed for it)."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"  # mov eax, 20; int 0x80; ret
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(code)
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        result = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
        os.write(write_end, str(result).encode())
        os._exit(0)
    os.close(write_end)
    answer = os.read(read_end, 64).decode()
    os.close(read_end)
    _, status = os.waitpid(child, 0)
    return {"x32": raw.call(0x40000000 + 39), "i386": int(answer) if answer else None, "i386_status": status}


def sockets() -> dict[str, str]:
    """Families that must not be had, and those that must."""
    kinds = {
        "tcp": (2, 1, 0), "udp6": (10, 2, 0), "unix": (1, 1, 0), "seqpacket": (1, 5, 0), "route": (16, 3, 0),
        "raw": (2, 3, 1), "ping": (2, 2, 1), "packet": (17, 3, 0x300), "sctp": (2, 1, 132), "dccp": (2, 6, 33),
        "mptcp": (2, 1, 262), "alg": (38, 5, 0), "vsock": (40, 1, 0), "netfilter": (16, 3, 12), "xfrm": (16, 3, 6),
        "audit": (16, 3, 9), "uevent": (16, 3, 15), "can": (29, 3, 1), "tipc": (30, 5, 0), "bluetooth": (31, 3, 1),
        "key": (15, 3, 2), "x25": (9, 5, 0), "ax25": (3, 5, 0), "rds": (21, 5, 0), "xdp": (44, 3, 0), "nfc": (39, 5, 0),
    }  # fmt: skip
    found = {}
    for kind, arguments in kinds.items():
        result = raw.call(41, *arguments)
        found[kind] = raw.name(result)
        if result >= 0:
            os.close(result)
    return found


def kernel_programs() -> dict[str, str]:
    """Programs for the kernel by a socket's options, a second filter, capabilities back from a bounding set."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        for what, option in {"filter": 26, "bpf": 50, "reuseport_cbpf": 51, "reuseport_ebpf": 52}.items():
            found[what] = raw.name(raw.call(54, plain.fileno(), 1, option, 0, 0))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
        found["ulp"] = raw.name(raw.call(54, stream.fileno(), 6, 31, 0, 0))
    for what, option in {"set_seccomp": 22, "set_mm": 35, "securebits": 28, "keepcaps": 8, "bounding": 24}.items():
        found[what] = raw.name(raw.call(157, option, 2, 0, 0, 0))
    return found


def in_new_threads_and_programs() -> dict[str, str]:
    """The filter must hold in what is started later, too."""
    found: dict[str, str] = {}

    def thread() -> None:
        found["thread"] = raw.name(raw.call(272, 0x10000000))

    other = threading.Thread(target=thread)
    other.start()
    other.join()
    read_end, write_end = os.pipe()
    if (child := os.fork()) == 0:
        os.dup2(write_end, 1)
        os.execv("/bin/sh", ["sh", "-c", "grep -E '^(Seccomp|NoNewPrivs|CapEff|CapBnd)' /proc/self/status"])
    os.close(write_end)
    with os.fdopen(read_end) as file:
        found["program"] = file.read()
    os.waitpid(child, 0)
    return found


def core_limit() -> dict[str, str]:
    """A piped core_pattern would run as root on the host; the limit of 1 that forbids it must stay."""
    found = {"limit": str(resource.getrlimit(resource.RLIMIT_CORE))}
    for value in ((0, 0), (0, 1)):
        try:
            resource.setrlimit(resource.RLIMIT_CORE, value)
            found[str(value)] = "allowed"
        except (OSError, ValueError) as error:
            found[str(value)] = str(error)
    return found


def terminal() -> dict[str, str]:
    """No terminal to type into, none to be had."""
    found = {"session_leader": str(os.getsid(0) == os.getpid() or os.getsid(0) == 1)}
    for what in ("/dev/tty", "/dev/console", "/dev/ptmx", "/dev/tty1"):
        try:
            os.close(os.open(what, os.O_RDWR))
            found[what] = "allowed"
        except OSError as error:
            found[what] = errno.errorcode[error.errno or 0]
    for number in (0, 1, 2, 3):
        found[f"TIOCSTI on {number}"] = raw.name(raw.call(16, number, 0x5412, ctypes.c_char_p(b"x")))
    return found


def processes() -> dict[str, str]:
    """Signals to, memory of and descriptors of processes outside."""
    found = {}
    for pid in (2, os.getpid() + 1, 300, 4194304):
        try:
            os.kill(pid, 0)
            found[f"kill {pid}"] = str(Path(f"/proc/{pid}/comm").read_text())
        except OSError as error:
            found[f"kill {pid}"] = errno.errorcode[error.errno or 0]
    return found
