"""Instances that are kept: made, replaced, left alone, frozen, and changed without a gap."""

import math
import time

import trio

from fgd.instance.keeper import Keeper, Use
from fgd.sandbox.api import ExitReport
from fgd.wire import frames
from tests.instance.harness import Bench, PlayedSandbox, bench, changed, function, run


def _keep(b: Bench, target: object, count: int, *, idle_mode: bool = False) -> Keeper:
    keeper = Keeper(b.scheduler)
    keeper.aim(target, count, idle_mode=idle_mode)  # type: ignore[arg-type]  # a Function; `function` gives Any
    return keeper


async def _start(b: Bench) -> PlayedSandbox:
    sandbox = await b.host.next()
    await sandbox.frame(frames.INIT)
    sandbox.ready()
    return sandbox


def _status(b: Bench) -> tuple[int, int, int]:
    """Instances that live, those marked, those marked that are ready."""
    pools = b.scheduler.pools.values()
    every = [one for pool in pools for one in pool.instances]
    return len(every), sum(one.reserved for one in every), sum(pool.reserve.ready for pool in pools)


def test_instances_are_made_without_a_call_and_taken_first() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function()
            keeper = _keep(b, target, 2)
            kept = {await _start(b), await _start(b)}
            with trio.fail_after(2):
                await keeper.filled([target])
            assert (2, 2, 2) == _status(b)
            calls = [b.call(target) for _ in range(3)]
            extra = await _start(b)
            for sandbox in (*kept, extra):
                sandbox.answer((await sandbox.invocation())[0])
            for waiting in calls:
                await waiting.outcome()
            await b.settle()
            pool = b.scheduler.pool_of(target)
            assert [False, True, True] == [one.reserved for one in pool.idle]
            assert [False, False, True] == [waiting.call.cold for waiting in calls]

            again = b.call(target)
            sandbox = next(one for one in kept if one.id == getattr(again.call.instance, "id", ""))
            sandbox.answer((await sandbox.invocation())[0])
            assert 0 == (await again.outcome()).code

    run(body)


def test_keep_alive_ends_the_others_alone() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function()
            _keep(b, target, 1)
            first = await _start(b)
            await b.settle()
            calls = [b.call(target), b.call(target)]
            extra = await _start(b)
            for sandbox in (first, extra):
                sandbox.answer((await sandbox.invocation())[0])
            for waiting in calls:
                await waiting.outcome()
            b.scheduler.tick(time.perf_counter() + 61)

            assert first.exit_report is None
            assert extra.exit_report is not None

    run(body)


def test_dead_one_is_replaced_by_a_running_one_or_else_by_a_new_one() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function()
            _keep(b, target, 1)
            first = await _start(b)
            await b.settle()
            calls = [b.call(target), b.call(target)]
            extra = await _start(b)
            for sandbox in (first, extra):
                sandbox.answer((await sandbox.invocation())[0])
            for waiting in calls:
                await waiting.outcome()
            b.scheduler.pool_of(target).reserve._failed_s = -math.inf
            first.die(ExitReport(None, 9, 0, ""))
            await b.settle()
            assert (1, 1, 1) == _status(b)
            assert 2 == len(b.host.opened)

            extra.die(ExitReport(None, 9, 0, ""))
            await b.settle()
            pool = b.scheduler.pool_of(target)
            assert 0 == pool.shortage(time.perf_counter()), "it died young: the next one waits a little"
            assert 1 == pool.shortage(time.perf_counter() + 1)

    run(body)


def test_start_that_fails_is_tried_again_later_and_later() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function()
            keeper = _keep(b, target, 1)
            pool = b.scheduler.pool_of(target)
            waits = []
            for _ in range(3):
                sandbox = await b.host.next()
                await sandbox.frame(frames.INIT)
                sandbox.send(frames.ERROR, 0, frames.RESULT_HEAD.pack(4001, 0, 0) + b'{"errorMessage": "no module"}')
                await b.settle()
                now = time.perf_counter()
                waits.append(next(wait for wait in range(100) if pool.shortage(now + wait / 10)))
                pool.reserve._retry_s = 0.0
                b.scheduler.want(pool)
            with trio.fail_after(2):
                task_done = trio.Event()

                async def wait() -> None:
                    await keeper.filled([target])
                    task_done.set()

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(wait)
                    sandbox = await _start(b)
                    await task_done.wait()

        assert waits == sorted(set(waits))
        assert 1 <= waits[0] <= 3

    run(body)


def test_idle_mode_freezes_and_the_other_mode_does_not() -> None:
    async def body() -> None:
        async with bench(freeze=False) as b:
            target = function()
            _keep(b, target, 1, idle_mode=True)
            sandbox = await _start(b)
            await b.settle()
            b.scheduler.tick(time.perf_counter() + 1)
            assert sandbox.frozen
            _keep(b, target, 1)
            b.scheduler.tick(time.perf_counter() + 1)
            assert not sandbox.frozen

        async with bench() as b:
            _keep(b, function(), 1)
            sandbox = await _start(b)
            await b.settle()
            b.scheduler.tick(time.perf_counter() + 1)

            assert 0 == sandbox.freezes

    run(body)


def test_full_node_evicts_others_for_reserved_ones_and_never_the_other_way() -> None:
    async def body() -> None:
        async with bench(memory_mib=256) as b:
            other, target = function("other"), function("target")
            waiting = b.call(other)
            idle = await _start(b)
            idle.answer((await idle.invocation())[0])
            await waiting.outcome()
            _keep(b, target, 2)
            kept = [await _start(b), await _start(b)]
            await b.settle()
            assert idle.exit_report is not None
            assert (2, 2, 2) == _status(b)

            late = b.call(other)
            await b.settle()
            assert [None, None] == [one.exit_report for one in kept]
            assert not late.outcomes
            _keep(b, target, 1)
            sandbox = await _start(b)
            sandbox.answer((await sandbox.invocation())[0])
            assert 0 == (await late.outcome()).code

    run(body)


def test_no_more_are_kept_than_the_function_may_have_and_none_while_it_is_disabled() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(max_instances=1)
            b.scheduler.function_changed(None, target)
            _keep(b, target, 3)
            await _start(b)
            await b.settle()
            assert (1, 1, 1) == _status(b)
            off = changed(target, max_instances=0)
            b.scheduler.function_changed(target, off)
            await b.settle()
            assert (0, 0, 0) == _status(b)
            b.scheduler.function_changed(off, changed(off, max_instances=2))
            await _start(b)
            await _start(b)
            await b.settle()

            assert (2, 2, 2) == _status(b)

    run(body)


def test_new_state_is_ready_before_the_old_one_goes() -> None:
    async def body() -> None:
        async with bench() as b:
            old = function(max_instances=2)
            keeper = _keep(b, old, 2)
            before = [await _start(b), await _start(b)]
            await b.settle()
            new = changed(old, code_digest="e" * 128)
            async with trio.open_nursery() as nursery, keeper_block(keeper, new, nursery) as inside:
                after = [await b.host.next(), await b.host.next()]
                for sandbox in after:
                    await sandbox.frame(frames.INIT)
                first = b.call(old)
                assert not inside.is_set()
                answering = next(one for one in before if one.id == getattr(first.call.instance, "id", ""))
                for sandbox in after:
                    sandbox.ready()
                with trio.fail_after(2):
                    await inside.wait()
                b.scheduler.function_changed(old, new)
                second = b.call(new)
                answering.answer((await answering.invocation())[0])
                await first.outcome()
                taking = next(one for one in after if one.id == getattr(second.call.instance, "id", ""))
                taking.answer((await taking.invocation())[0])
                await second.outcome()
            await b.settle()

            assert [False, False] == [first.call.cold, second.call.cold]
            assert all(one.exit_report is not None for one in before)
            assert (2, 2, 2) == _status(b)
            assert 4 == len(b.host.opened)

    run(body)


def test_change_that_is_not_made_leaves_nothing_behind() -> None:
    async def body() -> None:
        async with bench() as b:
            old = function()
            keeper = _keep(b, old, 1)
            first = await _start(b)
            await b.settle()
            promised = b.scheduler.budget.promised_mib

            async def change() -> None:
                try:
                    async with keeper.standing_by(changed(old, timeout_s=9)):
                        raise ValueError("the disk is full")
                except ValueError:
                    pass

            async with trio.open_nursery() as nursery:
                nursery.start_soon(change)
                second = await _start(b)
            await b.settle()

            assert second.exit_report is not None
            assert first.exit_report is None
            assert (promised, 0) == (b.scheduler.budget.promised_mib, b.scheduler.starts)
            assert (1, 1, 1) == _status(b)

    run(body)


def test_change_goes_on_when_its_instances_cannot_start_or_have_no_room() -> None:
    async def body() -> None:
        async with bench(memory_mib=256) as b:
            old = function()
            keeper = _keep(b, old, 1)
            await _start(b)
            await b.settle()

            async def change() -> None:
                async with keeper.standing_by(changed(old, handler="no.such")):
                    pass

            async with trio.open_nursery() as nursery:
                nursery.start_soon(change)
                sandbox = await b.host.next()
                await sandbox.frame(frames.INIT)
                sandbox.die(ExitReport(1, 0, 0, ""))
            with trio.fail_after(2):
                async with keeper.standing_by(changed(old, memory_mib=1024)):
                    pass
            await b.settle()

            assert 2 == len(b.host.opened)
            assert (1, 1, 1) == _status(b)
            assert 0 == b.scheduler.starts

    run(body)


def test_deleted_function_keeps_nothing() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function()
            _keep(b, target, 2)
            kept = [await _start(b), await _start(b)]
            await b.settle()
            b.scheduler.function_changed(target, None)
            await b.settle()

            assert all(one.exit_report is not None for one in kept)
            assert {} == b.scheduler.pools
            assert 2 == len(b.host.opened)

    run(body)


def test_use_counts_calls_and_instances() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(max_instances=1)
            keeper = _keep(b, target, 1)
            await _start(b)
            await b.settle()
            assert {("id-f", "latest"): Use(0, 0, 1, 1)} == keeper.use()
            b.call(target)
            b.call(target)

            assert {("id-f", "latest"): Use(2, 1, 1, 1)} == keeper.use()

    run(body)


class keeper_block:  # noqa: N801 - reads as the context manager that it is
    """Runs `standing_by` in a task, and ends its block with this one; gives an event that is set inside of it."""

    def __init__(self, keeper: Keeper, new: object, nursery: trio.Nursery) -> None:
        self._keeper, self._new, self._nursery = keeper, new, nursery
        self._inside, self._over = trio.Event(), trio.Event()

    async def __aenter__(self) -> trio.Event:
        async def block() -> None:
            async with self._keeper.standing_by(self._new):  # type: ignore[arg-type]  # a Function
                self._inside.set()
                await self._over.wait()

        self._nursery.start_soon(block)
        return self._inside

    async def __aexit__(self, *_: object) -> None:
        self._over.set()
