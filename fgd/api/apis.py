"""What published APIs hang on: fgd's own operations; the cloud has them in its API gateway service."""

import msgspec

from fgd.api.operation import NOTHING, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.clock import iso_utc
from fgd.store.apis import ApiApp, ApiObject

_BASE = "/fgd/v1/projects/{project_id}/apig"
#: Kind -> segment of the path.
SEGMENTS = {"group": "groups", "environment": "environments", "app": "apps", "throttle": "throttles"}
_FIELDS = {
    "group": ("name", "description", "domains"),
    "environment": ("name", "description"),
    "app": ("name", "description", "apis"),
    "throttle": (
        "name", "description", "interval", "unit", "api_limit", "user_limit", "app_limit", "ip_limit", "shared", "apis",
    ),
}  # fmt: skip
_TITLES = {"group": "API group", "environment": "environment", "app": "app", "throttle": "throttling policy"}


def _object(one: ApiObject, *, secrets: bool = False) -> dict[str, object]:
    fields: dict[str, object] = msgspec.structs.asdict(one)
    fields["created_at"] = iso_utc(one.created_s) if one.created_s else None
    del fields["created_s"]
    if isinstance(one, ApiApp) and not secrets:
        del fields["secret"]
        fields["codes"] = len(one.codes)
    return fields


async def list_published_apis(services: Services, ask: Ask) -> Answer:
    apis = [
        {
            "api_id": api.api_id,
            "name": api.route.name,
            "group_id": api.group_id,
            "environment": api.stage,
            "method": api.route.method,
            "path": api.route.path,
            "prefix": api.route.prefix,
            "auth": api.route.auth,
            "trigger_id": api.trigger_id,
            "function_urn": api.urn.text(services.config.region),
            "invoke_url": services.apis.shown(api.trigger_id)["invoke_url"],
        }
        for api in services.apis.of_project(ask.project_id)
    ]
    return Answer({"apis": apis})


async def create_app_code(services: Services, ask: Ask) -> Answer:
    return Answer({"code": await services.apis.add_code(ask.project_id, ask.path["app_id"])})


async def delete_app_code(services: Services, ask: Ask) -> Answer:
    await services.apis.remove_code(ask.project_id, ask.path["app_id"], ask.path["code"])
    return NOTHING


def _operations(kind: str) -> tuple[Operation, ...]:
    many = f"{_BASE}/{SEGMENTS[kind]}"
    one = f"{many}/{{{kind}_id}}"
    title = _TITLES[kind]
    noun = f"api_{kind}"

    async def create(services: Services, ask: Ask) -> Answer:
        made = await services.apis.create(ask.project_id, kind, ask.json(), admin=ask.principal.admin)
        return Answer(_object(made, secrets=True))

    async def listing(services: Services, ask: Ask) -> Answer:
        return Answer({SEGMENTS[kind]: [_object(found) for found in services.apis.every(ask.project_id, kind)]})

    async def show(services: Services, ask: Ask) -> Answer:
        return Answer(_object(services.apis.show(ask.project_id, kind, ask.path[f"{kind}_id"]), secrets=True))

    async def update(services: Services, ask: Ask) -> Answer:
        changed = await services.apis.update(
            ask.project_id, kind, ask.path[f"{kind}_id"], ask.json(), admin=ask.principal.admin
        )
        return Answer(_object(changed))

    async def delete(services: Services, ask: Ask) -> Answer:
        await services.apis.delete(ask.project_id, kind, ask.path[f"{kind}_id"])
        return NOTHING

    article = "an" if title[0] in "aeA" else "a"
    plural = title[:-1] + "ies" if title.endswith("y") else title + "s"
    return (
        Operation(
            f"create_{noun}", "POST", many, f"Create {article} {title}", create, status=201, fields=_FIELDS[kind]
        ),
        Operation(f"list_{noun}s", "GET", many, f"List {plural}", listing),
        Operation(f"show_{noun}", "GET", one, f"Show {article} {title}, by id or name", show),
        Operation(f"update_{noun}", "PUT", one, f"Change {article} {title}", update, fields=_FIELDS[kind]),
        Operation(f"delete_{noun}", "DELETE", one, f"Delete {article} {title}", delete, status=204),
    )


OPERATIONS = (
    *(operation for kind in SEGMENTS for operation in _operations(kind)),
    Operation(
        "create_app_code", "POST", _BASE + "/apps/{app_id}/codes", "Give an app another AppCode", create_app_code,
        status=201,
    ),
    Operation(
        "delete_app_code", "DELETE", _BASE + "/apps/{app_id}/codes/{code}", "Take an AppCode away", delete_app_code,
        status=204,
    ),
    Operation("list_published_apis", "GET", _BASE + "/apis", "List the APIs of a project", list_published_apis),
)  # fmt: skip
