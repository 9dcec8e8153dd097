"""What plugins import: everything here is public, and nothing else of fgd is."""

from fgd.bucket import bucket_fault
from fgd.call import Outcome
from fgd.config import Config
from fgd.cron import BadCron, Cron, parse_cron, split_zone
from fgd.destination import BadDestination, Delivery, Destination, InvokesFunction, Node, Tidies, Undeliverable
from fgd.disk import (
    BadDisk,
    DiskDriver,
    DiskNode,
    HostMount,
    Mount,
    NfsMount,
    NoSuchDisk,
    TmpfsMount,
    WantedMount,
    check_share,
)
from fgd.errors import StreamNotFound, TopicNotFound
from fgd.hookspecs import hookimpl
from fgd.route import ApiRoute
from fgd.route import path_fault as api_path_fault
from fgd.stream import BadStream, Stream, broker_fault, topic_fault
from fgd.topic import TopicMessage, topic_event
from fgd.trigger import (
    AuditFeed,
    BadEvent,
    BadTriggerConfig,
    Door,
    Feed,
    FunctionOff,
    ObjectChange,
    ObjectFeed,
    Place,
    Sources,
    TriggerType,
)
from fgd.zones import zone_named

__all__ = [
    "ApiRoute",
    "AuditFeed",
    "BadCron",
    "BadDestination",
    "BadDisk",
    "BadEvent",
    "BadStream",
    "BadTriggerConfig",
    "Config",
    "Cron",
    "Delivery",
    "Destination",
    "DiskDriver",
    "DiskNode",
    "Door",
    "Feed",
    "FunctionOff",
    "HostMount",
    "InvokesFunction",
    "Mount",
    "NfsMount",
    "NoSuchDisk",
    "Node",
    "ObjectChange",
    "ObjectFeed",
    "Outcome",
    "Place",
    "Sources",
    "Stream",
    "StreamNotFound",
    "Tidies",
    "TmpfsMount",
    "TopicMessage",
    "TopicNotFound",
    "TriggerType",
    "Undeliverable",
    "WantedMount",
    "api_path_fault",
    "broker_fault",
    "bucket_fault",
    "check_share",
    "hookimpl",
    "parse_cron",
    "split_zone",
    "topic_event",
    "topic_fault",
    "zone_named",
]
