"""A trigger type for fgd: messages of an MQTT broker.

Theory of operation: paho-mqtt blocks, so it runs in its own thread, and hands each message to the loop through a
bounded channel. The session is persistent and acknowledged by hand: a message of QoS 1 or 2 is acknowledged when its
event is on fgd's disk, so what came in between a crash and the next start comes again. The broker sends at most
`prefetch` messages ahead of that, which is what makes it wait for a slow function. Messages of QoS 0 have no such
promise: those for which the channel has no room are counted and left out.
"""

import base64
from typing import Annotated, Any, ClassVar

import msgspec
import trio
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from fgd.plugin import BadEvent, BadTriggerConfig, FunctionOff, Place, TriggerType, hookimpl

_CONNECT_S = 10.0
_OFF_S = 1.0
#: The broker keeps what comes while the trigger is away for so long.
_SESSION_S = 7 * 24 * 3600


class MqttSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the broker is, and what is wanted of it."""

    host: Annotated[str, msgspec.Meta(min_length=1, max_length=255, description="Name or address of the broker.")]
    port: Annotated[int, msgspec.Meta(ge=1, le=65535, description="Its TCP port.")] = 1883
    topics: Annotated[
        list[Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]],
        msgspec.Meta(min_length=1, max_length=32, description="Topic filters; + and # as MQTT has them."),
    ]
    qos: Annotated[int, msgspec.Meta(ge=0, le=2, description="Highest quality of service.")] = 1
    prefetch: Annotated[
        int, msgspec.Meta(ge=1, le=1000, description="Messages that are under way at once, not acknowledged.")
    ] = 20
    username: Annotated[str, msgspec.Meta(max_length=255, description="Account at the broker.")] = ""
    password: Annotated[str, msgspec.Meta(max_length=1024, description="Its password.")] = ""
    tls: Annotated[bool, msgspec.Meta(description="Speak TLS; the certificate is checked.")] = False


class Mqtt(TriggerType[MqttSettings]):
    """Messages of an MQTT broker (version 5)."""

    code = "MQTT"
    settings = MqttSettings
    secrets: ClassVar[frozenset[str]] = frozenset({"password"})

    @classmethod
    def check(cls, settings: MqttSettings, place: Place) -> None:
        for number, topic in enumerate(settings.topics):
            levels = topic.split("/")
            if "\0" in topic or "#" in levels[:-1] or any(len(one) > 1 and set(one) & {"+", "#"} for one in levels):
                raise BadTriggerConfig(f"topics[{number}]", f"must be a topic filter of MQTT, not {topic!r}")
        if settings.password and not settings.username:
            raise BadTriggerConfig("username", "is needed with a password")

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        session = _Session(self.config, self.door.place.trigger_id)
        try:
            # A broker that does not answer must not keep the trigger from being stopped.
            with trio.fail_after(_CONNECT_S * 2):
                await trio.to_thread.run_sync(session.connect, abandon_on_cancel=True)
                await session.subscribed()
            self.door.note(f"connected to {self.config.host}:{self.config.port}")
            task_status.started()
            async for message in session.messages:
                await self._hand_over(message)
                self.door.gauge("dropped", session.dropped)
                if message.qos:
                    session.client.ack(message.mid, message.qos)
            raise ConnectionError(session.lost)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(session.close)

    async def _hand_over(self, message: MQTTMessage) -> None:
        event = event_of(message, self.door.now_s())
        while True:
            try:
                await self.door.enqueue(event)
            except FunctionOff as error:
                self.door.note(f"waits: {error}")
                await trio.sleep(_OFF_S)
            except BadEvent as error:
                self.door.count("refused")
                self.door.note(f"refused a message of {message.topic}: {error}")
                return
            else:
                self.door.count("bytes", len(message.payload))
                return


def event_of(message: MQTTMessage, now_s: float) -> dict[str, Any]:
    """What the function gets: `payload` is text, or base64 where `encoding` says so."""
    try:
        payload, encoding = message.payload.decode(), "utf-8"
    except UnicodeDecodeError:
        payload, encoding = base64.b64encode(message.payload).decode(), "base64"
    return {
        "topic": message.topic,
        "payload": payload,
        "encoding": encoding,
        "qos": message.qos,
        "retain": bool(message.retain),
        "time": now_s,
    }


class _Session:
    """paho's client in its thread. What it calls us with goes to the loop by `run_sync_soon`, which never waits."""

    def __init__(self, config: MqttSettings, trigger_id: str) -> None:
        self._config = config
        self._token = trio.lowlevel.current_trio_token()
        self._ready = trio.Event()
        self._send, self.messages = trio.open_memory_channel[MQTTMessage](config.prefetch + 100)
        self.dropped = 0
        #: Why there is no connection.
        self.lost = ""
        self.client = Client(
            CallbackAPIVersion.VERSION2, f"fgd-{trigger_id}", protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True,
            reconnect_on_failure=False,
        )  # fmt: skip
        self.client.connect_timeout = _CONNECT_S
        if config.username:
            self.client.username_pw_set(config.username, config.password)
        if config.tls:
            self.client.tls_set()
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = self._on_subscribe
        self.client.on_message = self._on_message
        self.client.on_disconnect = self._on_disconnect

    def connect(self) -> None:
        """Blocks. Raises OSError."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho annotates nothing there
        properties.ReceiveMaximum = self._config.prefetch
        properties.SessionExpiryInterval = _SESSION_S
        self.client.connect(self._config.host, self._config.port, clean_start=False, properties=properties)
        self.client.loop_start()

    async def subscribed(self) -> None:
        """Waits until messages can come. Raises ConnectionError: the broker refused."""
        await self._ready.wait()
        if self.lost:
            raise ConnectionError(self.lost)

    def close(self) -> None:
        """Blocks until the thread has ended. What is not acknowledged comes again."""
        self.client.disconnect()
        self.client.loop_stop()

    def _on_connect(
        self, client: Client, userdata: Any, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._token.run_sync_soon(self._end, f"the broker refused the connection: {reason}")
            return
        options = SubscribeOptions(qos=self._config.qos)
        client.subscribe([(topic, options) for topic in self._config.topics])

    def _on_subscribe(
        self, client: Client, userdata: Any, mid: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        refused = [
            f"{topic}: {reason}"
            for topic, reason in zip(self._config.topics, reasons, strict=True)
            if reason.is_failure
        ]  # fmt: skip
        if refused:
            self._token.run_sync_soon(self._end, f"the broker refused topics: {', '.join(refused)}")
        else:
            self._token.run_sync_soon(self._ready.set)

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        self._token.run_sync_soon(self._put, message)

    def _on_disconnect(
        self, client: Client, userdata: Any, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._token.run_sync_soon(self._end, f"the connection ended: {reason}")

    def _put(self, message: MQTTMessage) -> None:
        try:
            self._send.send_nowait(message)
        except trio.WouldBlock:
            self.dropped += 1
        except trio.ClosedResourceError:
            pass  # the connection ended; the message comes again

    def _end(self, reason: str) -> None:
        self.lost = self.lost or reason
        self._ready.set()
        self._send.close()


@hookimpl
def fgd_trigger_types() -> list[type[TriggerType[Any]]]:
    return [Mqtt]
