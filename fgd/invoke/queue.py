"""The asynchronous queue: takes events, puts them on disk, and sees to it that each runs.

Theory of operation: `run` is one loop. It gathers new events, results, cancellations and wishes for more events into
one `Work` for `fgd.store.queue`, commits it (group commit, one fsync), tells the callers, and gives what it has
claimed to the `Runner`. Everything else is synchronous and runs between two commits or beside one.

Of the events on disk only a window is in memory: twice as many as may run at once, and one at least for each function
version with events that are due. Those that wait for a later moment (retries) are known by an alarm for the
first of each function version.

An event may run more than once: after a crash of the daemon, what was claimed runs again.
"""

import heapq
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Final, Self

import msgspec
import trio

from fgd.call import PLAIN, CallOptions
from fgd.config import Config
from fgd.errors import FgdError, Overloaded, StorageFull, Unavailable
from fgd.invoke.api import Call, Invoker, Outcome
from fgd.invoke.async_line import Line
from fgd.invoke.async_runner import Runner
from fgd.invoke.extras import ExtrasOf, extras_of
from fgd.model import AsyncConfig, Function
from fgd.store.api import AsyncRecord
from fgd.store.deliveries import DeliveryStore, NewDelivery
from fgd.store.queue import Done, Key, NewEvent, QueueStore, Work, state_numbers

log = logging.getLogger(__name__)

#: After a failed commit, before the next.
_FAILED_PAUSE_S: Final = 0.5
#: Bytes of events that may wait for their commit; at 256 KiB each that is 256 events.
_PENDING_MAX_BYTES: Final = 64 * 1024 * 1024
#: Events of one transaction; more would make the first of them wait longer than the fsync does.
_BATCH_MAX: Final = 1024
#: Function versions from which one transaction claims events.
_LINES_AT_ONCE: Final = 64
_TIDY_S: Final = 60.0

type EnqueuedCallback = Callable[[Exception | None], None]
type CancelledCallback = Callable[[bool | Exception], None]
type Enqueued = tuple[NewEvent, EnqueuedCallback]


class AsyncQueue:
    """Durable asynchronous invocation. Make it with `open`, run `run`, close it with `aclose`."""

    def __init__(
        self,
        store: QueueStore,
        config: Config,
        *,
        invoker: Invoker,
        functions: Callable[[str, str], Function | None],
        settings: Callable[[str, str], AsyncConfig],
        record: Callable[[Call, Outcome, int], object],
        now_s: Callable[[], float],
        extras: ExtrasOf = extras_of,
    ) -> None:
        self._store = store
        self._now_s = now_s
        self._backlog_max = config.async_backlog_max
        self._keep_s = config.async_keep_s
        self._runner = Runner(
            config, invoker=invoker, functions=functions, settings=settings, record=record, now_s=now_s,
            extras=extras, wake=lambda: self._wake.set(), pause=self._alarm,
        )  # fmt: skip
        self._lines: dict[Key, Line] = {}
        #: Lines that have events waiting which are due, in turn.
        self._fetch: dict[Line, None] = {}
        self._new: deque[Enqueued] = deque()
        self._new_bytes = 0
        self._cancels: list[tuple[str, CancelledCallback]] = []
        #: Events on disk that nobody has claimed.
        self._waiting = 0
        self._alarms: list[tuple[float, int, Line]] = []
        self._alarm_number = count()
        self._wake = trio.Event()
        self._idle = trio.Event()
        self._accepting = False
        self._open_deliveries: Callable[[], int] = lambda: 0
        self._delivery_stored: Callable[[Sequence[NewDelivery]], None] = lambda new: None

    @classmethod
    async def open(
        cls,
        state_dir: Path,
        config: Config,
        *,
        invoker: Invoker,
        functions: Callable[[str, str], Function | None],
        settings: Callable[[str, str], AsyncConfig],
        record: Callable[[Call, Outcome, int], object],
        now_s: Callable[[], float] = time.time,
        extras: ExtrasOf = extras_of,
    ) -> Self:
        """Opens `queue.db` in the state directory and finds out what waits in it.

        Args:
            functions: the function of a (func_id, version), None when it is deleted.
            settings: its settings; the defaults when it has none.
            record: told of every invocation that is over, as `Recorder.invocation` is.
            now_s: epoch seconds.
            extras: what goes to the function with an event, see `fgd.invoke.extras`.

        Raises:
            StateError, StorageFull: as `fgd.store.sqlite.Database.open`.
        """
        store = await QueueStore.open(state_dir)
        self = cls(
            store, config, invoker=invoker, functions=functions, settings=settings, record=record, now_s=now_s,
            extras=extras,
        )  # fmt: skip
        try:
            for key, waiting, due_s in await store.recover(now_s()):
                line = self._line(key)
                line.waiting = waiting
                self._waiting += waiting
                self._due(line, due_s)
        except BaseException:
            await store.aclose()
            raise
        self._accepting = True
        return self

    @property
    def waiting(self) -> int:
        """Events that are not over and do not run."""
        runner = self._runner
        return self._waiting + runner.held - runner.running + runner.retrying

    @property
    def running(self) -> int:
        return self._runner.running

    @property
    def deliveries(self) -> DeliveryStore:
        """Outcomes that go somewhere, on disk."""
        return self._store.deliveries

    def attach(self, stored: Callable[[Sequence[NewDelivery]], None], open_deliveries: Callable[[], int]) -> None:
        """Says who takes deliveries where they go.

        Args:
            stored: told of deliveries that are on disk.
            open_deliveries: how many are not over; they count as backlog, or a target that is away would fill the disk.
        """
        self._delivery_stored = stored
        self._open_deliveries = open_deliveries

    def enqueue_soon(
        self,
        function: Function,
        request_id: str,
        event: bytes,
        done: EnqueuedCallback,
        options: CallOptions = PLAIN,
        *,
        delivery: int = 0,
    ) -> None:
        """Stores an event with the next batch; `done(None)` once it is on disk, `done(error)` if it could not be.

        `done` is called exactly once, from inside the loop, never from inside here.

        Args:
            delivery: the delivery whose document the event is; it is over in the same transaction.

        Raises:
            Overloaded: the backlog is full.
            Unavailable: fgd is shutting down.
        """
        if not self._accepting:
            raise Unavailable("fgd is shutting down")
        open_events = self._waiting + self._runner.held + self._runner.retrying + len(self._new)
        if not delivery:  # a delivery makes room for its event
            open_events += self._open_deliveries()
        if open_events >= self._backlog_max or self._new_bytes >= _PENDING_MAX_BYTES:
            raise Overloaded
        text = "" if options is PLAIN else msgspec.json.encode(options).decode()
        key = (function.func_id, function.version)
        self._new.append((NewEvent(key, request_id, event, self._now_s(), text, delivery), done))
        self._new_bytes += len(event)
        self._wake.set()

    async def enqueue(
        self, function: Function, request_id: str, event: bytes, options: CallOptions = PLAIN, *, delivery: int = 0
    ) -> None:
        """Stores an event; when this returns it is on disk. If the wait is cancelled it may be stored or not.

        Raises:
            Overloaded, Unavailable: as `enqueue_soon`.
            StorageFull: it was not stored.
        """
        over = trio.Event()
        errors: list[Exception] = []

        def done(error: Exception | None) -> None:
            if error is not None:
                errors.append(error)
            over.set()

        self.enqueue_soon(function, request_id, event, done, options, delivery=delivery)
        await over.wait()
        if errors:
            raise errors[0]

    async def cancel(self, request_id: str) -> bool:
        """Stops an invocation that waits or runs; whether there was one. Its record says DISCARD.

        Raises:
            StorageFull: it could not be written down.
        """
        if self._runner.cancel(request_id):
            return True
        answer: list[bool | Exception] = []
        over = trio.Event()

        def done(result: bool | Exception) -> None:
            answer.append(result)
            over.set()

        self._cancels.append((request_id, done))
        self._wake.set()
        await over.wait()
        if isinstance(answer[0], Exception):
            raise answer[0]
        # It may have been claimed by the commit that was under way when this began.
        return answer[0] or self._runner.cancel(request_id)

    async def list_records(
        self, func_id: str, *, version: str = "", request_id: str = "", state: str = "", begin_s: float = 0.0,
        end_s: float = 0.0, offset: int = 0, limit: int = 100,
    ) -> list[AsyncRecord]:  # fmt: skip
        """Records of a function, newest first; "" and 0 mean any. Times are those of enqueueing, both included.

        A function whose `enable_status_log` is off has records only of what is not over.
        """
        return await self._store.records(
            func_id, version=version, request_id=request_id, states=state_numbers(state), begin_s=begin_s,
            end_s=end_s, offset=offset, limit=limit, held=self._runner.waiting_ids(),
        )  # fmt: skip

    def stop(self) -> None:
        """Takes and starts no more events; what runs goes on, and `run` writes down what becomes of it."""
        self._accepting = False
        self._runner.stopped = True
        self._wake.set()

    async def wait_idle(self) -> None:
        """After `stop`, while `run` runs: waits until no event runs any more and everything is written down."""
        await self._idle.wait()

    async def aclose(self) -> None:
        """Closes the database; after `run` has ended. May be called twice."""
        self._accepting = False
        await self._store.aclose()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Works until cancelled; writes down then what is known already."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tidy)
            task_status.started()
            try:
                while True:
                    await self._cycle()
            finally:
                self.stop()
                with trio.CancelScope(shield=True):
                    await self._last_commits()

    # --- the loop ----------------------------------------------------------------------------------------

    async def _cycle(self) -> None:
        self._ring_alarms()
        claims = self._plan_claims()
        if claims or self._unwritten():
            if not await self._commit(claims):
                await trio.sleep(_FAILED_PAUSE_S)
            self._runner.dispatch()
            return
        if self._runner.stopped and not self._runner.running:
            self._idle.set()
        self._wake = trio.Event()
        # An alarm may have come since they were rung, a microsecond ago.
        with trio.move_on_after(max(0.0, self._alarms[0][0] - self._now_s()) if self._alarms else math.inf):
            await self._wake.wait()

    async def _last_commits(self) -> None:
        while self._unwritten() and await self._commit([]):
            pass
        while self._new:
            _tell(self._new.popleft()[1], Unavailable("fgd is shutting down"))

    def _unwritten(self) -> bool:
        return bool(self._new or self._cancels or self._runner.results)

    async def _commit(self, claims: list[tuple[Key, int]]) -> bool:
        """Writes one batch; False when it could not be written. Then new events are refused, and results kept."""
        batch = self._next_batch()
        results = self._runner.take_results()
        cancels, self._cancels = self._cancels, []
        new = [event for event, _ in batch]
        cancelled = [request_id for request_id, _ in cancels]
        self._waiting += len(batch)  # counted from now on, so that the backlog's limit holds during the commit
        try:
            done = await self._store.commit(
                Work(self._now_s(), new, results.changes, results.forget, results.deliveries, cancelled, claims)
            )
        except Exception as error:  # whatever it is, callers get their answer and results are tried again
            self._waiting -= len(batch)
            self._runner.give_back(results)
            _fail(error, batch, cancels)
            return False
        self._runner.stored(results)
        if results.deliveries:
            self._delivery_stored(results.deliveries)
        for key, due_s in results.retried:
            self._waiting += 1
            line = self._line(key)
            line.waiting += 1
            self._due(line, due_s)
        for event in new:
            line = self._line(event.key)
            line.waiting += 1
            self._fetch[line] = None
        for (_, answer), owner in zip(cancels, done.cancelled, strict=True):
            if owner is not None:
                self._line(owner).waiting -= 1
                self._waiting -= 1
            answer(owner is not None)
        self._take(done)
        for _, enqueued in batch:
            _tell(enqueued, None)
        return True

    def _next_batch(self) -> list[Enqueued]:
        batch: list[Enqueued] = []
        size = 0
        most_bytes = self._store.batch_max_bytes
        while self._new and len(batch) < _BATCH_MAX and (not batch or size + len(self._new[0][0].event) <= most_bytes):
            batch.append(self._new.popleft())
            size += len(batch[-1][0].event)
        self._new_bytes -= size
        return batch

    def _plan_claims(self) -> list[tuple[Key, int]]:
        """How many events of which lines to bring into memory, so that twice the workers' number are there."""
        runner = self._runner
        if runner.stopped:
            return []
        for new, _ in self._new:  # the coming commit stores and claims them at once
            self._fetch.setdefault(self._line(new.key))
        lines = list(self._fetch)
        if not lines:
            return []
        free = 2 * runner.workers - runner.held
        share = max(1, free // len(lines))
        claims: list[tuple[Key, int]] = []
        for line in lines:
            room = min(share, 2 * runner.line_cap - line.held, free)
            if room <= 0 and not line.held:
                room = 1  # the rule that a line of which nothing runs may always go on
            if room > 0:
                claims.append((line.key, room))
                free -= room
                if len(claims) == _LINES_AT_ONCE:
                    break
        return claims

    def _take(self, done: Done) -> None:
        """What was claimed comes into memory."""
        for key, events, due_s in done.claimed:
            line = self._line(key)
            line.waiting -= len(events)
            self._waiting -= len(events)
            self._runner.add(line, events)
            del self._fetch[line]
            if due_s is not None:
                self._due(line, due_s)

    # --- lines -------------------------------------------------------------------------------------------

    def _line(self, key: Key) -> Line:
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(key)
        return line

    def _due(self, line: Line, due_s: float) -> None:
        """The line's next waiting event is due then."""
        if due_s <= self._now_s():
            self._fetch[line] = None
        else:
            self._alarm(line, due_s)

    def _alarm(self, line: Line, at_s: float) -> None:
        """At that moment the line gets its chance again."""
        heapq.heappush(self._alarms, (at_s, next(self._alarm_number), line))
        self._wake.set()

    def _ring_alarms(self) -> None:
        now_s = self._now_s()
        while self._alarms and self._alarms[0][0] <= now_s:
            line = heapq.heappop(self._alarms)[2]
            if line.waiting:
                self._fetch[line] = None
            self._runner.resume(line)
        self._runner.dispatch()

    async def _tidy(self) -> None:
        """Removes old records, some thousands at a time so that commits get in between, and lines without events."""
        while True:
            for line in list(self._lines.values()):
                if not (line.waiting or line.held or line in self._fetch):
                    del self._lines[line.key]
            try:
                at = await self._store.expire(self._now_s() - self._keep_s, 0)
                while at:
                    at = await self._store.expire(self._now_s() - self._keep_s, at)
                await self._store.keep_reserve()
            except StorageFull as error:
                log.error("asynchronous queue: old records could not be removed: %s", error)
            await trio.sleep(_TIDY_S)


def _fail(error: Exception, batch: list[Enqueued], cancels: list[tuple[str, CancelledCallback]]) -> None:
    """Tells everyone that nothing was stored."""
    if isinstance(error, FgdError):
        log.error("asynchronous queue: %s", error)
    else:
        log.error("asynchronous queue: a batch could not be written", exc_info=error)
        error = StorageFull("queue.db: the event could not be stored")
    for _, enqueued in batch:
        _tell(enqueued, error)
    for _, answer in cancels:
        answer(error)


def _tell(done: EnqueuedCallback, error: Exception | None) -> None:
    try:
        done(error)
    except Exception:  # one caller's fault must not cost the others their answers
        log.exception("asynchronous queue: a caller failed when it was told of its event")
