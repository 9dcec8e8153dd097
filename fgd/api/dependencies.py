"""Dependencies (rest-api, 2.8), and the older paths that Terraform's `fgs_dependency` uses."""

from fgd.api.operation import V2, missing, not_built, nothing_there
from fgd.errors import DependencyNotFound

_ALL = V2 + "/dependencies"
_ONE = _ALL + "/{depend_id}"
_VERSION = _ONE + "/version/{version}"
_MISSING = "depend_id: there is no such dependency"

OPERATIONS = (
    not_built("create_dependency_version", "POST", _ALL + "/version", "dependencies"),
    missing("list_dependency_version", _ONE + "/version", "List versions", DependencyNotFound, _MISSING),
    missing("show_dependency_version", _VERSION, "Show a version", DependencyNotFound, _MISSING),
    not_built("delete_dependency_version", "DELETE", _VERSION, "dependencies"),
    nothing_there(
        "list_dependencies", _ALL, "List dependencies", {"dependencies": [], "next_marker": 0, "count": 0},
        query=("marker", "maxitems", "ispublic", "dependency_type", "runtime", "name", "limit"),
    ),
    not_built("create_dependency", "POST", _ALL, "dependencies"),
    missing("show_dependency", _ONE, "Show a dependency", DependencyNotFound, _MISSING),
    not_built("update_dependency", "PUT", _ONE, "dependencies"),
    not_built("delete_dependency", "DELETE", _ONE, "dependencies"),
)  # fmt: skip
