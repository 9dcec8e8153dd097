"""The seam between whoever has an event (gateway, queue, triggers) and what runs it."""

from typing import Protocol

from fgd.call import Call, Outcome
from fgd.model import Function

__all__ = ["Call", "Invoker", "Outcome"]


class Invoker(Protocol):
    """Takes calls, gives outcomes."""

    def submit(self, call: Call) -> None:
        """Starts an invocation at once or puts it into its function's waiting line; `call.done` gets the outcome.

        Raises:
            Overloaded: the waiting line is full.
            FunctionDisabled: the function takes no invocations.
            Unavailable: fgd is shutting down.
        """

    def cancel(self, call: Call) -> None:
        """Ends an invocation; its outcome has code 4208. Other invocations on its instance may go on."""

    async def invoke(self, function: Function, request_id: str, event: bytes, *, async_: bool = False) -> Outcome:
        """The same for callers that wait. Cancelling the wait cancels the invocation."""
