"""The trigger types KAFKA and OPENSOURCEKAFKA: what of `fgd_kafka.reader` is theirs, settings and events."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from confluent_kafka import Message

from fgd.plugin import BadTriggerConfig, Place
from fgd_kafka.letters import LetterBox
from fgd_kafka.partition import Batch, BatchRules
from fgd_kafka.reader import TEXTS_MAX_BYTES, Reader, Reading
from fgd_kafka.settings import KafkaSettings, OpenSourceKafkaSettings, Settings, brokers_of, check_settings
from fgd_kafka.source import Subscription


class _Topics[S: Settings](Reader[S]):
    """What both types do."""

    secrets: ClassVar[frozenset[str]] = frozenset({"kafka_password"})
    starts = "DISABLED"
    bad_code = "FSS.1112"
    exists_code = "FSS.1150"

    @classmethod
    def check(cls, settings: S, place: Place) -> None:
        check_settings(settings)

    @classmethod
    def identity(cls, settings: S) -> str:
        return " ".join([settings.kafka_connect_address, *sorted(settings.topic_ids)])

    def reading(self) -> Reading:
        config = self.config
        brokers = brokers_of(config)
        subscription = Subscription(
            brokers=brokers,
            topics=config.topic_ids,
            group=config.group_id or f"fgd-{self.door.place.trigger_id}",
            earliest=config.start_position == "earliest",
            encode=_text_of,
            text_max_bytes=TEXTS_MAX_BYTES,
            keep_messages=config.on_failure == "dead_letter",
        )
        return Reading(
            subscription=subscription,
            rules=BatchRules(config.batch_size, TEXTS_MAX_BYTES, config.batch_window_ms / 1000),
            concurrency=config.concurrency,
            retries=config.retries,
            retry_first_s=config.retry_first_ms / 1000,
            letters=LetterBox(brokers, config.dead_letter_topic) if config.on_failure == "dead_letter" else None,
        )

    def event(self, batch: Batch) -> bytes:
        head = {
            "event_version": "v1.0",
            "event_time": int(self.door.now_s()),
            "trigger_type": "KAFKA",
            "region": self.door.place.region,
            "instance_id": self.config.instance_id,
        }
        topic = msgspec.json.encode(batch.key[0])
        records = b',"records":[{"messages":[' + batch.texts() + b'],"topic_id":' + topic + b"}]}"
        return msgspec.json.encode(head)[:-1] + records


def _text_of(message: Message) -> bytes:
    value: Any = message.value() or b""
    return msgspec.json.encode(value.decode("utf-8", "replace"))


class Kafka(_Topics[KafkaSettings]):
    """Messages of topics of a DMS instance."""

    code = "KAFKA"
    settings = KafkaSettings

    @classmethod
    def parse(cls, event_data: Mapping[str, object], place: Place) -> KafkaSettings:
        settings = super().parse(event_data, place)
        if settings.kafka_ssl_enable and not settings.kafka_user:
            raise BadTriggerConfig("kafka_user", "is needed, as kafka_ssl_enable is set", "FSS.1113")
        return settings


class OpenSourceKafka(_Topics[OpenSourceKafkaSettings]):
    """Messages of topics of Kafka brokers."""

    code = "OPENSOURCEKAFKA"
    settings = OpenSourceKafkaSettings
