"""TLS taken off: a client that speaks it and a server that does not."""

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from fgd.gateway.tls import CLIENT_HELLO, unwrap
from fgd.store.certificate import server_context


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    return server_context(tmp_path, "127.0.0.1", 1_900_000_000.0)


def run(context: ssl.SSLContext, client: Callable[[socket.socket], object], handshake_s: float = 5.0) -> object:
    """What a client in a thread gets of a server that repeats what it hears and ends after "bye"."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    results: list[object] = []

    async def echo(sock: socket.socket) -> None:
        async with trio.SocketStream(trio.socket.from_stdlib_socket(sock)) as stream:
            while chunk := await stream.receive_some():
                await stream.send_all(chunk)
                if chunk.endswith(b"bye"):
                    return

    async def main() -> None:
        ours.setblocking(False)
        async with trio.open_nursery() as nursery:

            def connect() -> socket.socket:
                inner, outer = socket.socketpair()
                inner.setblocking(False)
                outer.setblocking(False)
                nursery.start_soon(echo, outer)
                return inner

            with trio.fail_after(15):
                await unwrap(ours, context, handshake_s, connect)

    thread = threading.Thread(target=lambda: results.append(client(theirs)))
    thread.start()
    try:
        trio.run(main)
    finally:
        thread.join()
        theirs.close()
    return results[0]


def _unchecked() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_bytes_go_both_ways_and_the_servers_end_is_the_clients(context: ssl.SSLContext) -> None:
    pieces = [bytes(range(256)) * 80 for _ in range(20)] + [b"bye"]

    def client(sock: socket.socket) -> bool:
        with _unchecked().wrap_socket(sock) as secure:
            for piece in pieces:
                secure.sendall(piece)
                received = b""
                while len(received) < len(piece):
                    received += secure.recv(65536)
                assert piece == received
            return secure.recv(1) == b""

    assert run(context, client)


def test_the_clients_end_ends_it(context: ssl.SSLContext) -> None:
    def client(sock: socket.socket) -> bytes:
        with _unchecked().wrap_socket(sock) as secure:
            secure.sendall(b"hello")
            return secure.recv(100)

    assert b"hello" == run(context, client)


def test_a_client_that_checks_refuses_the_certificate(context: ssl.SSLContext) -> None:
    def client(sock: socket.socket) -> str:
        with pytest.raises(ssl.SSLCertVerificationError) as refused:
            ssl.create_default_context().wrap_socket(sock, server_hostname="127.0.0.1")
        return refused.value.verify_message

    assert "self-signed certificate" == run(context, client)


@pytest.mark.parametrize("first", [b"", b"\x16", b"\x16\x03\x01\xff\xff" + b"x" * 70000, b"GET / HTTP/1.1\r\n\r\n"])
def test_what_makes_no_handshake_is_cut_off(context: ssl.SSLContext, first: bytes) -> None:
    def client(sock: socket.socket) -> bool:
        try:
            sock.sendall(first)
            while sock.recv(100):
                pass
        except ConnectionError:
            pass
        return True

    assert run(context, client, handshake_s=0.2)


def test_without_room_the_client_is_let_go(context: ssl.SSLContext) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    def client() -> None:
        with _unchecked().wrap_socket(theirs) as secure:
            ended.append(secure.recv(1))

    ended: list[bytes] = []
    thread = threading.Thread(target=client)
    thread.start()
    trio.run(unwrap, ours, context, 5.0, lambda: None)
    thread.join()

    assert [b""] == ended


def test_inside_of_sandboxes_http_2_is_not_offered(context: ssl.SSLContext) -> None:
    def client(sock: socket.socket) -> str | None:
        offering = _unchecked()
        offering.set_alpn_protocols(["h2", "http/1.1"])
        with offering.wrap_socket(sock) as secure:
            secure.sendall(b"bye")
            secure.recv(3)
            return secure.selected_alpn_protocol()

    assert None is run(context, client)


def test_no_http_request_begins_like_tls() -> None:
    assert not chr(CLIENT_HELLO).isprintable()
