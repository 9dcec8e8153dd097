"""The system's clock is set, in the lab machine: run by tests/lab/run.sh, and by nothing else.

It is the machine's clock that is set, which is why this must not run elsewhere.
"""

import os
import select
import time

import pytest

from fgd.linux.timerfd import ClockWatch


@pytest.fixture(scope="module", autouse=True)
def machine() -> None:
    """Only a machine that is thrown away may lose its time."""
    if os.environ.get("FGD_LAB_GUEST") != "1":
        pytest.fail("this sets the system's clock; it is for the lab machine: tests/lab/run.sh")


def set_clock(by_s: float) -> None:
    time.clock_settime(time.CLOCK_REALTIME, time.time() + by_s)


def test_the_kernel_tells_of_each_step() -> None:
    watch = ClockWatch()
    for by_s in (10.0, -10.0, 0.01):
        set_clock(by_s)

        assert [watch] == select.select([watch], [], [], 5)[0]
        watch.clear()
        assert [] == select.select([watch], [], [], 0.2)[0]
    watch.close()
