"""The trigger type RABBITMQ: messages of a queue, acknowledged when the function has succeeded with them.

Theory of operation: pika's connection belongs to one thread, which does nothing but wait for the broker; so heartbeats
go on however long the function takes. The thread puts deliveries into a memory channel of the loop; acknowledgements go
the other way by pika's own thread-safe callbacks. The broker gives no more than one batch of messages that are not
acknowledged (the prefetch count), so nothing piles up here. What is not acknowledged when the connection, the
trigger or the daemon ends comes again.
"""

import contextlib
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import msgspec
import pika
import trio
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import (
    AMQPConnectionError,
    AMQPError,
    AuthenticationError,
    ChannelClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from fgd.plugin import BadEvent, BadTriggerConfig, Door, FunctionOff, Place, TriggerType

_PORT: Final = 5672
_TLS_PORT: Final = 5671
#: A synchronous event may have 6 MB; the rest is room for what is around the messages.
EVENT_MAX_BYTES: Final = 6 * 1024 * 1024 - 4096
#: The broker deletes a queue of ours that nobody reads for so long: its trigger was deleted.
_EXPIRES_MS: Final = 7 * 24 * 3600 * 1000
_CONNECT_S: Final = 3.0
_HEARTBEAT_S: Final = 30
_TURN_S: Final = 0.2
_CLOSE_S: Final = 3.0
_OFF_WAIT_S: Final = 5.0
_RETRY_FIRST_S: Final = 1.0
_RETRY_MAX_S: Final = 60.0
_ADDRESS: Final = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?)(?::([0-9]{1,5}))?\Z", re.ASCII)


class RabbitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which exchange's messages are events, how to reach the broker, and what becomes of messages that fail."""

    instance_id: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            max_length=253,
            description="Id of the instance; events name it. A host without connect_address.",
        ),
    ]
    exchange_name: Annotated[str, msgspec.Meta(min_length=1, max_length=127, description="Exchange; it must exist.")]
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=1000, description="Messages per event at most.")]
    access_password: Annotated[str, msgspec.Meta(min_length=1, max_length=256, description="Password of access_user.")]
    access_user: Annotated[str, msgspec.Meta(min_length=1, max_length=128, description="User.")] = "guest"
    vhost: Annotated[str, msgspec.Meta(min_length=1, max_length=127, description="Virtual host.")] = "/"
    connect_address: Annotated[
        str,
        msgspec.Meta(
            max_length=2048,
            description="`HOST:PORT` of the broker, several with commas; instance_id and the usual port if absent.",
        ),
    ] = ""
    ssl_enable: Annotated[bool, msgspec.Meta(description="Whether connections are encrypted.")] = False
    ssl_ca: Annotated[
        str, msgspec.Meta(max_length=32_768, description="PEM of the authority to trust; the system's if absent.")
    ] = ""
    queue_name: Annotated[
        str,
        msgspec.Meta(
            max_length=127,
            description="A queue that exists. If absent the trigger makes one and binds it to the exchange.",
        ),
    ] = ""
    routing_key: Annotated[
        str, msgspec.Meta(max_length=127, description="With which the trigger's own queue is bound.")
    ] = "#"
    batch_wait_ms: Annotated[
        int,
        msgspec.Meta(ge=10, le=60_000, description="How long an event waits to be full, from its first message on."),
    ] = 200
    attempts: Annotated[
        int, msgspec.Meta(ge=1, le=100, description="How often a batch is given to a function that fails.")
    ] = 3
    on_failure: Annotated[
        Literal["requeue", "dead_letter"],
        msgspec.Meta(
            description="After the attempts: back into the queue, or to its dead-letter exchange, if it has one."
        ),
    ] = "requeue"

    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each node.

        Raises:
            BadTriggerConfig
        """
        field, text = (
            ("connect_address", self.connect_address) if self.connect_address else ("instance_id", self.instance_id)
        )
        found = [_ADDRESS.match(one.strip()) for one in text.split(",")]
        usual = _TLS_PORT if self.ssl_enable else _PORT
        nodes = [(one[1], int(one[2] or usual)) for one in found if one is not None]
        if len(nodes) < len(found) or not all(1 <= port <= 65535 for _, port in nodes):
            without = "" if self.connect_address else ", where there is no connect_address"
            raise BadTriggerConfig(field, f"must be HOST or HOST:PORT, several with commas{without}")
        return nodes


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that is not acknowledged yet. `text` is its JSON string."""

    tag: int
    text: bytes
    again: bool


class LinkFailed(Exception):
    """The broker cannot be read; the text says why, as users understand it."""


@dataclass
class _Link:
    """The connection. `run` is the thread; what has a leading underscore is touched by it alone."""

    settings: RabbitSettings
    trigger_id: str
    #: Called in the thread: connected to this queue; a delivery came.
    connected: Callable[[str], None]
    came: Callable[[Delivery], None]
    stopping: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)
    _connection: pika.BlockingConnection | None = None
    _channel: BlockingChannel | None = None

    def run(self) -> None:
        """Reads until `stopping` is set.

        Raises:
            LinkFailed
        """
        try:
            self._connection = pika.BlockingConnection(self._parameters())
            self._channel = self._connection.channel()
            queue = self._queue(self._channel)
            self._channel.basic_qos(prefetch_count=self.settings.batch_size)
            self._channel.basic_consume(queue, self._take)
            self._channel.add_on_cancel_callback(self._cancelled)
            self.connected(queue)
            while not self.stopping.is_set():
                self._connection.process_data_events(time_limit=_TURN_S)
            self._connection.process_data_events(time_limit=0)  # the last acknowledgements
        except (AMQPError, OSError) as error:
            raise LinkFailed(_explained(error, self.settings)) from error
        finally:
            self._close()
            self.done.set()

    def settle(self, tag: int, *, ok: bool, requeue: bool = False) -> None:
        """Acknowledges this message and all before it, or refuses them. Any thread; in order."""
        connection = self._connection
        if connection is None or self.done.is_set():
            raise LinkFailed("the connection is lost; what was not acknowledged comes again")

        def do() -> None:
            channel = self._channel
            if channel is None or not channel.is_open:
                return
            if ok:
                channel.basic_ack(tag, multiple=True)
            else:
                channel.basic_nack(tag, multiple=True, requeue=requeue)

        try:
            connection.add_callback_threadsafe(do)
        except AMQPError as error:
            raise LinkFailed(_explained(error, self.settings)) from error

    def _parameters(self) -> list[pika.ConnectionParameters]:
        settings = self.settings
        context = ssl.create_default_context(cadata=settings.ssl_ca or None) if settings.ssl_enable else None
        return [
            pika.ConnectionParameters(
                host=host,
                port=port,
                virtual_host=settings.vhost,
                credentials=pika.PlainCredentials(settings.access_user, settings.access_password),
                ssl_options=pika.SSLOptions(context, host) if context is not None else None,
                heartbeat=_HEARTBEAT_S,
                socket_timeout=_CONNECT_S,
                stack_timeout=2 * _CONNECT_S,
                blocked_connection_timeout=_HEARTBEAT_S,
                client_properties={"connection_name": f"fgd trigger {self.trigger_id}"},
            )
            for host, port in settings.addresses()
        ]

    def _queue(self, channel: BlockingChannel) -> str:
        settings = self.settings
        if settings.queue_name:
            channel.queue_declare(settings.queue_name, passive=True)
            return settings.queue_name
        channel.exchange_declare(settings.exchange_name, passive=True)
        name = f"fgd.{self.trigger_id}"
        channel.queue_declare(name, durable=True, arguments={"x-expires": _EXPIRES_MS})
        channel.queue_bind(name, settings.exchange_name, settings.routing_key)
        return name

    def _take(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        text = msgspec.json.encode(body.decode("utf-8", "replace"))
        self.came(Delivery(method.delivery_tag, text, bool(method.redelivered)))

    def _cancelled(self, frame: Any) -> None:
        raise ChannelClosedByBroker(404, "the queue was deleted")

    def _close(self) -> None:
        with contextlib.suppress(AMQPError, OSError):  # it may be gone already
            if self._connection is not None and self._connection.is_open:
                self._connection.close()


class RabbitMq(TriggerType[RabbitSettings]):
    """An event of the messages that an exchange of RabbitMQ gets."""

    code = "RABBITMQ"
    settings = RabbitSettings
    secrets = frozenset({"access_password"})

    def __init__(self, settings: RabbitSettings, door: Door) -> None:
        super().__init__(settings, door)
        self._held: Delivery | None = None

    @classmethod
    def check(cls, settings: RabbitSettings, place: Place) -> None:
        settings.addresses()
        if settings.ssl_ca:
            if not settings.ssl_enable:
                raise BadTriggerConfig("ssl_ca", "must be left out where ssl_enable is false")
            try:
                ssl.create_default_context(cadata=settings.ssl_ca)
            except (ssl.SSLError, ValueError):
                raise BadTriggerConfig("ssl_ca", "must be PEM of certificates") from None
        for name in ("exchange_name", "vhost", "queue_name", "routing_key"):
            if len(getattr(settings, name).encode()) > 255:
                raise BadTriggerConfig(name, "must be at most 255 bytes")

    @classmethod
    def identity(cls, settings: RabbitSettings) -> str:
        own = f"{settings.exchange_name}/{settings.routing_key}"
        return f"{settings.instance_id}{settings.vhost}/{settings.queue_name or own}"

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        token = trio.lowlevel.current_trio_token()
        send, receive = trio.open_memory_channel[Delivery](self.config.batch_size)
        ready = trio.Event()

        def soon(call: Callable[[], object]) -> None:
            try:
                token.run_sync_soon(call)
            except trio.RunFinishedError:
                link.stopping.set()

        def connected(queue: str) -> None:
            hosts = ", ".join(f"{host}:{port}" for host, port in self.config.addresses())
            soon(lambda: self.door.note(f"reads the queue {queue} of {hosts}"))
            soon(ready.set)

        def came(delivery: Delivery) -> None:
            # The broker gives no more than fit: see the prefetch count.
            soon(lambda: _put(send, delivery))

        link = _Link(self.config, self.door.place.trigger_id, connected, came)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run, link)
                await ready.wait()
                task_status.started()
                while True:
                    await self._step(receive, link)
        finally:
            send.close()
            link.stopping.set()
            with trio.CancelScope(shield=True), trio.move_on_after(_CLOSE_S):
                # The thread was left to itself at the cancellation; it ends soon, except while it connects.
                while not link.done.is_set():
                    await trio.sleep(0.02)

    async def _run(self, link: _Link) -> None:
        await trio.to_thread.run_sync(link.run, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))

    async def _step(self, receive: "trio.MemoryReceiveChannel[Delivery]", link: _Link) -> None:
        batch = await self._batch(receive)
        again = sum(one.again for one in batch)
        if again:
            self.door.count("redelivered", again)
        last = batch[-1].tag
        try:
            succeeded = await self._give(self._event(batch))
        except BadEvent as error:
            # One message alone, as a batch never exceeds the limit otherwise.
            self.door.count("too_large", len(batch))
            self.door.note(f"a message was refused: {error}")
            link.settle(last, ok=False)
            return
        if succeeded:
            link.settle(last, ok=True)
            self.door.count("messages", len(batch))
        elif self.config.on_failure == "requeue":
            self.door.count("requeued", len(batch))
            link.settle(last, ok=False, requeue=True)
        else:
            self.door.count("dead_lettered", len(batch))
            link.settle(last, ok=False)

    async def _batch(self, receive: "trio.MemoryReceiveChannel[Delivery]") -> list[Delivery]:
        """Messages in the order of their tags: full, or as many as came in time or fit into an event."""
        first = self._held or await receive.receive()
        self._held = None
        batch, size = [first], len(first.text)
        with trio.move_on_after(self.config.batch_wait_ms / 1000):
            while len(batch) < self.config.batch_size:
                one = await receive.receive()
                if size + len(one.text) + 1 > EVENT_MAX_BYTES:
                    self._held = one
                    break
                batch.append(one)
                size += len(one.text) + 1
        return batch

    async def _give(self, event: bytes) -> bool:
        """Whether the function succeeded with it, in the end."""
        wait_s = _RETRY_FIRST_S
        failures = 0
        while True:
            try:
                outcome = await self.door.invoke(event)
            except FunctionOff:
                self.door.count("off")
                await trio.sleep(_OFF_WAIT_S)
                continue
            if outcome.code == 0:
                return True
            failures += 1
            self.door.count("failed")
            if failures >= self.config.attempts and self.config.on_failure == "dead_letter":
                return False
            # Also before they go back into the queue: they come again at once.
            await trio.sleep(wait_s)
            wait_s = min(wait_s * 2, _RETRY_MAX_S)
            if failures >= self.config.attempts:
                return False

    def _event(self, batch: list[Delivery]) -> bytes:
        exchange = msgspec.json.encode(self.config.exchange_name)
        head = msgspec.json.encode(
            {
                "event_version": "v1.0",
                "event_time": int(self.door.now_s()),
                "trigger_type": self.code,
                "region": self.door.place.region,
                "instance_id": self.config.instance_id,
            }
        )
        messages = b",".join(one.text for one in batch)
        return head[:-1] + b',"records":[{"messages":[' + messages + b'],"exchange":' + exchange + b"}]}"


def _put(send: "trio.MemorySendChannel[Delivery]", delivery: Delivery) -> None:
    # The trigger ends: the message comes again.
    with contextlib.suppress(trio.ClosedResourceError):
        send.send_nowait(delivery)


def _explained(error: Exception, settings: RabbitSettings) -> str:
    hosts = ", ".join(f"{host}:{port}" for host, port in settings.addresses())
    if isinstance(error, (AuthenticationError, ProbableAuthenticationError)):
        return f"{hosts} refuses the user {settings.access_user!r} or the password"
    if isinstance(error, ProbableAccessDeniedError):
        return f"{hosts}: the user {settings.access_user!r} may not use the virtual host {settings.vhost!r}"
    if isinstance(error, ChannelClosedByBroker):
        return f"{hosts}: {error.reply_text}"
    if isinstance(error, AMQPConnectionError):
        inner: BaseException = error
        while inner.args and isinstance(inner.args[0], BaseException):
            inner = inner.args[0]
        return f"{hosts} cannot be reached: {str(getattr(inner, 'exception', '') or inner) or type(inner).__name__}"
    return f"{hosts}: {error}"
