"""A scheduler with real sockets and frames, whose sandboxes are played by the test."""

import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import trio
import trio.testing

from fgd.call import Call, CallOptions, Outcome
from fgd.clock import new_request_id
from fgd.config import Config
from fgd.errors import SandboxError
from fgd.instance.budget import Budget
from fgd.instance.gate import Gate, Mounter
from fgd.instance.recorder import Recorder
from fgd.instance.scheduler import Scheduler
from fgd.linux.reactor import Reactor
from fgd.model import Function
from fgd.sandbox.api import Binding, ExitReport, Limits
from fgd.sandbox.mount_plan import Owner
from fgd.store.api import InvocationRecord, LogLine, StartRecord
from fgd.wire import frames


class PlayedSandbox:
    """A sandbox whose inside is the test: it reads frames and answers them."""

    def __init__(self, name: str, runtime: str) -> None:
        self.id = name
        self.runtime = runtime
        self.network = "none"
        self.channel, self.inside = socket.socketpair()
        self.channel.setblocking(False)
        self.inside.setblocking(False)
        self.output_fd, self.output_inside = os.pipe()
        os.set_blocking(self.output_fd, False)
        self.exit_report: ExitReport | None = None
        self.bound: Binding | None = None
        self.own_ids: Owner | None = None
        self.frozen = False
        self.freezes = 0
        self.resizes: list[Limits] = []
        #: Why the kernel refuses other limits.
        self.refusal = ""
        self.report = ExitReport(0, 0, 0, "")
        self._gone = trio.Event()
        self._reader = frames.FrameReader()
        self._read: list[tuple[int, int, int, bytes]] = []

    def bind(self, binding: Binding) -> None:
        self.bound = binding

    async def resize(self, limits: Limits) -> None:
        self.resizes.append(limits)
        await trio.lowlevel.checkpoint()
        if self.refusal:
            raise SandboxError(self.refusal)

    def freeze(self) -> None:
        self.frozen = True
        self.freezes += 1

    def thaw(self) -> None:
        self.frozen = False

    def kill(self, reason: str) -> None:
        if self.exit_report is None:
            self.exit_report = replace(self.report, reason=self.report.reason or reason)
            self.inside.close()
            os.close(self.output_inside)
            self._gone.set()

    def memory_bytes(self) -> int:
        return 1 << 20

    async def wait(self) -> ExitReport:
        await self._gone.wait()
        assert self.exit_report is not None
        return self.exit_report

    # --- the inside

    def die(self, report: ExitReport) -> None:
        """Its processes end by themselves."""
        self.report = report
        self.inside.close()

    async def frame(self, kind: int) -> tuple[int, bytes]:
        """The next frame the daemon sent, of that kind: its call id and body."""
        while not self._read:
            await trio.lowlevel.wait_readable(self.inside)
            self._read += self._reader.feed(self.inside.recv(1 << 20))
        got, _, call_id, body = self._read.pop(0)
        assert got == kind
        return call_id, body

    def unread(self) -> list[tuple[int, int, int, bytes]]:
        """Frames that the daemon has sent and the test has not taken."""
        with suppress(BlockingIOError):
            while data := self.inside.recv(1 << 20):
                self._read += self._reader.feed(data)
        return self._read

    def send(self, kind: int, call_id: int, body: bytes = b"", flags: int = 0) -> None:
        self.inside.send(frames.frame(kind, call_id, body, flags))

    def ready(self) -> None:
        self.send(frames.READY, 0, json.dumps({"load_us": 10, "init_us": 0, "memory_bytes": 5}).encode())

    def answer(self, call_id: int, body: bytes = b'"ok"', code: int = 0) -> None:
        self.send(frames.ERROR if code else frames.RESULT, call_id, frames.RESULT_HEAD.pack(code, 1000, 7) + body)

    async def invocation(self) -> tuple[int, bytes]:
        """Call id and event of the next INVOKE."""
        call_id, body = await self.frame(frames.INVOKE)
        _, _, extras = frames.INVOKE_HEAD.unpack_from(body)
        return call_id, body[frames.INVOKE_HEAD.size + extras :]


class PlayedHost:
    """Hands out played sandboxes, `broken` ones not at all."""

    def __init__(self) -> None:
        self.opened: list[PlayedSandbox] = []
        self.broken = False
        self._send, self._receive = trio.open_memory_channel[PlayedSandbox](1000)

    async def open(self, runtime: str, own_ids: Owner | None = None, network: str = "none") -> PlayedSandbox:
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise SandboxError("cgroup: no space left on device")
        sandbox = PlayedSandbox(f"sb{len(self.opened)}", runtime)
        sandbox.own_ids = own_ids
        self.opened.append(sandbox)
        self._send.send_nowait(sandbox)
        return sandbox

    async def next(self) -> PlayedSandbox:
        """The next sandbox that fgd opened."""
        with trio.fail_after(5):
            return await self._receive.receive()

    async def aclose(self) -> None:
        for sandbox in self.opened:
            sandbox.kill("closed")


@dataclass
class Book:
    """A log book in memory."""

    lines: list[LogLine] = field(default_factory=list)
    invocations_: list[InvocationRecord] = field(default_factory=list)
    starts_: list[StartRecord] = field(default_factory=list)

    def line(self, line: LogLine) -> None:
        self.lines.append(line)

    def invocation(self, record: InvocationRecord) -> None:
        self.invocations_.append(record)

    def start(self, record: StartRecord) -> None:
        self.starts_.append(record)

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()

    async def query(self, func_id: str, **_: Any) -> tuple[list[str], int]:
        return [line.text for line in self.lines if line.func_id == func_id], len(self.lines)

    async def invocations(self, func_id: str, **_: Any) -> list[InvocationRecord]:
        return [record for record in self.invocations_ if record.func_id == func_id]

    async def starts(self, func_id: str, **_: Any) -> list[StartRecord]:
        return [record for record in self.starts_ if record.func_id == func_id]


@dataclass
class Tally:
    """Counters that remember."""

    throttled_: list[str] = field(default_factory=list)
    unwell: list[str] = field(default_factory=list)
    evicted_: int = 0
    dropped: int = 0

    def invocations(self, records: Iterable[InvocationRecord]) -> None:
        pass

    def starts(self, records: Iterable[StartRecord]) -> None:
        pass

    def throttled(self, func_id: str, version: str, count: int = 1) -> None:
        self.throttled_.append(func_id)

    def heartbeat_failed(self, func_id: str, version: str) -> None:
        self.unwell.append(func_id)

    def lines_dropped(self, func_id: str, version: str, count: int) -> None:
        self.dropped += count

    def evicted(self, count: int = 1) -> None:
        self.evicted_ += count


def function(name: str = "f", **changes: Any) -> Function:
    values: dict[str, Any] = {
        "func_id": f"id-{name}", "project_id": "p", "package": "default", "name": name, "runtime": "Python3.12",
        "handler": "index.handler", "timeout_s": 3, "memory_mib": 128, "code_type": "inline", "code_digest": "d" * 128,
        "code_size_bytes": 1, "created_s": 0.0, "last_modified_s": 0.0,
    }  # fmt: skip
    return Function(**(values | changes))


def changed(old: Function, **changes: Any) -> Function:
    return msgspec.structs.replace(old, revision=old.revision + 1, **changes)


class Bench:
    """The scheduler under test and what surrounds it."""

    def __init__(self, scheduler: Scheduler, host: PlayedHost, book: Book, tally: Tally) -> None:
        self.scheduler = scheduler
        self.host = host
        self.book = book
        self.tally = tally

    def call(
        self, target: Function, event: bytes = b"{}", *, want_tail: bool = False, memory_mib: int = 0
    ) -> "Waiting":
        waiting = Waiting()
        options = CallOptions(memory_mib=memory_mib)
        call = Call(target, new_request_id(), event, waiting.done, received_s=0.0, want_tail=want_tail, options=options)
        waiting.call = call
        self.scheduler.submit(call)
        return waiting

    async def settle(self) -> None:
        """Lets everything happen that can happen without time."""
        for _ in range(10):
            await trio.testing.wait_all_tasks_blocked(0.001)


class Waiting:
    """An outcome on its way."""

    call: Call

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self._over = trio.Event()

    def done(self, call: Call, outcome: Outcome) -> None:
        assert call is self.call
        self.outcomes.append(outcome)
        self._over.set()

    async def outcome(self) -> Outcome:
        with trio.fail_after(5):
            await self._over.wait()
        assert len(self.outcomes) == 1
        return self.outcomes[0]


@asynccontextmanager
async def bench(
    *, memory_mib: int = 4096, mounter: Mounter | None = None, **settings: Any
) -> AsyncIterator[Bench]:  # fmt: skip
    config = replace(Config(), **({"blank_pool": 0, "blank_pool_max": 0} | settings))
    host, book, reactor = PlayedHost(), Book(), Reactor()
    tally = Tally()

    async def drain() -> None:
        while True:
            await trio.lowlevel.wait_readable(reactor.fileno())
            reactor.drain()

    async with trio.open_nursery() as nursery:
        recorder = Recorder(book, tally)
        gate = None if mounter is None else Gate(mounter, nursery)
        scheduler = Scheduler(
            config, host=host, reactor=reactor, nursery=nursery, budget=Budget(memory_mib, 1000), book=book,
            recorder=recorder, counters=tally,
            binding=lambda f: Binding(f.code_digest, Limits.for_memory(f.memory_mib)),
            init_document=lambda f, *ids: json.dumps({"handler": f.handler, "ids": ids}).encode(), gate=gate,
        )  # fmt: skip
        nursery.start_soon(drain)
        nursery.start_soon(scheduler.run)
        yield Bench(scheduler, host, book, tally)
        recorder.pass_on()
        nursery.cancel_scope.cancel()
    await host.aclose()
    reactor.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Runs an async test body."""

    async def bounded() -> None:
        with trio.fail_after(20):
            await test()

    trio.run(bounded)
