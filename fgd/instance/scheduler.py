"""Decides which function version gets an instance.

Fairness: of the versions that want instances the one that has least memory comes first; each has a bounded waiting
line of its own; when the node is full, some make room for others (`fgd.instance.room`).
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

import trio

from fgd.call import PLAIN, Call
from fgd.clock import new_request_id
from fgd.config import Config
from fgd.errors import PlatformError, Unavailable
from fgd.instance import codes
from fgd.instance.blanks import BlankPool, discard
from fgd.instance.budget import Budget
from fgd.instance.ending import Endings
from fgd.instance.gate import Gate
from fgd.instance.instance import Instance, State, draw_id
from fgd.instance.logtap import LogTap
from fgd.instance.pool import Pool
from fgd.instance.prestop import Farewells
from fgd.instance.recorder import Counters, Recorder
from fgd.instance.room import Room
from fgd.instance.sizes import Resizer, Sizes, size_wished, sized
from fgd.instance.standby import Standby
from fgd.instance.upkeep import Upkeep
from fgd.linux.reactor import Reactor
from fgd.model import Function
from fgd.sandbox.api import Binding, Sandbox, SandboxHost
from fgd.sandbox.mount_plan import Owner
from fgd.store.api import LogBook, StartRecord
from fgd.wire import frames

log = logging.getLogger(__name__)

_REVIEW_S: Final = 0.004
_perf = time.perf_counter

type InitDocument = Callable[[Function, str, str, str], bytes]
"""(function, instance id, load request id, init request id) -> body of the INIT frame."""


type PoolKey = tuple[str, str, int]
"""(func_id, version, memory size; 0 for the function's own)."""


def _share_mib(pool: Pool) -> int:
    return pool.share_mib


def _no_extras(function: Function) -> bytes:
    return b""


class Scheduler:
    """The one owner of pools, blanks and the budget. Everything but `run` is synchronous."""

    def __init__(
        self,
        config: Config,
        *,
        host: SandboxHost,
        reactor: Reactor,
        nursery: trio.Nursery,
        budget: Budget,
        book: LogBook,
        recorder: Recorder,
        binding: Callable[[Function], Binding],
        init_document: InitDocument,
        counters: Counters,
        gate: Gate | None = None,
        stop_extras: Callable[[Function], bytes] = _no_extras,
        network: Callable[[Function], str] = lambda function: "none",
    ) -> None:
        """`stop_extras` gives what a pre-stop handler's context gets beside the function: JSON or empty."""
        self.host = host
        self._reactor = reactor
        self._nursery = nursery
        self._book = book
        self.recorder = recorder
        self._binding = binding
        self._init_document = init_document
        self._counters = counters
        self._gate = gate
        self._network = network
        self.budget = budget
        self.blanks = BlankPool(host, nursery, config.blank_pool, config.blank_pool_max)
        self.pools: dict[PoolKey, Pool] = {}
        #: The same pools by function version.
        self._sizes: dict[tuple[str, str], Sizes] = {}
        self._resizer = Resizer(self, budget, nursery)
        self.farewells = Farewells(draw_id, stop_extras)
        #: Calls in all waiting lines.
        self.waiting = 0
        self.endings = Endings(self, budget, self.farewells, counters, nursery)
        self.room = Room(self, budget, self.farewells, self._resizer, counters)
        #: The same as the room's, looked at after every answer.
        self.starving = self.room.starving
        self._wanting: OrderedDict[Pool, None] = OrderedDict()
        self._review: set[Pool] = set()
        self._review_wake = trio.Event()
        #: Starts that go on now.
        self.starts = 0
        self.closed = False
        self._upkeep = Upkeep(self)
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Takes the settings that may change while fgd runs."""
        self.config = config
        self.queue_max = config.queue_max
        self.queue_total_max = config.queue_total_max
        self.blanks.resize(config.blank_pool, config.blank_pool_max)

    # --- calls -------------------------------------------------------------------------------------------

    def submit(self, call: Call) -> None:
        """See `fgd.invoke.api.Invoker.submit`."""
        call.submitted_s = _perf()
        function = call.function
        options = call.options
        size_mib = 0 if options is PLAIN else options.memory_mib
        if size_mib:
            size_mib = size_wished(function, size_mib)
        pool = self.pools.get((function.func_id, function.version, size_mib))
        if pool is None:
            if self.closed:
                raise Unavailable("fgd is shutting down; try again later")
            pool = self._new_pool(function, size_mib)
        elif self.closed:
            raise Unavailable("fgd is shutting down; try again later")
        if size_mib:
            call.function = pool.function
        pool.submit(call)

    def throttled(self, function: Function) -> None:
        """A call was refused because the function's waiting line is full."""
        self._counters.throttled(function.func_id, function.version)

    def cancel(self, call: Call) -> None:
        """See `fgd.invoke.api.Invoker.cancel`."""
        self.stop_call(call, codes.CANCELLED, "function invocation canceled", "Canceled")

    def _new_pool(self, function: Function, size_mib: int) -> Pool:
        key = (function.func_id, function.version)
        sizes = self._sizes.setdefault(key, Sizes())
        pool = self.pools[(*key, size_mib)] = sizes.pools[size_mib] = Pool(self, sized(function, size_mib), sizes)
        return pool

    def pool_of(self, function: Function) -> Pool:
        """The pool of a version in its own size, made when it is new."""
        pool = self.pools.get((function.func_id, function.version, 0))
        return self._new_pool(function, 0) if pool is None else pool

    def pools_of(self, function: Function) -> list[tuple[int, Pool]]:
        """The pools of a version with their sizes."""
        sizes = self._sizes.get((function.func_id, function.version))
        return [] if sizes is None else list(sizes.pools.items())

    def forget_pool(self, key: PoolKey) -> None:
        """A pool that has nothing and is not needed any more."""
        del self.pools[key]
        sizes = self._sizes[key[:2]]
        del sizes.pools[key[2]]
        if not sizes.pools:
            del self._sizes[key[:2]]

    def stop_call(self, call: Call, code: int, message: str, error_type: str) -> None:
        """Answers a call that is at work or waits, and has the runtime stop it."""
        instance = call.instance
        if isinstance(instance, Instance) and call.call_id in instance.calls:
            if instance.capacity == 1:
                instance.calls.pop(call.call_id)
                instance.kill(message)
            else:
                instance.abandon(call, _perf())
            instance.pool.complete(call, codes.platform_outcome(code, message, error_type), instance.id)
            return
        for _, pool in self.pools_of(call.function):
            if call in pool.waiting:
                pool.waiting.remove(call)
                self.waiting -= 1
                pool.complete(call, codes.platform_outcome(code, message, error_type))

    # --- functions ---------------------------------------------------------------------------------------

    def function_changed(self, old: Function | None, new: Function | None) -> None:
        """A version was made, changed or removed: instances of what it was take no more calls."""
        current = new or old
        if current is None:
            return
        if new is not None and not new.disabled:
            self.blanks.want(new.runtime, self._network(new))
        for size_mib, pool in self.pools_of(current):
            if new is not None:
                pool.function = sized(new, size_mib)
            self._pool_changed(pool, old, new)
            if new is None:
                self.forget_pool((current.func_id, current.version, size_mib))
            self.want(pool)

    def _pool_changed(self, pool: Pool, old: Function | None, new: Function | None) -> None:
        # A new description or limit is nothing that an instance would notice: the revision stays, and so do they.
        if new is None:
            pool.reserve.aim(0)
        if new is None or old is None or old.revision != new.revision or new.disabled:
            for instance in list(pool.instances):
                if instance.standby is not None and new is not None and instance.function.revision == new.revision:
                    pool.adopt(instance)
            for instance in list(pool.instances):
                if new is None or new.disabled or instance.function.revision != new.revision:
                    pool.drain(instance)
            pool.reserve.begin_again()
        pool.reserve.settle()
        if new is None:
            while pool.waiting:
                call = pool.next_call()
                pool.complete(
                    call, codes.platform_outcome(codes.CANCELLED, "the function was deleted", "FunctionDeleted")
                )

    def drain_version(self, version: Function) -> None:
        """No alias points to a version any more: its instances take no more calls and end when they have none, but for
        those that are reserved."""
        for _, pool in self.pools_of(version):
            for instance in list(pool.instances):
                if not instance.reserved:
                    pool.drain(instance)
            self.want(pool)

    # --- starting ----------------------------------------------------------------------------------------

    def want(self, pool: Pool) -> None:
        """Looks whether the pool needs more instances; starts what may be started now."""
        if not pool.waiting and not pool.reserve.count:
            return
        if pool.shortage(_perf()) > 0:
            if pool in self.starving and pool.sizes.idle_beside(pool):
                del self.starving[pool]
            if pool not in self.starving:
                self._wanting[pool] = None
            self._pump()
        elif pool.held_back:
            self.starving[pool] = None
        elif pool.waiting and pool.ready and not self.closed:
            # It bets on a running instance; look again soon whether the bet was won.
            if not self._review:
                self._review_wake.set()
            self._review.add(pool)

    def _pump(self) -> None:
        now = _perf()
        while self._wanting and self.starts < self.config.starts_at_once and not self.closed:
            pool = min(self._wanting, key=_share_mib)  # the first of those that have least
            del self._wanting[pool]
            if pool.shortage(now) <= 0:
                continue
            if self._gate is not None and not self._gate.admits(pool, self.pools.values(), self.config.starts_at_once):
                continue
            if not self._resizer.take_over(pool):
                if pool.sizes.full(pool.function):
                    self.end(pool.sizes.idle_longest(pool)[0], "ended: its function wants another memory size")
                if not self.room.make(pool.function):
                    self.starving[pool] = None
                    continue
                self._start(pool)
            if pool.shortage(now) > 0:
                self._wanting[pool] = None

    def _start(self, pool: Pool) -> None:
        self.starts += 1
        blank = self.take_blank(pool.function)
        if blank is not None:
            self.begin(pool, pool.function, blank, _perf(), pooled=True)
        else:
            pool.opening += 1
            self._nursery.start_soon(self._open, pool, pool.function)

    async def _open(self, pool: Pool, function: Function) -> None:
        began_s = _perf()
        try:
            sandbox = await self.open_sandbox(function)
        except PlatformError as error:
            log.error("instance of %s not started: %s", function.name, error)
            pool.opening -= 1
            self.start_over()
            self.room.release(function)
            outcome = codes.platform_outcome(codes.INIT_FAILED, f"sandbox could not be made: {error}", "SandboxError")
            outcome.function_error = False
            pool.fail_start([], outcome)
            return
        pool.opening -= 1
        if (
            self.closed
            or pool.function.revision != function.revision
            or not (pool.waiting or pool.reserve.missing(_perf()))
        ):
            # What it was opened for is gone or was served meanwhile.
            self.start_over()
            self.room.release(function)
            self.want(pool)
            await discard(sandbox)
            return
        self.begin(pool, function, sandbox, began_s, pooled=False)

    def take_blank(self, function: Function) -> Sandbox | None:
        """A blank that a function may have, at once; None when there is none, or it needs one of its own."""
        if self._own_ids(function) is not None:
            return None
        return self.blanks.take(function.runtime, self._network(function))

    async def open_sandbox(self, function: Function) -> Sandbox:
        """A blank sandbox of its own for a function.

        Raises:
            PlatformError: see `SandboxHost.open`.
        """
        return await self.host.open(function.runtime, self._own_ids(function), self._network(function))

    def _own_ids(self, function: Function) -> Owner | None:
        return self._gate.own_ids(function) if self._gate is not None else None

    def start_over(self) -> None:
        """A start has ended, well or not: another one may begin."""
        self.starts -= 1
        if self._gate is not None:
            self._wanting.update(dict.fromkeys(self._gate.released()))
        if self._wanting:
            self._nursery.start_soon(self._pump_soon)

    def want_again(self, pools: Iterable[Pool]) -> None:
        """There may be room now for what did not get an instance."""
        self._wanting.update(dict.fromkeys(pools))
        if self._wanting:
            self._pump()

    async def _pump_soon(self) -> None:
        self._pump()

    def begin(
        self, pool: Pool, function: Function, sandbox: Sandbox, began_s: float, *, pooled: bool,
        standby: Standby | None = None,
    ) -> Instance:  # fmt: skip
        """Makes an instance of a sandbox. It gets the call that has waited longest, unless it only stands by."""
        # First of all: the launcher is at work while we are.
        sandbox.bind(self._binding(function))
        config = self.config
        tap = LogTap(
            self._book, function.func_id, function.version, sandbox.id,
            lines_per_s=config.log_lines_per_s, bytes_per_s=config.log_bytes_per_s,
        )  # fmt: skip
        instance = Instance(pool, function, sandbox, self._reactor, tap)
        instance.started_s = began_s
        instance.pooled = pooled
        instance.load_request_id = new_request_id()
        instance.init_request_id = new_request_id() if function.initializer_handler else ""
        instance.standby = standby
        pool.instances.add(instance)
        if standby is None:
            pool.starting += 1
            pool.reserve.settle()
        else:
            pool.standbys += 1
        body = self._init_document(function, sandbox.id, instance.load_request_id, instance.init_request_id)
        instance.begin(frames.frame(frames.INIT, 0, body))
        if standby is None and not pool.ready and pool.waiting:
            instance.assigned = True
            pool.assigned += 1
            instance.send(pool.next_call())
        return instance

    def record_start(self, instance: Instance, code: int) -> None:
        """Writes down how a start went: code 0, or why it failed."""
        ready = instance.ready
        ago_s = ready.ago_s()
        total_us = max(0, int((_perf() - ago_s - instance.started_s) * 1e6))
        load_us, init_us = min(ready.load_us, total_us), min(ready.init_us, total_us)
        instance.sandbox_us = max(0, total_us - load_us - init_us)
        self.recorder.start(
            StartRecord(
                time.time() - ago_s - total_us / 1e6,
                instance.function.func_id,
                instance.function.version,
                instance.id,
                instance.sandbox_us,
                load_us,
                init_us,
                code,
                instance.load_request_id,
                instance.init_request_id,
                min(max(ready.memory_bytes, 0), instance.function.memory_mib << 20),
                instance.pooled,
            )
        )
        instance.started_s = 0.0

    # --- ending ------------------------------------------------------------------------------------------

    def end(self, instance: Instance, reason: str) -> None:
        """The orderly end of an instance without calls: its pre-stop handler is called first, if it has one."""
        self.farewells.end(instance, reason)

    # --- time --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Looks after deadlines, freezing and keep-alive until cancelled."""
        self._nursery.start_soon(self._run_reviews)
        await self._upkeep.run()

    async def _run_reviews(self) -> None:
        while True:
            await self._review_wake.wait()
            self._review_wake = trio.Event()
            await trio.sleep(_REVIEW_S)
            pools, self._review = self._review, set()
            for pool in pools:
                self.want(pool)

    def tick(self, now: float) -> None:
        """One look at every instance."""
        self._upkeep.tick(now)

    # --- the whole ---------------------------------------------------------------------------------------

    @property
    def code_in_use(self) -> set[str]:
        """Digests of the packages that instances run, also such as no function names any more."""
        instances = [one for pool in self.pools.values() for one in pool.instances]
        return {digest for one in (*instances, *self.farewells.stopping) for digest in one.function.packages}

    @property
    def busy(self) -> int:
        """Calls that are being worked on or wait."""
        return self.waiting + sum(len(i.calls) for pool in self.pools.values() for i in pool.instances)

    def count(self) -> dict[str, int]:
        """Instances by state, and those that are frozen."""
        counts = {"starting": 0, "idle": 0, "busy": 0, "frozen": 0, "draining": 0}
        counts["ending"] = self.endings.dying + len(self.farewells.stopping)
        for pool in self.pools.values():
            for instance in pool.instances:
                if instance.state is State.STARTING:
                    counts["starting"] += 1
                elif instance.state is State.DRAINING:
                    counts["draining"] += 1
                elif instance.calls:
                    counts["busy"] += 1
                elif instance.frozen:
                    counts["frozen"] += 1
                else:
                    counts["idle"] += 1
        return counts

    def _end_idle(self) -> None:
        """Ends what no waiting call needs."""
        for pool in list(self.pools.values()):
            for instance in [] if pool.waiting else [one for one in pool.instances if one.is_idle]:
                self.end(instance, "fgd is shutting down")

    async def drain(self, seconds: float) -> None:
        """Takes no more calls, lets those at work end for so long, then ends every instance."""
        self.closed = True
        with trio.move_on_after(seconds):
            self._end_idle()
            while self.busy or self.farewells.stopping:
                await trio.sleep(0.02)
                self._end_idle()
        self.blanks.close()
        for pool in list(self.pools.values()):
            while pool.waiting:
                outcome = codes.platform_outcome(codes.CANCELLED, "fgd is shutting down", "ShuttingDown")
                pool.complete(pool.next_call(), outcome)
            for instance in list(pool.instances):
                instance.kill("fgd is shutting down")
        for instance in list(self.farewells.stopping):
            instance.kill("fgd is shutting down")
        with trio.move_on_after(5):
            while self.endings.dying:
                await trio.sleep(0.01)
