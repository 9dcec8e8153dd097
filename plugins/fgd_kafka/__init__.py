"""Kafka: batches of messages for functions, from DMS instances and from brokers of one's own (user guide, sections
5.4 and 5.10)."""

from typing import Any

from fgd.plugin import TriggerType, hookimpl
from fgd_kafka.trigger import Kafka, OpenSourceKafka


@hookimpl
def fgd_trigger_types() -> list[type[TriggerType[Any]]]:
    return [Kafka, OpenSourceKafka]
