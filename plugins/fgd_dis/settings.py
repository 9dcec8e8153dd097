"""What a DIS trigger is told."""

from typing import Annotated, Final, Literal

import msgspec

from fgd.plugin import BadTriggerConfig

_POLLING_MAX_MS: Final = 60_000
_POLLING_MIN_MS: Final = 2
_UNIT_MS: Final = {"s": 1000, "ms": 1}


class DisSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Records of a stream."""

    stream_name: Annotated[
        str, msgspec.Meta(min_length=1, max_length=64, description="The stream, as the node's settings name it.")
    ]
    sharditerator_type: Annotated[
        Literal["TRIM_HORIZON", "LATEST"],
        msgspec.Meta(description="Where the stream is begun: at its oldest record, or behind its newest."),
    ] = "LATEST"
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=10_000, description="Records in an event at most.")] = 100
    max_fetch_bytes: Annotated[
        int,
        msgspec.Meta(
            ge=1024, le=4_194_304, description="Bytes of the records in an event; a larger record goes alone."
        ),
    ] = 1_048_576
    polling_interval: Annotated[
        int,
        msgspec.Meta(
            ge=1, le=_POLLING_MAX_MS, description="How long records wait for the event to be full; 2 ms to 60 s."
        ),
    ] = 30
    polling_unit: Annotated[Literal["s", "ms"], msgspec.Meta(description="Unit of `polling_interval`.")] = "s"
    is_serial: Annotated[
        bool | Literal["true", "false"],
        msgspec.Meta(description="One event at a time; otherwise one of each partition."),
    ] = False
    retries: Annotated[
        int, msgspec.Meta(ge=0, le=1_000_000, description="How often an event that failed is tried again.")
    ] = 3
    retry_first_ms: Annotated[
        int, msgspec.Meta(ge=1, le=60_000, description="Wait before the first of these; doubles, up to a minute.")
    ] = 1000
    on_failure: Annotated[
        Literal["skip", "dead_letter"],
        msgspec.Meta(description="What becomes of records whose tries are used up."),
    ] = "skip"
    dead_letter_stream: Annotated[
        str, msgspec.Meta(max_length=64, description="Another stream of the node, which `dead_letter` writes to.")
    ] = ""

    @property
    def polling_ms(self) -> int:
        """The interval in one unit."""
        return self.polling_interval * _UNIT_MS[self.polling_unit]

    @property
    def serial(self) -> bool:
        """`is_serial`, which clients send as a text when they create a trigger."""
        return self.is_serial in (True, "true")


def check_settings(settings: DisSettings) -> None:
    """Rules that types do not express.

    Raises:
        BadTriggerConfig: names the setting and the rule.
    """
    if not _POLLING_MIN_MS <= settings.polling_ms <= _POLLING_MAX_MS:
        raise BadTriggerConfig(
            "polling_interval", f"must be 2 ms to 60 s, not {settings.polling_interval} {settings.polling_unit}"
        )
    if settings.on_failure == "dead_letter":
        if not settings.dead_letter_stream:
            raise BadTriggerConfig("dead_letter_stream", "is needed, as on_failure is dead_letter")
        if settings.dead_letter_stream == settings.stream_name:
            raise BadTriggerConfig("dead_letter_stream", "must be another than stream_name")
    elif settings.dead_letter_stream:
        raise BadTriggerConfig("dead_letter_stream", "needs on_failure to be dead_letter")
