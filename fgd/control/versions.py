"""Versions: `latest` published as snapshots that never change, and deleted again (user guide, section 3.9)."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import trio

from fgd.control import rules
from fgd.control.functions import Functions
from fgd.errors import (
    BadParameter,
    BadVersion,
    NothingChanged,
    TooManyVersions,
    VersionExists,
    VersionInUse,
)
from fgd.invoke.resolve import Directory
from fgd.model import Function
from fgd.store.api import Catalog
from fgd.urn import LATEST, FunctionUrn

VERSIONS_MAX: Final = 20
NAME_MAX_CHARS: Final = 42
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?\Z")
_DIGEST = re.compile(r"[0-9a-f]{32}|[0-9a-f]{128}\Z")
#: What two versions with the same content may differ in.
_ASIDE: Final = ("version", "revision", "version_description", "created_s", "last_modified_s")


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A request to publish. `name` "" wants a generated one; `digest` "" is not compared."""

    name: str
    description: str
    digest: str


def parse_version(body: Mapping[str, object]) -> NewVersion:
    """The body of create-function-version.

    Raises:
        BadVersion: a name that breaks the rule.
        DescriptionTooLong, BadParameter: the other fields.
    """
    name = body.get("version")
    if name not in (None, "") and (
        not isinstance(name, str) or len(name) > NAME_MAX_CHARS or not _NAME.match(name) or name == LATEST
    ):
        raise BadVersion(
            f"version: must be 1 to {NAME_MAX_CHARS} letters, digits, hyphens, underscores and periods, begin and end"
            f" with a letter or digit, and not be {LATEST}; not {rules.shown(name)}"
        )
    description = body.get("description")
    digest = body.get("digest")
    if digest not in (None, "") and (not isinstance(digest, str) or not _DIGEST.match(digest.lower())):
        raise BadParameter(f"digest: must be the MD5 or SHA-512 of the code in hex, not {rules.shown(digest)}")
    return NewVersion(
        name=str(name or ""),
        description="" if description is None else rules.description(description),
        digest=str(digest or "").lower(),
    )


class Versions:
    """The operations on versions."""

    def __init__(
        self, functions: Functions, directory: Directory, catalog: Catalog, now_s: Callable[[], float]
    ) -> None:
        self._functions = functions
        self._directory = directory
        self._catalog = catalog
        self._now_s = now_s

    def list(self, urn: FunctionUrn) -> list[Function]:
        """`latest` and the published versions, newest first."""
        return self._directory.versions(self._directory.resolve(urn).func_id)

    async def publish(self, urn: FunctionUrn, new: NewVersion) -> Function:
        """Makes a version of what `latest` is now.

        Raises:
            BadVersion: the URN names another version than `latest`.
            VersionExists: the name is taken.
            NothingChanged: the version published last is the same.
            TooManyVersions: the function has 20.
            BadParameter: the digest is not that of the code.
        """
        async with self._functions.locked(urn.key):
            latest = self._directory.resolve(urn)
            if urn.qualifier != LATEST:
                raise BadVersion(f"function_urn: only latest can be published, not {urn.qualifier}")
            published = self._directory.versions(latest.func_id)[1:]
            taken = {version.version for version in published}
            if new.name in taken:
                raise VersionExists(f"version: {new.name!r} exists already; choose another name or none")
            if len(published) >= VERSIONS_MAX:
                raise TooManyVersions(f"version: the function has {VERSIONS_MAX} versions; delete one first")
            if published and _content(latest) == _content(published[0]):
                raise NothingChanged(f"version: nothing has changed since {published[0].version} was published")
            await self._check_digest(latest, new.digest)
            now_s = self._now_s()
            version = msgspec.structs.replace(
                latest,
                version=new.name or _generated(now_s, taken),
                revision=1,
                version_description=new.description,
                # Strictly after the last one: that is how the last one is known.
                created_s=max([now_s, *(one.created_s + 1e-6 for one in published)]),
                last_modified_s=now_s,
            )
            with trio.CancelScope(shield=True):
                await self._catalog.put_function(version)
                self._directory.put(version)
        return version

    async def delete(self, urn: FunctionUrn) -> None:
        """Deletes a published version with the aliases whose main version it is.

        Raises:
            BadVersion: `latest`, or an alias.
            VersionInUse: it is the additional version of an alias.
        """
        async with self._functions.locked(urn.key):
            version = self._directory.resolve(urn)
            if urn.qualifier != version.version or version.version == LATEST:
                raise BadVersion(f"function_urn: must name a published version, not {urn.qualifier}")
            aliases = self._directory.aliases(version.func_id)
            users = [alias.name for alias in aliases if alias.additional_version == version.version]
            if users:
                raise VersionInUse(
                    f"function_urn: {version.version} is the additional version of the alias {users[0]};"
                    " change that alias first"
                )
            doomed = [alias for alias in aliases if alias.version == version.version]
            with trio.CancelScope(shield=True):
                await self._catalog.delete_version(version, [alias.name for alias in doomed])
                for alias in doomed:
                    self._directory.remove_alias(alias)
                self._directory.remove(version)

    async def _check_digest(self, latest: Function, digest: str) -> None:
        if not digest or digest == latest.code_digest:
            return
        archive = await self._functions.code(latest)
        if digest != hashlib.md5(archive, usedforsecurity=False).hexdigest():
            raise BadParameter(f"digest: is not that of the code, which is {latest.code_digest} (SHA-512)")


def _content(function: Function) -> dict[str, object]:
    values = msgspec.structs.asdict(function)
    return {name: value for name, value in values.items() if name not in _ASIDE}


def _generated(now_s: float, taken: set[str]) -> str:
    """`vYYYYMMDD-HHMMSS` in UTC; the next second that is free."""
    moment = datetime.fromtimestamp(now_s, UTC)
    while (name := f"v{moment:%Y%m%d-%H%M%S}") in taken:
        moment += timedelta(seconds=1)
    return name
