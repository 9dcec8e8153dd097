"""DIS: streams that stand for topics of Kafka brokers, read by triggers and written to by destinations (user guide,
sections 3.7 and 6.2; the streams are those of fgd's settings)."""

from typing import Any

from fgd.plugin import Destination, TriggerType, hookimpl
from fgd_dis.destination import StreamDestination
from fgd_dis.trigger import Dis


@hookimpl
def fgd_trigger_types() -> list[type[TriggerType[Any]]]:
    return [Dis]


@hookimpl
def fgd_destinations() -> list[type[Destination[Any]]]:
    return [StreamDestination]
