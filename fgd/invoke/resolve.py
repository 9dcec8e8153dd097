"""All functions in memory, by name: what the hot path resolves URNs against, and where changes are announced."""

from collections.abc import Callable, Iterable, Iterator

from fgd.errors import AliasNotFound, FunctionNotFound, VersionNotFound
from fgd.invoke.split import Split
from fgd.model import Alias, Function
from fgd.urn import LATEST, FunctionUrn

#: Told of every change of a version: (before, after). None before: new; None after: deleted.
Listener = Callable[[Function | None, Function | None], None]
#: The same for aliases.
AliasListener = Callable[[Alias | None, Alias | None], None]

Key = tuple[str, str, str]


class _Entry:
    """A function with its versions and aliases, by name. `versions` holds `latest` too."""

    __slots__ = ("aliases", "latest", "versions")

    def __init__(self, latest: Function) -> None:
        self.latest = latest
        self.versions: dict[str, Function] = {LATEST: latest}
        self.aliases: dict[str, Split] = {}


class Directory:
    """The functions of this node. The catalog on disk is changed first, then this.

    Everything here is synchronous: between two `await`s of a caller nothing changes.
    """

    __slots__ = ("_alias_listeners", "_by_id", "_by_key", "_listeners", "generation")

    def __init__(self, functions: Iterable[Function] = (), aliases: Iterable[Alias] = ()) -> None:
        self._by_key: dict[Key, _Entry] = {}
        self._by_id: dict[str, _Entry] = {}
        self._listeners: list[Listener] = []
        self._alias_listeners: list[AliasListener] = []
        #: Grows with each change; whoever caches a resolved function compares it.
        self.generation = 0
        for function in sorted(functions, key=lambda one: one.version != LATEST):
            self.put(function)
        for alias in aliases:
            self.put_alias(alias)

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Function]:
        """The latest version of each function."""
        return (entry.latest for entry in self._by_key.values())

    def all_versions(self) -> Iterator[Function]:
        """Every version of every function."""
        return (version for entry in self._by_key.values() for version in entry.versions.values())

    def resolve(self, urn: FunctionUrn) -> Function:
        """The function version that a URN names; of an alias its main version.

        Raises:
            FunctionNotFound: no function of that name in that project.
            VersionNotFound: it has no such version.
            AliasNotFound: it has no such alias.
        """
        entry = self._by_key.get((urn.project_id, urn.package, urn.name))
        if entry is None:
            raise FunctionNotFound(f"function_urn: there is no function {urn.name!r} in package {urn.package!r}")
        qualifier = urn.qualifier
        if qualifier.startswith("!"):
            return self._split(entry, qualifier[1:]).main
        version = entry.versions.get(qualifier)
        if version is None:
            raise VersionNotFound(f"function_urn: the function {urn.name!r} has no version {qualifier!r}")
        return version

    def split(self, urn: FunctionUrn) -> Split | None:
        """How requests to an alias are shared out; None for a URN that names no alias.

        Raises:
            FunctionNotFound, AliasNotFound: as `resolve`.
        """
        if not urn.qualifier.startswith("!"):
            return None
        entry = self._by_key.get((urn.project_id, urn.package, urn.name))
        if entry is None:
            raise FunctionNotFound(f"function_urn: there is no function {urn.name!r} in package {urn.package!r}")
        return self._split(entry, urn.qualifier[1:])

    def by_key(self, key: Key) -> Function | None:
        """The latest version of the function with this project, package and name."""
        entry = self._by_key.get(key)
        return None if entry is None else entry.latest

    def by_id(self, func_id: str) -> Function | None:
        """The latest version of the function with this id."""
        entry = self._by_id.get(func_id)
        return None if entry is None else entry.latest

    def version(self, func_id: str, version: str) -> Function | None:
        """A version of the function with this id."""
        entry = self._by_id.get(func_id)
        return None if entry is None else entry.versions.get(version)

    def versions(self, func_id: str) -> list[Function]:
        """All versions of a function: `latest`, then the published ones, newest first."""
        entry = self._by_id.get(func_id)
        if entry is None:
            return []
        published = [version for version in entry.versions.values() if version.version != LATEST]
        published.sort(key=lambda version: (version.created_s, version.version), reverse=True)
        return [entry.latest, *published]

    def alias(self, func_id: str, name: str) -> Alias | None:
        """An alias of the function with this id."""
        entry = self._by_id.get(func_id)
        split = None if entry is None else entry.aliases.get(name)
        return None if split is None else split.alias

    def aliases(self, func_id: str) -> list[Alias]:
        """All aliases of a function, by name."""
        entry = self._by_id.get(func_id)
        return [] if entry is None else [entry.aliases[name].alias for name in sorted(entry.aliases)]

    def list(self, project_id: str) -> list[Function]:
        """The functions of a project, by package and name: the latest version of each."""
        mine = [entry.latest for key, entry in self._by_key.items() if key[0] == project_id]
        mine.sort(key=lambda function: (function.package, function.name))
        return mine

    def put(self, function: Function) -> None:
        """Adds a version or replaces its former state, and tells the listeners. `latest` comes before the others."""
        key = (function.project_id, function.package, function.name)
        entry = self._by_key.get(key)
        if function.version != LATEST:
            if entry is None or entry.latest.func_id != function.func_id:
                raise KeyError(function.name)
            old = entry.versions.get(function.version)
            entry.versions[function.version] = function
        else:
            old = None if entry is None else entry.latest
            if entry is not None and entry.latest.func_id != function.func_id:
                del self._by_id[entry.latest.func_id]
                entry = None
            if entry is None:
                entry = self._by_key[key] = self._by_id[function.func_id] = _Entry(function)
            entry.latest = entry.versions[LATEST] = function
        for split in entry.aliases.values():
            self._aim(entry, split)
        self._changed(old, function)

    def remove(self, function: Function) -> None:
        """Takes a function away with its versions and aliases, or a published version; nothing happens if it is
        gone already."""
        key = (function.project_id, function.package, function.name)
        entry = self._by_key.get(key)
        if entry is None:
            return
        if function.version != LATEST:
            old = entry.versions.pop(function.version, None)
            if old is not None:
                self._changed(old, None)
            return
        del self._by_key[key]
        del self._by_id[entry.latest.func_id]
        for split in entry.aliases.values():
            self._alias_changed(split.alias, None)
        for version in entry.versions.values():
            self._changed(version, None)

    def put_alias(self, alias: Alias) -> None:
        """Adds an alias or replaces its former state; the versions it points to must be there."""
        entry = self._by_id[alias.func_id]
        old = entry.aliases.get(alias.name)
        split = Split(alias, entry.versions[alias.version], None)
        self._aim(entry, split)
        entry.aliases[alias.name] = split
        self._alias_changed(None if old is None else old.alias, alias)

    def remove_alias(self, alias: Alias) -> None:
        """Takes an alias away; nothing happens if it is gone already."""
        entry = self._by_id.get(alias.func_id)
        split = None if entry is None else entry.aliases.pop(alias.name, None)
        if split is not None:
            self._alias_changed(split.alias, None)

    def subscribe(self, listener: Listener) -> None:
        """Has every later change told to `listener(old, new)`, in the order of subscription; it must not raise."""
        self._listeners.append(listener)

    def subscribe_aliases(self, listener: AliasListener) -> None:
        """The same for aliases."""
        self._alias_listeners.append(listener)

    def _split(self, entry: _Entry, name: str) -> Split:
        split = entry.aliases.get(name)
        if split is None:
            raise AliasNotFound(f"function_urn: the function {entry.latest.name!r} has no alias {name!r}")
        return split

    def _aim(self, entry: _Entry, split: Split) -> None:
        alias = split.alias
        split.main = entry.versions[alias.version]
        split.additional = entry.versions[alias.additional_version] if alias.additional_version else None

    def _changed(self, old: Function | None, new: Function | None) -> None:
        self.generation += 1
        for listener in self._listeners:
            listener(old, new)

    def _alias_changed(self, old: Alias | None, new: Alias | None) -> None:
        self.generation += 1
        for listener in self._alias_listeners:
            listener(old, new)
