"""What operations on functions need to know of packages that several functions share."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import trio

from fgd.invoke.resolve import Directory
from fgd.model import Function


class SharedPackages(Protocol):
    """Packages beside the code of functions; the real thing is `fgd.control.dependencies.Dependencies`."""

    #: Held from the check of a project's quota of code until what was checked is stored.
    quota_lock: trio.Lock

    def code_bytes(self, project_id: str) -> int:
        """Bytes of a project's archives, which count against its quota of code."""

    def digests(self) -> set[str]:
        """Packages that must stay in the code store though no function may name them."""

    def settled(self, function: Function, old: Function | None) -> AbstractAsyncContextManager[None]:
        """A block in which what `function` uses is there, fits together, and stays; `function` becomes `old`'s
        successor in it.

        Raises:
            RequestError: entering it, if something is missing or does not fit together.
        """


class NoSharedPackages:
    """Where functions have their code only."""

    def __init__(self) -> None:
        self.quota_lock = trio.Lock()

    def code_bytes(self, project_id: str) -> int:
        return 0

    def digests(self) -> set[str]:
        return set()

    @asynccontextmanager
    async def settled(self, function: Function, old: Function | None) -> AsyncIterator[None]:
        yield


def functions_bytes(directory: Directory, project_id: str) -> int:
    """Bytes of the archives of a project's functions; one that several versions of a function have counts once."""
    packages = {
        (version.func_id, version.code_digest): version.code_size_bytes
        for function in directory.list(project_id)
        for version in directory.versions(function.func_id)
    }
    return sum(packages.values())
