"""The task that drains the reactor."""

import os

import trio

from fgd.gateway.pump import pump
from fgd.linux.reactor import Reactor


def test_callbacks_run_and_cancelling_ends_it() -> None:
    got: list[bytes] = []
    reactor = Reactor()
    read_end, write_end = os.pipe()
    reactor.register(read_end, lambda _events: got.append(os.read(read_end, 10)))

    async def main() -> None:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump, reactor)
                for number in range(100):
                    os.write(write_end, b"%d" % number)
                    while len(got) <= number:
                        await trio.sleep(0)
                nursery.cancel_scope.cancel()

    trio.run(main)
    reactor.close()
    os.close(read_end)
    os.close(write_end)

    assert got == [b"%d" % number for number in range(100)]


def test_descriptor_that_is_always_ready_does_not_starve_other_tasks() -> None:
    reactor = Reactor()
    read_end, write_end = os.pipe()
    calls = 0

    def busy(_events: int) -> None:
        nonlocal calls
        calls += 1

    reactor.register(read_end, busy)
    os.write(write_end, b"x")
    turns = 0

    async def main() -> None:
        nonlocal turns
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump, reactor)
                while turns < 50:
                    await trio.sleep(0)
                    turns += 1
                nursery.cancel_scope.cancel()

    trio.run(main)
    reactor.close()
    os.close(read_end)
    os.close(write_end)

    assert turns == 50
    assert calls > 50
