"""Versions and aliases (rest-api, 2.3 and 2.4): there is `latest` alone."""

from fgd.api.functions import PAGE_MAX, page
from fgd.api.operation import FUNCTION, Answer, Ask, Operation, missing, not_built, nothing_there
from fgd.api.services import Services
from fgd.api.shape import function_object
from fgd.errors import AliasNotFound


async def list_function_versions(services: Services, ask: Ask) -> Answer:
    offset, size = page(ask, PAGE_MAX)
    versions = [function_object(services, services.functions.resolve(ask.urn()))]
    items = versions[offset : offset + size]
    return Answer({"versions": items, "next_marker": offset + len(items), "count": len(versions)})


_ALIAS = FUNCTION + "/aliases/{alias_name}"

OPERATIONS = (
    not_built("create_function_version", "POST", FUNCTION + "/versions", "published versions"),
    Operation(
        "list_function_versions", "GET", FUNCTION + "/versions", "List versions", list_function_versions,
        query=("marker", "maxitems"),
    ),
    not_built("create_version_alias", "POST", FUNCTION + "/aliases", "aliases"),
    nothing_there("list_version_aliases", FUNCTION + "/aliases", "List aliases", []),
    missing("show_version_alias", _ALIAS, "Show an alias", AliasNotFound, "alias_name: there is no such alias"),
    not_built("update_version_alias", "PUT", _ALIAS, "aliases"),
    not_built("delete_version_alias", "DELETE", _ALIAS, "aliases"),
)  # fmt: skip
