"""Taking more than one's share: memory in every disguise, processes, CPU; and refusing to die."""

import ctypes
import mmap
import os
import resource
import signal
import socket
import threading
import time
from pathlib import Path

import raw  # type: ignore[import-not-found]  # beside this file in the package, not in the repository

_MIB = 1 << 20


def anonymous(mib: int) -> int:
    """Plain memory."""
    kept = []
    for _ in range(mib):
        kept.append(b"x" * _MIB)
    return len(kept)


def memfd(mib: int) -> int:
    """Files without a name."""
    fd = os.memfd_create("bomb")
    for _ in range(mib):
        os.write(fd, b"x" * _MIB)
    return mib


def shared(mib: int) -> int:
    """An anonymous shared mapping."""
    area = mmap.mmap(-1, mib * _MIB)
    for at in range(0, mib * _MIB, 4096):
        area[at] = 1
    return mib


def system_v(mib: int) -> int:
    """System V shared memory, which outlives its processes."""
    number = raw.call(29, 0, mib * _MIB, 0o1600)
    if number < 0:
        raise OSError(-number, "shmget")
    raw.libc.shmat.restype = ctypes.c_void_p
    address = raw.libc.shmat(number, None, 0)
    for at in range(0, mib * _MIB, 4096):
        ctypes.c_char.from_address(address + at).value = b"x"
    return mib


def tmpfs(mib: int) -> int:
    """Files in /tmp."""
    for number in range(mib):
        Path(f"/tmp/bomb{number}").write_bytes(b"x" * _MIB)
    return mib


def pipes(mib: int) -> int:
    """Full pipes that nobody reads."""
    kept, filled = [], 0
    while filled < mib * _MIB:
        read_end, write_end = os.pipe()
        kept.append(read_end)
        os.set_blocking(write_end, False)
        try:
            while True:
                filled += os.write(write_end, bytes(65536))
        except BlockingIOError:
            pass
    return filled // _MIB


def children(mib: int) -> list[int]:
    """The same memory in many processes, each below the limit; the signals that ended some of them."""
    for _ in range(mib // 16):
        if os.fork() == 0:
            kept = b"x" * (16 * _MIB)
            time.sleep(3)
            os._exit(len(kept) & 1)
    statuses = [os.wait()[1] for _ in range(mib // 16)]
    return [os.WTERMSIG(status) for status in statuses if os.WIFSIGNALED(status)]


def socket_buffers(sockets: int) -> dict[str, int]:
    """Bytes waiting in socket pairs that nobody reads: kernel memory. How much went in."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    queued, made = 0, 0
    chunk = bytes(65536)
    try:
        for _ in range(sockets):
            one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            made += 1
            one.setblocking(False)
            _kept.extend((one, other))
            try:
                while True:
                    queued += one.send(chunk)
            except BlockingIOError:
                pass
    except OSError:
        pass
    return {"bytes": queued, "sockets": made, "limit": soft}


_kept: list[socket.socket] = []


def tcp_buffers(connections: int, buffer_bytes: int = 0) -> dict[str, int]:
    """The same with TCP over loopback; with `buffer_bytes`, buffers of that size are asked for."""
    queued, made = 0, 0
    server = socket.create_server(("127.0.0.1", 0), backlog=1000)
    if buffer_bytes:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    _kept.append(server)
    chunk = bytes(65536)
    for _ in range(connections):
        try:
            one = socket.create_connection(server.getsockname(), timeout=2)
            there, _ = server.accept()
        except OSError:
            break
        made += 1
        if buffer_bytes:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        one.setblocking(False)
        _kept.extend((one, there))
        try:
            while True:
                queued += one.send(chunk)
        except OSError:
            pass
    return {"bytes": queued, "connections": made}


def udp_buffers(sockets: int) -> dict[str, int]:
    """The same with datagrams that nobody reads; the kernel drops what it does not want to keep."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    _kept.append(sender)
    made = 0
    for _ in range(sockets):
        try:
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        except OSError:
            break
        made += 1
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        one.bind(("127.0.0.1", 0))
        _kept.append(one)
        for _ in range(20):
            sender.sendto(bytes(32000), one.getsockname())
    return {"sockets": made}


def fork_until_refused(most: int) -> dict[str, object]:
    """Sleeping children until the kernel refuses one; then they are ended."""
    pids: list[int] = []
    error_number = 0
    try:
        while len(pids) < most:
            pid = os.fork()
            if pid == 0:
                signal.pause()
                os._exit(0)
            pids.append(pid)
    except OSError as error:
        error_number = error.errno or 0
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)
    return {"count": len(pids), "errno": error_number}


def fork_forever() -> None:
    """Every process forks as fast as it can, and never stops."""
    while True:
        try:
            os.fork()
        except OSError:
            continue


def threads_until_refused(most: int) -> int:
    """Threads until there are no more."""
    stop = threading.Event()
    made: list[threading.Thread] = []
    threading.stack_size(65536)
    try:
        while len(made) < most:
            made.append(threading.Thread(target=stop.wait))
            made[-1].start()
    except RuntimeError:
        made.pop()
    stop.set()
    for thread in made:
        thread.join()
    return len(made)


def burn(seconds: float, processes: int) -> float:
    """Seconds of CPU that so many busy processes got in so many seconds of wall time."""
    pids = []
    for _ in range(processes):
        pid = os.fork()
        if pid == 0:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                pass
            os._exit(0)
        pids.append(pid)
    before = os.times()
    for pid in pids:
        os.waitpid(pid, 0)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def tick() -> None:
    """Writes a byte to the output as often as it can, for ever."""
    while True:
        os.write(1, b".")
        time.sleep(0.005)


def descriptors_until_refused() -> int:
    """Descriptors until there are no more."""
    made = []
    try:
        while True:
            made.append(os.dup(1))
    except OSError:
        pass
    for fd in made:
        os.close(fd)
    return len(made)


def _stubborn(kind: str) -> None:
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            continue
    os.setsid()
    if os.fork():
        os._exit(0)
    if kind == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    while True:
        if kind == "busy":
            continue
        time.sleep(1000)


def leave_stubborn() -> list[str]:
    """Daemons that ignore all signals: sleeping, busy, stopped; and one that waits in vfork for its child."""
    kinds = ["asleep", "busy", "stopped"]
    for kind in kinds:
        if os.fork() == 0:
            _stubborn(kind)
    time.sleep(0.3)
    return kinds


def hold_everything() -> None:
    """Never answers: signals blocked, the interpreter's lock held in a call that does not return."""
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    ctypes.PyDLL(None).sleep(1000)


def crash() -> None:
    """A write to address 0, as a broken extension module does it."""
    ctypes.memset(0, 1, 1)
