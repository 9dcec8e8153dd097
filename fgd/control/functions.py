"""Functions: create, change, disable, delete. Nothing is half applied.

Order of every change: the code package into the code store, then the function into the catalog (one transaction),
then into memory, with no wait between the last two. A crash before the catalog's commit leaves at most a package that
nothing names, which `sweep_code` removes. Changes of one function are serialised; each is applied whole to what it
finds, so the last writer wins.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
import trio

from fgd.clock import new_request_id
from fgd.config import Config
from fgd.control import rules, variables
from fgd.control.facet import Facet
from fgd.control.fields import DEFAULT_INSTANCES, Change, CodeChange, NewFunction
from fgd.control.packages import NoSharedPackages, SharedPackages, functions_bytes
from fgd.control.upload import Upload
from fgd.errors import BadCode, BadVersion, FunctionExists, FunctionNotFound, StateError, TooManyFunctions, TooMuchCode
from fgd.invoke.resolve import Directory, Key
from fgd.model import DISABLED, Function
from fgd.store.api import Catalog, CodePackage, CodeStore
from fgd.units import MIB
from fgd.urn import LATEST, FunctionUrn

#: Fields that an instance was started with.
_SEEN_BY_INSTANCES: Final = (
    "handler", "timeout_s", "memory_mib", "code_digest", "user_data", "encrypted_user_data", "initializer_handler",
    "initializer_timeout_s", "concurrent_num",
)  # fmt: skip


#: Stores what belongs to a new function before the function itself; what it gives is called when both are stored.
type Companion = Callable[[Function], Awaitable[Callable[[], None]]]


class Secrets(Protocol):
    """Encryption at rest; the real thing is `fgd.store.secrets.Secrets`."""

    def encrypt(self, plain: str, context: str) -> str: ...
    def decrypt(self, ciphertext: str, context: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Usage:
    """What a project has: number of functions, bytes of their packages."""

    functions: int
    code_bytes: int


type Verify = Callable[[Function, Function | None], Awaitable[None]]
"""Looks, outside of the daemon, whether a function could be as it would become; raises if not."""


class Functions:
    """The operations on functions. One object per node; `Directory` is changed by nobody else."""

    def __init__(
        self,
        config: Config,
        directory: Directory,
        catalog: Catalog,
        code: CodeStore,
        secrets: Secrets,
        now_s: Callable[[], float],
        facets: Sequence[Facet] = (),
        shared: SharedPackages | None = None,
        verify: Verify | None = None,
        standing_by: Callable[[Function], AbstractAsyncContextManager[object]] = nullcontext,
    ) -> None:
        self._config = config
        self._shared = shared or NoSharedPackages()
        self._verify = verify
        self.facets = tuple(facets)
        self._seen = _SEEN_BY_INSTANCES + tuple(name for facet in facets for name in facet.seen_by_instances)
        self._directory = directory
        self._catalog = catalog
        self._code = code
        self._secrets = secrets
        self._now_s = now_s
        #: Surrounds each change; makes the instances that shall be ready when it is in force (`fgd.instance.standby`).
        self._standing_by = standing_by
        self._locks: dict[Key, tuple[trio.Lock, list[None]]] = {}
        self._quota_lock = self._shared.quota_lock

    def resolve(self, urn: FunctionUrn) -> Function:
        """See `Directory.resolve`."""
        return self._directory.resolve(urn)

    def by_id(self, func_id: str) -> Function:
        """The latest version of the function with this id.

        Raises:
            FunctionNotFound: it is gone.
        """
        function = self._directory.by_id(func_id)
        if function is None:
            raise FunctionNotFound(f"function_urn: there is no function with the id {func_id}")
        return function

    def list(self, project_id: str, package: str = "", name_part: str = "") -> list[Function]:
        """A project's functions by package and name, of one package, whose name holds a text."""
        return [
            function
            for function in self._directory.list(project_id)
            if (not package or function.package == package) and name_part in function.name
        ]

    def usage(self, project_id: str) -> Usage:
        """What counts against the project's quotas; a package that several versions of a function have counts once."""
        code_bytes = functions_bytes(self._directory, project_id) + self._shared.code_bytes(project_id)
        return Usage(len(self._directory.list(project_id)), code_bytes)

    async def create(self, project_id: str, new: NewFunction, companion: Companion | None = None) -> Function:
        """Stores a new function, and what comes with it.

        A crash between the two leaves rows of a function that does not exist, which their store removes at the start.

        Raises:
            FunctionExists: the name is taken in its package.
            TooManyFunctions, TooMuchCode: over a quota of the project.
            BadCode: the archive is broken or hostile.
            StorageFull: no room. In every case nothing has changed.
        """
        key = (project_id, new.package, new.name)
        async with self.locked(key):
            self._check_new(key, new.upload.size_bytes)
            package = await self._stored(new.upload)
            async with self._quota_lock:
                self._check_new(key, package.size_bytes)
                now_s = self._now_s()
                func_id = new_request_id()
                function = Function(
                    func_id=func_id,
                    project_id=project_id,
                    package=new.package,
                    name=new.name,
                    runtime=new.runtime,
                    handler=new.handler,
                    timeout_s=new.timeout_s,
                    memory_mib=new.memory_mib,
                    description=new.description,
                    code_type=new.upload.code_type,
                    code_url=new.upload.code_url,
                    code_filename=new.upload.code_filename or new.upload.inline_name,
                    code_digest=package.digest,
                    code_size_bytes=package.size_bytes,
                    user_data=new.user_data,
                    encrypted_user_data=self._sealed(func_id, new.secret),
                    initializer_handler=new.initializer_handler,
                    initializer_timeout_s=new.initializer_timeout_s,
                    max_instances=new.max_instances,
                    enabled_max_instances=new.max_instances or DEFAULT_INSTANCES,
                    concurrent_num=new.concurrent_num,
                    created_s=now_s,
                    last_modified_s=now_s,
                    echo={name: value for name, value in new.echo.items() if value is not None},
                )
                function = msgspec.structs.replace(function, **new.facets)
                await self._change(None, function, companion)
        return function

    async def configure(self, urn: FunctionUrn, parse: Callable[[Function], Change]) -> Function:
        """Changes the configuration.

        Args:
            urn: the function; only `latest` can be changed.
            parse: gives the change, from the function as it is when its turn has come.

        Raises:
            RequestError: from `parse`, or for values that do not go together.
        """
        async with self.locked(urn.key):
            old = self._latest(urn)
            change = parse(old)
            values = dict(change.values)
            plain = variables.parse("user_data", values.get("user_data", old.user_data))
            secret = stored = self._opened(old)
            if change.secret is not None:
                secret = variables.unmask(change.secret, stored)
                if secret != stored:
                    # The same text sealed again would look like other text.
                    values["encrypted_user_data"] = self._sealed(old.func_id, secret)
            variables.check_together(plain, secret)
            echo = {**old.echo, **change.echo}
            values["echo"] = {name: value for name, value in echo.items() if value is not None}
            new = self._changed(old, values)
            rules.entries_agree(new.handler, new.initializer_handler, new.initializer_timeout_s)
            await self._change(old, new)
        return new

    async def limit_instances(self, urn: FunctionUrn, max_instances: int) -> Function:
        """Sets how many instances there may be; 0 disables the function with all its versions (user guide, section 8),
        any other value enables them."""
        values: dict[str, object] = {"max_instances": max_instances}
        if max_instances != DISABLED:
            values["enabled_max_instances"] = max_instances
        async with self.locked(urn.key):
            old = self._latest(urn)
            new = self._changed(old, values)
            versions = []
            if new.disabled != old.disabled:
                versions = [
                    self._changed(one, {"max_instances": DISABLED if new.disabled else one.enabled_max_instances})
                    for one in self._directory.versions(old.func_id)[1:]
                ]
            await self._commit(new, *versions)
        return new

    async def mark(self, urn: FunctionUrn, name: str, value: object) -> Function:
        """Stores a field that is only kept and given back."""
        async with self.locked(urn.key):
            old = self._latest(urn)
            new = self._changed(old, {"echo": {**old.echo, name: value}})
            await self._commit(new)
        return new

    async def replace_code(self, urn: FunctionUrn, parse: Callable[[Function], CodeChange]) -> Function:
        """Puts other code in place, with whatever else the request sets.

        Raises:
            as `create`; the function keeps its code then.
        """
        async with self.locked(urn.key):
            old = self._latest(urn)
            change = parse(old)
            values = dict(change.values)
            upload = change.upload
            if upload is None:
                if not values:
                    return old
                new = self._changed(old, values)
                await self._change(old, new)
                return new
            self._check_code(old, upload.size_bytes)
            package = await self._stored(upload)
            values |= {
                "code_type": upload.code_type,
                "code_url": upload.code_url,
                "code_filename": upload.code_filename or upload.inline_name,
                "code_digest": package.digest,
                "code_size_bytes": package.size_bytes,
            }
            new = self._changed(old, values)
            await self._change(old, new, code_bytes=package.size_bytes)
        return new

    async def delete(self, urn: FunctionUrn) -> None:
        """Deletes a function with its settings; its instances end, its logs stay until they are too old.

        Raises:
            FunctionNotFound: there is none.
        """
        async with self.locked(urn.key):
            function = self._latest(urn)
            with trio.CancelScope(shield=True):
                await self._catalog.delete_function(function)
                self._directory.remove(function)

    async def code(self, function: Function) -> bytes:
        """The code package as a ZIP.

        Raises:
            StateError: it is missing from the code store.
        """
        try:
            return await self._code.archive(function.code_digest)
        except KeyError as error:
            raise StateError(
                f"func_code: the package of {function.name} is missing from the state directory; upload it again"
            ) from error

    def user_data(self, function: Function) -> dict[str, str]:
        """All variables, secrets decrypted: for the instance alone, never for an answer."""
        return {**variables.parse("user_data", function.user_data), **self._opened(function)}

    def secret_names(self, function: Function) -> dict[str, str]:
        """The encrypted variables, for an answer that masks their values."""
        return dict.fromkeys(self._opened(function), variables.MASK)

    async def sweep_code(self, also_used: Collection[str] = ()) -> int:
        """Removes packages that no function names; gives their number.

        The store leaves young ones alone: a package is unnamed between the code store and the catalog.

        Args:
            also_used: digests that running instances of older revisions still need.
        """
        named = {digest for version in self._directory.all_versions() for digest in version.packages}
        return await self._code.sweep(named | self._shared.digests() | set(also_used))

    @asynccontextmanager
    async def locked(self, key: Key) -> AsyncIterator[None]:
        """One change of a function at a time; the lock is forgotten with its last user."""
        lock, users = self._locks.setdefault(key, (trio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                self._locks.pop(key, None)

    async def settled(self) -> None:
        """Returns when every change that is under way now is over."""
        for key in list(self._locks):
            async with self.locked(key):
                pass

    async def _stored(self, upload: Upload) -> CodePackage:
        """Puts code into the code store."""
        if upload.inline_name:
            return await self._code.add_inline(upload.inline_name, upload.data)
        try:
            if upload.path is not None:
                return await self._code.add_object(upload.path)
            return await self._code.add_zip(upload.data)
        except BadCode as error:
            field = "func_code.file" if upload.path is None else "code_url"
            raise BadCode(f"{field}: {error}") from error

    async def _change(
        self, old: Function | None, new: Function, companion: Companion | None = None, *, code_bytes: int = 0
    ) -> None:
        """Checks a function as it would become, and makes it so. `code_bytes`: of a package in the place of the old
        one's, which must fit into the quota of the project."""
        for facet in self.facets:
            facet.check(new)
        if self._verify is not None:
            await self._verify(new, old)
        async with self._shared.settled(new, old):
            if old is None or not code_bytes:
                async with self._standing_by(new):
                    await self._commit(new, companion=companion)
                return
            self._check_code(old, code_bytes)
            # Instances may take long to be ready; nobody is kept from the quota meanwhile.
            async with self._standing_by(new), self._quota_lock:
                self._check_code(old, code_bytes)
                await self._commit(new, companion=companion)

    async def _commit(self, *versions: Function, companion: Companion | None = None) -> None:
        """Catalog, then memory. Not cancelled between: a client that goes away must not split them."""
        with trio.CancelScope(shield=True):
            stored = None if companion is None else await companion(versions[0])
            await self._catalog.put_functions(versions)
            for version in versions:
                self._directory.put(version)
            if stored is not None:
                stored()

    def _latest(self, urn: FunctionUrn) -> Function:
        function = self._directory.resolve(urn)
        if urn.qualifier != LATEST:
            raise BadVersion("function_urn: a published version cannot be changed; name the function without a version")
        return function

    def _changed(self, old: Function, values: Mapping[str, object]) -> Function:
        """A later state; the revision grows if instances of the old state are of no use for the new one."""
        new = msgspec.structs.replace(old, last_modified_s=max(self._now_s(), old.last_modified_s), **values)
        if any(getattr(old, name) != getattr(new, name) for name in self._seen):
            new = msgspec.structs.replace(new, revision=old.revision + 1)
        return new

    def _check_new(self, key: Key, code_bytes: int) -> None:
        if self._directory.by_key(key) is not None:
            raise FunctionExists(f"func_name: the function {key[2]!r} exists already in package {key[1]!r}")
        usage = self.usage(key[0])
        if usage.functions >= self._config.functions_max:
            raise TooManyFunctions(f"func_name: the project has its quota of {self._config.functions_max} functions")
        self._check_bytes(usage.code_bytes + code_bytes)

    def _check_code(self, old: Function, code_bytes: int) -> None:
        stays = any(one.code_digest == old.code_digest for one in self._directory.versions(old.func_id)[1:])
        freed_bytes = 0 if stays else old.code_size_bytes
        self._check_bytes(self.usage(old.project_id).code_bytes - freed_bytes + code_bytes)

    def _check_bytes(self, code_bytes: int) -> None:
        if code_bytes > self._config.code_quota_mib * MIB:
            raise TooMuchCode(
                f"func_code: the packages of the project would take {code_bytes} bytes; "
                f"its quota is {self._config.code_quota_mib} MB"
            )

    def _sealed(self, func_id: str, secret: Mapping[str, str]) -> str:
        if not secret:
            return ""
        return self._secrets.encrypt(msgspec.json.encode(dict(secret)).decode(), _context(func_id))

    def _opened(self, function: Function) -> dict[str, str]:
        if not function.encrypted_user_data:
            return {}
        text = self._secrets.decrypt(function.encrypted_user_data, _context(function.func_id))
        return msgspec.json.decode(text, type=dict[str, str])


def _context(func_id: str) -> str:
    return f"encrypted_user_data of {func_id}"
