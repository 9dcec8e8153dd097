"""What fgd asks of a destination: a kind of place to which the outcome of an asynchronous invocation is taken.

Theory of operation: when an event is over and its version has a target, a *delivery* is stored in the transaction
that ends the event. From then on fgd gives it to the kind's `deliver` until one call returns; a call that raises, or
that takes longer than the setting `delivery_timeout_s`, is repeated later with growing pauses. So a delivery happens at
least once: after a crash it may happen again, and `Delivery.request_id` is how a receiver knows it again.

A kind is a class. fgd makes one object of it, `kind(node)`, when it starts. Classes come by the hook
`fgd_destinations`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from fgd.config import Config
from fgd.errors import RequestError


class BadDestination(RequestError):
    """A target that cannot be configured; the message begins with the name of the field of `param`."""


class Undeliverable(Exception):
    """Raised by `deliver` where trying again would not help; the delivery is kept as failed at once."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One outcome on its way."""

    #: Number of the delivery, as `fgd async deliveries` shows it.
    id: int
    project_id: str
    #: The version that ran, in the form of 8 fields.
    function_urn: str
    #: Of the invocation; the same at every try, and no other delivery has it.
    request_id: str
    success: bool
    #: The notification: a JSON object (user guide, table 3-9), UTF-8.
    document: bytes
    #: Earlier tries.
    tries: int
    #: Epoch seconds at which the event was over.
    created_s: float
    #: Ids of the functions whose notifications led to this one, its own last.
    chain: tuple[str, ...] = ()


class Node(Protocol):
    """What a destination may use of the daemon."""

    @property
    def config(self) -> Config:
        """The settings of the node."""

    def now_s(self) -> float:
        """Epoch seconds; may be called in any thread."""

    async def enqueue(self, delivery: Delivery, function_urn: str) -> None:
        """Gives the document to a function of the same project as an event, which ends the delivery in the same
        transaction: the event is neither lost nor doubled.

        Raises:
            Undeliverable: the function is in the delivery's chain already, or the chain is too long.
            FgdError: no such function, no room in the queue, a full disk.
        """

    async def publish(self, delivery: Delivery, topic_urn: str) -> None:
        """Publishes the document to a topic of the same project. The message's id comes from the delivery's request
        id, so that subscribers know a second one again.

        Raises:
            FgdError: no such topic, no room, a full disk.
        """

    async def put_object(
        self, project_id: str, bucket: str, key: str, data: bytes, *, content_type: str, expires_s: float,
        store: str = "", chain: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """Makes an object in the node's object store, and its bucket where there is none.

        Args:
            chain: that of the delivery, so that an event of the object invokes no function that led to it.
            store: one of the setting `object_stores` instead, which makes no buckets and knows no `expires_s`.
            expires_s: when it goes by itself, epoch seconds; 0: never.

        Raises:
            FgdError: a name that cannot be, over the project's quota, a full disk.
        """


class Destination[Settings](Protocol):
    """A kind of target. Beside what is here it may be `InvokesFunction` or `Tidies`."""

    #: What `destination` says in the asynchronous settings: 1 to 32 letters and digits, a letter first.
    kind: str

    def parse(self, param: Mapping[str, Any]) -> Settings:
        """Checks what a client sent. Pure and quick: no files, no network; it runs again before each delivery.

        Args:
            param: the JSON object of the target.

        Raises:
            BadDestination: names the field and the rule.
        """

    async def deliver(self, delivery: Delivery, settings: Settings) -> None:
        """Takes the document there; returns when it has arrived.

        It runs in a trio loop, for plugins one in a thread of its own. It is cancelled when its time is over, and may
        run many times at once.

        Raises:
            Undeliverable: trying again is of no use.
            Exception: any other one means: try again later. Its text is shown to the function's owner.
        """


@runtime_checkable
class InvokesFunction(Protocol):
    """A kind whose targets are functions, so that loops are found when they are configured."""

    def function_urn(self, settings: Any) -> str:
        """The function, in any form of URN."""


@runtime_checkable
class Tidies(Protocol):
    """A kind that has something to clear away now and then."""

    async def tidy(self) -> None:
        """Called at the start and every ten minutes, where `deliver` runs."""
