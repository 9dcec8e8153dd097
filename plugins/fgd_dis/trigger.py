"""The trigger type DIS: what of `fgd_kafka.reader` is its own, settings and events (events, section 12)."""

import base64
from typing import Any, Final

import msgspec
from confluent_kafka import Message

from fgd.plugin import BadTriggerConfig, Place, Sources
from fgd_dis.brokers import brokers_of
from fgd_dis.settings import DisSettings, check_settings
from fgd_kafka.letters import LetterBox
from fgd_kafka.partition import Batch, BatchRules
from fgd_kafka.reader import TEXTS_MAX_BYTES, Reader, Reading
from fgd_kafka.source import Subscription

#: Partitions of which events run at once.
_AT_ONCE: Final = 10


class Dis(Reader[DisSettings]):
    """Records of a stream, which is a topic of Kafka brokers that the node's settings name."""

    code = "DIS"
    settings = DisSettings
    starts = "DISABLED"
    bad_code = "FSS.1104"
    exists_code = "FSS.1143"
    missing_code = "FSS.1134"

    @classmethod
    def check(cls, settings: DisSettings, place: Place) -> None:
        check_settings(settings)

    @classmethod
    def admit(cls, settings: DisSettings, place: Place, sources: Sources) -> None:
        stream = sources.stream(settings.stream_name)
        if settings.dead_letter_stream:
            dead = sources.stream(settings.dead_letter_stream, "dead_letter_stream")
            if (dead.topic, set(dead.brokers)) == (stream.topic, set(stream.brokers)):
                raise BadTriggerConfig("dead_letter_stream", "stands for the same topic as stream_name", cls.bad_code)

    @classmethod
    def identity(cls, settings: DisSettings) -> str:
        return settings.stream_name

    def reading(self) -> Reading:
        config, sources = self.config, self.door.sources
        stream = sources.stream(config.stream_name)
        letters = None
        if config.dead_letter_stream:
            dead = sources.stream(config.dead_letter_stream, "dead_letter_stream")
            letters = LetterBox(brokers_of(dead), dead.topic)
        subscription = Subscription(
            brokers=brokers_of(stream),
            topics=(stream.topic,),
            group=f"fgd-{self.door.place.trigger_id}",
            earliest=config.sharditerator_type == "TRIM_HORIZON",
            encode=record_of,
            text_max_bytes=TEXTS_MAX_BYTES,
            keep_messages=letters is not None,
        )
        return Reading(
            subscription=subscription,
            rules=BatchRules(config.batch_size, TEXTS_MAX_BYTES, config.polling_ms / 1000, config.max_fetch_bytes),
            concurrency=1 if config.serial else _AT_ONCE,
            retries=config.retries,
            retry_first_s=config.retry_first_ms / 1000,
            letters=letters,
        )

    def event(self, batch: Batch) -> bytes:
        stream = self.config.stream_name
        _, partition = batch.key
        cursor = {
            "getIteratorParam": {
                "stream-name": stream,
                "partition-id": str(partition),
                "cursor-type": "AT_SEQUENCE_NUMBER",
                "starting-sequence-number": str(batch.end),
            },
            "generateTimestamp": int(self.door.now_s() * 1000),
        }
        head = {"ShardID": f"shardId-{partition:010d}"}
        message = {"next_partition_cursor": base64.b64encode(msgspec.json.encode(cursor)).decode()}
        tail = {"Tag": self.door.place.qualifier.removeprefix("!"), "StreamName": stream}
        encode = msgspec.json.encode
        # The records are JSON already.
        return b"%s,\"Message\":%s,\"records\":[%s],\"millis_behind_latest\":\"\"},%s" % (
            encode(head)[:-1], encode(message)[:-1], batch.texts(), encode(tail)[1:],
        )  # fmt: skip


def record_of(message: Message) -> bytes:
    """A record as events have it; one without a key has the name of its partition."""
    key: Any = message.key()
    value: Any = message.value() or b""
    name = f"shardId_{message.partition():010d}" if key is None else key.decode("utf-8", "replace")
    record = {"partition_key": name, "data": base64.b64encode(value).decode(), "sequence_number": str(message.offset())}
    return msgspec.json.encode(record)
