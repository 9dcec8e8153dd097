"""The dependencies of a function: `depend_version_list` (user guide, section 9.1)."""

from collections.abc import Mapping
from typing import Final

from fgd.config import Config
from fgd.control import rules
from fgd.control.dependencies import Dependencies, dependency_use
from fgd.errors import BadDependency, DependencyClash, TooManyDependencies
from fgd.model import Dependency, Function
from fgd.units import MIB

#: Of one function.
DEPENDENCIES_MAX: Final = 20
_FIELD: Final = "depend_version_list"


class DependencyFacet:
    """`fgd.control.facet.Facet`. That files of packages do not clash is checked by `Dependencies.settled`."""

    wire: tuple[str, ...] = (_FIELD, "depend_list", "dependencies")
    seen_by_instances: tuple[str, ...] = ("dependencies",)

    def __init__(self, config: Config, dependencies: Dependencies) -> None:
        self._max_mib = config.unpacked_max_mib
        self._dependencies = dependencies

    def parse(self, project_id: str, body: Mapping[str, object], old: Function | None) -> Mapping[str, object]:
        wanted = body.get(_FIELD)
        if wanted is None:
            return {}
        if not isinstance(wanted, list) or not all(isinstance(one, str) for one in wanted):
            raise BadDependency(f"{_FIELD}: must be a list of ids of dependency versions, not {rules.shown(wanted)}")
        if len(wanted) > DEPENDENCIES_MAX:
            raise TooManyDependencies(f"{_FIELD}: must have at most {DEPENDENCIES_MAX} dependencies, not {len(wanted)}")
        if len(set(wanted)) < len(wanted):
            raise BadDependency(f"{_FIELD}: names a dependency version twice")
        # What a function has stays with it, though a public one may be on the node no more.
        kept = {} if old is None else {use.id: use for use in old.dependencies}
        uses = tuple(kept.get(one) or dependency_use(self._dependencies.get(project_id, one)) for one in wanted)
        return {"dependencies": uses}

    def check(self, function: Function) -> None:
        if function.dependencies and self._dependencies.unpacked_bytes(function) > self._max_mib * MIB:
            raise DependencyClash(
                f"{_FIELD}: the code and its dependencies unpack to more than {self._max_mib} MiB together"
            )

    def show(self, function: Function) -> Mapping[str, object]:
        found = [self._dependencies.known(use.id) for use in function.dependencies]
        known = [one for one in found if one is not None]
        return {
            _FIELD: [use.id for use in function.dependencies],
            "depend_list": [one.dep_id for one in known],
            "dependencies": [dependency_object(one) for one in known],
        }


def dependency_object(dependency: Dependency) -> dict[str, object]:
    """A dependency version as answers about functions and about dependencies carry it."""
    return {
        "id": dependency.id,
        "dep_id": dependency.dep_id,
        "name": dependency.name,
        "version": dependency.version,
        "runtime": dependency.runtime,
        "description": dependency.description,
        "owner": dependency.project_id or "public",
        "file_name": f"{dependency.name}.zip",
        "etag": dependency.etag,
        "size": dependency.size_bytes,
        "last_modified": int(dependency.last_modified_s),
    }
