"""Load on an HTTP server: wrk where it is installed, else a client of our own; and the CPU that the server used for it.

The load generator shares the processors with the server, so it must be cheap: wrk takes about 5 us a request. The own
client drives non-blocking sockets with one epoll object and prepared bytes; it takes about 12 us, which lowers
what a fast server can show on two processors. The result says which of them was used.
"""

import re
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.host import percentile

_DONE = """
done = function(summary, latency, requests)
  local bad = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write
  io.write(string.format("RESULT %d %d %d %.1f %.1f %.1f\\n", summary.requests, summary.duration, bad,
    latency:percentile(50), latency:percentile(99), latency.mean))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a run. `errors`: answers with a status over 399, and broken connections."""

    client: str
    connections: int
    requests_s: float
    p50_us: float
    p99_us: float
    cpu_us: float
    errors: int
    requests: int


@dataclass(frozen=True, slots=True)
class Target:
    """One request, to be sent over and over."""

    port: int
    path: str = "/"
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def method(self) -> str:
        return "POST" if self.body else "GET"

    def wire(self) -> bytes:
        """The bytes of the request."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


def as_dict(load: Load) -> dict[str, object]:
    """The figures of a run, rounded for people."""
    return {key: round(value, 1) if isinstance(value, float) else value for key, value in asdict(load).items()}


def run_load(target: Target, connections: int, seconds: float, cpu_s: Callable[[], float]) -> Load:
    """Sends the request over `connections` connections, each waiting for its answer before it sends again.

    Args:
        cpu_s: CPU seconds that the server has used so far, all its processes.
    """
    send = _wrk if shutil.which("wrk") else _own
    before = cpu_s()
    client, requests, duration_s, errors, p50_us, p99_us = send(target, connections, seconds)
    used_s = cpu_s() - before
    return Load(
        client, connections, requests / duration_s, p50_us, p99_us, used_s / max(requests, 1) * 1e6, errors, requests
    )  # fmt: skip


type _Result = tuple[str, int, float, int, float, float]


def _wrk(target: Target, connections: int, seconds: float) -> _Result:
    script = [f'wrk.method = "{target.method}"', f'wrk.body = "{_lua(target.body)}"' if target.body else ""]
    script += [f'wrk.headers["{name}"] = "{_lua(value.encode())}"' for name, value in target.headers]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "request.lua")
        path.write_text("\n".join(script) + _DONE, "utf-8")
        done = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(path),
             f"http://127.0.0.1:{target.port}{target.path}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    found = re.search(r"RESULT (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+)", done.stdout)
    if found is None:
        raise RuntimeError(f"wrk said: {done.stdout}{done.stderr}")
    requests, duration_us, errors = (int(found[n]) for n in (1, 2, 3))
    return "wrk", requests, duration_us / 1e6, errors, float(found[4]), float(found[5])


def _lua(value: bytes) -> str:
    return "".join(f"\\{byte:03d}" for byte in value)


def _own(target: Target, connections: int, seconds: float) -> _Result:
    wire = target.wire()
    poll = select.epoll()
    sockets: dict[int, socket.socket] = {}
    begun: dict[int, float] = {}
    pending: dict[int, bytes] = {}
    clock = time.perf_counter
    for _ in range(connections):
        one = socket.create_connection(("127.0.0.1", target.port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sockets[one.fileno()] = one
        poll.register(one.fileno(), select.EPOLLIN)
    latencies: list[float] = []
    errors = 0
    start = clock()
    for fd, one in sockets.items():
        begun[fd] = clock()
        pending[fd] = b""
        one.sendall(wire)
    end = start + seconds
    while (now := clock()) < end and sockets:
        for fd, _ in poll.poll(0.2):
            data = sockets[fd].recv(65536)
            if not data:
                poll.unregister(fd)
                sockets.pop(fd).close()
                errors += 1
                continue
            data = pending[fd] + data
            if not _complete(data):
                pending[fd] = data
                continue
            now = clock()
            latencies.append((now - begun[fd]) * 1e6)
            if data[9] > 0x33:  # the first digit of the status is over 3
                errors += 1
            pending[fd] = b""
            begun[fd] = now
            sockets[fd].sendall(wire)
    duration_s = clock() - start
    for one in sockets.values():
        one.close()
    poll.close()
    return "own", len(latencies), duration_s, errors, percentile(latencies, 50), percentile(latencies, 99)


def _complete(data: bytes) -> bool:
    """Whether the bytes hold a whole answer with a Content-Length."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return False
    lower = data[:head].lower()
    at = lower.find(b"content-length:")
    if at < 0:
        return True
    length = int(lower[at + 15 :].split(b"\r\n", 1)[0])
    return len(data) >= head + 4 + length
