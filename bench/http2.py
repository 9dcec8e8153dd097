"""What HTTP/2 costs beside HTTP/1.1 by the same TLS listener: one published API, one run, turn by turn.

CPU is that of all of the daemon's processes, for a request with a small body to a Python function that looks at
nothing. `http2` has as many clients as `http1`; `http2_streams` has one client with as many requests at once.

Usage: python -m bench.http2
"""

import contextlib
import selectors
import shutil
import socket
import ssl
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from bench.apig import ANSWER
from bench.host import report, say
from bench.node import node
from fgd.store.self_signed import write_self_signed

CLIENTS = 8
ROUNDS = 3
BODY = b'{"name": "fgd", "number": 1}'
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 7, 8
_END_STREAM, _END_HEADERS = 0x1, 0x4


def _frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream_id) + payload


class Http1:
    """A client with one request at a time."""

    def __init__(self, sock: ssl.SSLSocket, path: str) -> None:
        self.sock = sock
        head = (
            f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        )
        self._wire = head.encode() + BODY

    def ask(self, count: int) -> None:
        self.sock.sendall(self._wire * count)

    def answers(self) -> int:
        """How many came with what can be read now."""
        data = self.sock.recv(65536)
        if not data.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"the daemon said {data!r}")
        return 1


class Http2:
    """A client that sends the same head for every stream, literally, so that it costs the client nothing."""

    def __init__(self, sock: ssl.SSLSocket, path: str) -> None:
        self.sock = sock
        fields = ((b":authority", b"a"), (b":path", path.encode()), (b"content-type", b"application/json"),
                  (b"content-length", b"%d" % len(BODY)))  # fmt: skip
        literals = (b"\0%c%b%c%b" % (len(name), name, len(value), value) for name, value in fields)
        self._block = b"\x83\x87" + b"".join(literals)  # POST, https
        self._stream_id = 1
        self._data = b""
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0))
        sock.sendall(_frame(_SETTINGS, 1, 0) + _frame(_WINDOW_UPDATE, 0, 0, b"\x3f\xff\0\0"))

    def ask(self, count: int) -> None:
        wire = b""
        for _ in range(count):
            wire += _frame(_HEADERS, _END_HEADERS, self._stream_id, self._block)
            wire += _frame(_DATA, _END_STREAM, self._stream_id, BODY)
            self._stream_id += 2
        self.sock.sendall(wire)

    def answers(self) -> int:
        """How many were whole with what can be read now."""
        data = self._data + self.sock.recv(65536)
        while self.sock.pending():
            data += self.sock.recv(65536)
        at = count = 0
        while at + 9 <= len(data) and at + 9 + (length := int.from_bytes(data[at : at + 3])) <= len(data):
            kind, flags = data[at + 3], data[at + 4]
            if kind in (_RST_STREAM, _GOAWAY):
                raise RuntimeError(f"the daemon sent a frame {kind}")
            count += kind in (_DATA, _HEADERS) and flags & _END_STREAM
            at += 9 + length
        self._data = data[at:]
        return count


def dial(port: int, protocol: str) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(sock)


def run(clients: Sequence[Http1 | Http2], at_once: int, seconds: float, cpu_s: Callable[[], float]) -> dict[str, float]:
    """Keeps so many requests of each client under way; requests per second, and the daemon's CPU for one."""
    done = 0
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.sock, selectors.EVENT_READ, client)
        before_s, began_s = cpu_s(), time.perf_counter()
        for client in clients:
            client.ask(at_once)
        while (took_s := time.perf_counter() - began_s) < seconds:
            for key, _ in selector.select(0.2):
                count = key.data.answers()
                done += count
                key.data.ask(count)
        used_s = cpu_s() - before_s
    for client in clients:
        client.sock.close()
    return {"requests_s": round(done / took_s, 1), "cpu_us": round(used_s / max(done, 1) * 1e6, 1)}


@contextlib.contextmanager
def certificate() -> Iterator[str]:
    """A file that the daemon's account can read."""
    folder = Path(tempfile.mkdtemp(prefix="fgd-bench-tls-"))
    try:
        path = folder / "tls.pem"
        write_self_signed(path, ec.generate_private_key(ec.SECP256R1()), "bench", time.time(), "127.0.0.1")
        folder.chmod(0o755)
        path.chmod(0o644)
        yield str(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(seconds: float = 2.0) -> None:
    with (
        certificate() as pem,
        node(listeners=["127.0.0.1:0 tls apis"], tls_cert=pem, tls_key=pem) as (daemon, client),
    ):
        urn = client.deploy("answer", ANSWER)
        settings = {"name": "API_answer", "auth": "NONE", "protocol": "HTTPS"}
        made = client.request(
            "POST",
            f"/v2/{client.project_id}/fgs/triggers/{urn}",
            {"trigger_type_code": "APIG", "event_data": settings},
        )
        url = urlsplit(made.json()["event_data"]["invoke_url"])
        port = int(url.port or 0)
        kinds: dict[str, tuple[type[Http1] | type[Http2], str, int, int]] = {
            "http1": (Http1, "http/1.1", CLIENTS, 1),
            "http2": (Http2, "h2", CLIENTS, 1),
            "http2_streams": (Http2, "h2", 1, CLIENTS),
        }
        results: dict[str, list[dict[str, float]]] = {name: [] for name in kinds}
        for number in range(ROUNDS + 1):
            for name, (kind, protocol, count, at_once) in kinds.items():
                say(f"http2: {name}, {number} of {ROUNDS}")
                clients = [kind(dial(port, protocol), url.path) for _ in range(count)]
                result = run(clients, at_once, seconds, daemon.cpu_s)
                if number:  # in the first round instances start
                    results[name].append(result)
    means = {name: sum(one["cpu_us"] for one in of) / ROUNDS for name, of in results.items()}
    figures: dict[str, object] = dict(results)
    figures |= {f"{name}_cpu_us": round(mean, 1) for name, mean in means.items()}
    figures["cpu_ratio"] = round(means["http2"] / means["http1"], 2)
    report("http2", figures)


if __name__ == "__main__":
    main()
