"""Functions: create, list, delete, configure (rest-api, 2.1)."""

from fgd.api.operation import FUNCTION, NOTHING, UPLOAD, V2, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.api.shape import function_object
from fgd.control.asyncs import number
from fgd.control.fields import parse_change, parse_max_instances, parse_new
from fgd.control.tag_rules import parse_created_tags
from fgd.control.upload import stored_upload
from fgd.errors import BadParameter
from fgd.urn import LATEST

PAGE_MAX = 400


async def create_function(services: Services, ask: Ask) -> Answer:
    body = ask.json()
    async with services.object_source.of_code(ask.project_id, body) as path:
        upload = None if path is None else stored_upload(body, path)
        new = parse_new(body, services.runtimes().keys(), services.functions.facets, ask.project_id, upload)
        companion = services.tags.companion(parse_created_tags(body.get("tags")))
        return Answer(function_object(services, await services.functions.create(ask.project_id, new, companion)))


async def list_functions(services: Services, ask: Ask) -> Answer:
    offset, size = page(ask, PAGE_MAX)
    found = services.functions.list(ask.project_id, ask.query.get("package_name", ""), ask.query.get("func_name", ""))
    items = [function_object(services, function) for function in found[offset : offset + size]]
    return Answer({"functions": items, "next_marker": offset + len(items), "count": len(found)})


async def delete_function(services: Services, ask: Ask) -> Answer:
    urn = ask.urn()
    if ask.path["function_urn"].endswith(":" + LATEST):
        raise BadParameter("function_urn: the version latest cannot be deleted; name the function without a version")
    if urn.qualifier != LATEST:
        await services.versions.delete(urn)
    else:
        await services.functions.delete(urn)
    return NOTHING


async def show_function_config(services: Services, ask: Ask) -> Answer:
    return Answer(function_object(services, services.functions.resolve(ask.urn())))


async def update_function_config(services: Services, ask: Ask) -> Answer:
    body = ask.json()
    function = await services.functions.configure(
        ask.urn(), lambda old: parse_change(body, old, services.functions.facets)
    )
    return Answer(function_object(services, function))


async def update_function_max_instance_config(services: Services, ask: Ask) -> Answer:
    function = await services.functions.limit_instances(ask.urn(), parse_max_instances(ask.json()))
    return Answer(function_object(services, function))


async def update_function_collect_state(services: Services, ask: Ask) -> Answer:
    state = ask.path["state"]
    if state not in ("true", "false"):
        raise BadParameter(f"state: must be true or false, not {state[:20]!r}")
    await services.functions.mark(ask.urn(), "collected", state == "true")
    return NOTHING


def page(ask: Ask, most: int, size_name: str = "maxitems") -> tuple[int, int]:
    """Offset and size of the page that `marker` and `maxitems` ask for; 0, absent or too large means the most.

    Raises:
        BadQuery: negative, or no number.
    """
    size = number(ask.query, size_name, most)
    offset = number(ask.query, "marker", 0)
    return offset, size if 0 < size <= most else most


_CREATE_FIELDS = (
    "func_name", "package", "runtime", "timeout", "handler", "memory_size", "code_type", "code_filename", "func_code",
    "user_data", "encrypted_user_data", "description", "initializer_handler", "initializer_timeout", "strategy_config",
    "xrole", "app_xrole", "enterprise_project_id", "type", "tags", "depend_version_list",
    "mount_config", "ephemeral_storage", "enable_dynamic_memory", "heartbeat_handler", "pre_stop_handler",
    "pre_stop_timeout",
    "func_vpc", "network_controller", "domain_names", "peering_cidr", "log_config",
)  # fmt: skip
_CHANGE_FIELDS = tuple(
    name for name in _CREATE_FIELDS if name not in ("code_type", "code_filename", "func_code", "tags")
)

OPERATIONS = (
    Operation(
        "create_function", "POST", V2 + "/functions", "Create a function", create_function,
        fields=_CREATE_FIELDS, body_max_bytes=UPLOAD,
    ),
    Operation(
        "list_functions", "GET", V2 + "/functions", "List functions", list_functions,
        query=("marker", "maxitems", "package_name", "func_name"),
    ),
    Operation(
        "delete_function", "DELETE", FUNCTION, "Delete a function, or the version that the URN names",
        delete_function, status=204,
    ),
    Operation("show_function_config", "GET", FUNCTION + "/config", "Show a configuration", show_function_config),
    Operation(
        "update_function_config", "PUT", FUNCTION + "/config", "Change a configuration", update_function_config,
        fields=_CHANGE_FIELDS,
    ),
    Operation(
        "update_function_max_instance_config", "PUT", FUNCTION + "/config-max-instance",
        "Limit the instances; 0 disables the function", update_function_max_instance_config,
        fields=("max_instance_num",),
    ),
    Operation(
        "update_function_collect_state", "PUT", V2 + "/functions/{func_urn}/collect/{state}", "Pin a function",
        update_function_collect_state,
    ),
)  # fmt: skip
