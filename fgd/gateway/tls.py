"""Takes TLS off: between a client that speaks it and a connection of the gateway that does not.

A task per client, unlike everything else here. It is for listeners with TLS, where a client may choose HTTP/2
(`fgd.gateway.http2`), and for functions that were written for an `https` endpoint and come by the door of their
sandbox; requests that count come without it.
"""

import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import trio

_LOG = logging.getLogger("fgd.gateway")
#: The first byte of a TLS client: a handshake record. No request begins with it.
CLIENT_HELLO: Final = 0x16
#: The name of HTTP/2 in handshakes.
HTTP2: Final = "h2"
_CHUNK_BYTES: Final = 65536
_FAREWELL_S: Final = 1.0

type ServeHttp2 = Callable[["trio.SSLStream[trio.SocketStream]"], Awaitable[None]]


def speaks_tls(sock: socket.socket) -> bool:
    """Whether what a client has sent begins a handshake, which stays unread. One that was silent does not."""
    try:
        return sock.recv(1, socket.MSG_PEEK)[:1] == bytes((CLIENT_HELLO,))
    except OSError:
        return False


class Certificate:
    """The certificate of listeners with TLS, from files that may change. Reading them waits for the disk."""

    def __init__(self, cert_path: str, key_path: str) -> None:
        """
        Raises:
            OSError: a file cannot be read, or they are no certificate with its key (`ssl.SSLError`).
        """
        self._paths = (cert_path, key_path)
        self._context = self._read()

    def context(self) -> ssl.SSLContext:
        """Settings for the next client."""
        return self._context

    def reload(self) -> None:
        """Reads the files again; what was read before stays when they are no good.

        Raises:
            OSError: as at the beginning.
        """
        self._context = self._read()

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*self._paths)
        context.options |= ssl.OP_NO_RENEGOTIATION  # as HTTP/2 wants it
        context.set_alpn_protocols([HTTP2, "http/1.1"])
        return context


class TlsClients:
    """Clients that speak TLS, and the connections that stand for them."""

    def __init__(
        self,
        make_context: Callable[[float], ssl.SSLContext],
        time_s: Callable[[], float],
        handshake_s: float,
        connect: Callable[[socket.socket, str], bool],
        left: Callable[[str], None],
    ) -> None:
        """
        Args:
            make_context: settings and certificate at a time (epoch seconds); called in a thread, for the first client.
            connect: makes a connection of a socket and the client's name; False when there was no room.
            left: told of a client for whom no connection was made.
        """
        self._make_context = make_context
        self._time_s = time_s
        self._context: ssl.SSLContext | None = None
        self._handshake_s = handshake_s
        self._connect = connect
        self._left = left

    async def serve(self, client: socket.socket, name: str) -> None:
        """Serves one client until it or its connection ends."""
        connected = False

        def connect() -> socket.socket | None:
            nonlocal connected
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            theirs.setblocking(False)
            connected = self._connect(theirs, name)
            if connected:
                return ours
            ours.close()
            return None

        try:
            if self._context is None:
                self._context = await trio.to_thread.run_sync(self._make_context, self._time_s())
            await unwrap(client, self._context, self._handshake_s, connect)
        except Exception:  # what a function says must not end the gateway, whatever OpenSSL makes of it
            client.close()
            _LOG.exception("a client that speaks TLS was let go")
        finally:
            if not connected:
                self._left(name)


async def unwrap(
    client: socket.socket,
    context: ssl.SSLContext,
    handshake_s: float,
    connect: Callable[[], socket.socket | None],
    serve_http2: ServeHttp2 | None = None,
) -> None:
    """Speaks TLS with a client until either side ends; then both are closed.

    Args:
        client: non-blocking; it belongs to this task from now on.
        handshake_s: a client that takes longer for its handshake is cut off.
        connect: gives the other side, once there is a client; None when there is no room.
        serve_http2: serves a client that has chosen HTTP/2, which the context must offer.
    """
    with contextlib.closing(trio.socket.from_stdlib_socket(client)) as sock:
        secure = trio.SSLStream(trio.SocketStream(sock), context, server_side=True, https_compatible=True)
        try:
            with trio.fail_after(handshake_s):
                await secure.do_handshake()
        except (trio.BrokenResourceError, trio.TooSlowError):
            return
        if serve_http2 is not None and secure.selected_alpn_protocol() == HTTP2:
            await serve_http2(secure)
        else:
            other = connect()
            if other is None:
                return
            with contextlib.closing(trio.socket.from_stdlib_socket(other)) as inner:
                plain = trio.SocketStream(inner)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_pump, secure, plain, nursery.cancel_scope)
                    nursery.start_soon(_pump, plain, secure, nursery.cancel_scope)
        # The end as TLS wants it, so that the client can tell it from a cut; as far as it still listens.
        with trio.move_on_after(_FAREWELL_S), contextlib.suppress(trio.BrokenResourceError):
            await secure.aclose()


async def _pump(source: trio.abc.ReceiveStream, target: trio.abc.SendStream, both: trio.CancelScope) -> None:
    """Carries what comes from one side to the other; the end of one is the end of both."""
    with contextlib.suppress(trio.BrokenResourceError):
        while chunk := await source.receive_some(_CHUNK_BYTES):
            await target.send_all(chunk)
    both.cancel()
