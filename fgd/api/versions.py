"""Versions and aliases (rest-api, 2.3 and 2.4). A version is deleted by `delete_function`."""

from fgd.api.functions import PAGE_MAX, page
from fgd.api.operation import FUNCTION, NOTHING, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.api.shape import alias_object, function_object
from fgd.control.aliases import parse_alias
from fgd.control.versions import parse_version


async def create_function_version(services: Services, ask: Ask) -> Answer:
    version = await services.versions.publish(ask.urn(), parse_version(ask.optional_json()))
    return Answer(function_object(services, version))


async def list_function_versions(services: Services, ask: Ask) -> Answer:
    offset, size = page(ask, PAGE_MAX)
    versions = services.versions.list(ask.urn())
    items = [function_object(services, version) for version in versions[offset : offset + size]]
    return Answer({"versions": items, "next_marker": offset + len(items), "count": len(versions)})


async def create_version_alias(services: Services, ask: Ask) -> Answer:
    body = ask.json()
    alias = await services.aliases.create(ask.urn(), parse_alias(body, body.get("name")))
    return Answer(alias_object(services, alias))


async def list_version_aliases(services: Services, ask: Ask) -> Answer:
    return Answer([alias_object(services, alias) for alias in services.aliases.list(ask.urn())])


async def show_version_alias(services: Services, ask: Ask) -> Answer:
    return Answer(alias_object(services, services.aliases.show(ask.urn(), ask.path["alias_name"])))


async def update_version_alias(services: Services, ask: Ask) -> Answer:
    alias = await services.aliases.update(ask.urn(), parse_alias(ask.json(), ask.path["alias_name"]))
    return Answer(alias_object(services, alias))


async def delete_version_alias(services: Services, ask: Ask) -> Answer:
    urn, name = ask.urn(), ask.path["alias_name"]
    services.triggers.check_alias_free(services.aliases.show(urn, name))
    await services.aliases.delete(urn, name)
    return NOTHING


_ALL = FUNCTION + "/aliases"
_ALIAS = _ALL + "/{alias_name}"
_FIELDS = ("name", "version", "description", "additional_version_weights", "additional_version_strategy")

OPERATIONS = (
    Operation(
        "create_function_version", "POST", FUNCTION + "/versions", "Publish a version", create_function_version,
        fields=("version", "description", "digest"),
    ),
    Operation(
        "list_function_versions", "GET", FUNCTION + "/versions", "List versions", list_function_versions,
        query=("marker", "maxitems"),
    ),
    Operation("create_version_alias", "POST", _ALL, "Create an alias", create_version_alias, fields=_FIELDS),
    Operation("list_version_aliases", "GET", _ALL, "List aliases", list_version_aliases),
    Operation("show_version_alias", "GET", _ALIAS, "Show an alias", show_version_alias),
    Operation(
        "update_version_alias", "PUT", _ALIAS, "Move an alias to other versions", update_version_alias,
        fields=_FIELDS[1:],
    ),
    Operation("delete_version_alias", "DELETE", _ALIAS, "Delete an alias", delete_version_alias, status=204),
)  # fmt: skip
