"""What plugins import: everything here is public, and nothing else of fgd is."""

from fgd.call import Outcome
from fgd.config import Config
from fgd.destination import BadDestination, Delivery, Destination, InvokesFunction, Node, Tidies, Undeliverable
from fgd.hookspecs import hookimpl
from fgd.trigger import BadEvent, BadTriggerConfig, Door, FunctionOff, Place, TriggerType

__all__ = [
    "BadDestination",
    "BadEvent",
    "BadTriggerConfig",
    "Config",
    "Delivery",
    "Destination",
    "Door",
    "FunctionOff",
    "InvokesFunction",
    "Node",
    "Outcome",
    "Place",
    "Tidies",
    "TriggerType",
    "Undeliverable",
    "hookimpl",
]
