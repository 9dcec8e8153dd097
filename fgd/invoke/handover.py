"""The daemon as destinations see it; functions as targets, with the rule that cuts loops."""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from fgd.call import CallOptions
from fgd.clock import new_request_id
from fgd.config import Config
from fgd.destination import Delivery, Undeliverable
from fgd.errors import Forbidden, FunctionDisabled
from fgd.invoke.queue import AsyncQueue
from fgd.invoke.resolve import Directory
from fgd.model import Function
from fgd.store.object_types import Actor
from fgd.urn import parse_urn

#: Publishes the document of a delivery to the topic of that URN.
type Publish = Callable[[Delivery, str], Awaitable[None]]

#: Functions that may hand on to one another, beginning with the one that a client invoked.
CHAIN_MAX: Final = 16


class Objects(Protocol):
    """Makes small objects; the real thing is `fgd.store.objects.ObjectStore`."""

    async def put_bytes(
        self, project_id: str, bucket: str, key: str, data: bytes, actor: Actor, *, content_type: str, expires_s: float
    ) -> None: ...


class Remote(Protocol):
    """Makes them in object stores of others; the real thing is `fgd.remote.client.RemoteStores`."""

    async def put_bytes(
        self, project_id: str, store: str, bucket: str, key: str, data: bytes, content_type: str
    ) -> None: ...


class InvokeNode:
    """`fgd.destination.Node` of the daemon."""

    def __init__(
        self,
        config: Config,
        directory: Directory,
        queue: AsyncQueue,
        now_s: Callable[[], float],
        publish: Publish,
        objects: Objects,
        remote: Remote,
    ) -> None:
        self.config = config
        self.now_s = now_s
        self._directory = directory
        self._queue = queue
        self._publish = publish
        self._objects = objects
        self._remote = remote

    async def put_object(
        self, project_id: str, bucket: str, key: str, data: bytes, *, content_type: str, expires_s: float,
        store: str = "", chain: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """See `fgd.destination.Node`."""
        if store:
            await self._remote.put_bytes(project_id, store, bucket, key, data, content_type)
            return
        actor = Actor(principal="fgd", request_id=new_request_id(), chain=chain)
        await self._objects.put_bytes(
            project_id, bucket, key, data, actor, content_type=content_type, expires_s=expires_s
        )

    async def enqueue(self, delivery: Delivery, function_urn: str) -> None:
        """See `fgd.destination.Node`."""
        urn = parse_urn(function_urn, delivery.project_id)
        if urn.project_id != delivery.project_id:
            raise Forbidden("func_urn: names a function of another project")
        split = self._directory.split(urn)
        function = self._directory.resolve(urn) if split is None else split.pick()
        loop = loop_of(function, delivery.chain)
        if loop:
            raise Undeliverable(loop)
        if function.disabled:
            raise FunctionDisabled(f"func_urn: the function {function.name} is disabled")
        options = CallOptions(alias="" if split is None else split.alias.name, chain=delivery.chain)
        await self._queue.enqueue(function, new_request_id(), delivery.document, options, delivery=delivery.id)

    async def publish(self, delivery: Delivery, topic_urn: str) -> None:
        """See `fgd.destination.Node`."""
        await self._publish(delivery, topic_urn)


def loop_of(function: Function, chain: tuple[str, ...]) -> str:
    """What is wrong with handing on to a function after those in `chain` (ids); "" when nothing is."""
    if function.func_id in chain:
        return f"loop: this invocation began with {function.name}, or came by it already"
    if len(chain) >= CHAIN_MAX:
        return f"loop: {CHAIN_MAX} functions have handed on to one another, which is the limit"
    return ""
