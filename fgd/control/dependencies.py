"""Dependencies: packages with versions that functions have beside their code (user guide, section 9).

Order of every change: the package into the code store, then the row into the catalog, then memory; a crash before the
catalog's commit leaves at most a package that nothing names, which the sweep of the code store removes.

A version that a function version has cannot be deleted. Both sides of that rule wait for the disk, so each says first
what it is about to do: a function that is being changed holds its dependencies (`settled`), and a version that is being
deleted is out of sight at once.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import trio

from fgd.clock import new_request_id
from fgd.config import Config
from fgd.control.dependency_fields import DependencyChange, NewDependency
from fgd.control.dependency_packages import DependencyPackages, Part
from fgd.control.packages import functions_bytes
from fgd.errors import (
    BadDependency,
    DependencyExists,
    DependencyInUse,
    DependencyNameTaken,
    DependencyNotFound,
    Forbidden,
    TooManyDependencies,
    TooMuchCode,
)
from fgd.invoke.resolve import Directory
from fgd.model import PUBLIC, Dependency, DependencyUse, Function
from fgd.store.api import CodePackage
from fgd.store.code import FolderCodeStore
from fgd.store.dependencies import DependencyStore
from fgd.store.names import PackageNames
from fgd.units import MIB

_FIELD: Final = "depend_version_list"


class Dependencies:
    """All dependencies of this node, and the operations on them."""

    def __init__(
        self,
        config: Config,
        directory: Directory,
        store: DependencyStore,
        code: FolderCodeStore,
        names: PackageNames,
        now_s: Callable[[], float],
        known: Iterable[Dependency] = (),
    ) -> None:
        self._config = config
        self._directory = directory
        self._store = store
        self.packages = DependencyPackages(code, names)
        self._now_s = now_s
        self._by_id = {one.id: one for one in known}
        #: Versions that functions which are being changed hold, and versions that are being deleted, by id.
        self._held: Counter[str] = Counter()
        self._doomed: set[str] = set()
        self._lock = trio.Lock()
        self.quota_lock = trio.Lock()

    # What there is

    def get(self, project_id: str, version_id: str) -> Dependency:
        """A version by its id, of a project or public.

        Raises:
            DependencyNotFound: there is none, or it is another project's.
        """
        found = self._by_id.get(version_id)
        if found is None or found.id in self._doomed or found.project_id not in (PUBLIC, project_id):
            raise DependencyNotFound(f"{_FIELD}: there is no dependency version with the id {version_id[:80]!r}")
        return found

    def find(
        self, project_id: str, name: str, version: int, *, runtime: str = "", public: bool | None = None
    ) -> Dependency | None:
        """A version by its dependency's name, the project's own before public ones.

        Args:
            runtime: only of that runtime.
            public: only a public one, or only one of the project.
        """
        found = [
            one
            for one in self._visible(project_id)
            if one.name == name
            and one.version == version
            and (not runtime or one.runtime == runtime)
            and (public is None or public == (one.project_id == PUBLIC))
        ]
        return min(found, key=lambda one: (one.project_id == PUBLIC, one.runtime), default=None)

    def known(self, version_id: str) -> Dependency | None:
        """The same for whoever may see it."""
        return self._by_id.get(version_id)

    def versions(self, project_id: str, dep_id: str) -> list[Dependency]:
        """All versions of a dependency, newest first.

        Raises:
            DependencyNotFound: there is no such dependency, or it is another project's.
        """
        found = [one for one in self._visible(project_id) if one.dep_id == dep_id]
        if not found:
            raise DependencyNotFound(f"depend_id: there is no dependency with the id {dep_id[:80]!r}")
        return sorted(found, key=lambda one: -one.version)

    def version(self, project_id: str, dep_id: str, version: str) -> Dependency:
        """One version of a dependency by its number.

        Raises:
            DependencyNotFound: there is none.
        """
        found = self.versions(project_id, dep_id)
        for one in found:
            if str(one.version) == version:
                return one
        raise DependencyNotFound(f"version: {found[0].name!r} has no version {version[:20]!r}")

    def newest(self, project_id: str, *, public: bool = True, private: bool = True) -> list[Dependency]:
        """The newest version of each dependency, a project's own first, by name."""
        newest: dict[str, Dependency] = {}
        for one in self._visible(project_id):
            if (public if one.project_id == PUBLIC else private) and (
                one.dep_id not in newest or newest[one.dep_id].version < one.version
            ):
                newest[one.dep_id] = one
        return sorted(newest.values(), key=lambda one: (one.project_id == PUBLIC, one.name, one.runtime))

    def public(self) -> list[Dependency]:
        """Every version of the public ones."""
        return [one for one in self._by_id.values() if one.project_id == PUBLIC]

    # Changes

    async def add(self, project_id: str, new: NewDependency, *, first: bool = False) -> Dependency:
        """Stores a version; the first one of a name makes the dependency.

        Args:
            first: refuse a name that is there already.

        Raises:
            DependencyExists: `first`, and the name is taken.
            BadCode, BadDependency: the archive is broken or hostile, or breaks a rule of packages.
            TooManyDependencies, TooMuchCode: over a quota of the project.
            StorageFull: no room. In every case nothing has changed.
        """
        self._check_new(project_id, new.name, first)
        self._check_bytes(project_id, _size(new.archive))
        package, etag = await self.packages.add(new.archive)
        async with self.quota_lock, self._lock:
            self._check_new(project_id, new.name, first)
            self._check_bytes(project_id, package.size_bytes)
            dependency = self._made(project_id, new, self._of(project_id, new.name), package, etag)
            await self._apply([dependency])
        return dependency

    async def change(self, project_id: str, dep_id: str, change: DependencyChange) -> Dependency:
        """Renames a dependency, describes its newest version anew, or, with an archive, adds a version to it.

        Raises:
            DependencyNameTaken: another dependency has the name.
            BadDependency: another runtime without another archive.
            Forbidden: a public one; and as `add`.
        """
        if change.archive is not None:
            self._check_new(project_id, "", False)
            self._check_bytes(project_id, _size(change.archive))
            package, etag = await self.packages.add(change.archive)
        async with self.quota_lock, self._lock:
            versions = self._own(project_id, dep_id)
            newest = versions[0]
            name = newest.name if change.name is None else change.name
            if any(one.dep_id != dep_id for one in self._of(project_id, name)):
                raise DependencyNameTaken(f"name: the project has another dependency {name!r}")
            runtime = change.runtime or newest.runtime
            description = newest.description if change.description is None else change.description
            renamed = [msgspec.structs.replace(one, name=name) for one in versions]
            if change.archive is not None:
                self._check_new(project_id, name, False)
                self._check_bytes(project_id, package.size_bytes)
                new = NewDependency(name, runtime, description, change.archive)
                result = self._made(project_id, new, renamed[::-1], package, etag)
                await self._apply([*renamed, result])
                return result
            if runtime != newest.runtime:
                raise BadDependency(f"runtime: is {newest.runtime} for this package; send another one for {runtime}")
            renamed[0] = msgspec.structs.replace(renamed[0], description=description)
            await self._apply(renamed)
            return renamed[0]

    async def delete(self, project_id: str, dep_id: str, version: str = "") -> None:
        """Deletes one version, or all of a dependency; the last one takes the dependency with it.

        Raises:
            DependencyInUse: a function version has one of them; nothing is deleted then.
            DependencyNotFound: there is none.
            Forbidden: a public one.
        """
        doomed = self._own(project_id, dep_id)
        if version:
            doomed = [self.version(project_id, dep_id, version)]
        ids = {one.id for one in doomed}
        for one in doomed:
            self._check_unused(one)
        self._doomed |= ids
        try:
            with trio.CancelScope(shield=True):
                await self._store.change(delete=ids)
                for version_id in ids:
                    del self._by_id[version_id]
        finally:
            self._doomed -= ids

    async def set_public(self, put: Sequence[Dependency], gone: Iterable[str]) -> None:
        """Takes public versions that are new or changed, and forgets others by their ids."""
        async with self._lock:
            await self._apply(put, gone)

    # What functions need: `fgd.control.packages.SharedPackages`

    def code_bytes(self, project_id: str) -> int:
        return sum(one.size_bytes for one in self._by_id.values() if one.project_id == project_id)

    def digests(self) -> set[str]:
        return {one.digest for one in self._by_id.values()}

    @asynccontextmanager
    async def settled(self, function: Function, old: Function | None) -> AsyncIterator[None]:
        same = old is not None and (old.code_digest, old.dependencies) == (function.code_digest, function.dependencies)
        if not function.dependencies or same:
            yield
            return
        ids = [use.id for use in function.dependencies]
        before = () if old is None else old.dependencies
        for use in function.dependencies:
            if use not in before:
                self.get(function.project_id, use.id)
        self._held.update(ids)
        try:
            await self.packages.refuse_clash(self._parts(function))
            yield
        finally:
            self._held.subtract(ids)
            self._held += Counter()  # drops those that nobody holds

    def unpacked_bytes(self, function: Function) -> int:
        """What its code and its dependencies unpack to together.

        Raises:
            DependencyUnreadable: a package is missing from the state directory.
        """
        return self.packages.unpacked_bytes(self._parts(function))

    def _parts(self, function: Function) -> list[Part]:
        """The code, then each dependency."""
        parts = [Part(f"the code of {function.name!r}", function.code_digest)]
        for use in function.dependencies:
            known = self._by_id.get(use.id)
            parts.append(Part(known.label if known else f"dependency {use.id}", use.digest))
        return parts

    def _visible(self, project_id: str) -> Iterable[Dependency]:
        return (
            one for one in self._by_id.values() if one.project_id in (PUBLIC, project_id) and one.id not in self._doomed
        )

    def _of(self, project_id: str, name: str) -> list[Dependency]:
        """A project's versions of one name, oldest first. Those being deleted count until they are gone."""
        mine = [one for one in self._by_id.values() if one.project_id == project_id and one.name == name]
        return sorted(mine, key=lambda one: one.version)

    def _own(self, project_id: str, dep_id: str) -> list[Dependency]:
        found = self.versions(project_id, dep_id)
        if found[0].project_id == PUBLIC:
            raise Forbidden(f"depend_id: {found[0].name!r} is public: only the operator of the node changes it")
        return found

    async def _apply(self, put: Sequence[Dependency], gone: Iterable[str] = ()) -> None:
        """Catalog, then memory. Not cancelled between: a client that goes away must not split them."""
        gone = set(gone)
        with trio.CancelScope(shield=True):
            await self._store.change(put, gone)
            for version_id in gone:
                self._by_id.pop(version_id, None)
            self._by_id.update((one.id, one) for one in put)

    def _made(
        self, project_id: str, new: NewDependency, before: Sequence[Dependency], package: CodePackage, etag: str
    ) -> Dependency:
        """The version after those there are, oldest first."""
        return Dependency(
            id=new_request_id(),
            dep_id=before[-1].dep_id if before else new_request_id(),
            project_id=project_id,
            name=new.name,
            version=before[-1].version + 1 if before else 1,
            runtime=new.runtime,
            description=new.description,
            digest=package.digest,
            etag=etag,
            size_bytes=package.size_bytes,
            last_modified_s=self._now_s(),
        )

    def _check_new(self, project_id: str, name: str, first: bool) -> None:
        if first and self._of(project_id, name):
            raise DependencyExists(f"name: the project has a dependency {name!r} already; add a version to it")
        mine = sum(one.project_id == project_id for one in self._by_id.values())
        if mine >= self._config.dependencies_max:
            raise TooManyDependencies(
                f"name: the project has its quota of {self._config.dependencies_max} versions of dependencies"
            )

    def _check_bytes(self, project_id: str, more_bytes: int) -> None:
        total = functions_bytes(self._directory, project_id) + self.code_bytes(project_id) + more_bytes
        if total > self._config.code_quota_mib * MIB:
            raise TooMuchCode(
                f"depend_file: the packages of the project would take {total} bytes;"
                f" its quota is {self._config.code_quota_mib} MB"
            )

    def _check_unused(self, dependency: Dependency) -> None:
        for function in self._directory.all_versions():
            if any(use.id == dependency.id for use in function.dependencies):
                raise DependencyInUse(
                    f"version: the function {function.package}:{function.name} ({function.version}) has"
                    f" {dependency.label}; take it out of it first"
                )
        if dependency.id in self._held:
            raise DependencyInUse(f"version: a function that is being changed has {dependency.label}")


def dependency_use(dependency: Dependency) -> DependencyUse:
    """As a function has it."""
    return DependencyUse(id=dependency.id, digest=dependency.digest)


def _size(archive: bytes | Path) -> int:
    return len(archive) if isinstance(archive, bytes) else archive.stat().st_size
