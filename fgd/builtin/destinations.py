"""fgd's own kinds of destinations; they come by the hook by which those of plugins do."""

from collections.abc import Sequence
from typing import Any

from fgd.builtin.to_bucket import BucketDestination
from fgd.builtin.to_function import FunctionDestination
from fgd.builtin.to_topic import TopicDestination
from fgd.builtin.to_webhook import WebhookDestination
from fgd.plugin import Destination, hookimpl


@hookimpl
def fgd_destinations() -> Sequence[type[Destination[Any]]]:
    return [FunctionDestination, BucketDestination, TopicDestination, WebhookDestination]
