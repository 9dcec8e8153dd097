"""Events of the node's object store (user guide, section 5; events, 10)."""

from fgd.plugin import TriggerType, hookimpl
from fgd_obs.trigger import Obs, ObsSettings


@hookimpl
def fgd_trigger_types() -> list[type[TriggerType[ObsSettings]]]:
    return [Obs]
