"""The invoker: the scheduler seen through `fgd.invoke.api.Invoker`, and records for what runs asynchronously."""

import time

import trio

from fgd.call import PLAIN, Call, Outcome
from fgd.instance.recorder import Recorder
from fgd.instance.scheduler import Scheduler
from fgd.invoke.extras import ExtrasOf, extras_of
from fgd.model import Function


class SchedulerInvoker:
    """Synchronous callers write their own record, when their answer is out; for all others it is done here."""

    def __init__(self, scheduler: Scheduler, recorder: Recorder, extras: ExtrasOf = extras_of) -> None:
        """`extras`: what goes to a function with an event that `invoke` is given."""
        self._scheduler = scheduler
        self._recorder = recorder
        self._extras = extras
        self.submit = scheduler.submit
        self.cancel = scheduler.cancel

    def record(self, call: Call, outcome: Outcome, write_us: int) -> None:
        """Records an invocation that is over; `write_us`: how long writing the answer took."""
        self._recorder.invocation(call, outcome, write_us)

    async def invoke(self, function: Function, request_id: str, event: bytes, *, async_: bool = False) -> Outcome:
        """Runs one event and waits for its outcome. Cancelling the wait cancels the invocation.

        Raises:
            Overloaded, FunctionDisabled, Unavailable: as `submit`.
        """
        over = trio.Event()
        result: list[Outcome] = []

        def done(call: Call, outcome: Outcome) -> None:
            self._recorder.invocation(call, outcome, 0)
            result.append(outcome)
            over.set()

        call = Call(
            function,
            request_id,
            event,
            done,
            received_s=time.perf_counter(),
            async_=async_,
            extras=self._extras(function, PLAIN, async_),
        )
        self.submit(call)
        try:
            await over.wait()
        except trio.Cancelled:
            self.cancel(call)
            raise
        return result[0]
