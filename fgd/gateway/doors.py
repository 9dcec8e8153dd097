"""Doors: listening sockets inside of sandboxes, by which their functions reach fgd's own API.

A connection by a door has no address that means anything; it is called `SANDBOX@NETWORK` instead, as the launcher, not
the function, told it. It needs credentials as any other, and a sandbox has only so many.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fgd.linux.reactor import READ, Reactor

#: Connections at once of one sandbox: its processes must not take all that the gateway has for everyone.
CONNECTIONS_MAX: Final = 32
_ACCEPT_BATCH: Final = 16
#: A client that says nothing for so long is accepted all the same, and has the time for a request's head left.
_FIRST_BYTE_S: Final = 5


@dataclass(slots=True)
class _Door:
    name: str
    socket: socket.socket
    connections: int = 0


class Doors:
    """See `fgd.sandbox.api.Doors`. Doors are kept until they are closed, and answered at between `serve` and `stop`."""

    def __init__(self, reactor: Reactor, admit: Callable[[socket.socket, str], bool]) -> None:
        """
        Args:
            admit: makes a connection of an accepted socket and the client's name; False when there was no room.
        """
        self._reactor = reactor
        self._admit = admit
        self._doors: dict[str, _Door] = {}
        self._serving = False
        self._paused: list[_Door] = []

    def open(self, sandbox: str, network: str, door: socket.socket) -> None:
        door.setblocking(False)
        # Accepted are clients that have said something, so that their first byte tells how they speak.
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _FIRST_BYTE_S)
        self._doors[sandbox] = made = _Door(f"{sandbox}@{network}", door)
        if self._serving:
            self._watch(made)

    def close(self, sandbox: str) -> None:
        door = self._doors.pop(sandbox, None)
        if door is not None:
            if self._serving:
                self._reactor.unregister(door.socket.fileno())
            door.socket.close()

    def serve(self) -> None:
        """Begins to answer."""
        self._serving = True
        for door in self._doors.values():
            self._watch(door)

    def stop(self) -> None:
        """Takes no more connections."""
        if self._serving:
            self._serving = False
            for door in self._doors.values():
                self._reactor.unregister(door.socket.fileno())

    def tick(self) -> None:
        """Tries again where an accept failed."""
        paused, self._paused = self._paused, []
        for door in paused:
            if self._serving and self._doors.get(door.name.partition("@")[0]) is door:
                self._reactor.modify(door.socket.fileno(), READ if door.connections < CONNECTIONS_MAX else 0)

    def left(self, address: str) -> None:
        """A connection has ended; whether it came by a door tells its address."""
        sandbox, at, _ = address.partition("@")
        door = self._doors.get(sandbox) if at else None
        if door is not None:
            if self._serving and door.connections >= CONNECTIONS_MAX:
                self._reactor.modify(door.socket.fileno(), READ)
            door.connections -= 1

    def _watch(self, door: _Door) -> None:
        events = READ if door.connections < CONNECTIONS_MAX else 0
        self._reactor.register(door.socket.fileno(), lambda _events: self._accept(door))
        if not events:
            self._reactor.modify(door.socket.fileno(), 0)

    def _accept(self, door: _Door) -> None:
        for _ in range(_ACCEPT_BATCH):
            if door.connections >= CONNECTIONS_MAX:
                # The rest waits in the kernel until one of them ends.
                self._reactor.modify(door.socket.fileno(), 0)
                return
            try:
                sock, _ = door.socket.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptor is free, most likely: not again before the next tick
                self._reactor.modify(door.socket.fileno(), 0)
                self._paused.append(door)
                return
            sock.setblocking(False)
            door.connections += self._admit(sock, door.name)
