"""Where the time went: a record for every invocation and every start, appended to the log book's list and to our own.

The log book writes in batches; a task hands our list to the metrics five times a second.
"""

import time
from collections.abc import Iterable
from typing import Protocol

import trio

from fgd.call import Call, Outcome
from fgd.store.api import InvocationRecord, LogBook, StartRecord
from fgd.store.log_text import render_tail

_FLUSH_S = 0.2


class Counters(Protocol):
    """Counts what happened; `fgd.metrics.Metrics` is the real one."""

    def invocations(self, records: Iterable[InvocationRecord]) -> None: ...
    def starts(self, records: Iterable[StartRecord]) -> None: ...
    def throttled(self, func_id: str, version: str, count: int = 1) -> None: ...
    def lines_dropped(self, func_id: str, version: str, count: int) -> None: ...
    def heartbeat_failed(self, func_id: str, version: str) -> None: ...
    def evicted(self, count: int = 1) -> None: ...


class Recorder:
    """Takes records; `run` passes them on until it is cancelled."""

    def __init__(self, book: LogBook, counters: Counters) -> None:
        self._book = book
        self._counters = counters
        self._invocations: list[InvocationRecord] = []
        self._starts: list[StartRecord] = []
        self._wall_offset_s = time.time() - time.perf_counter()

    def invocation(self, call: Call, outcome: Outcome, write_us: int) -> None:
        """Records an invocation that is over."""
        record = self._record(call, outcome, write_us)
        self._invocations.append(record)
        self._book.invocation(record)

    def tail(self, call: Call, outcome: Outcome) -> bytes:
        """The end of the log of an invocation that is over, as its answer carries it."""
        return render_tail(self._record(call, outcome, 0), call.tail or [])

    def start(self, record: StartRecord) -> None:
        """Records a start that is over."""
        self._starts.append(record)
        self._book.start(record)

    def _record(self, call: Call, outcome: Outcome, write_us: int) -> InvocationRecord:
        function = call.function
        return InvocationRecord(
            call.received_s + self._wall_offset_s,
            call.request_id,
            function.func_id,
            function.version,
            outcome.instance_id,
            "async" if call.async_ else "sync",
            outcome.code,
            call.cold,
            outcome.frontend_us,
            outcome.queue_us,
            outcome.dispatch_us,
            outcome.duration_us,
            write_us,
            outcome.memory_bytes,
            function.memory_mib,
        )

    def pass_on(self) -> None:
        """Hands the counters what there is."""
        if self._invocations:
            invocations, self._invocations = self._invocations, []
            self._counters.invocations(invocations)
        if self._starts:
            starts, self._starts = self._starts, []
            self._counters.starts(starts)

    async def run(self) -> None:
        """Passes on until cancelled, and once more then."""
        # The wall clock may be set while we run; the offset follows it.
        try:
            while True:
                await trio.sleep(_FLUSH_S)
                self._wall_offset_s = time.time() - time.perf_counter()
                self.pass_on()
        finally:
            self.pass_on()
