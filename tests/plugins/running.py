"""Running a trigger on the real clock until something has happened."""

from collections.abc import Callable
from typing import Any, Final

import trio

from fgd.testing.trigger import TriggerRig

#: A busy machine is given time; nothing waits for it that goes well.
PATIENCE_S: Final = 60.0


def run_until(rig: TriggerRig[Any], met: Callable[[], bool], ready: Callable[[], object] | None = None) -> None:
    """Runs a trigger until a condition holds; `ready` runs in a thread meanwhile.

    Raises:
        TimeoutError: it never does.
    """

    async def main() -> None:
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(rig.serve, float("inf"), 0)
                if ready is not None:
                    await trio.to_thread.run_sync(ready, abandon_on_cancel=True)
                while not met():
                    await trio.sleep(0.05)
                nursery.cancel_scope.cancel()

    trio.run(main)
