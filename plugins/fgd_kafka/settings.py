"""What a Kafka trigger is told."""

from typing import Annotated, Final, Literal

import msgspec

from fgd.plugin import BadTriggerConfig, broker_fault, topic_fault
from fgd_kafka.connection import Brokers

_BROKERS_MAX: Final = 50


class BrokerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the two types of Kafka triggers share."""

    kafka_connect_address: Annotated[
        str, msgspec.Meta(min_length=1, max_length=4096, description="Brokers, `HOST:PORT`, with commas between them.")
    ]
    topic_ids: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=249)], ...],
        msgspec.Meta(min_length=1, max_length=100, description="Names of the topics."),
    ]
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=1000, description="Messages in an event at most.")] = 100
    batch_window_ms: Annotated[
        int, msgspec.Meta(ge=0, le=60_000, description="How long a batch that is not full waits for more messages.")
    ] = 100
    kafka_user: Annotated[str, msgspec.Meta(max_length=256, description="Name at the broker (SASL); empty: none.")] = ""
    kafka_password: Annotated[str, msgspec.Meta(max_length=1024, description="Password of `kafka_user`.")] = ""
    kafka_ssl_enable: Annotated[bool, msgspec.Meta(description="Whether connections are encrypted.")] = False
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
        msgspec.Meta(description="How `kafka_user` shows who it is."),
    ] = "PLAIN"
    ssl_ca: Annotated[
        str,
        msgspec.Meta(
            max_length=32_768, description="Certificates of the authority, as PEM text; empty: those of the node."
        ),
    ] = ""
    ssl_check_hostname: Annotated[
        bool, msgspec.Meta(description="Whether the broker's certificate must have the name it is reached by.")
    ] = True
    start_position: Annotated[
        Literal["latest", "earliest"],
        msgspec.Meta(description="Where a topic is begun when the trigger first sees it; later it goes on."),
    ] = "latest"
    group_id: Annotated[
        str, msgspec.Meta(max_length=249, description="Consumer group; empty: `fgd-` and the trigger's id.")
    ] = ""
    concurrency: Annotated[
        int, msgspec.Meta(ge=1, le=100, description="Batches running at once, of different partitions.")
    ] = 10
    retries: Annotated[
        int, msgspec.Meta(ge=0, le=1_000_000, description="How often a batch that failed is tried again.")
    ] = 3
    retry_first_ms: Annotated[
        int, msgspec.Meta(ge=1, le=60_000, description="Wait before the first of these; doubles, up to a minute.")
    ] = 1000
    on_failure: Annotated[
        Literal["skip", "dead_letter"],
        msgspec.Meta(description="What becomes of a batch whose tries are used up."),
    ] = "skip"
    dead_letter_topic: Annotated[
        str, msgspec.Meta(max_length=249, description="Topic on the same brokers that `dead_letter` writes to.")
    ] = ""


class KafkaSettings(BrokerSettings, frozen=True, kw_only=True):
    """Messages of topics of a DMS instance."""

    instance_id: Annotated[
        str, msgspec.Meta(min_length=1, max_length=64, description="The instance, as events shall name it.")
    ]


class OpenSourceKafkaSettings(BrokerSettings, frozen=True, kw_only=True):
    """Messages of topics of Kafka brokers."""

    instance_id: Annotated[str, msgspec.Meta(max_length=64, description="What events have as `instance_id`.")] = ""


type Settings = KafkaSettings | OpenSourceKafkaSettings


def check_settings(settings: BrokerSettings) -> None:
    """Rules that types do not express.

    Raises:
        BadTriggerConfig: names the setting and the rule.
    """
    brokers = settings.kafka_connect_address.split(",")
    if len(brokers) > _BROKERS_MAX:
        raise BadTriggerConfig("kafka_connect_address", f"must name at most {_BROKERS_MAX} brokers")
    for broker in brokers:
        fault = broker_fault(broker.strip(" "))
        if fault:
            raise BadTriggerConfig("kafka_connect_address", fault)
    for number, topic in enumerate(settings.topic_ids):
        _check_topic(f"topic_ids[{number}]", topic)
    if len(set(settings.topic_ids)) < len(settings.topic_ids):
        raise BadTriggerConfig("topic_ids", "must not name a topic twice")
    if settings.group_id:
        _check_topic("group_id", settings.group_id)
    if bool(settings.kafka_user) != bool(settings.kafka_password):
        lacking = "kafka_password" if settings.kafka_user else "kafka_user"
        raise BadTriggerConfig(lacking, "is needed, as user and password go together")
    if settings.ssl_ca and not settings.kafka_ssl_enable:
        raise BadTriggerConfig("ssl_ca", "needs kafka_ssl_enable")
    if settings.ssl_ca and "-----BEGIN CERTIFICATE-----" not in settings.ssl_ca:
        raise BadTriggerConfig("ssl_ca", "must be PEM text, with -----BEGIN CERTIFICATE-----")
    if settings.on_failure == "dead_letter":
        if not settings.dead_letter_topic:
            raise BadTriggerConfig("dead_letter_topic", "is needed, as on_failure is dead_letter")
        _check_topic("dead_letter_topic", settings.dead_letter_topic)
        if settings.dead_letter_topic in settings.topic_ids:
            raise BadTriggerConfig("dead_letter_topic", "must not be one of topic_ids")
    elif settings.dead_letter_topic:
        raise BadTriggerConfig("dead_letter_topic", "needs on_failure to be dead_letter")


def brokers_of(settings: BrokerSettings) -> Brokers:
    """The brokers that a trigger's settings name."""
    return Brokers(
        addresses=tuple(one.strip(" ") for one in settings.kafka_connect_address.split(",")),
        user=settings.kafka_user,
        password=settings.kafka_password,
        mechanism=settings.sasl_mechanism,
        tls=settings.kafka_ssl_enable,
        authority=settings.ssl_ca,
        check_hostname=settings.ssl_check_hostname,
    )


def _check_topic(field: str, topic: str) -> None:
    fault = topic_fault(topic)
    if fault:
        raise BadTriggerConfig(field, fault)
