"""Where the time went: a record for every invocation and every start, made by one list append each.

A task hands them on in batches, five times a second: to the log database and to the metrics.
"""

import time
from collections.abc import Sequence
from typing import Protocol

import trio

from fgd.call import Call, Outcome
from fgd.store.api import InvocationRecord, LogBook, StartRecord

_FLUSH_S = 0.2


class Observer(Protocol):
    """Takes what has been recorded, in order."""

    def observe(self, invocations: Sequence[InvocationRecord], starts: Sequence[StartRecord]) -> None: ...


class Recorder:
    """Takes records; `run` passes them on until it is cancelled."""

    def __init__(self, book: LogBook, observer: Observer) -> None:
        self._book = book
        self._observer = observer
        self._invocations: list[InvocationRecord] = []
        self._starts: list[StartRecord] = []
        self._wall_offset_s = time.time() - time.perf_counter()

    def invocation(self, call: Call, outcome: Outcome, write_us: int) -> InvocationRecord:
        """Records an invocation that is over."""
        function = call.function
        record = InvocationRecord(
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
        self._invocations.append(record)
        return record

    def start(self, record: StartRecord) -> None:
        """Records a start that is over."""
        self._starts.append(record)

    def pass_on(self) -> None:
        """Hands over what there is."""
        if not self._invocations and not self._starts:
            return
        invocations, self._invocations = self._invocations, []
        starts, self._starts = self._starts, []
        self._observer.observe(invocations, starts)
        book = self._book
        for start in starts:
            book.start(start)
        for record in invocations:
            book.invocation(record)

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
