"""An asynchronous queue on a real database, with an invoker that the test answers for."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from fgd.clock import new_request_id
from fgd.config import Config
from fgd.errors import Overloaded
from fgd.invoke.api import Call, Outcome
from fgd.invoke.queue import AsyncQueue
from fgd.model import AsyncConfig, Function

EVENT = b'{"k":"v"}'


def function(func_id: str = "f1") -> Function:
    return Function(
        func_id=func_id, project_id="p1", package="default", name=func_id, runtime="Python3.12",
        handler="index.handler", timeout_s=3, memory_mib=128, code_type="inline", code_digest="ab",
        code_size_bytes=5, created_s=1.0, last_modified_s=1.0,
    )  # fmt: skip


class HandInvoker:
    """Takes calls; `answer` decides what becomes of each, None leaves it running until `finish`."""

    def __init__(self, answer: Callable[[Call], Outcome | None] = lambda call: Outcome(0, b"{}")) -> None:
        self.answer = answer
        self.calls: list[Call] = []
        self.running: list[Call] = []
        #: Functions for which there is no room.
        self.full: set[str] = set()
        self.most_running = 0
        self._token = trio.lowlevel.current_trio_token()

    def submit(self, call: Call) -> None:
        if call.function.func_id in self.full:
            raise Overloaded
        self.calls.append(call)
        self.running.append(call)
        self.most_running = max(self.most_running, len(self.running))
        outcome = self.answer(call)
        if outcome is not None:
            self._token.run_sync_soon(self.finish, call, outcome)

    def finish(self, call: Call, outcome: Outcome) -> None:
        if call in self.running:
            self.running.remove(call)
            call.done(call, outcome)

    def cancel(self, call: Call) -> None:
        self._token.run_sync_soon(self.finish, call, Outcome(4208, b"{}", function_error=True))

    async def invoke(self, function: Function, request_id: str, event: bytes, *, async_: bool = False) -> Outcome:
        raise NotImplementedError("the queue only submits")

    def ran(self) -> list[str]:
        return [call.request_id for call in self.calls]


class Harness:
    """What a test holds."""

    def __init__(self, state_dir: Path, invoker: HandInvoker, settings: dict[str, int | float]) -> None:
        self.state_dir = state_dir
        self.invoker = invoker
        self.config = Config(**({"async_retry_first_s": 0.0} | settings))  # type: ignore[arg-type]  # by name
        self.functions = {func_id: function(func_id) for func_id in ("f1", "f2", "f3")}
        self.settings = AsyncConfig()
        #: Those of single functions, by id.
        self.settings_of: dict[str, AsyncConfig] = {}
        self.moved_s = 0.0
        self.queue: AsyncQueue

    def now_s(self) -> float:
        return time.time() + self.moved_s

    async def open(self) -> AsyncQueue:
        self.queue = await AsyncQueue.open(
            self.state_dir,
            self.config,
            invoker=self.invoker,
            functions=lambda func_id, version: self.functions.get(func_id),
            settings=lambda func_id, version: self.settings_of.get(func_id, self.settings),
            record=lambda call, outcome, write_us: None,
            now_s=self.now_s,
        )
        return self.queue

    async def enqueue(self, func_id: str = "f1", count: int = 1) -> list[str]:
        """Stores events, all at once; their request ids."""
        names = [new_request_id() for _ in range(count)]
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(self.queue.enqueue, function(func_id), name, EVENT)
        return names

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until something holds; gives up after 10 s."""
        with trio.fail_after(10):
            while not condition():
                await trio.sleep(0.001)

    async def drained(self) -> None:
        """Waits until all events are over and that is on its way to disk, ahead of any look-up."""
        queue = self.queue
        await self.until(lambda: not (queue.waiting or queue.running or queue._runner.results))

    async def states(self, func_id: str = "f1") -> dict[str, str]:
        return {item.request_id: item.state for item in await self.queue.list_records(func_id, limit=500)}


#: Sees the harness before the queue runs; gives a task that is started first.
type Before = Callable[[Harness], Callable[..., Awaitable[object]]]


@asynccontextmanager
async def running(
    state_dir: Path,
    answer: Callable[[Call], Outcome | None] = lambda call: Outcome(0, b"{}"),
    before: Before | None = None,
    **settings: int | float,
) -> AsyncIterator[Harness]:
    """A queue at work."""
    harness = Harness(state_dir, HandInvoker(answer), settings)
    await harness.open()
    async with trio.open_nursery() as nursery:
        if before is not None:
            await nursery.start(before(harness))
        await nursery.start(harness.queue.run)
        yield harness
        nursery.cancel_scope.cancel()
    await harness.queue.aclose()
