"""All functions in memory, by name: what the hot path resolves URNs against, and where changes are announced."""

from collections.abc import Callable, Iterable, Iterator

from fgd.errors import AliasNotFound, FunctionNotFound, VersionNotFound
from fgd.model import Function
from fgd.urn import LATEST, FunctionUrn

#: Told of every change: (before, after). None before: new; None after: deleted.
Listener = Callable[[Function | None, Function | None], None]

Key = tuple[str, str, str]


class Directory:
    """The functions of this node. The catalog on disk is changed first, then this.

    Everything here is synchronous: between two `await`s of a caller nothing changes.
    """

    __slots__ = ("_by_id", "_by_key", "_listeners", "generation")

    def __init__(self, functions: Iterable[Function] = ()) -> None:
        self._by_key: dict[Key, Function] = {}
        self._by_id: dict[str, Function] = {}
        self._listeners: list[Listener] = []
        #: Grows with each change; whoever caches a resolved function compares it.
        self.generation = 0
        for function in functions:
            self.put(function)

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Function]:
        return iter(self._by_key.values())

    def resolve(self, urn: FunctionUrn) -> Function:
        """The function version that a URN names.

        Raises:
            FunctionNotFound: no function of that name in that project.
            VersionNotFound: it has no such version.
            AliasNotFound: it has no such alias.
        """
        function = self._by_key.get((urn.project_id, urn.package, urn.name))
        if function is None:
            raise FunctionNotFound(f"function_urn: there is no function {urn.name!r} in package {urn.package!r}")
        qualifier = urn.qualifier
        if qualifier == LATEST:
            return function
        if qualifier.startswith("!"):
            raise AliasNotFound(f"function_urn: the function {urn.name!r} has no alias {qualifier[1:]!r}")
        raise VersionNotFound(f"function_urn: the function {urn.name!r} has no version {qualifier!r}")

    def by_key(self, key: Key) -> Function | None:
        """The latest version of the function with this project, package and name."""
        return self._by_key.get(key)

    def by_id(self, func_id: str) -> Function | None:
        """The latest version of the function with this id."""
        return self._by_id.get(func_id)

    def list(self, project_id: str) -> list[Function]:
        """The functions of a project, by package and name."""
        mine = [function for key, function in self._by_key.items() if key[0] == project_id]
        mine.sort(key=lambda function: (function.package, function.name))
        return mine

    def put(self, function: Function) -> None:
        """Adds a function or replaces its former state, and tells the listeners."""
        key = (function.project_id, function.package, function.name)
        old = self._by_key.get(key)
        if old is not None and old.func_id != function.func_id:
            del self._by_id[old.func_id]
        self._by_key[key] = self._by_id[function.func_id] = function
        self._changed(old, function)

    def remove(self, function: Function) -> None:
        """Takes a function away; nothing happens if it is gone already."""
        old = self._by_key.pop((function.project_id, function.package, function.name), None)
        if old is not None:
            del self._by_id[old.func_id]
            self._changed(old, None)

    def subscribe(self, listener: Listener) -> None:
        """Has every later change told to `listener(old, new)`, in the order of subscription; it must not raise."""
        self._listeners.append(listener)

    def _changed(self, old: Function | None, new: Function | None) -> None:
        self.generation += 1
        for listener in self._listeners:
            listener(old, new)
