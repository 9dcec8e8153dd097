"""Instances of one version in several memory sizes: apart in pools, together in what they may be."""

import json

import trio
import trio.testing

from fgd.wire import frames
from tests.instance.harness import Bench, PlayedSandbox, Waiting, bench, changed, function, run


async def _serve(b: Bench, waiting: Waiting) -> PlayedSandbox:
    """Lets a new sandbox answer a call; it is idle then."""
    sandbox = await b.host.next()
    await sandbox.frame(frames.INIT)
    sandbox.ready()
    sandbox.answer((await sandbox.invocation())[0])
    assert 0 == (await waiting.outcome()).code
    return sandbox


def test_busy_instance_of_another_size_is_no_help_and_the_new_one_has_the_wished_limits() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(dynamic_memory=True)
            b.call(target)
            small = await b.host.next()
            large = await _serve(b, b.call(target, memory_mib=512))

            assert small.bound is not None
            assert large.bound is not None
            assert (128, 300) == (small.bound.limits.memory_mib, small.bound.limits.cpu_mcpu)
            assert (512, 600) == (large.bound.limits.memory_mib, large.bound.limits.cpu_mcpu)
            assert 128 + 512 == b.scheduler.budget.promised_mib

    run(body)


def test_wish_is_ignored_without_dynamic_memory_and_for_the_own_size() -> None:
    async def body() -> None:
        async with bench() as b:
            for target in (function("off"), function("same", dynamic_memory=True, memory_mib=512)):
                first = b.call(target, memory_mib=512)
                sandbox = await _serve(b, first)
                second = b.call(target)
                sandbox.answer((await sandbox.invocation())[0])

                assert 0 == (await second.outcome()).code
                assert target.memory_mib == first.call.function.memory_mib
            assert 2 == len(b.host.opened)

    run(body)


def test_idle_instance_of_another_size_is_resized_told_and_accounted() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(dynamic_memory=True)
            sandbox = await _serve(b, b.call(target))
            waiting = b.call(target, memory_mib=1024)
            _, size = await sandbox.frame(frames.SIZE)
            sandbox.answer((await sandbox.invocation())[0])
            outcome = await waiting.outcome()

            assert {"memory_mib": 1024, "cpu_mcpu": 1000} == json.loads(size)
            assert [(1024, 1000)] == [(one.memory_mib, one.cpu_mcpu) for one in sandbox.resizes]
            assert (0, sandbox.id) == (outcome.code, outcome.instance_id)
            assert not waiting.call.cold
            assert 1024 == waiting.call.function.memory_mib
            assert 1 == len(b.host.opened)
            assert (1024, 1) == (b.scheduler.budget.promised_mib, b.scheduler.budget.instances)

            back = b.call(target)
            await sandbox.frame(frames.SIZE)
            sandbox.answer((await sandbox.invocation())[0])

            assert 0 == (await back.outcome()).code
            assert 128 == b.scheduler.budget.promised_mib

    run(body)


def test_refused_size_leads_to_a_new_instance_and_the_old_one_serves_its_own_size_on() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(dynamic_memory=True, memory_mib=1024)
            full = await _serve(b, b.call(target))
            full.refusal = "memory.max: Device or resource busy"
            small = await _serve(b, b.call(target, memory_mib=128))
            again = b.call(target)
            full.answer((await full.invocation())[0])

            assert 0 == (await again.outcome()).code
            assert small is not full
            assert 1024 + 128 == b.scheduler.budget.promised_mib
            assert 1 == len(full.resizes)

            await _serve(b, _second(b, target, small))

            assert 1 == len(full.resizes), "it is not tried again"

    run(body)


def _second(b: Bench, target: object, small: PlayedSandbox) -> Waiting:
    """A second call of the small size while the small instance has one."""
    b.call(target, memory_mib=128)  # type: ignore[arg-type]  # a Function
    return b.call(target, memory_mib=128)  # type: ignore[arg-type]


def test_instance_that_grows_beyond_the_node_is_replaced_by_a_new_one() -> None:
    async def body() -> None:
        async with bench(memory_mib=1024) as b:
            target = function(dynamic_memory=True)
            other = function("other", memory_mib=512)
            await _serve(b, b.call(other))
            small = await _serve(b, b.call(target))
            large = b.call(target, memory_mib=1024)
            await _serve(b, large)

            assert [] == small.resizes
            assert small.exit_report is not None
            assert 1024 == b.scheduler.budget.promised_mib

    run(body)


def test_maximum_counts_over_all_sizes_and_a_waiting_size_gets_its_turn() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(dynamic_memory=True, max_instances=1)
            first = b.call(target)
            sandbox = await b.host.next()
            await sandbox.frame(frames.INIT)
            sandbox.ready()
            call_id, _ = await sandbox.invocation()
            large = b.call(target, memory_mib=512)
            later = b.call(target)
            await b.settle()
            assert 1 == len(b.host.opened)

            sandbox.answer(call_id)
            await sandbox.frame(frames.SIZE)
            sandbox.answer((await sandbox.invocation())[0])
            await sandbox.frame(frames.SIZE)
            sandbox.answer((await sandbox.invocation())[0])

            for waiting in (first, large, later):
                assert 0 == (await waiting.outcome()).code
            assert 1 == len(b.host.opened)

    run(body)


def test_at_the_maximum_an_instance_that_cannot_be_resized_is_ended_for_the_other_size() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(dynamic_memory=True, max_instances=1, memory_mib=512)
            old = await _serve(b, b.call(target))
            old.refusal = "busy"
            new = await _serve(b, b.call(target, memory_mib=128))

            assert old.exit_report is not None
            assert new.bound is not None
            assert 128 == new.bound.limits.memory_mib

    run(body)


def test_instance_that_dies_while_it_is_resized_is_replaced() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(dynamic_memory=True)
            old = await _serve(b, b.call(target))
            waiting = b.call(target, memory_mib=512)
            old.inside.close()
            new = await _serve(b, waiting)

            assert new is not old
            assert (512, 1) == (b.scheduler.budget.promised_mib, b.scheduler.budget.instances)

    run(body)


def test_change_of_the_function_while_an_instance_is_resized_ends_that_instance() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(dynamic_memory=True)
            old = await _serve(b, b.call(target))
            waiting = b.call(target, memory_mib=512)
            newer = changed(target, code_digest="e" * 128)
            b.scheduler.function_changed(target, newer)
            new = await _serve(b, waiting)

            assert old.exit_report is not None
            assert new.bound is not None
            assert ("e" * 128, 512) == (new.bound.code, new.bound.limits.memory_mib)

    run(body)


def test_deleted_function_loses_the_instances_of_all_its_sizes() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(dynamic_memory=True)
            busy = b.call(target)
            one = await b.host.next()
            two = await _serve(b, b.call(target, memory_mib=512))
            b.scheduler.function_changed(target, None)
            await one.frame(frames.INIT)
            one.ready()
            one.answer((await one.invocation())[0])
            await busy.outcome()
            await b.settle()

            assert one.exit_report is not None
            assert two.exit_report is not None
            assert {} == b.scheduler.pools
            assert (0, 0) == (b.scheduler.budget.promised_mib, b.scheduler.budget.instances)

    run(body)


def test_waiting_call_of_a_size_can_be_cancelled() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(dynamic_memory=True, max_instances=1)
            b.call(target)
            waiting = b.call(target, memory_mib=512)
            await trio.testing.wait_all_tasks_blocked()
            b.scheduler.cancel(waiting.call)

            assert 4208 == (await waiting.outcome()).code

    run(body)
