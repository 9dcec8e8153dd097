"""The routing table of published APIs: compiled when something changes, looked up by the gateway.

Of the APIs of a group and environment that fit a path, the one goes first that has literal text where the other has a
parameter, then the one that says more of the path; of those with the same path the one that names the method before
`ANY`.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from fgd.call import PLAIN, CallOptions
from fgd.invoke.split import Split
from fgd.model import Function
from fgd.route import ANY, ApiRoute, parameters, pattern
from fgd.urn import FunctionUrn


class Published:
    """An API in the table. The last four fields are the gateway's: what the function was when it looked last."""

    __slots__ = (
        "api_id", "function", "generation", "group_id", "names", "options", "project_id", "route", "segments", "split",
        "stage", "timeout_s", "trigger_id", "urn",
    )  # fmt: skip

    def __init__(
        self, api_id: str, trigger_id: str, route: ApiRoute, group_id: str, stage: str, urn: FunctionUrn
    ) -> None:
        self.api_id = api_id
        self.trigger_id = trigger_id
        self.route = route
        self.group_id = group_id
        self.stage = stage
        self.project_id = urn.project_id
        self.urn = urn
        self.names = parameters(route.path)
        segments = pattern(route.path)
        # "/demo/" and "/demo" begin the same paths.
        self.segments = segments[:-1] if route.prefix and segments[-1] == "" else segments
        self.timeout_s = route.timeout_ms / 1000
        self.function: Function | None = None
        self.split: Split | None = None
        self.options: CallOptions = PLAIN
        self.generation = -1

    @property
    def key(self) -> tuple[object, ...]:
        """What two APIs may not have in common."""
        return (self.group_id, self.stage, self.route.method, self.segments, self.route.prefix)

    def path_parameters(self, segments: Sequence[str]) -> dict[str, str]:
        """Of a path that fits: the parameters by name, and under "" what comes behind a prefix."""
        found = [value for value, known in zip(segments, self.segments, strict=False) if known is None]
        values = dict(zip(self.names, found, strict=True))
        if len(segments) > len(self.segments):
            values[""] = "/".join(segments[len(self.segments) :])
        return values


class _Node:
    __slots__ = ("below", "children", "here", "parameter")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        #: By method: APIs of exactly this path, and those that have everything below it too.
        self.here: dict[str, Published] = {}
        self.below: dict[str, Published] = {}


_NOTHING: Final = _Node()


class ApiTable:
    """All published APIs. `generation` goes up with every change."""

    def __init__(self) -> None:
        self.generation = 0
        self._roots: dict[tuple[str, str], _Node] = {}

    def build(self, published: Iterable[Published]) -> None:
        """Takes the place of everything before."""
        roots: dict[tuple[str, str], _Node] = {}
        for api in published:
            node = roots.setdefault((api.group_id, api.stage), _Node())
            for segment in api.segments:
                if segment is None:
                    node.parameter = node.parameter or _Node()
                    node = node.parameter
                else:
                    node = node.children.setdefault(segment, _Node())
            (node.below if api.route.prefix else node.here)[api.route.method] = api
        self._roots = roots
        self.generation += 1

    def find(self, group_id: str, stage: str, method: str, segments: Sequence[str]) -> Published | None:
        """The API for a path, given by its decoded segments."""
        # Every node is visited once at most: there is one way to each.
        return _search(self._roots.get((group_id, stage), _NOTHING), segments, 0, method)


def _search(node: _Node, segments: Sequence[str], at: int, method: str) -> Published | None:
    if at == len(segments):
        found = node.here.get(method) or node.here.get(ANY)
        return found or node.below.get(method) or node.below.get(ANY)
    child = node.children.get(segments[at])
    found = _search(child, segments, at + 1, method) if child is not None else None
    if found is None and node.parameter is not None and segments[at]:
        found = _search(node.parameter, segments, at + 1, method)
    return found or node.below.get(method) or node.below.get(ANY)
