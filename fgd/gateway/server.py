"""The gateway: listeners, all connections, the tick, and the one task that drains the reactor.

It is given everything it talks to, keeps nothing that must survive, and reaches functions only through `Invoker` and
`Directory`; that is what lets it move to processes of its own.
"""

import errno
import logging
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from ipaddress import IPv4Network
from time import perf_counter
from typing import Final

import trio

from fgd.auth.keyring import Keyring
from fgd.call import Call, Outcome
from fgd.config import Config
from fgd.control.apis import Apis
from fgd.gateway.answers import error_answer
from fgd.gateway.api import AsyncQueue, Directory, Entrance, Listener, Recorder
from fgd.gateway.apis import ApiRouter, host_suffix
from fgd.gateway.doors import Doors
from fgd.gateway.entry import Entry
from fgd.gateway.forward import Forwarding
from fgd.gateway.head import Head
from fgd.gateway.http import Connection
from fgd.gateway.http2 import Http2Client
from fgd.gateway.hub import Router
from fgd.gateway.peer import admin_peer, group_id
from fgd.gateway.pump import pump
from fgd.gateway.router import InvocationRouter
from fgd.gateway.stream import CLOSED, HEAD
from fgd.gateway.tls import TlsClients, speaks_tls, unwrap
from fgd.invoke.api import Invoker
from fgd.invoke.extras import ExtrasOf, extras_of
from fgd.linux.reactor import READ, Reactor
from fgd.units import MIB

_LOG = logging.getLogger("fgd.gateway")
_TICK_S: Final = 0.25
#: Events that come or wait or are worked on, and answers that clients have not taken, may hold this much together.
_BODIES_MAX_BYTES: Final = 256 * MIB
_ACCEPT_BATCH: Final = 64
_DRAIN_POLL_S: Final = 0.01


class Gateway:
    """HTTP in front of the invoker and of the control plane."""

    def __init__(
        self,
        config: Config,
        reactor: Reactor,
        *,
        directory: Directory,
        keyring: Keyring,
        invoker: Invoker,
        queue: AsyncQueue,
        record: Recorder,
        time_s: Callable[[], float],
        cold_parts: Callable[[Call], dict[str, float]] | None = None,
        extras: ExtrasOf = extras_of,
        tls: Callable[[float], ssl.SSLContext] | None = None,
        subnets: Mapping[str, IPv4Network] | None = None,
        apis: Apis | None = None,
        certificate: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        """
        Args:
            reactor: shared with the instances' channels; this gateway drains it.
            record: told of every synchronous invocation, also when nobody waited for the answer any more.
            time_s: epoch seconds.
            extras: what goes to the function with an event, see `fgd.invoke.extras`.
            tls: makes the settings for clients inside of a sandbox that speak TLS, at a time in epoch seconds; without
                it they are refused.
            apis: that are published; None for none.
            certificate: settings of listeners that speak TLS, asked for each client, so that they may change.
            subnets: of the named networks, for functions that can be invoked from some of them only.
            cold_parts: of a call that started an instance, the parts of the start in ms by name, for X-Fgd-Timing.
        """
        self.config = config
        self.reactor = reactor
        entry = Entry(subnets or {})
        api_router = None if apis is None else ApiRouter(
            apis, directory, keyring, invoker, queue, extras, config.region, entry, record, time_s,
            host_suffix(config.apig_url), certificate is not None,
        )  # fmt: skip
        self.router: Router = InvocationRouter(
            directory, keyring, invoker, queue, extras, config.region, entry, api_router, config.sync_timeout_s
        )
        self.api_router: Router = api_router or self.router
        self._certificate = certificate
        self.record: Callable[[Call, Outcome, int], object] = record
        self.cold_parts = cold_parts
        self.date = b""
        self.now_s = perf_counter()
        self.draining = False
        self.body_bytes = 0
        self.body_bytes_max = _BODIES_MAX_BYTES
        self._time_s = time_s
        self._connections: set[Connection] = set()
        self._listeners: list[Listener] = []
        self._paused: list[Listener] = []
        #: Answers at the sockets that sandboxes have inside.
        self.doors = Doors(reactor, self._admit_inside)
        self._tls = tls and TlsClients(tls, time_s, config.header_timeout_s, self._connect_inside, self.doors.left)
        #: Connections without a request in work, those that wait longest last; made by the tick.
        self._evictable: list[Connection] = []
        #: Clients at listeners that speak TLS, and those of them that have chosen HTTP/2.
        self._shaking = 0
        self._http2: set[Http2Client] = set()
        self._nursery: trio.Nursery | None = None
        self._control_path = ""
        self._admin_gid = group_id(config.group)

    @property
    def connections(self) -> int:
        """Clients connected now."""
        return len(self._connections)

    async def serve(
        self,
        listeners: Sequence[Listener],
        control_path: str,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Runs until cancelled, then closes every connection; the listening sockets stay their owner's.

        Args:
            listeners: bound and listening.
            control_path: unix socket of the control plane.
        """
        self._control_path = control_path
        self._tick()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for listener in listeners:
                    self._listen(listener)
                self.doors.serve()
                nursery.start_soon(self._tick_forever)
                task_status.started()
                await pump(self.reactor)
        finally:
            self._nursery = None
            self._stop_listening()
            for connection in list(self._connections):
                connection.close()

    async def drain(self, timeout_s: float) -> bool:
        """Takes no new connections and lets requests in work finish; tells whether all did in time."""
        self.draining = True
        self._stop_listening()
        for client in list(self._http2):
            client.drain()
        self.reactor.drain()  # what has come already is a request in work, and no connection without one
        with trio.move_on_after(timeout_s):
            while self._connections or self._http2:
                for connection in list(self._connections):
                    if connection.state == HEAD and not connection.reading:
                        connection.close()
                await trio.sleep(_DRAIN_POLL_S)
        return not self._connections and not self._http2

    # Connections

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self.doors.left(connection.address)

    def forward(self, connection: Connection, head: Head, rest: bytes) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(Forwarding(self, connection, head, rest, self._control_path).run)

    def _listen(self, listener: Listener) -> None:
        listener.socket.setblocking(False)
        self._listeners.append(listener)
        name = listener.socket.getsockname()
        port = int(name[1]) if isinstance(name, tuple) else 0
        entrance = Entrance(port, listener.secure, listener.apis_only)
        self.reactor.register(listener.socket.fileno(), lambda _events: self._accept(listener, entrance))

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            self.reactor.unregister(listener.socket.fileno())
        self._listeners.clear()
        self._paused.clear()
        self.doors.stop()

    def _accept(self, listener: Listener, entrance: Entrance) -> None:
        for _ in range(_ACCEPT_BATCH):
            try:
                sock, address = listener.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    _LOG.warning("no new connections for a moment: %s", error.strerror)
                    self.reactor.modify(listener.socket.fileno(), 0)
                    self._paused.append(listener)
                    return
                continue  # the client was gone before it was accepted
            sock.setblocking(False)
            if entrance.secure:
                self._admit_secure(sock, address, entrance)
            else:
                self._admit(sock, address, listener.admin, entrance)

    def _admit(self, sock: socket.socket, address: object, admin: bool, entrance: Entrance) -> None:
        if len(self._connections) >= self.config.connections_max and not self._make_room():
            self._turn_away(sock, 503, "FSS.0503", "too many connections; try again")
            return
        peer = None
        host = ""
        if admin:
            peer = admin_peer(sock, self._admin_gid)
            if peer is None:
                message = f"only root and members of the group {self.config.group} may use the admin socket"
                self._turn_away(sock, 403, "FSS.0403", message)
                return
        else:
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if isinstance(address, tuple):
                host = str(address[0])
        self._connections.add(Connection(self, sock, host, peer, entrance))

    def _admit_secure(self, sock: socket.socket, address: object, entrance: Entrance) -> None:
        """A client that will speak TLS: a task takes it off, and the connection begins after the handshake."""
        if self._shaking >= self.config.connections_max or self._nursery is None or self._certificate is None:
            sock.close()  # it expects a handshake; nothing that we could say would be understood
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._shaking += 1
        self._nursery.start_soon(self._serve_secure, sock, address, entrance, self._certificate())

    async def _serve_secure(
        self, sock: socket.socket, address: object, entrance: Entrance, context: ssl.SSLContext
    ) -> None:
        def connect() -> socket.socket | None:
            if len(self._connections) >= self.config.connections_max and not self._make_room():
                return None
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            theirs.setblocking(False)
            host = str(address[0]) if isinstance(address, tuple) else ""
            self._connections.add(Connection(self, theirs, host, None, entrance))
            return ours

        async def serve_http2(secure: "trio.SSLStream[trio.SocketStream]") -> None:
            client = Http2Client(self, secure, connect)
            self._http2.add(client)
            try:
                await client.serve()
            finally:
                self._http2.discard(client)

        try:
            await unwrap(sock, context, self.config.header_timeout_s, connect, serve_http2)
        except Exception:  # what a client says must not end the gateway, whatever OpenSSL makes of it
            _LOG.exception("a client that speaks TLS was let go")
        finally:
            sock.close()
            self._shaking -= 1

    def _admit_inside(self, sock: socket.socket, name: str) -> bool:
        """A client that came by a sandbox's door. Nobody outside loses a connection for it."""
        if self._tls is not None and self._nursery is not None and speaks_tls(sock):
            self._nursery.start_soon(self._tls.serve, sock, name)
            return True
        return self._connect_inside(sock, name)

    def _connect_inside(self, sock: socket.socket, name: str) -> bool:
        if len(self._connections) >= self.config.connections_max:
            self._turn_away(sock, 503, "FSS.0503", "too many connections; try again")
            return False
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.add(Connection(self, sock, name, None))
        return True

    def _make_room(self) -> bool:
        """Closes the connection that has been without a request for longest."""
        while self._evictable:
            connection = self._evictable.pop()
            if connection.evictable:
                connection.close()
                return True
        return False

    def _turn_away(self, sock: socket.socket, status: int, code: str, message: str) -> None:
        with sock:
            try:
                sock.send(error_answer(status, code, message, "", keep_alive=False))
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                return  # it is gone already

    # Time

    async def _tick_forever(self) -> None:
        config = self.config
        shortest_s = min(config.header_timeout_s, config.body_timeout_s, config.idle_timeout_s)
        tick_s = min(_TICK_S, shortest_s / 4)
        while True:
            await trio.sleep(tick_s)
            self._tick()

    def _tick(self) -> None:
        self.now_s = now_s = perf_counter()
        self.date = b"Date: %b\r\n" % formatdate(self._time_s(), usegmt=True).encode("ascii")
        for connection in [one for one in self._connections if one.deadline_s < now_s]:
            if connection.state != CLOSED:
                connection.on_deadline()
        for client in [one for one in self._http2 if one.deadline_s < now_s]:
            client.end()
        if 2 * len(self._connections) >= self.config.connections_max:
            idle = [one for one in self._connections if one.evictable]
            idle.sort(key=lambda one: one.deadline_s, reverse=True)
            self._evictable = idle
        for listener in self._paused:
            self.reactor.modify(listener.socket.fileno(), READ)
        self._paused.clear()
        self.doors.tick()
