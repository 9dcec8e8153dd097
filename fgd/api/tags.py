"""Tags (rest-api, 2.9): the paths have no `/fgs`."""

from fgd.api.operation import Answer, Ask, Operation, not_built
from fgd.api.services import Services
from fgd.errors import NotFound

_TYPE = "/v2/{project_id}/{resource_type}"
_OF = _TYPE + "/{resource_id}/tags"


async def list_function_tags(services: Services, ask: Ask) -> Answer:
    _check_type(ask)
    services.functions.resolve(ask.urn())
    return Answer({"tags": [], "sys_tags": []})


async def show_project_tags_list(services: Services, ask: Ask) -> Answer:
    _check_type(ask)
    return Answer({"tags": [], "sys_tags": []})


def _check_type(ask: Ask) -> None:
    if ask.path["resource_type"] != "functions":
        raise NotFound("resource_type: must be functions")


OPERATIONS = (
    not_built("create_tags", "POST", _OF + "/create", "tags"),
    not_built("delete_tags", "DELETE", _OF + "/delete", "tags"),
    Operation("list_function_tags", "GET", _OF, "List the tags of a function", list_function_tags),
    Operation("show_project_tags_list", "GET", _TYPE + "/tags", "List all tags", show_project_tags_list),
    not_built("show_res_instance_info", "POST", _TYPE + "/resource-instances/{action}", "search by tags"),
)
