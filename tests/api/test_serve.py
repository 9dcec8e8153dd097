"""The control plane on its own unix socket, as the daemon starts it."""

import os
import socket
import stat
from pathlib import Path

import trio

from fgd.api.app import make_app
from fgd.api.serve import serve_control
from tests.api.harness import Api


def ask(path: Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(data)
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


def test_serves_on_a_private_socket_and_takes_the_place_of_a_stale_one(api: Api, tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_control, make_app(api.services), str(path))
            assert 0o600 == stat.S_IMODE(path.stat().st_mode)
            head = b"GET /fgd/v1/runtimes HTTP/1.1\r\nHost: x\r\nX-Fgd-Peer: uid:0\r\nConnection: close\r\n\r\n"
            received = await trio.to_thread.run_sync(ask, path, head)
            assert received.startswith(b"HTTP/1.1 200")
            assert b"Python3.12" in received
            assert b"server:" not in received.lower()
            nursery.cancel_scope.cancel()

    before = os.umask(0o022)
    try:
        trio.run(main)
        assert 0o022 == os.umask(0o022)
    finally:
        os.umask(before)
