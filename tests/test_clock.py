"""The daemon's clock goes by the system's, whatever is done to that."""

import os
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise

import trio
import trio.testing

from fgd.clock import Clock
from fgd.linux.timerfd import ClockWatch


class Wall:
    """A system's clock that a test sets; with the descriptor that tells of it, unless that is broken."""

    def __init__(self, *, tells: bool = True) -> None:
        self.ahead_s = 1_000_000.0
        self._tells = tells
        self._fd, self._write_fd = os.pipe()
        os.set_blocking(self._fd, False)

    def __call__(self) -> float:
        return time.perf_counter() + self.ahead_s

    def set(self, by_s: float) -> None:
        self.ahead_s += by_s
        if self._tells:
            os.write(self._write_fd, b".")

    def fileno(self) -> int:
        return self._fd

    def clear(self) -> None:
        os.read(self._fd, 16)


def following(main: Callable[[Clock, Wall], Awaitable[None]], wall: Wall) -> None:
    async def run() -> None:
        clock = Clock(wall)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clock.follow, wall)
            with trio.fail_after(10):
                await main(clock, wall)
            nursery.cancel_scope.cancel()

    trio.run(run)


def test_a_step_wakes_who_sleeps_and_shows_in_the_time() -> None:
    async def main(clock: Clock, wall: Wall) -> None:
        async def sleep() -> None:
            assert not await clock.sleep_until(before_s + 3600)
            woken.set()

        before_s, woken = clock.time_s(), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleep)
            await trio.testing.wait_all_tasks_blocked()
            wall.set(-500.0)
            await woken.wait()

        assert abs(clock.time_s() - wall()) < 0.1
        assert -501 < clock.time_s() - before_s < -490
        assert await clock.sleep_until(clock.time_s() + 0.01), "the next one sleeps as long as it should"
        assert await clock.sleep_until(clock.time_s() - 1), "what is past already is no step"

    following(main, Wall())


def test_for_what_waits_in_a_queue_time_never_goes_back() -> None:
    async def main(clock: Clock, wall: Wall) -> None:
        moments_s = [clock.onward_s()]
        for by_s in (-500.0, 200.0, 1000.0, -50.0):
            wall.set(by_s)
            clock.look()
            moments_s.append(clock.onward_s())

        steps_s = [round(later - earlier) for earlier, later in pairwise(moments_s)]
        assert [0, 0, 700, 0] == steps_s

    following(main, Wall(tells=False))


def test_without_a_word_of_the_kernel_a_step_is_seen_at_the_next_look() -> None:
    async def main(clock: Clock, wall: Wall) -> None:
        wall.set(3600.0)
        await trio.testing.wait_all_tasks_blocked()
        unseen_s = wall() - clock.time_s()
        clock.look()

        assert abs(3600 - unseen_s) < 0.1
        assert abs(clock.time_s() - wall()) < 0.1

    following(main, Wall(tells=False))


def test_a_difference_as_small_as_an_inexact_reading_wakes_nobody() -> None:
    async def main(clock: Clock, wall: Wall) -> None:
        wall.set(0.0005)
        assert await clock.sleep_until(clock.time_s() + 0.05)

    following(main, Wall())


def test_the_descriptor_of_the_system_s_clock_is_quiet_while_nobody_sets_it() -> None:
    async def main() -> None:
        watch = ClockWatch()
        with trio.move_on_after(0.05) as quiet:
            await trio.lowlevel.wait_readable(watch)
        watch.clear()
        watch.close()
        watch.close()

        assert quiet.cancelled_caught

    trio.run(main)
