"""What the gateway is handed: the interfaces behind which the rest of the daemon stands."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from fgd.call import PLAIN, Call, CallOptions, Outcome
from fgd.invoke.split import Split
from fgd.model import Function
from fgd.urn import FunctionUrn


class Directory(Protocol):
    """Which functions there are."""

    #: Goes up with every change of any function, version or alias; what was resolved before is then looked up again.
    generation: int

    def resolve(self, urn: FunctionUrn) -> Function:
        """The version that a URN names now.

        Raises:
            FunctionNotFound, VersionNotFound, AliasNotFound
        """

    def split(self, urn: FunctionUrn) -> Split | None:
        """How requests to an alias are shared out; None for a URN that names no alias.

        Raises:
            FunctionNotFound, AliasNotFound
        """


class AsyncQueue(Protocol):
    """Takes events that run later."""

    def enqueue_soon(
        self,
        function: Function,
        request_id: str,
        event: bytes,
        done: Callable[[Exception | None], None],
        options: CallOptions = PLAIN,
    ) -> None:
        """Stores an event with the next batch. `done(None)` once it is on disk, `done(error)` if it could not be.

        `done` is called exactly once, from inside the loop.

        Raises:
            Overloaded: the backlog is full.
        """


class Recorder(Protocol):
    """Is told of every synchronous invocation after its answer was written; must cost no more than a list append."""

    def __call__(self, call: Call, outcome: Outcome, write_us: int, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket; `admin` for the admin socket, where the peer's uid decides."""

    socket: socket.socket
    admin: bool = False
    #: Whether its clients speak TLS, and whether there is nothing but published APIs.
    secure: bool = False
    apis_only: bool = False


@dataclass(frozen=True, slots=True)
class Entrance:
    """How a client came in: to which port, by TLS or not, and whether to published APIs alone."""

    port: int = 0
    secure: bool = False
    apis_only: bool = False


PLAIN_ENTRANCE: Final = Entrance()
