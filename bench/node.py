"""What the programs share: a daemon for the time of a measurement, its functions, and a cheap client."""

import contextlib
import json
import re
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from bench.load import Target
from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess

ECHO = "def handler(event, context):\n    return event\n"
#: Sleeps until the moment in the event, so that every request of a burst needs an instance of its own; gives the
#: instance's id and when its handler began.
HOLD = """\
import os, time
ME = os.urandom(16).hex()
def handler(event, context):
    begun = time.time()
    time.sleep(max(0.0, event["until"] - begun))
    return {"me": ME, "begun": begun}
"""
#: Settings that no measurement should run into.
ROOMY: dict[str, object] = {"functions_max": 5000, "keep_alive_s": 600.0, "sandboxes_max": 2048}


@contextlib.contextmanager
def node(**settings: object) -> Iterator[tuple[DaemonProcess, Client]]:
    """A daemon and a client with a token; both and their folder go away with the block."""
    # Whoever ends a program early must not leave its daemon running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="fgd-bench-"))
    try:
        with DaemonProcess(folder, {**ROOMY, **settings}) as daemon:
            client = daemon.client(daemon.create_keys())
            yield daemon, client
            client.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def target(daemon: DaemonProcess, client: Client, urn: str, event: Any, *, asynchronous: bool = False) -> Target:
    """The request that invokes a function."""
    path = f"/v2/{client.project_id}/fgs/functions/{urn}/invocations" + ("-async" if asynchronous else "")
    headers = (("X-Auth-Token", client.token), ("Content-Type", "application/json"))
    return Target(daemon.port, path, json.dumps(event).encode(), headers)


class Line:
    """One connection that sends prepared bytes and reads one answer with a Content-Length."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 100)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange(self, wire: bytes) -> tuple[float, bytes]:
        """Sends and waits; gives the milliseconds until the answer was there, and its body.

        Raises:
            RuntimeError: the status is not 200.
        """
        start = time.perf_counter()
        self.socket.sendall(wire)
        return self.receive(start)

    def receive(self, start: float) -> tuple[float, bytes]:
        """The rest of `exchange`, for who has sent already."""
        data = b""
        while True:
            part = self.socket.recv(65536)
            if not part:
                raise RuntimeError("the daemon closed the connection")
            data += part
            head, mark, body = data.partition(b"\r\n\r\n")
            if mark:
                found = re.search(rb"(?i)content-length: *(\d+)", head)
                if len(body) >= int(found[1] if found else 0):
                    break
        length_ms = (time.perf_counter() - start) * 1e3
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202")):
            raise RuntimeError(data.decode("utf-8", "replace")[:500])
        return length_ms, body

    def close(self) -> None:
        self.socket.close()


def burst(daemon: DaemonProcess, client: Client, urn: str, count: int, hold_s: float) -> tuple[float, list[float]]:
    """Sends `count` events of `HOLD` at once, each on a connection of its own.

    Gives the moment of sending (epoch seconds), and when each *distinct* instance began with its first event, sorted.
    """
    lines = [Line(daemon.port) for _ in range(count)]
    start = time.time()
    wire = target(daemon, client, urn, {"until": start + hold_s}).wire()
    picker = selectors.DefaultSelector()
    for line in lines:
        line.socket.sendall(wire)
        picker.register(line.socket, selectors.EVENT_READ, line)
    begun: dict[str, float] = {}
    while picker.get_map():
        for key, _ in picker.select(120):
            _, body = key.data.receive(0.0)
            answer = json.loads(body)
            begun[answer["me"]] = min(answer["begun"], begun.get(answer["me"], answer["begun"]))
            picker.unregister(key.fileobj)
            key.data.close()
    return start, sorted(begun.values())


def metric(daemon: DaemonProcess, name: str, **labels: str) -> float:
    """The sum of all samples of a metric that have these labels."""
    total = 0.0
    for line in daemon.admin("GET", "/metrics").text.splitlines():
        if line.startswith((name + "{", name + " ")) and all(
            f'{key}="{value}"' in line for key, value in labels.items()
        ):
            total += float(line.rpartition(" ")[2])
    return total


def runtimes(daemon: DaemonProcess) -> list[str]:
    """Ids of the Python runtimes that this host can run."""
    found = daemon.admin("GET", "/fgd/v1/runtimes").json()["runtimes"]
    return [name for name in found if name.startswith("Python")]


def pss_bytes(process: psutil.Process) -> int:
    """Its share of memory; 0 for a process that has ended, such as one that only made a blank's namespaces."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0
