"""A process whose events go on to another function and to a box, until it is killed.

`python -m tests.invoke.delivery_victim STATE_DIR`. Writes `A <request id>` when an event was acknowledged and
`B <request id of f2> <request id of f1>` when the box has taken an outcome, each with one write. Outcomes of f1 become
events of f2, those of f2 go to the box, which is away every third time.
"""

import json
import os
import sys
from pathlib import Path

import trio

from fgd.clock import new_request_id
from fgd.destination import Delivery
from fgd.errors import Overloaded
from fgd.model import AsyncConfig
from tests.invoke.async_harness import EVENT, function
from tests.invoke.delivery_harness import BOX, Mail, Post, posting, to_function

_CLIENTS = 4
AIMS = {"f1": AsyncConfig(on_success=to_function("f2")), "f2": AsyncConfig(on_success=BOX)}


def origin(delivery: Delivery) -> tuple[str, str]:
    """The request ids of the event of f2 and of the event of f1 that led to it."""
    first = json.loads(json.loads(delivery.document)["request_payload"])
    return delivery.request_id, first["request_context"]["request_id"]


def say(delivery: Delivery) -> None:
    second, first = origin(delivery)
    os.write(1, f"B {second} {first}\n".encode())


async def main(state_dir: Path) -> None:
    mail = Mail()

    def answer(delivery: Delivery) -> None:
        if len(mail.got) % 3 == 0:
            raise OSError("away")
        say(delivery)

    mail.answer = answer

    async def client(post: Post) -> None:
        while True:
            request_id = new_request_id()
            try:
                await post.harness.queue.enqueue(function("f1"), request_id, EVENT)
            except Overloaded:
                continue
            os.write(1, f"A {request_id}\n".encode())

    async with posting(state_dir, mail, aims=AIMS) as post, trio.open_nursery() as nursery:
        for _ in range(_CLIENTS):
            nursery.start_soon(client, post)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
