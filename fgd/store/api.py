"""What survives a restart, as the rest of fgd sees it. The real thing: `fgd.store.sqlite` and its neighbours."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from fgd.model import Alias, AsyncConfig, AsyncState, Function


class AccessKey(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of access key and secret key, bound to a project."""

    access_key: str
    secret_key: str
    project_id: str
    name: str
    created_s: float


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token of a project. Only its SHA-256 (hex) is stored."""

    digest: str
    project_id: str
    name: str
    expires_s: float


class AgencyKey(msgspec.Struct, frozen=True, kw_only=True):
    """Temporary credentials of an agency: a pair of keys with its security token, and a token for X-Auth-Token.

    Of both tokens only the SHA-256 (hex) is stored, the secret key is encrypted at rest.
    """

    access_key: str
    secret_key: str
    project_id: str
    agency: str
    security_digest: str
    token_digest: str
    expires_s: float

    def __repr__(self) -> str:
        return f"AgencyKey({self.access_key!r}, agency={self.agency!r})"


class Catalog(Protocol):
    """Functions, their settings, and credentials. Everything returned from is on disk."""

    async def functions(self) -> list[Function]: ...
    async def put_function(self, function: Function) -> None: ...
    async def put_functions(self, functions: Sequence[Function]) -> None: ...
    async def delete_function(self, function: Function) -> None: ...
    async def delete_version(self, version: Function, aliases: Sequence[str]) -> None: ...
    async def aliases(self) -> list[Alias]: ...
    async def put_alias(self, alias: Alias) -> None: ...
    async def delete_alias(self, alias: Alias) -> None: ...
    async def async_configs(self) -> dict[tuple[str, str], AsyncConfig]:
        """All, by (func_id, version)."""
        ...

    async def put_async_config(self, func_id: str, version: str, config: AsyncConfig | None) -> None:
        """Stores, or deletes with None."""
        ...

    async def access_keys(self) -> list[AccessKey]: ...
    async def put_access_key(self, key: AccessKey) -> None: ...
    async def delete_access_key(self, access_key: str) -> None: ...
    async def tokens(self) -> list[Token]:
        """Those that have not expired."""
        ...

    async def put_token(self, token: Token) -> None: ...
    async def setting(self, name: str, default: str) -> str:
        """A value made once and kept, such as the default project id: stores `default` when there is none."""
        ...


class CodePackage(msgspec.Struct, frozen=True, kw_only=True):
    """A stored package: SHA-512 of the archive (hex), its size, and how much it unpacked to."""

    digest: str
    size_bytes: int
    unpacked_bytes: int
    files: int


class CodeStore(Protocol):
    """Content-addressed packages, unpacked once, never changed."""

    async def add_zip(self, archive: bytes) -> CodePackage:
        """Unpacks into a temporary folder by an unprivileged process with budgets, then moves it in place.

        Raises:
            BadCode: broken or hostile archive; names the entry and the rule. Nothing is left behind.
            StorageFull: no room; nothing is left behind.
        """
        ...

    async def add_object(self, archive: Path) -> CodePackage:
        """The same as `add_zip` for an archive of up to 300 MB in a file."""
        ...

    async def add_inline(self, filename: str, source: bytes) -> CodePackage:
        """A package of one file, stored as the ZIP that would hold it."""
        ...

    async def archive(self, digest: str) -> bytes:
        """The package as a ZIP.

        Raises:
            KeyError: no such package.
        """
        ...

    async def sweep(self, used: set[str]) -> int:
        """Removes packages that nothing uses any more; gives their number."""
        ...


class AsyncRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Where an asynchronous invocation stands. Times in epoch seconds; `end_s` 0 while it is not over."""

    request_id: str
    func_id: str
    version: str
    state: AsyncState
    tries: int
    error_code: int
    error_message: str
    enqueued_s: float
    start_s: float
    end_s: float


class InvocationRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One invocation as the log database keeps it. Times: epoch seconds; lengths: microseconds."""

    #: When its first byte arrived; it was sent to the instance `frontend_us` and `queue_us` later.
    time_s: float
    request_id: str
    func_id: str
    version: str
    instance_id: str
    #: "sync" or "async"
    mode: str
    code: int
    cold: bool
    frontend_us: int
    queue_us: int
    dispatch_us: int
    runtime_us: int
    write_us: int
    memory_bytes: int
    memory_mib: int


class StartRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One cold start: how long the sandbox (instance), loading the code, and the initializer took."""

    #: When it began; the code is loaded `instance_us` later, then the initializer runs.
    time_s: float
    func_id: str
    version: str
    instance_id: str
    instance_us: int
    code_us: int
    init_us: int
    code: int
    load_request_id: str
    init_request_id: str
    memory_bytes: int
    pooled: bool


class LogLine(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line of a function's output. `level`: "" raw, else DEBUG, INFO, WARN, ERROR."""

    time_s: float
    func_id: str
    version: str
    instance_id: str
    request_id: str
    level: str
    text: str


class LogBook(Protocol):
    """Takes records without waiting; a task writes them in batches."""

    def line(self, line: LogLine) -> None: ...
    def invocation(self, record: InvocationRecord) -> None: ...
    def start(self, record: StartRecord) -> None: ...
    async def flush(self) -> None:
        """Returns when all that was taken so far can be queried."""
        ...

    async def query(
        self,
        func_id: str,
        *,
        request_id: str = "",
        after: int = 0,
        limit: int = 1000,
        newest: bool = True,
        match: str = "",
    ) -> tuple[list[str], int]:
        """Rendered log lines in order of time, and a cursor for `after` that continues behind them."""
        ...

    async def invocations(self, func_id: str, *, request_id: str = "", limit: int = 100) -> list[InvocationRecord]: ...
    async def starts(self, func_id: str, *, limit: int = 100) -> list[StartRecord]: ...
