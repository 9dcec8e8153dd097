"""Takes outcomes of asynchronous invocations from the disk to where they go, again and again until they have arrived.

Theory of operation: as in the queue, each function version has a line, of which the moment is known at which its next
delivery is due; rows come into memory when they are tried and are *held* until what became of the try is on disk. A
line holds a few at most, so that a target that is slow keeps nobody else waiting. One task writes results in groups.

A crash loses nothing that was not written: what was tried is tried again. So a delivery happens at least once.
"""

import heapq
import itertools
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol

import trio

from fgd.config import Config
from fgd.destination import Delivery, Undeliverable
from fgd.errors import FgdError
from fgd.invoke.destinations import DeliveryTimeout
from fgd.store.deliveries import (
    FAILED,
    OPEN,
    STATES,
    DeliveryStore,
    Key,
    NewDelivery,
    Settlement,
    StoredDelivery,
)

log = logging.getLogger(__name__)

#: No pause between two tries is longer.
BACKOFF_MAX_S: Final = 300.0
#: Deliveries of one function version at once.
LINE_MAX: Final = 4
_FAILED_PAUSE_S: Final = 0.5
_TIDY_S: Final = 60.0
#: So many rounds of tidying between two of the destinations' own.
_TIDY_KINDS_EVERY: Final = 10
_ERROR_MAX_CHARS: Final = 512

#: Told what became of deliveries of a function version to a kind: "delivered", "retried", "failed" or "dropped".
type Count = Callable[[str, str, str, str, int], None]
#: Writes a line into a function's log: (func_id, version, request id, level, text).
type Note = Callable[[str, str, str, str, str], None]


class Carrier(Protocol):
    """Carries a delivery there: `fgd.invoke.destinations.Destinations`, or what takes messages to subscribers."""

    async def deliver(self, kind: str, param: str, delivery: Delivery) -> None:
        """One try; see `Destinations.deliver`."""

    async def tidy(self) -> None:
        """Clears away what there is to clear away."""


class _Line:
    """Deliveries of one function version. `due_s`: when the next one that is not held is due; None for none."""

    __slots__ = ("due_s", "held", "in_turn", "key")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.due_s: float | None = None
        self.held: set[int] = set()
        self.in_turn = False

    def soonest(self, due_s: float | None) -> None:
        if due_s is not None:
            self.due_s = due_s if self.due_s is None else min(due_s, self.due_s)


class Deliverer:
    """Run `run`; everything else may be called while it runs."""

    def __init__(
        self,
        store: DeliveryStore,
        destinations: Carrier,
        config: Config,
        *,
        now_s: Callable[[], float],
        project_of: Callable[[str], str],
        count: Count,
        note: Note,
    ) -> None:
        """
        Args:
            project_of: of a function version's URN.
        """
        self._store = store
        self._destinations = destinations
        self._config = config
        self._now_s = now_s
        self._project_of = project_of
        self._count = count
        self._note = note
        self._lines: dict[Key, _Line] = {}
        self._round: deque[_Line] = deque()
        self._alarms: list[tuple[float, int, _Line]] = []
        self._number = itertools.count()
        self._running = 0
        self._delivered: list[tuple[_Line, int]] = []
        self._others: list[tuple[_Line, Settlement]] = []
        self._wake = trio.Event()
        self._write = trio.Event()
        #: Deliveries that are not over.
        self.open = 0
        #: Failed ones that are kept.
        self.failed = 0

    def stored(self, new: Sequence[NewDelivery]) -> None:
        """Told of deliveries that are on disk."""
        self.open += len(new)
        for one in new:
            self._expect(self._line(one.key), one.created_s)

    async def list(
        self, func_id: str, *, version: str = "", state: str = "", request_id: str = "", offset: int = 0, limit: int
    ) -> list[StoredDelivery]:  # fmt: skip
        """Deliveries of a function that are not over or were given up, newest first; "" means any."""
        number = STATES.index(state) if state else None
        return await self._store.list(
            func_id, version=version, state=number, request_id=request_id, offset=offset, limit=limit
        )

    async def get(self, func_id: str, number: int) -> StoredDelivery | None:
        """One with its document."""
        return await self._store.get(func_id, number)

    async def again(self, func_id: str, version: str, ids: Sequence[int] | None) -> int:
        """Tries failed deliveries once more from the start (None: all of them); gives how many."""
        return await self._failed(func_id, version, ids, "retry")

    async def drop(self, func_id: str, version: str, ids: Sequence[int] | None) -> int:
        """Forgets failed deliveries."""
        return await self._failed(func_id, version, ids, "drop")

    async def _failed(
        self, func_id: str, version: str, ids: Sequence[int] | None, then: Literal["retry", "drop"]
    ) -> int:
        now_s = self._now_s()
        found = await self._store.failed(func_id, version, ids, then, now_s)
        total = sum(found.values())
        self.failed = max(0, self.failed - total)
        if then == "retry":
            self.open += total
            for key in found:
                self._expect(self._line(key), now_s)
        return total

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Delivers until cancelled; writes down then what is known already."""
        now_s = self._now_s()
        for pending in await self._store.pending(now_s, now_s + BACKOFF_MAX_S):
            self.open += pending.waiting
            self._expect(self._line(pending.key), pending.due_s)
        self.failed = await self._store.count_failed()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._writer)
                nursery.start_soon(self._tidy)
                task_status.started()
                while True:
                    await self._start_due(nursery)
                    self._wake = trio.Event()
                    if self._round and self._running < self._config.delivery_workers:
                        continue
                    with trio.move_on_after(self._alarm_in_s()):
                        await self._wake.wait()
        finally:
            with trio.CancelScope(shield=True):
                await self._settle()

    # --- lines -------------------------------------------------------------------------------------------

    def _line(self, key: Key) -> _Line:
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line(key)
        return line

    def _expect(self, line: _Line, due_s: float | None) -> None:
        """The line has a delivery that is due then."""
        line.soonest(due_s)
        self._offer(line)

    def _offer(self, line: _Line) -> None:
        if line.due_s is None or line.in_turn or len(line.held) >= LINE_MAX:
            return
        if line.due_s <= self._now_s():
            line.in_turn = True
            self._round.append(line)
        else:
            heapq.heappush(self._alarms, (line.due_s, next(self._number), line))
        self._wake.set()

    def _alarm_in_s(self) -> float:
        # It may have come since it was last looked at.
        return max(0.0, self._alarms[0][0] - self._now_s()) if self._alarms else math.inf

    async def _start_due(self, nursery: trio.Nursery) -> None:
        now_s = self._now_s()
        while self._alarms and self._alarms[0][0] <= now_s:
            self._offer(heapq.heappop(self._alarms)[2])
        while self._round and self._running < self._config.delivery_workers:
            line = self._round.popleft()
            line.due_s = None
            room = min(LINE_MAX - len(line.held), self._config.delivery_workers - self._running)
            rows: list[StoredDelivery] = []
            try:
                rows, due_s = await self._store.take(line.key, self._now_s(), room, list(line.held))
            except FgdError as error:
                log.error("deliveries: could not be read: %s", error)
                due_s = self._now_s() + _FAILED_PAUSE_S
            line.in_turn = False
            for row in rows:
                line.held.add(row.id)
                self._running += 1
                nursery.start_soon(self._try, line, row)
            self._expect(line, due_s)

    # --- one try -----------------------------------------------------------------------------------------

    async def _try(self, line: _Line, row: StoredDelivery) -> None:
        try:
            await self._destinations.deliver(row.kind, row.param, self._delivery(row))
        except Undeliverable as error:
            self._gave_up(line, row, _text(error))
        except Exception as error:  # whatever keeps it from arriving: it is tried again, and shown in the end
            self._not_yet(line, row, _text(error))
        else:
            self.open -= 1
            self._delivered.append((line, row.id))
            self._count(*line.key, row.kind, "delivered", 1)
        finally:
            self._running -= 1
            self._write.set()
            self._wake.set()

    def _delivery(self, row: StoredDelivery) -> Delivery:
        return Delivery(
            id=row.id, project_id=self._project_of(row.function_urn), function_urn=row.function_urn,
            request_id=row.request_id, success=row.success, document=row.document, tries=row.tries,
            created_s=row.created_s, chain=tuple(row.chain.split(",")) if row.chain else (),
        )  # fmt: skip

    def _not_yet(self, line: _Line, row: StoredDelivery, error: str) -> None:
        """The next try, unless there were enough of them."""
        config, now_s = self._config, self._now_s()
        tries = row.tries + 1
        due_s = now_s + min(BACKOFF_MAX_S, config.delivery_retry_first_s * 2.0 ** min(row.tries, 30))
        if tries >= config.delivery_tries_max or due_s - row.since_s > config.delivery_max_age_s:
            self._gave_up(line, row, error)
            return
        if tries == 1:
            self._tell(row, "WARN", f"notification to {row.kind} failed, it will be tried again: {error}")
        self._others.append((line, Settlement(row.id, OPEN, tries, due_s, 0.0, error)))
        self._count(*line.key, row.kind, "retried", 1)

    def _gave_up(self, line: _Line, row: StoredDelivery, error: str) -> None:
        now_s = self._now_s()
        self._tell(row, "ERROR", f"notification to {row.kind} failed for good after {row.tries + 1} tries: {error}")
        log.warning(
            "a notification could not be delivered: %s", error,
            extra={"request_id": row.request_id, "urn": row.function_urn, "destination": row.kind},
        )  # fmt: skip
        self._others.append((line, Settlement(row.id, FAILED, row.tries + 1, now_s, now_s, error)))
        self._count(*line.key, row.kind, "failed", 1)

    def _tell(self, row: StoredDelivery, level: str, text: str) -> None:
        self._note(row.func_id, row.version, row.request_id, level, text)

    # --- writing down ------------------------------------------------------------------------------------

    async def _writer(self) -> None:
        while True:
            if not (self._delivered or self._others):
                self._write = trio.Event()
                await self._write.wait()
            elif not await self._settle():
                await trio.sleep(_FAILED_PAUSE_S)

    async def _settle(self) -> bool:
        """Writes down what became of the tries; False when it could not be, then it is kept."""
        delivered, self._delivered = self._delivered, []
        others, self._others = self._others, []
        if not (delivered or others):
            return True
        try:
            there = await self._store.settle([number for _, number in delivered], [one for _, one in others])
        except FgdError as error:
            log.error("deliveries: what became of them could not be written down: %s", error)
            self._delivered = delivered + self._delivered
            self._others = others + self._others
            return False
        for line, number in delivered:
            line.held.discard(number)
            self._offer(line)
        for line, settlement in others:
            line.held.discard(settlement.id)
            if settlement.id not in there:
                self.open -= 1
            elif settlement.state == FAILED:
                self.open -= 1
                self.failed += 1
            else:
                line.soonest(settlement.due_s)
            self._offer(line)
        return True

    async def _tidy(self) -> None:
        """Clears away what failed long ago, and lines with nothing in them."""
        config = self._config
        for number in itertools.count():
            for line in list(self._lines.values()):
                if line.due_s is None and not line.held and not line.in_turn:
                    del self._lines[line.key]
            if number % _TIDY_KINDS_EVERY == 0:
                await self._destinations.tidy()
            try:
                gone = await self._store.expire(self._now_s() - config.delivery_keep_s, config.delivery_kept_max)
                self.failed = await self._store.count_failed()
            except FgdError as error:
                log.error("deliveries: what failed long ago could not be removed: %s", error)
            else:
                for (func_id, version, kind), total in gone.items():
                    text = f"{total} notifications to {kind} that had failed for good were dropped: too old or too many"
                    self._note(func_id, version, "", "ERROR", text)
                    log.warning("%s", text, extra={"func_id": func_id, "version": version})
                    self._count(func_id, version, kind, "dropped", total)
            await trio.sleep(_TIDY_S)


def _text(error: BaseException) -> str:
    """An error in one line; what another machine sent must not make lines of its own in a log."""
    told = isinstance(error, FgdError | Undeliverable | DeliveryTimeout | OSError | RuntimeError)
    words = (str(error) if told else f"{type(error).__name__}: {error}").split()
    text = "".join(char if char.isprintable() else "?" for char in " ".join(words)) or type(error).__name__
    return text if len(text) <= _ERROR_MAX_CHARS else text[: _ERROR_MAX_CHARS - 3] + "..."
