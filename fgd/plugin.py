"""What plugins import: everything here is public, and nothing else of fgd is."""

from fgd.call import Outcome
from fgd.hookspecs import hookimpl
from fgd.trigger import BadEvent, BadTriggerConfig, Door, FunctionOff, Place, TriggerType

__all__ = ["BadEvent", "BadTriggerConfig", "Door", "FunctionOff", "Outcome", "Place", "TriggerType", "hookimpl"]
