"""A small internet of network namespaces: the machine of a daemon, a web server out in the world, and a neighbour.

    world  203.0.113.1, 192.168.50.1 and a metadata service at 169.254.169.254
      |
    node   203.0.113.2, default route to the world; bridge br-lab with 10.60.0.1; the daemon runs here
      |
    lan    10.60.0.10 on br-lab

Every server answers each request with its own name and the client's address.
"""

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from fgd.testing.client import Client, UnixConnection
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually

WORLD, LAN, METADATA, PRIVATE, NODE, NODE_LAN = (
    "203.0.113.1", "10.60.0.10", "169.254.169.254", "192.168.50.1", "203.0.113.2", "10.60.0.1",
)  # fmt: skip
#: Settings of a daemon in this lab.
NETWORKS: Final[dict[str, object]] = {
    "lab": {"subnet": "10.60.0.0/24", "bridge": "br-lab", "hosts": {"db.corp.internal": LAN}},
    "own": {"subnet": "10.61.0.0/24", "bridge": "br-own"},
}

_SERVER: Final = textwrap.dedent(
    """
    import http.server, socket, struct, sys, threading

    name, ports = sys.argv[1], sys.argv[2:]
    heard = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            text = " ".join(heard) if self.path == "/heard" else f"{name} {self.client_address[0]}"
            text = text.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    def resolver():
        # Every name has this server's own address.
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("0.0.0.0", 53))
        while True:
            data, client = sock.recvfrom(2048)
            end = data.index(b"\\0", 12) + 5
            kind, = struct.unpack("!H", data[end - 4:end - 2])
            record = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4" + socket.inet_aton("203.0.113.1")
            answer = record if kind == 1 else b""
            head = data[:2] + b"\\x81\\x80\\0\\1" + struct.pack("!H", bool(answer)) + b"\\0\\0\\0\\0"
            sock.sendto(head + data[12:end] + answer, client)

    def listener():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("0.0.0.0", 9999))
        while True:
            heard.append(sock.recvfrom(2048)[1][0])

    for work in (resolver, listener):
        threading.Thread(target=work, daemon=True).start()
    http.server.ThreadingHTTPServer(("0.0.0.0", 80), Handler).serve_forever()
    """
)


@dataclass(slots=True)
class NetLab:
    """Context manager: makes the namespaces and servers, removes them at the end."""

    name: str = f"fgd-test-{os.getpid()}"
    _servers: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    @property
    def node(self) -> str:
        return f"{self.name}-node"

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _set_up(self) -> None:
        for place in ("node", "world", "lan"):
            _run("ip", "netns", "add", f"{self.name}-{place}")
            self.run(place, "ip", "link", "set", "lo", "up")
        self.run("node", "ip", "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", f"{self.name}-world")
        self.run("node", "ip", "link", "add", "br-lab", "type", "bridge")
        self.run(
            "node", "ip", "link", "add", "port", "master", "br-lab", "type", "veth", "peer", "eth0", "netns",
            f"{self.name}-lan",
        )  # fmt: skip
        for place, device, address in (
            ("node", "eth0", f"{NODE}/24"), ("node", "br-lab", f"{NODE_LAN}/24"), ("node", "port", ""),
            ("world", "eth0", f"{WORLD}/24"), ("world", "lo", f"{METADATA}/32"), ("world", "lo", f"{PRIVATE}/32"),
            ("lan", "eth0", f"{LAN}/24"),
        ):  # fmt: skip
            if address:
                self.run(place, "ip", "address", "add", address, "dev", device)
            self.run(place, "ip", "link", "set", device, "up")
        self.run("node", "ip", "route", "add", "default", "via", WORLD)
        # The world would find its way to instances, if only the node let it.
        self.run("world", "ip", "route", "add", "10.0.0.0/8", "via", NODE)
        for place in ("world", "lan", "node"):
            command = self._within(place, sys.executable, "-c", _SERVER, place)
            self._servers.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True))
        for target in (WORLD, LAN, METADATA, PRIVATE, NODE, NODE_LAN):
            assert eventually(lambda target=target: bool(self.get("node", target))), target  # type: ignore[misc]

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.kill()
            server.wait()
        for place in ("node", "world", "lan"):
            with contextlib.suppress(subprocess.CalledProcessError):
                _run("ip", "netns", "delete", f"{self.name}-{place}")

    def run(self, place: str, *command: str) -> str:
        """Runs a command in a namespace; gives what it printed."""
        return _run(*self._within(place, *command))

    def get(self, place: str, host: str, port: int = 80, path: str = "") -> str:
        """What a server says to a client in a namespace; "" when it cannot be reached within a second."""
        source = (
            "import sys, urllib.request as r\n"
            "try: print(r.urlopen(f'http://{sys.argv[1]}:{sys.argv[2]}/{sys.argv[3]}', timeout=1).read().decode())\n"
            "except OSError: print()"
        )
        return self.run(place, sys.executable, "-c", source, host, str(port), path).strip()

    def request(self, place: str, host: str, port: int, path: str, token: str) -> tuple[int, str]:
        """POST of an empty event from a namespace: status and body."""
        source = (
            "import http.client, sys\n"
            "c = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=10)\n"
            "c.request('POST', sys.argv[3], '{}', {'X-Auth-Token': sys.argv[4], 'Content-Type': 'application/json'})\n"
            "a = c.getresponse(); print(a.status); print(a.read().decode())"
        )
        status, _, body = self.run(place, sys.executable, "-c", source, host, str(port), path, token).partition("\n")
        return int(status), body

    def traces(self) -> list[str]:
        """What is left of fgd in the node's namespace: interfaces, bridges of its own, tables, changed forwarding."""
        links = self.run("node", "ip", "-brief", "link").splitlines()
        found = [line.split()[0] for line in links if line.startswith(("fgd", "br-own"))]
        found += self.run("node", "nft", "list", "tables").splitlines()
        folder = "/proc/sys/net/ipv4/conf"
        names = self.run("node", "sh", "-c", f"grep -l 1 {folder}/*/forwarding || true").split()
        return found + [Path(name).parent.name for name in names]

    def _within(self, place: str, *command: str) -> tuple[str, ...]:
        # Not `ip netns exec`, which would mount things.
        return ("nsenter", f"--net=/run/netns/{self.name}-{place}", *command)


def _run(*command: str) -> str:
    return subprocess.run(
        command, check=True, text=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=30
    ).stdout  # fmt: skip


#: A function that tries what its event names.
PROBE: Final = """
import os, socket, threading, urllib.error, urllib.request

def tried(host, port):
    try:
        with socket.create_connection((host, port), timeout=1.5):
            return "connected"
    except OSError as error:
        return type(error).__name__ + " " + str(error.errno)

def own_address():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("203.0.113.1" if open("/proc/net/route").read().count("00000000") > 1 else "10.60.0.10", 9))
        return probe.getsockname()[0]

def handler(event, context):
    do = event["do"]
    if do == "try":
        return {f"{host}:{port}": tried(host, port) for host, port in event["targets"]}
    if do == "get":
        request = urllib.request.Request(event["url"], headers=event.get("headers", {}))
        data = event.get("data")
        try:
            with urllib.request.urlopen(request, data.encode() if data else None, timeout=5) as answer:
                return {"text": answer.read().decode()}
        except urllib.error.HTTPError as error:
            return {"text": "status %d" % error.code}
    if do == "listen":
        if tried("127.0.0.1", 9000) != "connected":
            server = socket.create_server(("0.0.0.0", 9000), backlog=8)
            threading.Thread(target=lambda: [server.accept() for _ in range(100)], daemon=True).start()
        return {"address": own_address(), "itself": tried(own_address(), 9000)}
    if do == "flood":
        open_ones, answered = [], 0
        for _ in range(event["count"]):
            try:
                open_ones.append(socket.create_connection(event["door"], timeout=1))
                open_ones[-1].sendall(b"GET /healthz HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
                answered += open_ones[-1].recv(100).startswith(b"HTTP/1.1 200")
            except OSError:
                break
        for one in open_ones:
            one.close()
        return {"answered": answered}
    if do == "spoof":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as false:
            if event["source"]:
                false.setsockopt(socket.IPPROTO_IP, 15, 1)
                false.bind((event["source"], 0))
            for _ in range(3):
                false.sendto(b"x", tuple(event["to"]))
        return {}
    if do == "see":
        return {
            "interfaces": [name for _, name in socket.if_nameindex()],
            "hosts": open("/etc/hosts").read(),
            "resolvers": open("/etc/resolv.conf").read(),
            "others": os.listdir("/etc/fgd.networks") if os.path.exists("/etc/fgd.networks") else [],
            "ipv6": open("/proc/net/if_inet6").read() if os.path.exists("/proc/net/if_inet6") else "",
            "endpoint": os.environ.get("FGD_API_ENDPOINT", ""),
        }
"""


def lab_daemon(folder: Path, lab: NetLab, **settings: object) -> DaemonProcess:
    """A daemon on the lab's node, whose API everybody can reach."""
    return DaemonProcess(
        folder,
        {
            "network": "public", "networks": NETWORKS, "resolvers": [WORLD], "freeze": False, "blank_pool": 1,
            "blank_pool_max": 1, "api_inside": "agency", "drain_s": 2.0, **settings,
        },
        host="0.0.0.0",
        netns=lab.node,
    )  # fmt: skip


class Probes:
    """Functions of one daemon, deployed and asked by its admin socket."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.keys = daemon.create_keys()
        daemon.cli("agencies", "create", "agency", "--policy", "FunctionGraph Invoker", check=False)
        self.daemon = daemon
        self.client = Client(lambda: UnixConnection(str(daemon.admin_socket), 60.0), self.keys.project_id)
        self._urns: dict[str, str] = {}

    def urn(self, name: str, **fields: Any) -> str:
        """The function of this name, made if it is not there."""
        if name not in self._urns:
            self._urns[name] = self.client.deploy(name, PROBE, timeout=30, **fields)
        return self._urns[name]

    def ask(self, name: str, **event: Any) -> Any:
        answer = self.client.invoke(self._urns[name], event)
        assert answer.status == 200, answer.text
        return json.loads(answer.text)

    def get(self, name: str, url: str, **event: Any) -> str:
        """What a function gets from a URL; "status 403" for such an answer."""
        found: str = self.ask(name, do="get", url=url, **event)["text"]
        return found.strip()

    def tried(self, name: str, *targets: tuple[str, int]) -> dict[str, str]:
        found: dict[str, str] = self.ask(name, do="try", targets=targets)
        return found
