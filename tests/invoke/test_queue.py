"""Every event runs, in fair turns, is tried again within its limits, and leaves a record."""

import itertools
from pathlib import Path

import pytest
import trio
import trio.testing

from fgd.errors import Overloaded, Unavailable
from fgd.invoke.api import Call, Outcome
from fgd.model import AsyncConfig
from tests.invoke.async_harness import EVENT, HandInvoker, Harness, function, running

FAILS = Outcome(4002, b'{"errorMessage": "boom", "errorType": "E"}', function_error=True)


def test_an_event_runs_once_and_its_record_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as harness:
            [name] = await harness.enqueue()
            await harness.drained()
            [record] = await harness.queue.list_records("f1")
            assert ("SUCCESS", 1, 0, "") == (record.state, record.tries, record.error_code, record.error_message)
            assert record.enqueued_s <= record.start_s <= record.end_s
            [call] = harness.invoker.calls
            assert (name, EVENT, True) == (call.request_id, call.event, call.async_)

    trio.run(main)


def test_events_of_a_function_run_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, async_workers=1) as harness:
            names = [(await harness.enqueue())[0] for _ in range(5)]
            await harness.drained()
            assert names == harness.invoker.ran()

    trio.run(main)


def test_a_failing_event_is_tried_again_and_then_fails_for_good(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, lambda call: FAILS) as harness:
            harness.settings = AsyncConfig(max_retries=2)
            [name] = await harness.enqueue()
            await harness.drained()
            [record] = await harness.queue.list_records("f1")
            assert [name] * 3 == harness.invoker.ran()
            assert ("FAIL", 3, 4002, "boom") == (
                record.state, record.tries, record.error_code, record.error_message
            )  # fmt: skip

    trio.run(main)


def test_an_event_that_succeeds_on_the_second_try_is_a_success(tmp_path: Path) -> None:
    async def main() -> None:
        outcomes = [Outcome(0, b"{}"), FAILS]
        async with running(tmp_path, lambda call: outcomes.pop()) as harness:
            await harness.enqueue()
            await harness.drained()
            [record] = await harness.queue.list_records("f1")
            assert ("SUCCESS", 2, 0) == (record.state, record.tries, record.error_code)

    trio.run(main)


def test_a_failure_of_the_platform_costs_no_try(tmp_path: Path) -> None:
    async def main() -> None:
        outcomes = [Outcome(0, b"{}")] + [Outcome(500, b"{}") for _ in range(4)]
        async with running(tmp_path, lambda call: outcomes.pop()) as harness:
            harness.settings = AsyncConfig(max_retries=0)
            harness.now_s = lambda: 1_700_000_000.0  # type: ignore[method-assign]  # time stands still: no backoff
            harness.queue._runner._now_s = harness.now_s
            await harness.enqueue()
            await harness.drained()
            assert ["SUCCESS"] == list((await harness.states()).values())

    trio.run(main)


def test_a_flood_of_one_function_lets_another_in_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, lambda call: None, async_workers=4) as harness:
            await harness.enqueue("f1", 200)
            await harness.until(lambda: harness.queue.running == 3)
            [other] = await harness.enqueue("f2")
            await harness.until(lambda: other in harness.invoker.ran())
            assert 3 == len([call for call in harness.invoker.running if call.function.func_id == "f1"])

    trio.run(main)


def test_events_that_never_end_keep_no_third_function_waiting(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, lambda call: None, async_workers=2) as harness:
            await harness.enqueue("f1", 20)
            await harness.enqueue("f2", 20)
            await harness.until(lambda: harness.queue.running >= 2)
            [third] = await harness.enqueue("f3")
            await harness.until(lambda: third in harness.invoker.ran())

    trio.run(main)


def test_two_floods_share_the_workers(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, lambda call: None, async_workers=8) as harness:
            await harness.enqueue("f1", 50)
            await harness.enqueue("f2", 50)
            await harness.until(lambda: harness.queue.running >= 8)
            for _ in range(30):
                call = harness.invoker.running[0]
                harness.invoker.finish(call, Outcome(0, b"{}"))
                await trio.sleep(0.001)
            shares = [call.function.func_id for call in harness.invoker.running]
            assert 2 <= shares.count("f2") and 2 <= shares.count("f1")

    trio.run(main)


def test_poison_of_one_function_does_not_block_its_good_events(tmp_path: Path) -> None:
    async def main() -> None:
        bad: list[str] = []

        def answer(call: Call) -> Outcome:
            return FAILS if call.request_id in bad else Outcome(0, b"{}")

        async with running(tmp_path, answer, async_workers=2, async_retry_first_s=30.0) as harness:
            harness.invoker.full.add("f1")
            bad += await harness.enqueue("f1", 5)
            good = await harness.enqueue("f1", 20)
            harness.invoker.full.clear()
            await harness.until(lambda: set(good) <= set(harness.invoker.ran()))
            await harness.until(lambda: not (harness.queue.running or harness.queue._runner.results))
            assert {"WAIT"} == {state for name, state in (await harness.states()).items() if name in bad}

    trio.run(main)


def test_no_room_means_later_without_a_try(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as harness:
            harness.settings = AsyncConfig(max_retries=0)
            harness.invoker.full.add("f1")
            [name] = await harness.enqueue("f1")
            [other] = await harness.enqueue("f2")
            await harness.until(lambda: other in harness.invoker.ran())
            assert {name: "WAIT"} == await harness.states()
            harness.invoker.full.clear()
            await harness.drained()
            [record] = await harness.queue.list_records("f1")
            assert ("SUCCESS", 1) == (record.state, record.tries)

    trio.run(main)


def test_what_is_too_old_is_discarded_unrun(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as harness:
            harness.settings = AsyncConfig(max_age_s=60)
            harness.invoker.full.add("f1")
            await harness.enqueue()
            harness.moved_s = 61.0
            await harness.drained()
            [record] = await harness.queue.list_records("f1")
            assert "DISCARD" == record.state
            assert "expired" in record.error_message
            assert [] == harness.invoker.ran()

    trio.run(main)


def test_a_retry_that_would_come_too_late_is_a_failure(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, lambda call: FAILS, async_retry_first_s=100.0) as harness:
            harness.settings = AsyncConfig(max_age_s=60, max_retries=3)
            await harness.enqueue()
            await harness.drained()
            assert ["FAIL"] == list((await harness.states()).values())
            assert 1 == len(harness.invoker.ran())

    trio.run(main)


def test_events_of_a_deleted_function_are_discarded(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as harness:
            harness.invoker.full.add("f1")
            names = await harness.enqueue("f1", 10)
            del harness.functions["f1"]
            await harness.drained()
            assert dict.fromkeys(names, "DISCARD") == await harness.states()
            assert [] == harness.invoker.ran()

    trio.run(main)


def test_waiting_running_and_unknown_events_are_cancelled(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, lambda call: None, async_workers=1) as harness:
            [first] = await harness.enqueue()
            await harness.until(lambda: harness.invoker.ran() == [first])
            names = await harness.enqueue("f1", 10)
            assert await harness.queue.cancel(names[0])
            assert await harness.queue.cancel(names[-1])
            assert await harness.queue.cancel(first)
            assert not await harness.queue.cancel("unknown")
            await harness.until(lambda: len(harness.invoker.ran()) == 2)
            states = await harness.states()
            assert ["DISCARD"] * 3 == [states[name] for name in (first, names[0], names[-1])]
            assert not await harness.queue.cancel(first)
            for name in names[1:-1]:
                assert await harness.queue.cancel(name)
            await harness.drained()

    trio.run(main)


def test_records_are_found_by_state_time_and_page(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, lambda call: None, async_workers=1) as harness:
            began = harness.now_s()
            [first] = await harness.enqueue()
            await harness.until(lambda: len(harness.invoker.running) == 1)
            harness.moved_s = 100.0
            later = [(await harness.enqueue())[0] for _ in range(4)]
            listed = harness.queue.list_records

            async def ids(**query: object) -> list[str]:
                return [item.request_id for item in await listed("f1", **query)]  # type: ignore[arg-type]  # by name

            assert [*reversed(later), first] == await ids()
            assert [first] == await ids(state="RUNNING")
            assert later[::-1] == await ids(state="WAIT")
            assert [] == await ids(state="SUCCESS")
            assert [first] == await ids(end_s=began + 50)
            assert later[::-1] == await ids(begin_s=began + 50)
            assert [later[2], later[1]] == await ids(offset=1, limit=2)
            assert [later[0]] == await ids(request_id=later[0])
            assert [] == await listed("f2")
            assert [] == await listed("f1", version="7")

    trio.run(main)


def test_without_a_status_log_nothing_remains(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as harness:
            harness.settings = AsyncConfig(enable_status_log=False)
            await harness.enqueue("f1", 3)
            await harness.drained()
            await harness.enqueue("f2")
            assert {} == await harness.states()

    trio.run(main)


def test_old_records_are_removed_and_open_events_stay(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(
            tmp_path, lambda call: None if call.function.func_id == "f2" else Outcome(0, b"")
        ) as harness:
            await harness.enqueue("f1", 5)
            await harness.enqueue("f2")
            await harness.until(lambda: not any(c.function.func_id == "f1" for c in harness.invoker.running))
            await harness.enqueue("f3")
        harness.moved_s = 2 * 86400.0
        await harness.open()
        store = harness.queue._store
        assert 0 == await store.expire(harness.now_s() - 86400, 0)
        assert {} == await harness.states()
        assert ["WAIT"] == list((await harness.states("f2")).values())
        await harness.queue.aclose()

    trio.run(main)


def test_a_full_backlog_refuses(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, lambda call: None, async_backlog_max=5) as harness:
            await harness.enqueue("f1", 5)
            with pytest.raises(Overloaded):
                await harness.queue.enqueue(function(), "x", EVENT)
            harness.invoker.finish(harness.invoker.running[0], Outcome(0, b"{}"))
            await harness.enqueue()

    trio.run(main)


def test_a_restart_resumes_what_waited_and_what_ran(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, lambda call: None, async_workers=2) as harness:
            names = await harness.enqueue("f1", 10)
            await harness.until(lambda: harness.queue.running == 1)
        async with running(tmp_path) as harness:
            await harness.drained()
            assert set(names) == set(harness.invoker.ran())
            assert 10 == len(harness.invoker.ran())

    trio.run(main)


def test_a_retry_survives_a_restart_with_its_tries(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, lambda call: FAILS, async_retry_first_s=3000.0) as harness:
            harness.settings = AsyncConfig(max_retries=1, max_age_s=86400)
            await harness.enqueue()
            await harness.until(lambda: not harness.queue._runner.held and not harness.queue._runner.results)
        async with running(tmp_path, lambda call: FAILS) as harness:
            harness.settings = AsyncConfig(max_retries=1, max_age_s=86400)
            await trio.sleep(0.02)
            assert [] == harness.invoker.ran()
            harness.moved_s = 4000.0
            harness.queue._wake.set()
            await harness.drained()
            [record] = await harness.queue.list_records("f1")
            assert ("FAIL", 2) == (record.state, record.tries)

    trio.run(main)


def test_stopping_lets_running_events_end_and_takes_no_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, lambda call: None, async_workers=4) as harness:
            await harness.enqueue("f1", 10)
            await harness.until(lambda: harness.queue.running == 3)
            harness.queue.stop()
            with pytest.raises(Unavailable):
                await harness.queue.enqueue(function(), "x", EVENT)
            for call in list(harness.invoker.running):
                harness.invoker.finish(call, Outcome(0, b"{}"))
            with trio.fail_after(5):
                await harness.queue.wait_idle()
            assert 3 == len(harness.invoker.ran())
            states = list((await harness.states()).values())
            assert (3, 7) == (states.count("SUCCESS"), states.count("WAIT"))

    trio.run(main)


def test_what_a_shutdown_ends_runs_again_after_the_next_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, lambda call: None, async_workers=8) as harness:
            names = await harness.enqueue("f1", 5)
            await harness.until(lambda: harness.queue.running == 5)
            harness.queue.stop()
            for call, code in zip(list(harness.invoker.running), (4208, 4206, 4201, 500, 4002), strict=True):
                harness.invoker.finish(call, Outcome(code, b"{}", function_error=code > 4000))
            with trio.fail_after(5):
                await harness.queue.wait_idle()
        async with running(tmp_path) as harness:
            harness.settings = AsyncConfig(max_retries=0)
            await harness.drained()
            assert set(names) == set(harness.invoker.ran())
            assert ["SUCCESS"] * 5 == list((await harness.states()).values())

    trio.run(main)


def test_an_event_stopped_along_with_another_runs_again(tmp_path: Path) -> None:
    async def main() -> None:
        outcomes = [Outcome(0, b"{}"), Outcome(4208, b"{}", function_error=True)]
        async with running(tmp_path, lambda call: outcomes.pop()) as harness:
            harness.settings = AsyncConfig(max_retries=0)
            await harness.enqueue()
            await harness.drained()
            assert ["SUCCESS"] == list((await harness.states()).values())

    trio.run(main)


def test_events_are_in_memory_only_as_far_as_the_window(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, lambda call: None, async_workers=4) as harness:
            for _ in range(4):
                await harness.enqueue("f1", 250)
            await harness.until(lambda: harness.queue.running == 3)
            assert 8 >= harness.queue._runner.held
            assert 997 == harness.queue.waiting

    trio.run(main)


def test_a_caller_that_fails_in_its_callback_costs_the_others_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as harness:

            def broken(error: Exception | None) -> None:
                raise LookupError("the connection is gone")

            harness.queue.enqueue_soon(function(), "one", EVENT, broken)
            [name] = await harness.enqueue()
            await harness.drained()
            assert {"one", name} == set(harness.invoker.ran())

    trio.run(main)


def test_opened_without_running_it_counts_what_waits(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, lambda call: None, async_workers=1) as harness:
            await harness.enqueue("f1", 5)
        again = Harness(tmp_path, HandInvoker(), {})
        queue = await again.open()
        assert (5, 0) == (queue.waiting, queue.running)
        await queue.aclose()

    trio.run(main)


def test_an_alarm_that_comes_between_two_looks_at_the_clock_ends_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as harness:
            queue = harness.queue
            looks = itertools.count(int(harness.now_s()) + 1)
            first = next(looks)
            queue._now_s = lambda: float(next(looks))
            queue._alarm(queue._line(("f1", "latest")), first + 1.5)
            await trio.testing.wait_all_tasks_blocked()
            await harness.enqueue()

    trio.run(main)
