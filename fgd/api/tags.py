"""Tags (rest-api, 2.9): the paths have no `/fgs`."""

from collections.abc import Mapping

from fgd.api.operation import NOTHING, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.control.tag_rules import parse_addition, parse_removal, parse_search
from fgd.errors import NotFound

_TYPE = "/v2/{project_id}/{resource_type}"
_OF = _TYPE + "/{resource_id}/tags"


async def create_tags(services: Services, ask: Ask) -> Answer:
    _check_type(ask)
    await services.tags.add(ask.urn(), parse_addition(ask.json()))
    return NOTHING


async def delete_tags(services: Services, ask: Ask) -> Answer:
    _check_type(ask)
    await services.tags.remove(ask.urn(), parse_removal(ask.json()))
    return NOTHING


async def list_function_tags(services: Services, ask: Ask) -> Answer:
    _check_type(ask)
    function = services.functions.resolve(ask.urn())
    return Answer(
        {"tags": tag_list(services.tags.of(function)), "sys_tags": tag_list(services.tags.system_of(function))}
    )


async def show_project_tags_list(services: Services, ask: Ask) -> Answer:
    _check_type(ask)
    tags = services.tags
    return Answer(
        {
            "tags": _keys(tags.of_project(ask.project_id)),
            "sys_tags": _keys(tags.system_of_project(ask.project_id)),
        }
    )


async def show_res_instance_info(services: Services, ask: Ask) -> Answer:
    _check_type(ask)
    action = ask.path["action"]
    wanted = parse_search(ask.optional_json(), action)
    found = services.tags.search(ask.project_id, wanted)
    if action == "count":
        return Answer({"total_count": len(found)})
    resources = []
    for function in found[wanted.offset : wanted.offset + wanted.limit]:
        urn = function.urn.text(services.config.region)
        resources.append(
            {
                "resource_id": urn,
                "resource_detail": {"detailId": urn},
                "resource_name": function.name,
                "tags": tag_list(services.tags.of(function)),
                "sys_tags": tag_list(services.tags.system_of(function)),
            }
        )
    return Answer({"resources": resources, "total_count": len(found)})


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as the API shows them."""
    return [{"key": key, "value": value} for key, value in tags.items()]


def _keys(tags: Mapping[str, list[str]]) -> list[dict[str, object]]:
    return [{"key": key, "values": values} for key, values in tags.items()]


def _check_type(ask: Ask) -> None:
    if ask.path["resource_type"] != "functions":
        raise NotFound("resource_type: must be functions")


_FIELDS = ("action", "tags", "sys_tags")

OPERATIONS = (
    Operation("create_tags", "POST", _OF + "/create", "Set tags", create_tags, status=204, fields=_FIELDS),
    Operation("delete_tags", "DELETE", _OF + "/delete", "Take tags away", delete_tags, status=204, fields=_FIELDS),
    Operation("list_function_tags", "GET", _OF, "List the tags of a function", list_function_tags),
    Operation("show_project_tags_list", "GET", _TYPE + "/tags", "List all tags", show_project_tags_list),
    Operation(
        "show_res_instance_info", "POST", _TYPE + "/resource-instances/{action}",
        "Find (filter) or count functions by tags", show_res_instance_info,
        fields=("without_any_tag", "tags", "matches", "sys_tags", "limit", "offset", "action"),
    ),
)  # fmt: skip
