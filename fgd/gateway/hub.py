"""What a connection needs of the gateway around it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from fgd.call import Call, Outcome
from fgd.errors import FgdError
from fgd.gateway.head import Head
from fgd.gateway.stream import StreamHub

if TYPE_CHECKING:  # connections and their hub know each other
    from fgd.gateway.http import Connection


class Router(Protocol):
    """Decides what a request is and starts invocations (`fgd.gateway.router`)."""

    def classify(self, head: Head) -> int | None:
        """Largest body of the invocation that this is; None when it is none."""

    def precheck(self, head: Head) -> None:
        """Raises `Unauthorized` for what is wrong before the body is there."""

    def invoke(self, connection: "Connection", head: Head, body: bytes) -> None:
        """Starts an invocation; ends in one of the answering methods of the connection."""

    def anonymous(self, head: Head) -> bool:
        """Whether a request without credentials is let in; `precheck` has passed."""

    def late(self, head: Head, waiting: Call | str | None) -> FgdError:
        """What a request is answered with that is waited for too long: a call, the id of an event to be stored."""

    def too_large(self, head: Head) -> FgdError:
        """What an event over its limit is answered with."""


class Hub(StreamHub, Protocol):
    """What all connections of a gateway share."""

    router: Router
    #: Of clients that reach nothing but published APIs.
    api_router: Router
    #: `Date: ...` line, renewed by the server.
    date: bytes
    draining: bool
    record: Callable[[Call, Outcome, int], object]
    cold_parts: Callable[[Call], dict[str, float]] | None

    def forget(self, connection: "Connection") -> None: ...
    def forward(self, connection: "Connection", head: Head, rest: bytes) -> None: ...
