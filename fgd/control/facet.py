"""A facet of a function's configuration: which fields of the API it reads, what it stores of them, how it shows them.

Each capability that adds settings to a function (networks, mounts, heartbeat, ...) is one facet, so that its rules for
reading, checking and showing stand in one file. The daemon hands all of them to `Functions` and to the API.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from fgd.model import Function


class Facet(Protocol):
    """One capability's share of a function's configuration."""

    #: Names of the fields in requests and answers.
    wire: tuple[str, ...]
    #: Fields of `Function` that an instance was started with: a change of one replaces the instances.
    seen_by_instances: tuple[str, ...]

    def parse(self, project_id: str, body: Mapping[str, object], old: Function | None) -> Mapping[str, object]:
        """Values of `Function` fields that a request sets, by name; what the client left out (or sent as null) is not
        in it.

        Args:
            project_id: whose function it is.
            body: the JSON object of create-function, update-config or update-code.
            old: the function as it is now; None when it is being created.

        Raises:
            RequestError: begins with the field's name.
        """

    def check(self, function: Function) -> None:
        """What must hold of the whole function as it would become.

        Raises:
            RequestError: begins with the field's name.
        """

    def show(self, function: Function) -> Mapping[str, object]:
        """Its fields in answers: every name of `wire` that answers carry, None where nothing is set."""


def parse_all(
    facets: Iterable[Facet], project_id: str, body: Mapping[str, object], old: Function | None
) -> dict[str, object]:
    """What all facets read from a request."""
    values: dict[str, object] = {}
    for facet in facets:
        values.update(facet.parse(project_id, body, old))
    return values


def show_all(facets: Sequence[Facet], function: Function) -> dict[str, object]:
    """The fields of all facets in an answer."""
    shown: dict[str, object] = {}
    for facet in facets:
        shown.update(facet.show(function))
    return shown
