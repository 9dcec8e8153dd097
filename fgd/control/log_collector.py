"""Copies the log of functions that have a log stream of their choice (`log_config`) into it.

Theory of operation: the log book tells which functions have more; what is behind the function's position there is
read, given to the stream of the version that wrote it, and stored together with the new position in one transaction.
So nothing is copied twice, and what the log book has comes into the stream also after a crash; and printing costs a
function nothing more than it did.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from fgd.control.log_streams import LogStreams, function_line, log_path
from fgd.errors import FgdError
from fgd.invoke.resolve import Directory
from fgd.model import Function
from fgd.store.api import LogLine
from fgd.store.streams import POSITION_STEP, StreamLine, StreamStore

log = logging.getLogger(__name__)

_LINES: Final = 2000
_PAUSE_S: Final = 5.0


class LogCollector:
    """Run `run`; `written` is what the log book calls."""

    def __init__(
        self,
        directory: Directory,
        streams: LogStreams,
        store: StreamStore,
        follow: Callable[[str, int, int], Awaitable[list[tuple[int, LogLine]]]],
    ) -> None:
        self._directory = directory
        self._streams = streams
        self._store = store
        self._follow = follow
        self._positions: dict[str, int] = {}
        self._waiting: set[str] = set()
        self._gone: set[str] = set()
        self._more = trio.Event()
        directory.subscribe(self._function_changed)

    def written(self, func_ids: set[str]) -> None:
        """These functions have more in the log book."""
        for func_id in func_ids:
            self._streams.notify(func_id)
            if self._targets(func_id):
                self._waiting.add(func_id)
        if self._waiting:
            self._more.set()

    async def run(self) -> None:
        """Copies until cancelled; what was left by a crash first."""
        self._positions = await self._store.progress()
        self._waiting |= {one.func_id for one in self._directory.all_versions() if one.log_stream_id}
        self._gone |= self._positions.keys() - self._waiting
        while True:
            self._more = trio.Event()
            gone, self._gone = self._gone, set()
            await self._store.forget(gone)
            while self._waiting:
                func_id = self._waiting.pop()
                try:
                    await self._copy(func_id)
                except FgdError as error:
                    log.error("the log of function %s does not come into its stream yet: %s", func_id, error)
                    self._waiting.add(func_id)
                    await trio.sleep(_PAUSE_S)
            if not self._gone:
                await self._more.wait()

    async def _copy(self, func_id: str) -> None:
        while targets := self._targets(func_id):
            after = self._positions.get(func_id)
            if after is None:
                after = int(min(one.last_modified_s for one in targets.values()) * 1000) * POSITION_STEP
            found = await self._follow(func_id, after, _LINES)
            if not found:
                return
            parts: dict[str, list[StreamLine]] = {}
            for _, line in found:
                if (function := targets.get(line.version)) is not None:
                    parts.setdefault(function.log_stream_id, []).append(function_line(line, log_path(function)))
            position = found[-1][0]
            await self._streams.append(list(parts.items()), (func_id, position))
            self._positions[func_id] = position

    def _targets(self, func_id: str) -> dict[str, Function]:
        """Versions of a function that have a stream of their choice, by their names."""
        return {one.version: one for one in self._directory.versions(func_id) if one.log_stream_id}

    def _function_changed(self, old: Function | None, new: Function | None) -> None:
        if old is not None and old.log_stream_id and not self._targets(old.func_id):
            self._positions.pop(old.func_id, None)
            self._gone.add(old.func_id)
            self._more.set()
