"""The hooks that a plugin may answer. pluggy calls them by name; this file says what they are asked and give.

Hooks are synchronous and declare: they give classes, of which fgd makes objects. Each class's own Protocol says what
fgd asks of it. Source of the mechanism: https://pluggy.readthedocs.io
"""

from collections.abc import Sequence
from typing import Any, Final

import pluggy

from fgd.destination import Destination
from fgd.disk import DiskDriver
from fgd.trigger import TriggerType

PROJECT: Final = "fgd"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def fgd_trigger_types() -> Sequence[type[TriggerType[Any]]]:  # type: ignore[empty-body]  # specification only
    """Classes of event sources; see `fgd.trigger.TriggerType`."""


@hookspec
def fgd_disk_drivers() -> Sequence[type[DiskDriver]]:  # type: ignore[empty-body]  # specification only
    """Classes that turn a mount of a function's configuration into a plan; see `fgd.disk.DiskDriver`."""


@hookspec
def fgd_destinations() -> Sequence[type[Destination[Any]]]:  # type: ignore[empty-body]  # specification only
    """Classes that take the outcome of an asynchronous invocation somewhere; see `fgd.destination.Destination`."""
