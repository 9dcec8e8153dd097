"""Aliases: names for versions, with a share of the requests for an additional one (user guide, section 3.10)."""

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final

import msgspec
import trio

from fgd.control import rules
from fgd.control.functions import Functions
from fgd.errors import (
    AliasExists,
    AliasNotFound,
    BadAdditionalVersion,
    BadAlias,
    BadVersion,
    BadWeight,
    SameVersions,
    TooManyAliases,
    VersionHasAlias,
    VersionNotFound,
)
from fgd.invoke.resolve import Directory
from fgd.model import Alias, Function, HeaderRule
from fgd.store.api import Catalog
from fgd.urn import LATEST, FunctionUrn

ALIASES_MAX: Final = 10
RULES_MAX: Final = 20
_VALUE_MAX_CHARS: Final = 1024
_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\Z")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}\Z")
_STRATEGY = "additional_version_strategy"
_WEIGHTS = "additional_version_weights"


def parse_alias(body: Mapping[str, object], name: object) -> Alias:
    """The body of create- and update-version-alias. An update replaces all of an alias, so what is absent is unset.

    Args:
        body: the JSON object.
        name: from the body or the path.

    Raises:
        BadAlias, BadVersion, BadAdditionalVersion, BadWeight, SameVersions, DescriptionTooLong: name the field.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        raise BadAlias(
            "name: must be 1 to 63 letters, digits, hyphens and underscores, begin with a letter and end with a letter"
            f" or digit, not {rules.shown(name)}"
        )
    version = body.get("version")
    if not isinstance(version, str) or not version:
        raise BadVersion(f"version: must name a version of the function, not {rules.shown(version)}")
    description = body.get("description")
    weights, strategy = _one_version(body, _WEIGHTS), _one_version(body, _STRATEGY)
    if weights and strategy:
        raise BadAdditionalVersion(f"{_STRATEGY}: requests are shared out by weight or by rules; leave one field out")
    alias = Alias(
        func_id="",
        name=name,
        version=version,
        description="" if description is None else rules.description(description),
    )
    for additional, weight in weights.items():
        _check_additional(_WEIGHTS, additional, version)
        share = rules.whole(f"{_WEIGHTS}.{additional}", weight, 0, 100, BadWeight, "percent")
        return msgspec.structs.replace(alias, additional_version=additional, weight=share)
    for additional, value in strategy.items():
        _check_additional(_STRATEGY, additional, version)
        return _with_rules(alias, additional, value)
    return alias


def _one_version(body: Mapping[str, object], field: str) -> dict[str, object]:
    value = body.get(field) or {}
    if not isinstance(value, dict) or len(value) > 1:
        raise BadAdditionalVersion(
            f"{field}: must be an object whose one key is the additional version, not {rules.shown(value)}"
        )
    return value


def _check_additional(field: str, additional: object, version: str) -> None:
    if additional == LATEST or not isinstance(additional, str) or not additional:
        raise BadAdditionalVersion(f"{field}: the additional version must be a published one, not {additional!r}")
    if additional == version:
        raise SameVersions(f"{field}: the additional version must be another than the main version, {version!r}")


def _with_rules(alias: Alias, additional: str, value: object) -> Alias:
    where = f"{_STRATEGY}.{additional}"
    if not isinstance(value, dict) or not isinstance(value.get("rules"), list) or not value["rules"]:
        raise BadAdditionalVersion(f"{where}.rules: must be a list of 1 to {RULES_MAX} rules")
    if len(value["rules"]) > RULES_MAX:
        raise BadAdditionalVersion(f"{where}.rules: must be at most {RULES_MAX} rules, not {len(value['rules'])}")
    combine = value.get("combine_type") or "and"
    if combine not in ("and", "or"):
        raise BadAdditionalVersion(f"{where}.combine_type: must be and (all rules) or or (any), not {combine!r}")
    found = tuple(_rule(f"{where}.rules[{number}]", rule) for number, rule in enumerate(value["rules"]))
    return msgspec.structs.replace(alias, additional_version=additional, rules=found, combine=combine)


def _rule(where: str, rule: object) -> HeaderRule:
    if not isinstance(rule, dict):
        raise BadAdditionalVersion(f"{where}: must be an object, not {rules.shown(rule)}")
    kind, name, op, value = (rule.get(field) for field in ("rule_type", "param", "op", "value"))
    if not isinstance(kind, str) or kind.lower() != "header":
        raise BadAdditionalVersion(f"{where}.rule_type: must be Header, not {rules.shown(kind)}")
    if not isinstance(name, str) or not _HEADER.match(name):
        raise BadAdditionalVersion(f"{where}.param: must be the name of a header, not {rules.shown(name)}")
    if op not in ("=", "in"):
        raise BadAdditionalVersion(f"{where}.op: must be = or in, not {rules.shown(op)}")
    if not isinstance(value, str) or not value.strip() or len(value) > _VALUE_MAX_CHARS:
        raise BadAdditionalVersion(f"{where}.value: must be text of 1 to {_VALUE_MAX_CHARS} characters")
    values = [value.strip()] if op == "=" else [part.strip() for part in value.split(",") if part.strip()]
    if not values:
        raise BadAdditionalVersion(f"{where}.value: must hold values with commas between them")
    return HeaderRule(name=name.lower(), values=tuple(values), op=op)


def no_move(old: Alias, new: Alias) -> AbstractAsyncContextManager[object]:
    """Nothing is reserved for any alias."""
    return nullcontext()


class Aliases:
    """The operations on aliases."""

    def __init__(
        self,
        functions: Functions,
        directory: Directory,
        catalog: Catalog,
        now_s: Callable[[], float],
        moving: Callable[[Alias, Alias], AbstractAsyncContextManager[object]] = no_move,
    ) -> None:
        """`moving`: surrounds each change of an alias, with what it was and will be; what is reserved for it is then
        ready in its new version (`Planner.moving`)."""
        self._moving = moving
        self._functions = functions
        self._directory = directory
        self._catalog = catalog
        self._now_s = now_s

    def list(self, urn: FunctionUrn) -> list[Alias]:
        """All aliases of a function, by name."""
        return self._directory.aliases(self._directory.resolve(urn).func_id)

    def show(self, urn: FunctionUrn, name: str) -> Alias:
        """One alias.

        Raises:
            AliasNotFound: there is none of that name.
        """
        function = self._directory.resolve(urn)
        alias = self._directory.alias(function.func_id, name)
        if alias is None:
            raise AliasNotFound(f"alias_name: the function {function.name!r} has no alias {name[:64]!r}")
        return alias

    async def create(self, urn: FunctionUrn, new: Alias) -> Alias:
        """Stores an alias; `new` is what `parse_alias` gave.

        Raises:
            AliasExists: the name is taken.
            TooManyAliases: the function has ten.
            VersionNotFound: it points to a version that is not there.
            VersionHasAlias: another alias has its main version.
        """
        async with self._functions.locked(urn.key):
            function = self._directory.resolve(urn)
            if self._directory.alias(function.func_id, new.name) is not None:
                raise AliasExists(f"name: the function has an alias {new.name!r} already")
            if len(self._directory.aliases(function.func_id)) >= ALIASES_MAX:
                raise TooManyAliases(f"name: the function has {ALIASES_MAX} aliases; delete one first")
            self._check(function, new)
            return await self._put(function, new)

    async def update(self, urn: FunctionUrn, new: Alias) -> Alias:
        """Puts an alias in the place of the one with its name. Requests that come later follow it; those at work go on
        on the version they began with.

        Raises:
            AliasNotFound: there is none; VersionNotFound, VersionHasAlias: as `create`.
            Conflict: both it and its new main version have reserved instances.
        """
        async with self._functions.locked(urn.key):
            function = self._directory.resolve(urn)
            old = self.show(urn, new.name)
            self._check(function, new)
            async with self._moving(old, new):
                return await self._put(function, new)

    async def delete(self, urn: FunctionUrn, name: str) -> None:
        """Deletes an alias and what is reserved for it; its versions stay.

        Raises:
            AliasNotFound: there is none.
        """
        async with self._functions.locked(urn.key):
            alias = self.show(urn, name)
            with trio.CancelScope(shield=True):
                await self._catalog.delete_alias(alias)
                self._directory.remove_alias(alias)

    def _check(self, function: Function, new: Alias) -> None:
        for version in new.versions:
            if self._directory.version(function.func_id, version) is None:
                raise VersionNotFound(f"version: the function {function.name!r} has no version {version[:64]!r}")
        for other in self._directory.aliases(function.func_id):
            if other.name != new.name and other.version == new.version:
                raise VersionHasAlias(f"version: {new.version} has the alias {other.name} already; use that one")

    async def _put(self, function: Function, new: Alias) -> Alias:
        alias = msgspec.structs.replace(new, func_id=function.func_id, last_modified_s=self._now_s())
        with trio.CancelScope(shield=True):
            await self._catalog.put_alias(alias)
            self._directory.put_alias(alias)
        return alias


def left_alone(directory: Directory, old: Alias | None, new: Alias | None) -> list[Function]:
    """Published versions to which no alias points any more after this change of one."""
    if old is None:
        return []
    pointed = {version for alias in directory.aliases(old.func_id) for version in alias.versions}
    gone = [version for version in old.versions if version not in pointed and version != LATEST]
    found = (directory.version(old.func_id, version) for version in gone)
    return [version for version in found if version is not None]
