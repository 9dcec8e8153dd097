"""Reserved instances (rest-api, 2.7 and 2.12). The lists are read by Terraform at every refresh."""

from dataclasses import replace

from fgd.api.functions import page
from fgd.api.operation import FUNCTION, V2, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.api.shape import page_info, reservation_fields
from fgd.errors import Forbidden
from fgd.model import Reservation
from fgd.store.history import Minute
from fgd.urn import FunctionUrn, parse_urn

_CONFIGS_MAX = 500
_INSTANCES_MAX = 400
_REPORT_MAX = 1440


async def update_function_reserved_instances_count(services: Services, ask: Ask) -> Answer:
    return Answer(reservation_fields(await services.reservations.put(ask.urn(), ask.json())))


async def list_reserved_instance_configs(services: Services, ask: Ask) -> Answer:
    offset, size = page(ask, _CONFIGS_MAX, "limit")
    found = services.reservations.list(ask.project_id, _function(ask, "function_urn"))
    items = [_config(services, one) for one in found[offset : offset + size]]
    info = page_info(offset, len(items), len(found))
    return Answer({"reserved_instances": items, "page_info": info, "count": len(found)})


async def list_function_reserved_instances(services: Services, ask: Ask) -> Answer:
    offset, size = page(ask, _INSTANCES_MAX, "limit")
    found = services.reservations.list(ask.project_id, _function(ask, "urn"))
    items = [
        {"func_urn": _urn(services, one), "count": services.planner.count(one)} for one in found[offset : offset + size]
    ]
    info = page_info(offset, len(items), len(found))
    return Answer({"reservedinstances": items, "page_info": info, "count": len(found)})


async def show_func_reserved_instance_metrics(services: Services, ask: Ask) -> Answer:
    offset, size = page(ask, _REPORT_MAX, "limit")
    function = services.functions.resolve(ask.urn())
    since = int(services.now_s() // 60) - _REPORT_MAX
    minutes = await services.history.minutes(function.func_id, since=since, version=function.version)
    part = minutes[offset : offset + size]
    return Answer(
        {
            "instanceNum": [_point(one, one.instances) for one in part],
            "reservedInstanceNum": [_point(one, one.reserved) for one in part],
        }
    )


async def show_reserved_forecast(services: Services, ask: Ask) -> Answer:
    urn = ask.urn()
    function = services.functions.resolve(urn)
    of_alias = None
    if urn.qualifier.startswith("!"):
        of_alias = Reservation(func_id=function.func_id, qualifier=urn.qualifier, count=0)
    minutes, requests, levels = await services.planner.outlook(function, of_alias)
    items = [
        {
            "level": level,
            "instances_now": one.count,
            "instance_hours": round(one.instance_hours, 2),
            "beyond_percent": round(one.beyond * 100, 3),
        }
        for level, one in levels.items()
    ]
    return Answer({"minutes": minutes, "requests": requests, "levels": items})


def _point(minute: Minute, value: int) -> dict[str, int]:
    return {"timestamp": minute.minute * 60_000, "value": value}


def _function(ask: Ask, name: str) -> FunctionUrn | None:
    """The function that a query names; whichever version or alias the URN has, all of them are meant."""
    if not ask.query.get(name):
        return None
    urn = parse_urn(ask.query[name], ask.project_id)
    if urn.project_id != ask.project_id:
        raise Forbidden(f"{name}: names another project than the request's, {ask.project_id}")
    return replace(urn, qualifier="latest")


def _config(services: Services, reservation: Reservation) -> dict[str, object]:
    fields = reservation_fields(reservation)
    return {
        "function_urn": _urn(services, reservation),
        "qualifier_type": "alias" if reservation.alias else "version",
        "qualifier_name": reservation.alias or reservation.qualifier,
        "min_count": fields["count"],
        "idle_mode": fields["idle_mode"],
        "tactics_config": fields["tactics_config"],
    }


def _urn(services: Services, reservation: Reservation) -> str:
    function = services.functions.by_id(reservation.func_id)
    return replace(function.urn, qualifier=reservation.qualifier).text(services.config.region)


OPERATIONS = (
    Operation(
        "update_function_reserved_instances_count", "PUT", FUNCTION + "/reservedinstances",
        "Set the reserved instances of a version or alias", update_function_reserved_instances_count,
        fields=("count", "idle_mode", "tactics_config"),
    ),
    Operation(
        "show_reserved_forecast", "GET", FUNCTION + "/reservedinstances/forecast",
        "What each level of a recommendation would have kept in the last day", show_reserved_forecast,
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
    Operation(
        "show_func_reserved_instance_metrics", "GET", V2 + "/functions/{func_urn}/instancereports",
        "Instances and reserved instances of the last day, minute by minute", show_func_reserved_instance_metrics,
        query=("marker", "limit"),
    ),
)  # fmt: skip
