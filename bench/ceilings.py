"""What the host can do without fgd: bare servers, bare sandboxes, bare fsync; the measure of everything else."""

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.host import percentile, report, say
from bench.load import Target, as_dict, run_load

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
_NEWUSER, _NEWPID, _NEWNET = 0x10000000, 0x20000000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE, _MNT_DETACH = 0x1000, 0x4000, 0x40000, 2
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}[os.uname().machine]


@contextlib.contextmanager
def server(command: list[str], port: int) -> Iterator[psutil.Process]:
    """A server process while the block runs; waits until it accepts connections."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 15
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{command} does not serve")
            time.sleep(0.05)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def tree_cpu_s(main: psutil.Process) -> float:
    """CPU seconds of a process and all below it."""
    total = 0.0
    for one in [main, *main.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system
    return total


def http_ceilings(seconds: float) -> dict[str, object]:
    """The echo of trio + httptools, and the hello of hypercorn, by number of connections."""
    results: dict[str, object] = {}
    hypercorn = str(Path(sys.prefix, "bin", "hypercorn"))
    for name, port, command in (
        ("echo", 18431, [sys.executable, "-m", "bench.echo_server", "18431"]),
        (
            "hypercorn",
            18432,
            [hypercorn, "-k", "trio", "-b", "127.0.0.1:18432", "bench.hello_app:app"],
        ),
    ):
        with server(command, port) as process:
            run_load(Target(port), 8, 1, lambda one=process: tree_cpu_s(one))  # type: ignore[misc]
            for connections in (1, 8, 32):
                say(f"{name}, {connections} connections")
                load = run_load(
                    Target(port), connections, seconds, lambda one=process: tree_cpu_s(one)  # type: ignore[misc]
                )  # fmt: skip
                results[f"{name}_{connections}"] = as_dict(load)
    return results


def _check(result: int, step: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), step)


def _sandbox(root: bytes) -> None:
    """In a child: seven namespaces, a root of its own, and a process in it that ends at once."""
    flags = _NEWUSER | _NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS | _NEWCGROUP
    _check(_LIBC.unshare(flags), "unshare")
    if os.fork():
        os.waitpid(-1, 0)
        return
    _check(_LIBC.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "private")
    _check(_LIBC.mount(b"tmpfs", root, b"tmpfs", 0, b"size=1m"), "tmpfs")
    for name in (b"usr", b"old"):
        Path(os.fsdecode(root + b"/" + name)).mkdir()
    _check(_LIBC.mount(b"/usr", root + b"/usr", None, _MS_BIND | _MS_REC, None), "bind")
    os.chdir(root)
    _check(_LIBC.syscall(_SYS_PIVOT_ROOT, b".", b"old"), "pivot_root")
    _check(_LIBC.umount2(b"/old", _MNT_DETACH), "umount")


def sandbox_ceiling(count: int = 100) -> dict[str, object]:
    """Fork, seven namespaces, tmpfs root, bind mount, pivot_root, end; one after the other."""
    lengths_ms = []
    with tempfile.TemporaryDirectory() as folder:
        root = folder.encode()
        begin = time.perf_counter()
        for _ in range(count):
            start = time.perf_counter()
            pid = os.fork()
            if pid == 0:
                code = 1
                with contextlib.suppress(OSError):
                    _sandbox(root)
                    code = 0
                os._exit(code)
            _, status = os.waitpid(pid, 0)
            if status:
                return {"error": "this host refuses namespaces to this process"}
            lengths_ms.append((time.perf_counter() - start) * 1e3)
        total_s = time.perf_counter() - begin
    return {
        "p50_ms": round(percentile(lengths_ms, 50), 2),
        "p99_ms": round(percentile(lengths_ms, 99), 2),
        "per_s": round(count / total_s, 1),
    }


def fsync_ceiling(seconds: float = 2.0) -> dict[str, object]:
    """Appending 4 KB and fsync, one after the other, in the folder where benches keep their state."""
    folder = Path(tempfile.mkdtemp(prefix="fgd-bench-"))
    lengths_us = []
    block = os.urandom(4096)
    try:
        with (folder / "file").open("wb", buffering=0) as file:
            end = time.perf_counter() + seconds
            while (start := time.perf_counter()) < end:
                file.write(block)
                os.fsync(file.fileno())
                lengths_us.append((time.perf_counter() - start) * 1e6)
    finally:
        shutil.rmtree(folder)
    return {
        "per_s": round(len(lengths_us) / seconds, 1),
        "p50_us": round(percentile(lengths_us, 50), 1),
        "p99_us": round(percentile(lengths_us, 99), 1),
    }


def main() -> None:
    results = http_ceilings(4.0)
    say("sandboxes")
    results["sandbox"] = sandbox_ceiling()
    say("fsync")
    results["fsync"] = fsync_ceiling()
    report("ceilings", results)


if __name__ == "__main__":
    main()
