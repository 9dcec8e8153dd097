"""Pools, waiting lines, deadlines and ends, with real frames over real sockets."""

import json
import os
import time

import msgspec
import pytest
import trio
import trio.testing

from fgd.errors import FunctionDisabled, Overloaded, Unavailable
from fgd.sandbox.api import ExitReport
from fgd.wire import frames
from tests.instance.harness import Bench, PlayedSandbox, bench, changed, function, run


async def _start(b: Bench) -> PlayedSandbox:
    sandbox = await b.host.next()
    await sandbox.frame(frames.INIT)
    sandbox.ready()
    return sandbox


def test_first_call_travels_with_init_and_its_outcome_comes_back() -> None:
    async def body() -> None:
        async with bench() as b:
            waiting = b.call(function(memory_mib=256), b'{"a": 1}')
            sandbox = await b.host.next()
            await sandbox.frame(frames.INIT)
            call_id, event = await sandbox.invocation()
            sandbox.ready()
            sandbox.answer(call_id, b'"hi"')
            outcome = await waiting.outcome()

            assert (0, b'"hi"') == (outcome.code, outcome.body)
            assert b'{"a": 1}' == event
            assert waiting.call.cold
            assert sandbox.bound is not None
            assert (256, 400) == (sandbox.bound.limits.memory_mib, sandbox.bound.limits.cpu_mcpu)

    run(body)


def test_second_call_takes_the_warm_instance() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function()
            first = b.call(target)
            sandbox = await _start(b)
            sandbox.answer((await sandbox.invocation())[0])
            await first.outcome()
            second = b.call(target)
            sandbox.answer((await sandbox.invocation())[0])

            assert 0 == (await second.outcome()).code
            assert not second.call.cold
            assert 1 == len(b.host.opened)

    run(body)


def test_concurrent_calls_get_instances_of_their_own_up_to_the_maximum() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(max_instances=2)
            calls = [b.call(target) for _ in range(3)]
            one, two = await _start(b), await _start(b)
            (first, _), (second, _) = await one.invocation(), await two.invocation()
            await b.settle()
            assert 2 == len(b.host.opened)

            one.answer(first)
            third, _ = await one.invocation()
            one.answer(third)
            two.answer(second)
            for waiting in calls:
                assert 0 == (await waiting.outcome()).code

    run(body)


def test_one_instance_takes_as_many_calls_as_its_concurrency() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(concurrent_num=3)
            calls = [b.call(target) for _ in range(3)]
            sandbox = await _start(b)
            ids = [(await sandbox.invocation())[0] for _ in range(3)]
            for call_id in reversed(ids):
                sandbox.answer(call_id)
            for waiting in calls:
                assert 0 == (await waiting.outcome()).code
            assert 1 == len(b.host.opened)

    run(body)


def test_line_over_its_limit_answers_overloaded_and_counts_it() -> None:
    async def body() -> None:
        async with bench(queue_max=2) as b:
            target = function(max_instances=1)
            b.call(target)
            await (await _start(b)).invocation()
            b.call(target)
            b.call(target)
            with pytest.raises(Overloaded):
                b.call(target)

            assert [target.func_id] == b.tally.throttled_

    run(body)


def test_disabled_function_refuses_and_its_idle_instance_ends() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function()
            first = b.call(target)
            sandbox = await _start(b)
            sandbox.answer((await sandbox.invocation())[0])
            await first.outcome()
            disabled = changed(target, max_instances=0)
            b.scheduler.function_changed(target, disabled)
            with pytest.raises(FunctionDisabled):
                b.call(disabled)

            assert sandbox.exit_report is not None

    run(body)


def test_changed_function_gets_a_new_instance_while_the_old_one_finishes_its_call() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function()
            first = b.call(target)
            old = await _start(b)
            call_id, _ = await old.invocation()
            await b.settle()
            newer = changed(target, code_digest="e" * 128)
            b.scheduler.function_changed(target, newer)
            second = b.call(newer)
            new = await _start(b)
            new.answer((await new.invocation())[0], b'"new"')
            assert b'"new"' == (await second.outcome()).body
            assert old.exit_report is None
            old.answer(call_id, b'"old"')

            assert b'"old"' == (await first.outcome()).body
            assert old.exit_report is not None and new.bound is not None and "e" * 128 == new.bound.code

    run(body)


def test_change_that_instances_would_not_notice_keeps_them() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function()
            first = b.call(target)
            sandbox = await _start(b)
            sandbox.answer((await sandbox.invocation())[0])
            await first.outcome()
            renamed = msgspec.structs.replace(target, description="new")
            b.scheduler.function_changed(target, renamed)
            second = b.call(renamed)
            sandbox.answer((await sandbox.invocation())[0])

            assert 0 == (await second.outcome()).code
            assert 1 == len(b.host.opened)

    run(body)


def test_change_during_a_start_lets_the_call_that_came_along_finish() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function()
            first = b.call(target)
            old = await b.host.next()
            await old.frame(frames.INIT)
            call_id, _ = await old.invocation()
            b.scheduler.function_changed(target, changed(target))
            old.ready()
            old.answer(call_id)

            assert 0 == (await first.outcome()).code
            await b.settle()
            assert old.exit_report is not None
            assert 1 == len(b.host.opened)

    run(body)


def test_call_over_its_timeout_gets_4010_and_the_instance_is_killed() -> None:
    async def body() -> None:
        async with bench() as b:
            waiting = b.call(function(timeout_s=3))
            sandbox = await _start(b)
            await sandbox.invocation()
            await b.settle()
            b.scheduler.tick(time.perf_counter() + 2.9)
            assert not waiting.outcomes
            b.scheduler.tick(time.perf_counter() + 3.1)

            assert 4010 == (await waiting.outcome()).code
            assert sandbox.exit_report is not None

    run(body)


def test_call_among_others_that_times_out_is_cancelled_alone() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(concurrent_num=2)
            late = b.call(target)
            sandbox = await _start(b)
            late_id, _ = await sandbox.invocation()
            await b.settle()
            b.scheduler.cancel(late.call)
            cancelled, _ = await sandbox.frame(frames.CANCEL)
            other = b.call(target)
            other_id, _ = await sandbox.invocation()
            sandbox.answer(other_id)

            assert late_id == cancelled
            assert 4208 == (await late.outcome()).code
            assert 0 == (await other.outcome()).code
            assert sandbox.exit_report is None
            sandbox.answer(late_id, code=4208)
            await b.settle()
            assert 1 == len(late.outcomes)

    run(body)


def test_instance_that_does_not_stop_a_cancelled_call_takes_no_more() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(concurrent_num=2)
            late = b.call(target)
            sandbox = await _start(b)
            await sandbox.invocation()
            await b.settle()
            b.scheduler.cancel(late.call)
            b.scheduler.tick(time.perf_counter() + 1.5)
            await late.outcome()
            b.call(target)

            assert (await b.host.next()) is not sandbox
            assert sandbox.exit_report is not None

    run(body)


@pytest.mark.parametrize(
    ("report", "code", "text"),
    [
        (ExitReport(None, 9, 1, ""), 4205, "memory limit exceeded"),
        (ExitReport(7, 0, 0, ""), 4206, "exited with status 7"),
        (ExitReport(None, 11, 0, ""), 4206, "signal 11"),
    ],
)
def test_instance_that_ends_under_a_call_says_why(report: ExitReport, code: int, text: str) -> None:
    async def body() -> None:
        async with bench() as b:
            waiting = b.call(function())
            sandbox = await _start(b)
            await sandbox.invocation()
            await b.settle()
            sandbox.report = report
            os.write(sandbox.output_inside, b"last words")
            sandbox.die(report)
            outcome = await waiting.outcome()

            assert code == outcome.code
            assert text in json.loads(outcome.body)["errorMessage"]
            assert ["last words"] == [line.text for line in b.book.lines]

    run(body)


def test_wrong_handler_fails_everybody_in_the_line_at_once() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(max_instances=1)
            calls = [b.call(target) for _ in range(3)]
            sandbox = await b.host.next()
            sandbox.answer(0, b'{"errorMessage": "no module"}', 4001)
            for waiting in calls:
                outcome = await waiting.outcome()
                assert (4001, True) == (outcome.code, outcome.function_error)
            await b.settle()

            assert 1 == len(b.host.opened)
            assert 0 == b.scheduler.budget.instances

    run(body)


def test_initializer_that_fails_is_tried_on_three_instances() -> None:
    async def body() -> None:
        async with bench() as b:
            waiting = b.call(function())
            for _ in range(3):
                sandbox = await b.host.next()
                assert not waiting.outcomes
                sandbox.answer(0, b'{"errorMessage": "init"}', 4009)

            assert 4009 == (await waiting.outcome()).code
            await b.settle()
            assert 3 == len(b.host.opened)

    run(body)


def test_initializer_has_its_own_timeout_which_begins_when_the_code_is_loaded() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(initializer_handler="index.init", initializer_timeout_s=5)
            waiting = b.call(target)
            for _ in range(3):
                sandbox = await b.host.next()
                await sandbox.frame(frames.INIT)
                b.scheduler.tick(time.perf_counter() + 50)
                assert sandbox.exit_report is None
                sandbox.send(frames.LOADED, 0)
                await b.settle()
                b.scheduler.tick(time.perf_counter() + 4)
                assert sandbox.exit_report is None
                b.scheduler.tick(time.perf_counter() + 6)
                assert sandbox.exit_report is not None

            assert 4211 == (await waiting.outcome()).code

    run(body)


@pytest.mark.parametrize(
    "junk",
    [
        b"\xff" * 16,
        frames.frame(frames.RESULT, 12345, frames.RESULT_HEAD.pack(0, 0, 0)),
        frames.frame(frames.READY, 0, b"{}"),
        frames.frame(frames.LOG, 0, b"x"),
        frames.frame(frames.HEARTBEAT, 0, b"\x01"),
        frames.frame(frames.SIZE, 0, b'{"memory_mib": 10240, "cpu_mcpu": 8200}'),
        frames.stop_frame(1, "r" * 36, 0.0),
        frames.HEADER.pack(1 << 31, frames.RESULT, 0, 0, 1),
    ],
)
def test_junk_on_the_channel_ends_that_instance_only(junk: bytes) -> None:
    async def body() -> None:
        async with bench() as b:
            waiting = b.call(function())
            sandbox = await _start(b)
            await sandbox.invocation()
            await b.settle()
            sandbox.inside.send(junk)
            assert 4014 == (await waiting.outcome()).code
            assert sandbox.exit_report is not None
            again = b.call(function())
            second = await _start(b)
            second.answer((await second.invocation())[0])

            assert 0 == (await again.outcome()).code

    run(body)


def test_idle_instance_is_frozen_thawed_for_the_next_call_and_ended_after_keep_alive() -> None:
    async def body() -> None:
        async with bench(freeze_delay_ms=50, keep_alive_s=60.0) as b:
            target = function()
            first = b.call(target)
            sandbox = await _start(b)
            sandbox.answer((await sandbox.invocation())[0])
            await first.outcome()
            b.scheduler.tick(time.perf_counter() + 1)
            assert sandbox.frozen
            second = b.call(target)
            assert not sandbox.frozen
            sandbox.answer((await sandbox.invocation())[0])
            await second.outcome()
            b.scheduler.tick(time.perf_counter() + 59)
            assert sandbox.exit_report is None
            b.scheduler.tick(time.perf_counter() + 61)

            assert sandbox.exit_report is not None and "idle" == sandbox.exit_report.reason

    run(body)


def test_full_node_evicts_the_instance_that_was_idle_longest() -> None:
    async def body() -> None:
        async with bench(memory_mib=256) as b:
            sandboxes = {}
            for name in ("a", "b"):
                waiting = b.call(function(name))
                sandboxes[name] = sandbox = await _start(b)
                sandbox.answer((await sandbox.invocation())[0])
                await waiting.outcome()
            third = b.call(function("c"))
            sandbox = await _start(b)
            sandbox.answer((await sandbox.invocation())[0])

            assert 0 == (await third.outcome()).code
            assert sandboxes["a"].exit_report is not None
            assert sandboxes["b"].exit_report is None
            assert 1 == b.tally.evicted_

    run(body)


def test_flood_of_one_function_on_a_full_node_gives_way_to_another() -> None:
    async def body() -> None:
        async with bench(memory_mib=256) as b:
            flood = [b.call(function("flood")) for _ in range(20)]
            one, two = await _start(b), await _start(b)
            (first, _), (second, _) = await one.invocation(), await two.invocation()
            quiet = b.call(function("quiet"))
            await b.settle()
            one.answer(first)
            three = await _start(b)
            three.answer((await three.invocation())[0])

            assert 0 == (await quiet.outcome()).code
            assert 1 == sum(1 for waiting in flood if waiting.outcomes)
            two.answer(second)

    run(body)


def test_sandbox_that_cannot_be_made_fails_the_call_as_a_platform_error() -> None:
    async def body() -> None:
        async with bench() as b:
            b.host.broken = True
            waiting = b.call(function())
            outcome = await waiting.outcome()

            assert (4201, False) == (outcome.code, outcome.function_error)
            assert "no space left" in json.loads(outcome.body)["errorMessage"]
            assert 0 == b.scheduler.budget.instances

    run(body)


def test_blank_from_the_pool_is_used_and_replaced() -> None:
    async def body() -> None:
        async with bench(blank_pool=2, blank_pool_max=4) as b:
            target = function()
            b.scheduler.function_changed(None, target)
            first, second = await b.host.next(), await b.host.next()
            await b.settle()
            assert {"Python3.12": 2} == b.scheduler.blanks.count()
            waiting = b.call(target)
            used = first
            await used.frame(frames.INIT)
            call_id, _ = await used.invocation()
            used.ready()
            used.answer(call_id)
            assert 0 == (await waiting.outcome()).code
            third = await b.host.next()

            assert third not in (first, second)
            assert [True] == [start.pooled for start in await b.book.starts("id-f")]

    run(body)


def test_log_frames_become_lines_and_the_tail_of_their_call() -> None:
    async def body() -> None:
        async with bench() as b:
            waiting = b.call(function(), want_tail=True)
            sandbox = await _start(b)
            call_id, _ = await sandbox.invocation()
            sandbox.send(frames.LOG, call_id, frames.LOG_HEAD.pack(0, time.time()) + b"one\ntwo\n")
            sandbox.send(frames.LOG, call_id, frames.LOG_HEAD.pack(20, time.time()) + b"three\n")
            sandbox.answer(call_id)
            await waiting.outcome()

            assert [("", "one"), ("", "two"), ("INFO", "three")] == [(line.level, line.text) for line in b.book.lines]
            assert {waiting.call.request_id} == {line.request_id for line in b.book.lines}
            lines = (await waiting.outcome()).log_tail.decode().splitlines()
            assert ["one", "two"] == lines[1:3] and lines[3].endswith(f"{waiting.call.request_id} INFO three")
            assert "Start invoke request" in lines[0] and "Finish invoke request" in lines[4]

    run(body)


def test_lines_over_the_rate_are_dropped_counted_and_said() -> None:
    async def body() -> None:
        async with bench(log_lines_per_s=10) as b:
            waiting = b.call(function())
            sandbox = await _start(b)
            call_id, _ = await sandbox.invocation()
            sandbox.send(frames.LOG, call_id, frames.LOG_HEAD.pack(0, time.time()) + b"x\n" * 25)
            sandbox.answer(call_id)
            await waiting.outcome()
            b.scheduler.tick(time.perf_counter() + 2)
            texts = [line.text for line in b.book.lines]

            assert 10 == texts.count("x")
            assert any("15 log lines dropped" in text for text in texts)

    run(body)


def test_deleted_function_answers_its_line_and_leaves_nothing() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(max_instances=1)
            running = b.call(target)
            sandbox = await _start(b)
            call_id, _ = await sandbox.invocation()
            queued = b.call(target)
            b.scheduler.function_changed(target, None)
            assert 4208 == (await queued.outcome()).code
            sandbox.answer(call_id)

            assert 0 == (await running.outcome()).code
            await b.settle()
            assert 0 == b.scheduler.budget.instances

    run(body)


def test_drain_lets_running_calls_end_and_takes_no_more() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function()
            waiting = b.call(target)
            sandbox = await _start(b)
            call_id, _ = await sandbox.invocation()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(b.scheduler.drain, 5.0)
                await b.settle()
                with pytest.raises(Unavailable):
                    b.call(target)
                sandbox.answer(call_id)
            assert 0 == (await waiting.outcome()).code
            assert 0 == b.scheduler.budget.instances

    run(body)
