"""Tags of functions: set, taken away, searched by. They belong to a function with all its versions."""

from collections.abc import Callable, Mapping

import trio

from fgd.control.functions import Companion, Functions
from fgd.control.tag_rules import ENTERPRISE_PROJECT, TAGS_MAX, TagSearch
from fgd.errors import TooManyTags
from fgd.model import Function
from fgd.store.tags import TagStore
from fgd.urn import LATEST, FunctionUrn


class Tags:
    """All tags of the node in memory; the store is changed first."""

    def __init__(self, functions: Functions, store: TagStore, loaded: Mapping[str, Mapping[str, str]]) -> None:
        self._functions = functions
        self._store = store
        self._tags: dict[str, dict[str, str]] = {func_id: dict(tags) for func_id, tags in loaded.items()}

    def of(self, function: Function) -> dict[str, str]:
        """The tags of a function by key, in the order of the keys."""
        return dict(sorted(self._tags.get(function.func_id, {}).items()))

    def system_of(self, function: Function) -> dict[str, str]:
        """The tags that the platform gives it."""
        return {ENTERPRISE_PROJECT: str(function.echo.get("enterprise_project_id") or "0")}

    def of_project(self, project_id: str) -> dict[str, list[str]]:
        """Every key that functions of a project have, with all its values, both sorted."""
        found: dict[str, set[str]] = {}
        for function in self._functions.list(project_id):
            for key, value in self._tags.get(function.func_id, {}).items():
                found.setdefault(key, set()).add(value)
        return {key: sorted(found[key]) for key in sorted(found)}

    def system_of_project(self, project_id: str) -> dict[str, list[str]]:
        """The same for the tags that the platform gives."""
        found = {self.system_of(function)[ENTERPRISE_PROJECT] for function in self._functions.list(project_id)}
        return {ENTERPRISE_PROJECT: sorted(found)} if found else {}

    def search(self, project_id: str, wanted: TagSearch) -> list[Function]:
        """The functions of a project that a search is for, all of them, by package and name."""
        return [
            function
            for function in self._functions.list(project_id)
            if all(part in function.name for part in wanted.name_parts) and self._fits(function, wanted)
        ]

    def companion(self, tags: Mapping[str, str]) -> Companion:
        """What has a function created with these tags."""

        async def store(function: Function) -> Callable[[], None]:
            await self._store.put(function.func_id, tags)
            return lambda: self._set(function.func_id, dict(tags))

        return store

    async def add(self, urn: FunctionUrn, tags: Mapping[str, str]) -> None:
        """Sets tags; a key that the function has gets the new value.

        Raises:
            TooManyTags: the function would have more than it may; nothing is set then.
        """
        async with self._functions.locked(urn.key):
            func_id = self._functions.resolve(urn).func_id
            new = {**self._tags.get(func_id, {}), **tags}
            if len(new) > TAGS_MAX:
                raise TooManyTags(f"tags: a function may have {TAGS_MAX} tags; with these it would have {len(new)}")
            with trio.CancelScope(shield=True):
                await self._store.put(func_id, tags)
                self._set(func_id, new)

    async def remove(self, urn: FunctionUrn, tags: Mapping[str, str | None]) -> None:
        """Takes tags away. One that is not there, or has another value than the one given, stays as it is."""
        async with self._functions.locked(urn.key):
            func_id = self._functions.resolve(urn).func_id
            old = self._tags.get(func_id, {})
            doomed = [key for key, value in tags.items() if key in old and value in (None, old[key])]
            if not doomed:
                return
            with trio.CancelScope(shield=True):
                await self._store.delete(func_id, doomed)
                self._set(func_id, {key: value for key, value in old.items() if key not in doomed})

    def forget(self, old: Function | None, new: Function | None) -> None:
        """Told of every change in the directory: tags of a deleted function go with it."""
        if old is not None and new is None and old.version == LATEST:
            self._tags.pop(old.func_id, None)

    def _set(self, func_id: str, tags: dict[str, str]) -> None:
        if tags:
            self._tags[func_id] = tags
        else:
            self._tags.pop(func_id, None)

    def _fits(self, function: Function, wanted: TagSearch) -> bool:
        tags = self._tags.get(function.func_id, {})
        project = self.system_of(function)[ENTERPRISE_PROJECT]
        if wanted.enterprise_projects and project not in wanted.enterprise_projects:
            return False
        if wanted.without_any_tag:
            return not tags
        return all(key in tags and (not values or tags[key] in values) for key, values in wanted.tags.items())
