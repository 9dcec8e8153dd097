"""Document databases: an event when documents of a collection change (user guide, section 5.8)."""

from typing import Any

from fgd.plugin import TriggerType, hookimpl
from fgd_dds.trigger import Dds, GaussMongo


@hookimpl
def fgd_trigger_types() -> list[type[TriggerType[Any]]]:
    return [Dds, GaussMongo]
