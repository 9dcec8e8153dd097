"""Triggers (rest-api, 2.5), and what types of them there are."""

from datetime import UTC, datetime

from fgd.api.functions import PAGE_MAX, page
from fgd.api.operation import NOTHING, V2, Access, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.errors import NotFound
from fgd.store.triggers import Trigger

_OF = V2 + "/triggers/{function_urn}"
_ONE = _OF + "/{trigger_type_code}/{trigger_id}"
_TYPES = "/fgd/v1/trigger-types"


def trigger_object(services: Services, trigger: Trigger) -> dict[str, object]:
    """A trigger as every answer carries it."""
    return {
        "trigger_id": trigger.trigger_id,
        "trigger_type_code": trigger.code,
        "trigger_status": trigger.status,
        "event_data": services.triggers.shown(trigger),
        "last_updated_time": _moment(trigger.updated_s),
        "created_time": _moment(trigger.created_s),
    }


def _moment(epoch_s: float) -> str:
    """`2022-11-09 16:37:24`, as the answers of the cloud have it."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _running(services: Services, trigger: Trigger) -> dict[str, object] | None:
    """fgd's own: how a trigger that is switched on is."""
    running = services.trigger_states(trigger.trigger_id)
    return None if running is None else running.shown()


async def create_function_trigger(services: Services, ask: Ask) -> Answer:
    return Answer(trigger_object(services, await services.triggers.create(ask.urn(), ask.json())))


async def list_function_triggers(services: Services, ask: Ask) -> Answer:
    return Answer([trigger_object(services, one) for one in services.triggers.of(ask.urn())])


async def show_function_trigger(services: Services, ask: Ask) -> Answer:
    return Answer(trigger_object(services, _asked(services, ask)))


async def update_trigger(services: Services, ask: Ask) -> Answer:
    code, trigger_id = ask.path["trigger_type_code"], ask.path["trigger_id"]
    before = _asked(services, ask).status
    changed = await services.triggers.update(ask.urn(), code, trigger_id, ask.optional_json())
    return Answer(trigger_object(services, changed), trace=changed.status if changed.status != before else "")


async def delete_function_trigger(services: Services, ask: Ask) -> Answer:
    await services.triggers.delete(ask.urn(), ask.path["trigger_type_code"], ask.path["trigger_id"])
    return NOTHING


async def batch_delete_function_triggers(services: Services, ask: Ask) -> Answer:
    await services.triggers.delete_all(ask.urn())
    return NOTHING


async def list_triggers(services: Services, ask: Ask) -> Answer:
    offset, size = page(ask, PAGE_MAX)
    every = services.triggers.of_project(ask.project_id)
    items = [
        {
            **trigger_object(services, one),
            "func_urn": services.triggers.place_of(one).function_urn,
            "state": _running(services, one),
        }
        for one in every[offset : offset + size]
    ]
    return Answer({"triggers": items, "next_marker": offset + len(items), "count": len(every)})


async def show_trigger_state(services: Services, ask: Ask) -> Answer:
    trigger = _asked(services, ask)
    return Answer({**trigger_object(services, trigger), "state": _running(services, trigger)})


async def list_trigger_types(services: Services, ask: Ask) -> Answer:
    types = [
        {
            "trigger_type_code": code,
            "plugin": kind.plugin,
            "summary": (kind.type.__doc__ or "").strip().partition("\n")[0],
            "starts": kind.type.starts,
            "may_be_disabled": kind.type.may_be_disabled,
            "counts": kind.type.pulls,
            "secrets": sorted(kind.type.secrets),
            "schema": kind.schema,
        }
        for code, kind in sorted(services.triggers.kinds.items())
    ]
    return Answer({"trigger_types": types})


async def show_trigger_type(services: Services, ask: Ask) -> Answer:
    listed = await list_trigger_types(services, ask)
    wanted = ask.path["trigger_type_code"].upper()
    found = [one for one in listed.value["trigger_types"] if one["trigger_type_code"] == wanted]  # type: ignore[index]
    if not found:
        raise NotFound(f"trigger_type_code: no plugin brings {wanted[:32]}")
    return Answer(found[0])


async def list_codes(services: Services, ask: Ask) -> Answer:
    return Answer(sorted(services.triggers.kinds))


def _asked(services: Services, ask: Ask) -> Trigger:
    return services.triggers.show(ask.urn(), ask.path["trigger_type_code"], ask.path["trigger_id"])


OPERATIONS = (
    Operation(
        "create_function_trigger", "POST", _OF, "Create a trigger of a version or alias", create_function_trigger,
        status=201, fields=("trigger_type_code", "trigger_status", "event_data"),
    ),
    Operation("list_function_triggers", "GET", _OF, "List the triggers of a version or alias", list_function_triggers),
    Operation("show_function_trigger", "GET", _ONE, "Show a trigger", show_function_trigger),
    Operation(
        "update_trigger", "PUT", _ONE, "Change a trigger, or switch it on or off", update_trigger,
        fields=("trigger_status", "event_data"),
    ),
    Operation("delete_function_trigger", "DELETE", _ONE, "Delete a trigger", delete_function_trigger, status=204),
    Operation(
        "batch_delete_function_triggers", "DELETE", _OF, "Delete all triggers of a version, alias or function",
        batch_delete_function_triggers, status=204,
    ),
    Operation(
        "list_triggers", "GET", V2 + "/triggers", "List all triggers", list_triggers, query=("marker", "maxitems"),
    ),
    Operation("list_trigger_codes", "GET", V2 + "/triggertypes", "Types of triggers", list_codes),
    Operation(
        "show_trigger_state", "GET", "/fgd/v1/triggers/{function_urn}/{trigger_type_code}/{trigger_id}",
        "A trigger and how it is", show_trigger_state, access=Access.ANY,
    ),
    Operation(
        "list_trigger_types", "GET", _TYPES, "Types of triggers with the JSON schema of their settings",
        list_trigger_types, access=Access.ANY,
    ),
    Operation(
        "show_trigger_type", "GET", _TYPES + "/{trigger_type_code}", "One type of triggers", show_trigger_type,
        access=Access.ANY,
    ),
)  # fmt: skip
