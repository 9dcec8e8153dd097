"""Reserved instances (rest-api, 2.7). The lists are read by Terraform at every refresh."""

from fgd.api.operation import FUNCTION, V2, Answer, Ask, Operation, not_built
from fgd.api.services import Services
from fgd.api.shape import page_info
from fgd.control.asyncs import number
from fgd.urn import parse_urn


async def list_reserved_instance_configs(services: Services, ask: Ask) -> Answer:
    return _nothing(services, ask, "function_urn", "reserved_instances")


async def list_function_reserved_instances(services: Services, ask: Ask) -> Answer:
    return _nothing(services, ask, "urn", "reservedinstances")


def _nothing(services: Services, ask: Ask, urn_name: str, list_name: str) -> Answer:
    offset = number(ask.query, "marker", 0)
    number(ask.query, "limit", 0)
    if ask.query.get(urn_name):
        parse_urn(ask.query[urn_name], ask.project_id)
    return Answer({list_name: [], "count": 0, "page_info": page_info(offset, 0, 0)})


OPERATIONS = (
    not_built(
        "update_function_reserved_instances_count", "PUT", FUNCTION + "/reservedinstances", "reserved instances"
    ),
    Operation(
        "list_function_reserved_instances", "GET", V2 + "/functions/reservedinstances", "List reserved instances",
        list_function_reserved_instances, query=("marker", "limit", "urn"),
    ),
    Operation(
        "list_reserved_instance_configs", "GET", V2 + "/functions/reservedinstanceconfigs",
        "List settings of reserved instances", list_reserved_instance_configs,
        query=("function_urn", "marker", "limit"),
    ),
)  # fmt: skip
