"""What plugins import: everything here is public, and nothing else of fgd is."""

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
from fgd.hookspecs import hookimpl
from fgd.route import ApiRoute
from fgd.route import path_fault as api_path_fault
from fgd.trigger import BadEvent, BadTriggerConfig, Door, FunctionOff, Place, TriggerType
from fgd.zones import zone_named

__all__ = [
    "ApiRoute",
    "BadCron",
    "BadDestination",
    "BadDisk",
    "BadEvent",
    "BadTriggerConfig",
    "Config",
    "Cron",
    "Delivery",
    "Destination",
    "DiskDriver",
    "DiskNode",
    "Door",
    "FunctionOff",
    "HostMount",
    "InvokesFunction",
    "Mount",
    "NfsMount",
    "NoSuchDisk",
    "Node",
    "Outcome",
    "Place",
    "Tidies",
    "TmpfsMount",
    "TriggerType",
    "Undeliverable",
    "WantedMount",
    "api_path_fault",
    "check_share",
    "hookimpl",
    "parse_cron",
    "split_zone",
    "zone_named",
]
