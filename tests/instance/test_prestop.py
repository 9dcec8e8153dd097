"""The orderly end: who gets a pre-stop, how long it may take, and what waits for it meanwhile."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import trio

from fgd.sandbox.api import ExitReport
from fgd.wire import frames
from tests.instance.harness import Bench, PlayedSandbox, bench, changed, function, run

TARGET = function(pre_stop_handler="index.stop", pre_stop_timeout_s=5)


async def _idle(b: Bench, target: Any = TARGET) -> PlayedSandbox:
    waiting = b.call(target)
    sandbox = await b.host.next()
    await sandbox.frame(frames.INIT)
    sandbox.ready()
    sandbox.answer((await sandbox.invocation())[0])
    await waiting.outcome()
    return sandbox


async def _stopped(sandbox: PlayedSandbox) -> tuple[int, str, float]:
    """Call id, request id and deadline of the STOP that came."""
    with trio.fail_after(5):
        call_id, body = await sandbox.frame(frames.STOP)
    request_id, deadline_s, _ = frames.INVOKE_HEAD.unpack_from(body)
    return call_id, request_id.decode(), deadline_s


def _idle_too_long(b: Bench) -> None:
    b.scheduler.configure(replace(b.scheduler.config, keep_alive_s=0.0))


def _replaced(b: Bench) -> None:
    b.scheduler.function_changed(TARGET, changed(TARGET, code_digest="e" * 128))


def _deleted(b: Bench) -> None:
    b.scheduler.function_changed(TARGET, None)


def _left_alone(b: Bench) -> None:
    b.scheduler.drain_version(TARGET)


@pytest.mark.parametrize("end", [_idle_too_long, _replaced, _deleted, _left_alone])
def test_orderly_end_calls_the_handler_once_logs_it_and_kills_then(end: Callable[[Bench], None]) -> None:
    async def body() -> None:
        async with bench() as b:
            sandbox = await _idle(b)
            end(b)
            call_id, request_id, deadline_s = await _stopped(sandbox)
            assert 4 < deadline_s - time.time() <= 5.1
            assert sandbox.exit_report is None
            assert 1 == b.scheduler.count()["ending"]
            sandbox.send(frames.LOG, call_id, frames.LOG_HEAD.pack(20, time.time()) + b"saved\n")
            sandbox.answer(call_id, b"")
            await b.settle()

            assert sandbox.exit_report is not None
            texts = [line.text.partition("Z ")[2] or line.text for line in b.book.lines]
            assert f"Start pre-stop request '{request_id}', version: latest" == texts[0]
            assert "saved" == texts[1]
            assert texts[2].startswith(f"Finish pre-stop request '{request_id}', duration: ")
            assert {request_id} == {line.request_id for line in b.book.lines}
            assert (0, 0) == (b.scheduler.budget.instances, b.scheduler.budget.promised_mib)

    run(body)


def test_handler_that_fails_is_logged_and_one_that_takes_too_long_is_cut_off() -> None:
    async def body() -> None:
        async with bench() as b:
            bad, slow = await _idle(b), await _idle(b, function("slow", pre_stop_handler="i.s", pre_stop_timeout_s=1))
            _idle_too_long(b)
            call_id, _, _ = await _stopped(bad)
            bad.answer(call_id, json.dumps({"errorMessage": "no disk"}).encode(), code=4002)
            await _stopped(slow)
            await b.settle()
            assert slow.exit_report is None
            b.scheduler.tick(time.perf_counter() + 1.1)
            await b.settle()

            assert bad.exit_report is not None
            assert slow.exit_report is not None
            errors = [line.text for line in b.book.lines if line.level == "ERROR"]
            assert ["pre-stop handler failed: no disk", "pre-stop handler timed out after 1 s"] == errors

    run(body)


def test_instance_that_dies_during_its_handler_is_buried() -> None:
    async def body() -> None:
        async with bench() as b:
            sandbox = await _idle(b)
            _idle_too_long(b)
            await _stopped(sandbox)
            sandbox.die(ExitReport(3, 0, 0, ""))
            await b.settle()

            assert 0 == b.scheduler.budget.instances
            assert 0 == b.scheduler.count()["ending"]

    run(body)


def test_no_handler_is_called_after_a_crash_a_timeout_or_a_broken_frame() -> None:
    async def body() -> None:
        async with bench() as b:
            for number, end in enumerate((_crash, _time_out, _break)):
                target = function(f"f{number}", pre_stop_handler="index.stop", pre_stop_timeout_s=5)
                waiting = b.call(target)
                sandbox = await b.host.next()
                await sandbox.frame(frames.INIT)
                sandbox.ready()
                await sandbox.invocation()
                await b.settle()
                end(b, sandbox)

                assert 0 != (await waiting.outcome()).code
                await b.settle()
                assert 0 == b.scheduler.count()["ending"]
                assert sandbox.exit_report is not None
            assert [] == [line for line in b.book.lines if "pre-stop" in line.text]

    run(body)


def _crash(b: Bench, sandbox: PlayedSandbox) -> None:
    sandbox.die(ExitReport(3, 0, 0, ""))


def _time_out(b: Bench, sandbox: PlayedSandbox) -> None:
    b.scheduler.tick(time.perf_counter() + 3.1)


def _break(b: Bench, sandbox: PlayedSandbox) -> None:
    sandbox.inside.send(b"\xff" * 64)


def test_frozen_instance_is_thawed_for_its_handler() -> None:
    async def body() -> None:
        async with bench(freeze_delay_ms=0) as b:
            sandbox = await _idle(b)
            b.scheduler.tick(time.perf_counter() + 1)
            assert sandbox.frozen
            _idle_too_long(b)
            await _stopped(sandbox)

            assert not sandbox.frozen

    run(body)


def test_busy_instance_of_a_changed_function_stops_after_its_call() -> None:
    async def body() -> None:
        async with bench() as b:
            waiting = b.call(TARGET)
            sandbox = await b.host.next()
            await sandbox.frame(frames.INIT)
            sandbox.ready()
            call_id, _ = await sandbox.invocation()
            await b.settle()
            _replaced(b)
            sandbox.answer(call_id)

            assert 0 == (await waiting.outcome()).code
            await _stopped(sandbox)

    run(body)


def test_evicted_instance_keeps_its_memory_until_it_has_stopped_and_the_needy_one_waits() -> None:
    async def body() -> None:
        async with bench(memory_mib=256) as b:
            old, other = await _idle(b), await _idle(b, function("other"))
            waiting = b.call(function("needy", memory_mib=128))
            call_id, _, _ = await _stopped(old)
            await b.settle()
            assert 2 == len(b.host.opened)
            assert 256 == b.scheduler.budget.promised_mib
            assert other.exit_report is None, "one victim is enough"

            old.answer(call_id, b"")
            new = await b.host.next()
            await new.frame(frames.INIT)
            new.ready()
            new.answer((await new.invocation())[0])

            assert 0 == (await waiting.outcome()).code

    run(body)


def test_after_an_answer_no_more_instances_retire_than_the_needy_one_needs() -> None:
    async def body() -> None:
        async with bench(memory_mib=256) as b:
            busy = [b.call(TARGET) for _ in range(2)]
            sandboxes = [await b.host.next() for _ in range(2)]
            ids = []
            for sandbox in sandboxes:
                await sandbox.frame(frames.INIT)
                sandbox.ready()
                ids.append((await sandbox.invocation())[0])
            needy = b.call(function("needy"))
            await b.settle()
            for sandbox, call_id, waiting in zip(sandboxes, ids, busy, strict=True):
                sandbox.answer(call_id)
                assert 0 == (await waiting.outcome()).code
            stop_id, _, _ = await _stopped(sandboxes[0])
            await b.settle()

            assert [] == sandboxes[1].unread()
            assert not needy.outcomes

            sandboxes[0].answer(stop_id, b"")
            new = await b.host.next()
            await new.frame(frames.INIT)
            new.ready()
            new.answer((await new.invocation())[0])

            assert 0 == (await needy.outcome()).code
            assert sandboxes[1].exit_report is None

    run(body)


def test_stopping_instance_does_not_count_against_the_maximum() -> None:
    async def body() -> None:
        async with bench() as b:
            single = function(pre_stop_handler="index.stop", pre_stop_timeout_s=5, max_instances=1)
            old = await _idle(b, single)
            newer = changed(single, code_digest="e" * 128)
            b.scheduler.function_changed(single, newer)
            await _stopped(old)
            new = await _idle(b, newer)

            assert new is not old
            assert old.exit_report is None

    run(body)


def test_shutdown_waits_for_the_handlers_but_no_longer_than_it_may() -> None:
    async def body() -> None:
        async with bench() as b:
            quick, stuck = (
                await _idle(b),
                await _idle(b, function("stuck", pre_stop_handler="i.s", pre_stop_timeout_s=90)),
            )
            began = time.perf_counter()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(b.scheduler.drain, 0.5)
                call_id, _, _ = await _stopped(quick)
                quick.answer(call_id, b"")
                await _stopped(stuck)
            took_s = time.perf_counter() - began

            assert 0.5 <= took_s < 2
            assert quick.exit_report is not None
            assert stuck.exit_report is not None
            assert any("Finish pre-stop" in line.text for line in b.book.lines)
            assert 0 == b.scheduler.budget.instances

    run(body)


def test_shutdown_ends_early_when_all_have_stopped() -> None:
    async def body() -> None:
        async with bench() as b:
            sandbox = await _idle(b)
            with trio.fail_after(3):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(b.scheduler.drain, 30)
                    call_id, _, _ = await _stopped(sandbox)
                    sandbox.answer(call_id, b"")

    run(body)
