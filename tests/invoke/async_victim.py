"""A process that enqueues and runs events until it is killed: `python -m tests.invoke.async_victim STATE_DIR`.

Writes `A <request id>` when an event was acknowledged and `R <request id>` when one runs, each with one write.
"""

import os
import sys
from pathlib import Path

import trio

from fgd.clock import new_request_id
from fgd.errors import Overloaded
from fgd.invoke.api import Call, Outcome
from tests.invoke.async_harness import EVENT, HandInvoker, Harness, function

_CLIENTS = 8


def _say(kind: str, request_id: str) -> None:
    os.write(1, f"{kind} {request_id}\n".encode())


def _answer(call: Call) -> Outcome:
    _say("R", call.request_id)
    return Outcome(0, b"{}")


async def main(state_dir: Path) -> None:
    harness = Harness(state_dir, HandInvoker(_answer), {"async_workers": 16})
    queue = await harness.open()

    async def client(number: int) -> None:
        while True:
            request_id = new_request_id()
            try:
                await queue.enqueue(function(f"f{number % 3 + 1}"), request_id, EVENT * (1 + number * 100))
            except Overloaded:
                continue
            _say("A", request_id)

    async with trio.open_nursery() as nursery:
        await nursery.start(queue.run)
        for number in range(_CLIENTS):
            nursery.start_soon(client, number)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
