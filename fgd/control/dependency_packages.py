"""Packages of dependencies in the code store: their own rules, and whether several lie beside each other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import trio

from fgd.control.clash import Tree, find_clash
from fgd.control.dependency_fields import FILES_MAX
from fgd.errors import BadCode, BadDependency, DependencyClash, DependencyUnreadable
from fgd.model import Dependency
from fgd.store.api import CodePackage
from fgd.store.code import FolderCodeStore, md5_of
from fgd.store.names import PackageNames

#: Entries of an archive: as many files as there may be, and folders for them.
_ENTRIES_MAX: Final = 2 * FILES_MAX
#: The lists of one function with 20 dependencies of 30,000 files take 84 MB and 0.3 s.
_CHECKS_AT_ONCE: Final = 2
_FIELD: Final = "depend_version_list"


class Part(NamedTuple):
    """A package that is to lie beside others: how messages name it, and its digest."""

    label: str
    digest: str


class DependencyPackages:
    """What reads and writes packages; nothing here knows of functions or projects."""

    def __init__(self, code: FolderCodeStore, names: PackageNames) -> None:
        self._code = code
        self._names = names
        self._checks = trio.CapacityLimiter(_CHECKS_AT_ONCE)

    async def add(self, archive: bytes | Path) -> tuple[CodePackage, str]:
        """Stores an archive that was uploaded, or is in the object store; gives its MD5 too.

        Raises:
            BadCode: broken or hostile.
            BadDependency: it breaks a rule of dependencies.
            StorageFull: no room.
        """
        field = "depend_file" if isinstance(archive, bytes) else "depend_link"
        try:
            if isinstance(archive, bytes):
                package = await self._code.add_zip(archive, max_entries=_ENTRIES_MAX)
            else:
                package = await self._code.add_object(archive, max_entries=_ENTRIES_MAX)
        except BadCode as error:
            raise BadCode(f"{field}: {error}") from error
        await self._check_names(field, package)
        return package, await trio.to_thread.run_sync(md5_of, archive)

    async def add_file(self, path: Path) -> tuple[CodePackage, str]:
        """The same for an archive of the operator's.

        Raises:
            OSError: it cannot be read; and as `add`.
        """
        package = await self._code.add_file(path, max_entries=_ENTRIES_MAX)
        await self._check_names("archive", package)
        return package, await trio.to_thread.run_sync(md5_of, path)

    async def archive(self, dependency: Dependency) -> bytes:
        """The package as it came.

        Raises:
            DependencyUnreadable: it is missing from the state directory.
        """
        try:
            return await self._code.archive(dependency.digest)
        except KeyError as error:
            raise _unreadable(dependency.label) from error

    def unpacked_bytes(self, parts: Sequence[Part]) -> int:
        """What they unpack to together.

        Raises:
            DependencyUnreadable: one is missing from the state directory.
        """
        total = 0
        for part in parts:
            try:
                total += self._code.package(part.digest).unpacked_bytes
            except KeyError as error:
                raise _unreadable(part.label) from error
        return total

    async def refuse_clash(self, parts: Sequence[Part]) -> None:
        """Stops packages that cannot lie beside each other.

        Args:
            parts: the code first.

        Raises:
            DependencyClash: names both packages and the path.
            DependencyUnreadable: one is missing from the state directory.
        """
        await trio.to_thread.run_sync(self._refuse_clash, parts, limiter=self._checks)

    def _refuse_clash(self, parts: Sequence[Part]) -> None:
        trees = []
        for part in parts:
            try:
                trees.append(Tree(part.label, part.digest, self._names.of(part.digest)))
            except KeyError as error:
                raise _unreadable(part.label) from error
        clash = find_clash(trees, self._same)
        if clash is not None:
            raise DependencyClash(
                f"{_FIELD}: {clash.path} is in {clash.first.label} and in {clash.second.label};"
                " take it out of one of them"
            )

    def _same(self, first: Tree, second: Tree, path: str) -> bool:
        content = self._names.content(first.digest, path)
        return content is not None and content == self._names.content(second.digest, path)

    async def _check_names(self, field: str, package: CodePackage) -> None:
        """User guide, section 9.1."""
        names = await trio.to_thread.run_sync(self._names.of, package.digest, limiter=self._checks)
        files = [name for name in names if not name.endswith("/")]
        if len(files) > FILES_MAX:
            raise BadDependency(f"{field}: has {len(files)} files; {FILES_MAX} is the limit")
        for name in files:
            if name.endswith("~"):
                raise BadDependency(f"{field}: {name[:120]!r} ends with a tilde (~), which no file of it may")


def _unreadable(label: str) -> DependencyUnreadable:
    return DependencyUnreadable(
        f"{_FIELD}: the package of {label} is missing from the state directory; upload it again"
    )
