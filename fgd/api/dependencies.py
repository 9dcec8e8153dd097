"""Dependencies (rest-api, 2.8), and the older paths that Terraform's `fgs_dependency` uses."""

from urllib.parse import quote

from fgd.api.functions import PAGE_MAX, page
from fgd.api.operation import NOTHING, UPLOAD, V2, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.control.dependency_fields import parse_dependency, parse_dependency_change
from fgd.control.facets.dependencies import dependency_object
from fgd.errors import BadQuery
from fgd.model import PUBLIC, Dependency

_ALL = V2 + "/dependencies"
_ONE = _ALL + "/{depend_id}"
_VERSION = _ONE + "/version/{version}"


async def create_dependency_version(services: Services, ask: Ask) -> Answer:
    body = ask.json()
    async with services.object_source.of_dependency(ask.project_id, body) as stored:
        new = parse_dependency(body, services.runtimes().keys(), stored)
        return Answer(_object(ask, await services.dependencies.add(ask.project_id, new)))


async def list_dependency_version(services: Services, ask: Ask) -> Answer:
    versions = services.dependencies.versions(ask.project_id, ask.path["depend_id"])
    return _listed(ask, versions, [_object(ask, one) for one in versions])


async def show_dependency_version(services: Services, ask: Ask) -> Answer:
    found = services.dependencies.version(ask.project_id, ask.path["depend_id"], ask.path["version"])
    return Answer(_object(ask, found))


async def delete_dependency_version(services: Services, ask: Ask) -> Answer:
    await services.dependencies.delete(ask.project_id, ask.path["depend_id"], ask.path["version"])
    return NOTHING


async def show_dependency_archive(services: Services, ask: Ask) -> Answer:
    found = services.dependencies.version(ask.project_id, ask.path["depend_id"], ask.path["version"])
    return Answer(await services.dependencies.packages.archive(found), content_type="application/zip")


async def list_dependencies(services: Services, ask: Ask) -> Answer:
    kind = ask.query.get("dependency_type", "")
    if not kind:
        kind = {"": "all", "true": "public", "false": "private"}.get(ask.query.get("ispublic", "").lower(), "")
    if kind not in ("public", "private", "all"):
        raise BadQuery("dependency_type: must be public, private or all, and ispublic true or false")
    name, runtime = ask.query.get("name", ""), ask.query.get("runtime", "")
    found = [
        one
        for one in services.dependencies.newest(ask.project_id, public=kind != "private", private=kind != "public")
        if name in ("", one.name) and runtime in ("", one.runtime)
    ]
    return _listed(ask, found, [_older_object(ask, one) for one in found])


async def create_dependency(services: Services, ask: Ask) -> Answer:
    body = ask.json()
    async with services.object_source.of_dependency(ask.project_id, body) as stored:
        new = parse_dependency(body, services.runtimes().keys(), stored)
        return Answer(_older_object(ask, await services.dependencies.add(ask.project_id, new, first=True)))


async def show_dependency(services: Services, ask: Ask) -> Answer:
    return Answer(_older_object(ask, services.dependencies.versions(ask.project_id, ask.path["depend_id"])[0]))


async def update_dependency(services: Services, ask: Ask) -> Answer:
    body = ask.json()
    async with services.object_source.of_dependency(ask.project_id, body) as stored:
        change = parse_dependency_change(body, services.runtimes().keys(), stored)
        changed = await services.dependencies.change(ask.project_id, ask.path["depend_id"], change)
    return Answer(_older_object(ask, changed))


async def delete_dependency(services: Services, ask: Ask) -> Answer:
    await services.dependencies.delete(ask.project_id, ask.path["depend_id"])
    return NOTHING


def _listed(ask: Ask, found: list[Dependency], objects: list[dict[str, object]]) -> Answer:
    offset, size = page(ask, PAGE_MAX, "maxitems" if ask.query.get("maxitems") else "limit")
    shown = objects[offset : offset + size]
    return Answer({"dependencies": shown, "next_marker": offset + len(shown), "count": len(found)})


def _object(ask: Ask, dependency: Dependency) -> dict[str, object]:
    link = f"/v2/{quote(ask.project_id)}/fgs/dependencies/{dependency.dep_id}/version/{dependency.version}/archive"
    return {
        **dependency_object(dependency),
        "link": link,
        "download_link": link,
        "is_shared": dependency.project_id == PUBLIC,
    }


def _older_object(ask: Ask, dependency: Dependency) -> dict[str, object]:
    """Where a dependency stands for its newest version, `id` is the dependency's."""
    return {**_object(ask, dependency), "id": dependency.dep_id}


_FIELDS = ("name", "runtime", "depend_type", "depend_file", "depend_link", "description")

OPERATIONS = (
    Operation(
        "create_dependency_version", "POST", _ALL + "/version", "Upload a version of a dependency",
        create_dependency_version, fields=_FIELDS, body_max_bytes=UPLOAD,
    ),
    Operation(
        "list_dependency_version", "GET", _ONE + "/version", "List the versions of a dependency",
        list_dependency_version, query=("marker", "maxitems"),
    ),
    Operation("show_dependency_version", "GET", _VERSION, "Show a version", show_dependency_version),
    Operation(
        "delete_dependency_version", "DELETE", _VERSION, "Delete a version", delete_dependency_version, status=204
    ),
    Operation(
        "show_dependency_archive", "GET", _VERSION + "/archive", "The package of a version as a ZIP",
        show_dependency_archive,
    ),
    Operation(
        "list_dependencies", "GET", _ALL, "List dependencies, each with its newest version", list_dependencies,
        query=("marker", "maxitems", "ispublic", "dependency_type", "runtime", "name", "limit"),
    ),
    Operation(
        "create_dependency", "POST", _ALL, "Make a dependency (the older path)", create_dependency,
        fields=_FIELDS, body_max_bytes=UPLOAD,
    ),
    Operation("show_dependency", "GET", _ONE, "Show the newest version (the older path)", show_dependency),
    Operation(
        "update_dependency", "PUT", _ONE, "Rename, describe, or add a version (the older path)", update_dependency,
        fields=_FIELDS, body_max_bytes=UPLOAD,
    ),
    Operation(
        "delete_dependency", "DELETE", _ONE, "Delete all versions (the older path)", delete_dependency, status=204
    ),
)  # fmt: skip
