"""RabbitMQ: events of the messages that an exchange gets (user guide, table 6-1)."""

import logging

from fgd.plugin import TriggerType, hookimpl
from fgd_rabbitmq.trigger import RabbitMq, RabbitSettings


@hookimpl
def fgd_trigger_types() -> list[type[TriggerType[RabbitSettings]]]:
    # What it logs with tracebacks it raises too, and that is shown as the trigger's error.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    return [RabbitMq]
