"""The kind `DIS`: the notification becomes a record of a stream. `{"stream_name": "NAME"}`

A record counts as delivered when all in-sync replicas of its partition have it. Its key is the request id, the same
for each try. Producers are kept, one for each stream, since a connection to brokers takes longer than a record.
"""

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import trio
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from fgd.plugin import BadDestination, Delivery, Node, Stream, StreamNotFound, Undeliverable
from fgd_dis.brokers import brokers_of
from fgd_kafka.connection import Unreachable, told

_NAME_MAX: Final = 64
#: Of the time for a delivery, what a record may have: that it failed shall be known before the time is over.
_SHARE: Final = 0.8
_LOOK_S: Final = 0.1
#: A topic that is not there is told after this, and looked for again with the next try.
_TOPIC_MS: Final = 2000
_VAGUE: Final = (KafkaError._MSG_TIMED_OUT, KafkaError._ALL_BROKERS_DOWN)
#: What another producer may not meet: the password may be a new one by then, the topic there.
_RENEWS: Final = (
    KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._UNKNOWN_TOPIC,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)  # fmt: skip


class StreamDestination:
    """Writes records; the settings are the stream."""

    kind = "DIS"

    def __init__(self, node: Node) -> None:
        self._config = node.config
        self._writers: dict[str, _Writer] = {}
        #: Deliveries run in threads.
        self._lock = threading.Lock()

    def parse(self, param: Mapping[str, Any]) -> Stream:
        for field in param:
            if field != "stream_name":
                raise BadDestination(f"{field[:40]}: there is no such field; there is stream_name")
        name = param.get("stream_name")
        if not isinstance(name, str) or not 0 < len(name) <= _NAME_MAX:
            raise BadDestination(f"stream_name: must be a string of 1 to {_NAME_MAX} characters")
        try:
            return self._config.stream(name)
        except StreamNotFound as error:
            raise BadDestination(str(error)) from error

    async def deliver(self, delivery: Delivery, settings: Stream) -> None:
        if not settings.open_to(delivery.project_id):
            raise Undeliverable(f"stream_name: {settings.name} is not for this project")
        writer = await trio.to_thread.run_sync(self._writer, settings, abandon_on_cancel=True)
        with self._lock:
            writer.uses += 1
        try:
            await writer.write(settings.topic, delivery.request_id, delivery.document)
        finally:
            self._give_back(settings.name, writer)

    def _writer(self, stream: Stream) -> "_Writer":
        with self._lock:
            writer = self._writers.get(stream.name)
        if writer is not None:
            return writer
        # Not under the lock: files that cannot be read just now hold up their own stream only.
        made = _Writer(brokers_of(stream).producer_options(self._config.delivery_timeout_s * _SHARE))
        with self._lock:
            return self._writers.setdefault(stream.name, made)

    def _give_back(self, name: str, writer: "_Writer") -> None:
        """One that is broken is used by nobody new, and closed by the last."""
        with self._lock:
            writer.uses -= 1
            if writer.broken and self._writers.get(name) is writer:
                del self._writers[name]
            if writer.broken and not writer.uses:
                writer.close()


class _Writer:
    """A producer that many deliveries use at once."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        #: Deliveries that it works for.
        self.uses = 0
        #: Whether another must take its place.
        self.broken = False
        self._trouble = ""
        more = {"topic.metadata.propagation.max.ms": _TOPIC_MS, "error_cb": self._failed}
        self._producer: Producer | None = Producer({**options, **more})

    def close(self) -> None:
        """Ends its threads and connections. Only what refers to the producer itself keeps them, and that is this."""
        self._producer = None

    async def write(self, topic: str, key: str, value: bytes) -> None:
        """Returns when the brokers have acknowledged the record.

        Raises:
            Undeliverable: it is too large for them.
            Unreachable: they did not take it.
        """
        results: list[KafkaError | None] = []
        over = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def written(problem: KafkaError | None, message: Message) -> None:
            results.append(problem)
            with suppress(trio.RunFinishedError):  # the delivery has given up, and its thread is gone
                token.run_sync_soon(over.set)

        if self._producer is None:
            raise Unreachable(self._trouble)
        try:
            self._producer.produce(topic, value, key, on_delivery=written)
        except KafkaException as error:
            results.append(error.args[0])
        except BufferError as error:
            raise Unreachable(self._trouble or "too many records wait to be written") from error
        if not results:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve)
                await over.wait()
                nursery.cancel_scope.cancel()
        problem = results[0]
        if problem is None:
            self._trouble = ""
            return
        if problem.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            raise Undeliverable(f"the record is too large for the topic {topic}: {problem.str()}")
        self._failed(problem)
        raise Unreachable(self._trouble)

    async def _serve(self) -> None:
        """Lets the producer tell results, those of other deliveries too."""
        while True:
            await trio.to_thread.run_sync(self._poll, abandon_on_cancel=True)

    def _poll(self) -> None:
        producer = self._producer
        if producer is not None:
            producer.poll(_LOOK_S)

    def _failed(self, problem: KafkaError) -> None:
        # That its time is over, or no broker is left, says less than what went wrong before.
        if problem.code() not in _VAGUE or not self._trouble:
            self._trouble = told(problem)
        self.broken = self.broken or problem.fatal() or problem.code() in _RENEWS
