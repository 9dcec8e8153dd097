"""Quotas: what a project may have, what it has, and the setting that moves the limit (rest-api, 2.12)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fgd.config import Config
from fgd.control.functions import Functions
from fgd.control.reserved import Reservations
from fgd.control.rules import INSTANCES_MAX
from fgd.units import MIB

CODE_UNIT: Final = "MB"


@dataclass(frozen=True, slots=True)
class Quota:
    """One limit. `unit` is "" for a plain number; `setting` names what changes it, "" where nothing does."""

    type: str
    used: int
    total: int
    unit: str
    setting: str


def quotas(
    config: Config,
    functions: Functions,
    reservations: Reservations,
    project_id: str,
    instances: Mapping[str, int],
) -> list[Quota]:
    """All types that the API names. Two of them are lengths of time, of which nothing can be used up.

    Args:
        instances: how many instances there are of a function, by its id.
    """
    usage = functions.usage(project_id)
    running = [instances.get(function.func_id, 0) for function in functions.list(project_id)]
    return [
        Quota("fgs_func_num", usage.functions, config.functions_max, "", "functions_max"),
        Quota("fgs_func_code_size", -(-usage.code_bytes // MIB), config.code_quota_mib, CODE_UNIT, "code_quota_mib"),
        Quota("fgs_func_qos_limit", sum(running), config.sandboxes_max, "", "sandboxes_max"),
        Quota("fgs_func_occurs", reservations.reserved(project_id), reservations.instances_max, "", "sandboxes_max"),
        # Of one function: what it may have is its own setting, at most this.
        Quota("fgs_on_demand_instance_limit", max(running, default=0), INSTANCES_MAX, "", ""),
        Quota("fgs_func_scale_down_timeout", 0, int(config.keep_alive_s), "", "keep_alive_s"),
        # There is no such gateway here, and there are no function flows.
        Quota("fgs_func_pat_idle_time", 0, 0, "", ""),
        Quota("fgs_workflow_num", 0, 0, "", ""),
    ]
