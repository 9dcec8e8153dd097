"""A keeper that notes what it is told, and says what the test wants of the use of instances."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, nullcontext

import trio

from fgd.instance.keeper import Use
from fgd.model import Function

type Key = tuple[str, str]


class NotedKeeper:
    """See `fgd.control.planner.InstanceKeeper`."""

    def __init__(self) -> None:
        #: What is to be kept, by (func_id, version): instances, idle mode.
        self.aimed: dict[Key, tuple[int, bool]] = {}
        self.uses: dict[Key, Use] = {}
        #: Versions whose instances somebody has waited for, and what was kept of each then.
        self.waited: list[tuple[str, int]] = []

    def aim(self, function: Function, count: int, *, idle_mode: bool) -> None:
        key = (function.func_id, function.version)
        if count:
            self.aimed[key] = count, idle_mode
        else:
            self.aimed.pop(key, None)

    async def filled(self, functions: Iterable[Function]) -> None:
        await trio.lowlevel.checkpoint()
        for one in functions:
            self.waited.append((one.version, self.aimed.get((one.func_id, one.version), (0, False))[0]))

    def standing_by(self, function: Function) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    def use(self) -> dict[Key, Use]:
        return self.uses
