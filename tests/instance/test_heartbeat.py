"""The heartbeat: when it is asked, what counts as a miss, and how an instance ends by it."""

import time
from itertools import count

import pytest

from fgd.instance.heartbeat import EVERY_S, MISSES_MAX, TIMEOUT_S, Heartbeat
from fgd.sandbox.api import ExitReport
from fgd.wire import frames
from tests.instance.harness import Bench, PlayedSandbox, Waiting, bench, function, run

YES, NO = b"\x01", b"\x00"


def _fresh() -> Heartbeat:
    return Heartbeat(count(1).__next__, 100.0)


def test_first_question_comes_after_one_interval_and_then_every_interval() -> None:
    heart = _fresh()
    asked = []
    for tick in range(1000, 1200):
        now = tick / 10
        assert "" == heart.overdue(now)
        question = heart.due(now)
        if question:
            asked.append(now)
            assert "" == heart.answered(question, YES)

    assert [105.0, 110.0, 115.0] == asked


def test_six_misses_in_a_row_end_it_within_thirty_three_seconds() -> None:
    heart = _fresh()
    now, reason = 100.0, ""
    while not reason:
        now += 0.05
        reason = heart.overdue(now)
        heart.due(now)

    assert EVERY_S * MISSES_MAX + TIMEOUT_S == pytest.approx(now - 100.0, abs=0.5)
    assert "did not answer within 3 s, 6 times in a row" in reason


def test_an_answer_in_time_forgives_the_misses_before_and_a_late_one_does_not() -> None:
    heart = _fresh()
    for round_ in range(5):
        late = heart.due(105.0 + 5 * round_)
        heart.overdue(108.1 + 5 * round_)
    assert 5 == heart.misses
    assert "" == heart.answered(late, YES)
    assert 5 == heart.misses

    assert "" == heart.answered(heart.due(130.0), YES)
    assert 0 == heart.misses


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (NO, "its heartbeat function returned false"),
        (NO + b"raised ValueError: no", "its heartbeat function raised ValueError: no"),
        (NO + b"\xff" * 9000, "its heartbeat function " + "�" * 500),
    ],
)
def test_a_false_answer_ends_it_at_once_also_a_late_one(body: bytes, why: str) -> None:
    heart = _fresh()
    question = heart.due(105.0)
    heart.overdue(108.1)

    assert why == heart.answered(question, body)


@pytest.mark.parametrize(("question", "body"), [(7, YES), (1, b""), (1, b"\x02"), (0, YES)])
def test_answers_that_nobody_asked_for_are_told_apart(question: int, body: bytes) -> None:
    heart = _fresh()
    assert 1 == heart.due(105.0)

    assert heart.answered(question, body) is None


def test_an_answer_stands_for_the_questions_before_it_and_comes_once() -> None:
    heart = _fresh()
    first = heart.due(105.0)
    heart.overdue(108.1)
    second = heart.due(110.0)

    assert "" == heart.answered(second, YES)
    assert heart.answered(second, YES) is None
    assert heart.answered(first, YES) is None


def test_what_was_asked_before_a_freeze_counts_neither_way() -> None:
    heart = _fresh()
    question = heart.due(105.0)
    heart.forget()

    assert "" == heart.overdue(200.0)
    assert 0 == heart.misses
    assert "" == heart.answered(question, YES)
    assert 0 != heart.due(200.0)


async def _running(b: Bench, waiting: Waiting) -> tuple[PlayedSandbox, int]:
    sandbox = await b.host.next()
    await sandbox.frame(frames.INIT)
    sandbox.ready()
    call_id, _ = await sandbox.invocation()
    await b.settle()
    assert not waiting.outcomes
    return sandbox, call_id


def test_busy_instance_is_asked_and_goes_on_when_it_is_well() -> None:
    async def body() -> None:
        async with bench() as b:
            waiting = b.call(function(heartbeat_handler="index.beat", timeout_s=100))
            sandbox, call_id = await _running(b, waiting)
            for round_ in range(1, 9):
                b.scheduler.tick(time.perf_counter() + round_ * EVERY_S + 0.1)
                question, nothing = await sandbox.frame(frames.HEARTBEAT)
                assert b"" == nothing
                sandbox.send(frames.HEARTBEAT, question, YES)
                await b.settle()
            sandbox.answer(call_id)

            assert 0 == (await waiting.outcome()).code
            assert [] == b.tally.unwell

    run(body)


def test_false_ends_the_instance_and_its_calls_hear_why_as_do_log_and_metrics() -> None:
    async def body() -> None:
        async with bench() as b:
            waiting = b.call(function(heartbeat_handler="index.beat", timeout_s=100))
            sandbox, _ = await _running(b, waiting)
            b.scheduler.tick(time.perf_counter() + EVERY_S + 0.1 - 3)  # not yet
            b.scheduler.tick(time.perf_counter() + EVERY_S + 0.1)
            question, _ = await sandbox.frame(frames.HEARTBEAT)
            sandbox.report = ExitReport(None, 9, 0, "")
            sandbox.send(frames.HEARTBEAT, question, NO)
            outcome = await waiting.outcome()

            assert (4006, True) == (outcome.code, outcome.function_error)
            assert b"function instance ended: its heartbeat function returned false" in outcome.body
            assert b"HeartbeatFailed" in outcome.body
            assert ["id-f"] == b.tally.unwell
            (line,) = [one for one in b.book.lines if "heartbeat" in one.text]
            assert ("ERROR", waiting.call.request_id) == (line.level, line.request_id)
            assert 0 == b.scheduler.budget.instances

    run(body)


def test_silence_of_six_rounds_ends_the_instance() -> None:
    async def body() -> None:
        async with bench() as b:
            waiting = b.call(function(heartbeat_handler="index.beat", timeout_s=100))
            sandbox, _ = await _running(b, waiting)
            began = time.perf_counter()
            for round_ in range(1, 7):
                assert not waiting.outcomes
                b.scheduler.tick(began + round_ * EVERY_S + 0.1)
                b.scheduler.tick(began + round_ * EVERY_S + TIMEOUT_S + 0.2)
            outcome = await waiting.outcome()

            assert 4006 == outcome.code
            assert b"6 times in a row" in outcome.body
            assert sandbox.exit_report is not None

    run(body)


def test_frozen_instance_is_not_asked_and_one_that_was_asked_is_not_frozen_meanwhile() -> None:
    async def body() -> None:
        async with bench(freeze_delay_ms=0) as b:
            waiting = b.call(function(heartbeat_handler="index.beat", timeout_s=100))
            sandbox, call_id = await _running(b, waiting)
            soon = time.perf_counter() + EVERY_S + 0.1
            b.scheduler.tick(soon)
            question, _ = await sandbox.frame(frames.HEARTBEAT)
            sandbox.answer(call_id)
            await waiting.outcome()
            b.scheduler.tick(soon + 0.5)
            assert not sandbox.frozen

            sandbox.send(frames.HEARTBEAT, question, YES)
            await b.settle()
            b.scheduler.tick(soon + 1)
            assert sandbox.frozen
            for later in range(1, 10):
                b.scheduler.tick(soon + later * EVERY_S)
            await b.settle()

            assert [] == b.tally.unwell
            assert sandbox.exit_report is None
            assert sandbox.unread() == []

    run(body)


def test_answer_to_no_question_is_a_broken_frame() -> None:
    async def body() -> None:
        async with bench() as b:
            waiting = b.call(function(heartbeat_handler="index.beat", timeout_s=100))
            sandbox, _ = await _running(b, waiting)
            sandbox.report = ExitReport(None, 9, 0, "")
            sandbox.send(frames.HEARTBEAT, 5, YES)

            assert 4014 == (await waiting.outcome()).code

    run(body)


def test_reserved_instance_that_is_not_well_soon_after_its_start_is_replaced_after_a_pause() -> None:
    async def body() -> None:
        async with bench() as b:
            target = function(heartbeat_handler="index.beat")
            b.scheduler.function_changed(None, target)
            pool = b.scheduler.pool_of(target)
            pool.reserve.aim(1)
            b.scheduler.want(pool)
            sandbox = await b.host.next()
            await sandbox.frame(frames.INIT)
            sandbox.ready()
            await b.settle()
            b.scheduler.tick(time.perf_counter() + EVERY_S + 0.1)
            question, _ = await sandbox.frame(frames.HEARTBEAT)
            sandbox.send(frames.HEARTBEAT, question, NO)
            await b.settle()

            assert sandbox.exit_report is not None
            assert 0 == pool.reserve.missing(time.perf_counter())
            assert await b.host.next() is not sandbox

    run(body)
