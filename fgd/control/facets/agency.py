"""The agencies of a function: `xrole` for configuration and execution, `app_xrole` for execution alone."""

from collections.abc import Callable, Mapping
from typing import Final

from fgd.control.rules import text_of
from fgd.errors import AgencyMissing
from fgd.model import Function

_FIELDS: Final = ("xrole", "app_xrole")


class AgencyFacet:
    """Fields of the wire and of `Function` have the same names. An empty text takes the agency away."""

    wire: tuple[str, ...] = _FIELDS
    #: The initializer sees the credentials too, so an instance belongs to the agency that it was started with.
    seen_by_instances: tuple[str, ...] = _FIELDS

    def __init__(self, exists: Callable[[str, str], bool]) -> None:
        """`exists` tells whether a project has an agency of that name."""
        self._exists = exists

    def parse(self, project_id: str, body: Mapping[str, object], old: Function | None) -> Mapping[str, object]:
        return {name: text_of(name, body[name]) for name in _FIELDS if body.get(name) is not None}

    def check(self, function: Function) -> None:
        for name in _FIELDS:
            agency = getattr(function, name)
            if agency and not self._exists(function.project_id, agency):
                raise AgencyMissing(
                    f"{name}: the project has no agency {agency[:64]!r}; an administrator makes one: "
                    "fgd agencies create"
                )

    def show(self, function: Function) -> Mapping[str, object]:
        return {name: getattr(function, name) or None for name in _FIELDS}
