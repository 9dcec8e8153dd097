"""The network: there is a loopback interface and nothing behind it."""

import errno
import socket
from pathlib import Path


def _try(family: int, kind: int, address: object) -> str:
    with socket.socket(family, kind) as probe:
        probe.settimeout(2)
        try:
            probe.connect(address)  # type: ignore[arg-type]  # what a family calls an address
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, repr(error))
    return "allowed"


def interfaces() -> dict[str, object]:
    """Interfaces, routes, listening sockets and named unix sockets that can be seen."""
    return {
        "names": [name for _, name in socket.if_nameindex()],
        "routes": Path("/proc/net/route").read_text().splitlines()[1:],
        "tcp": len(Path("/proc/net/tcp").read_text().splitlines()) - 1,
        "unix": [
            line.split()[7] for line in Path("/proc/net/unix").read_text().splitlines()[1:] if len(line.split()) > 7
        ],
    }


def reach(tcp_port: int, abstract: str, path: str) -> dict[str, str]:
    """Connecting to the host (a TCP port on loopback, an abstract name, a path) and to the world."""
    return {
        "loopback": _try(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", tcp_port)),
        "abstract": _try(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + abstract),
        "path": _try(socket.AF_UNIX, socket.SOCK_STREAM, path),
        "world": _try(socket.AF_INET, socket.SOCK_STREAM, ("192.0.2.1", 80)),
        "metadata": _try(socket.AF_INET, socket.SOCK_STREAM, ("169.254.169.254", 80)),
        "dns": _try(socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 53)),
        "world6": _try(socket.AF_INET6, socket.SOCK_STREAM, ("2001:db8::1", 80)),
    }


def own_loopback() -> str:
    """A function may talk to itself."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        there, _ = server.accept()
        with there:
            client.sendall(b"hello")
            return there.recv(5).decode()


def look_up() -> str:
    """getaddrinfo must fail soon, not hang."""
    try:
        return str(socket.getaddrinfo("example.com", 80))
    except OSError as error:
        return type(error).__name__


def listen_abstract(name: str) -> bool:
    """Holds an abstract name for the life of the sandbox."""
    _kept.append(socket.socket(socket.AF_UNIX))
    _kept[-1].bind("\0" + name)
    _kept[-1].listen()
    return True


def reach_abstract(name: str) -> str:
    """Whether another sandbox's abstract name answers."""
    return _try(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + name)


_kept: list[socket.socket] = []
