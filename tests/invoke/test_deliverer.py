"""An outcome goes where the settings say, is tried until it arrives or is given up, and is then kept and shown."""

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec
import pytest
import trio

from fgd.destination import Delivery, Undeliverable
from fgd.errors import Overloaded
from fgd.invoke.api import Call, Outcome
from fgd.invoke.handover import CHAIN_MAX
from fgd.model import AsyncConfig
from tests.invoke.async_harness import EVENT, function
from tests.invoke.delivery_harness import BOX, Mail, Post, posting, to_function

BOOM = Outcome(4002, b'{"errorMessage": "boom", "errorType": "E"}', function_error=True)
URN = "urn:fss:local:p1:function:default:f1:latest"


def post(
    tmp_path: Path,
    main: Callable[[Post], Awaitable[None]],
    answer: Callable[[Call], Outcome | None] = lambda call: Outcome(0, b'{"r": 1}'),
    mail: Mail | None = None,
    aims: Mapping[str, AsyncConfig] | None = None,
    **settings: int | float,
) -> Mail:
    mail = mail or Mail()

    async def run() -> None:
        async with posting(tmp_path, mail, answer, aims=aims, **settings) as here:
            await main(here)

    trio.run(run)
    return mail


async def one_event(here: Post) -> None:
    await here.harness.enqueue()
    await here.empty()


def test_a_success_is_delivered_once_with_the_documents_of_the_guide(tmp_path: Path) -> None:
    mail = post(tmp_path, one_event)
    [delivery] = mail.got
    document = json.loads(delivery.document)

    assert ("p1", URN, True, 0, ("f1",)) == (
        delivery.project_id, delivery.function_urn, delivery.success, delivery.tries, delivery.chain,
    )  # fmt: skip
    assert ["box"] == mail.where
    assert document.pop("timestamp").endswith("+00:00")
    assert {
        "request_context": {
            "request_id": delivery.request_id, "function_urn": URN, "condition": "", "approximate_invoke_count": 1,
        },
        "request_payload": EVENT.decode(),
        "response_context": {"status_code": 200, "function_error": ""},
        "response_payload": '{"r": 1}',
    } == document  # fmt: skip


def test_a_failure_tells_how_often_it_was_tried_and_why_it_failed(tmp_path: Path) -> None:
    async def main(here: Post) -> None:
        here.harness.settings = AsyncConfig(max_retries=2, on_success=None, on_failure=BOX)
        await one_event(here)

    [delivery] = post(tmp_path, main, lambda call: BOOM).got
    document = json.loads(delivery.document)

    assert not delivery.success
    assert "UnhandledInvocationError" == document["request_context"]["condition"]
    assert 3 == document["request_context"]["approximate_invoke_count"]
    assert {"status_code": 500, "function_error": "boom"} == document["response_context"]
    assert "boom" in document["response_payload"]


def test_an_event_that_became_too_old_unrun_is_a_failure_without_a_response(tmp_path: Path) -> None:
    async def main(here: Post) -> None:
        here.harness.settings = AsyncConfig(max_age_s=60, on_failure=BOX)
        here.harness.invoker.full.add("f1")
        await here.harness.enqueue()
        here.harness.moved_s = 61.0
        await here.empty()

    [delivery] = post(tmp_path, main).got
    document = json.loads(delivery.document)

    assert ("EventAgeExceeded", 0) == (
        document["request_context"]["condition"], document["request_context"]["approximate_invoke_count"],
    )  # fmt: skip
    assert document["response_payload"] is None
    assert "expired" in document["response_context"]["function_error"]


def test_a_failure_of_the_platform_says_so(tmp_path: Path) -> None:
    async def main(here: Post) -> None:
        here.harness.settings = AsyncConfig(max_age_s=1, on_failure=BOX)
        await one_event(here)

    [delivery] = post(tmp_path, main, lambda call: Outcome(500, b"{}"), async_retry_first_s=5.0).got

    assert "SystemError" == json.loads(delivery.document)["request_context"]["condition"]


def test_what_somebody_cancels_is_told_to_nobody(tmp_path: Path) -> None:
    async def main(here: Post) -> None:
        harness = here.harness
        [running] = await harness.enqueue()
        await harness.until(lambda: harness.queue.running == 1)
        [waiting] = await harness.enqueue()
        assert await harness.queue.cancel(waiting)
        assert await harness.queue.cancel(running)
        await here.empty()

    assert [] == post(tmp_path, main, lambda call: None, async_workers=1).got


@pytest.mark.parametrize(("size", "kept"), [(256 * 1024, True), (256 * 1024 + 1, False)])
def test_a_result_over_256_kib_becomes_null(tmp_path: Path, size: int, kept: bool) -> None:
    mail = post(tmp_path, one_event, lambda call: Outcome(0, b"x" * size, text=True))
    payload = json.loads(mail.got[0].document)["response_payload"]

    assert payload == ("x" * size if kept else None)


def test_without_a_record_the_outcome_is_delivered_all_the_same(tmp_path: Path) -> None:
    async def main(here: Post) -> None:
        here.harness.settings = AsyncConfig(enable_status_log=False, on_success=BOX)
        await one_event(here)
        assert {} == await here.harness.states()

    assert 1 == len(post(tmp_path, main).got)


def test_a_destination_that_was_away_gets_it_later(tmp_path: Path) -> None:
    mail = Mail()

    def answer(delivery: Delivery) -> None:
        if delivery.tries < 3:
            raise OSError("away")

    mail.answer = answer

    async def main(here: Post) -> None:
        await one_event(here)
        assert [] == await here.states()
        assert [("Box", "retried", 1)] * 3 + [("Box", "delivered", 1)] == here.counted
        assert [("WARN", "notification to Box failed, it will be tried again: away")] == here.notes

    post(tmp_path, main, mail=mail)

    assert [0, 1, 2, 3] == [delivery.tries for delivery in mail.got]
    assert 1 == len({(delivery.id, delivery.document) for delivery in mail.got})


def test_what_never_arrives_is_kept_shown_and_can_be_tried_again_or_dropped(tmp_path: Path) -> None:
    mail = Mail()

    def refuse(delivery: Delivery) -> None:
        raise OSError("away\n2026 ERROR a line that is not ours \x1b[1m")

    mail.answer = refuse

    async def main(here: Post) -> None:
        await here.harness.enqueue("f1", 3)
        await here.empty()
        kept = await here.deliverer.list("f1", state="FAIL", limit=10)
        text = "away 2026 ERROR a line that is not ours ?[1m"
        assert [("FAIL", 2, text)] * 3 == await here.states()
        assert 3 == here.deliverer.failed
        assert ("ERROR", f"notification to Box failed for good after 2 tries: {text}") in here.notes
        assert 0 == await here.deliverer.drop("f2", "", None)
        assert 0 == await here.deliverer.drop("f1", "v1", None)
        assert 1 == await here.deliverer.drop("f1", "", [kept[0].id])
        mail.answer = lambda delivery: None
        assert 1 == await here.deliverer.again("f1", "latest", [kept[1].id, 999])
        await here.empty()
        assert kept[1].id == mail.got[-1].id and 0 == mail.got[-1].tries
        assert [kept[2].id] == [one.id for one in await here.deliverer.list("f1", limit=10)]
        assert 1 == here.deliverer.failed

    post(tmp_path, main, mail=mail, delivery_tries_max=2)


def test_what_is_too_old_is_given_up_before_its_tries_are_used_up(tmp_path: Path) -> None:
    mail = Mail()

    def refuse(delivery: Delivery) -> None:
        raise OSError("away")

    mail.answer = refuse

    async def main(here: Post) -> None:
        await one_event(here)
        assert [("FAIL", 1, "away")] == await here.states()

    post(tmp_path, main, mail=mail, delivery_retry_first_s=10.0, delivery_max_age_s=5)


def test_undeliverable_means_no_further_try(tmp_path: Path) -> None:
    mail = Mail()

    def refuse(delivery: Delivery) -> None:
        raise Undeliverable("no such place")

    mail.answer = refuse

    async def main(here: Post) -> None:
        await one_event(here)
        assert [("FAIL", 1, "no such place")] == await here.states()

    post(tmp_path, main, mail=mail)


def test_a_destination_that_does_not_answer_is_cut_off(tmp_path: Path) -> None:
    mail = Mail()
    mail.answer = lambda delivery: trio.sleep_forever()

    async def main(here: Post) -> None:
        await one_event(here)
        assert [("FAIL", 1, "took longer than 0.1 s")] == await here.states()

    post(tmp_path, main, mail=mail, delivery_timeout_s=0.1, delivery_tries_max=1)


def test_a_slow_destination_keeps_no_other_function_waiting(tmp_path: Path) -> None:
    mail = Mail()

    def answer(delivery: Delivery) -> Awaitable[None] | None:
        return trio.sleep_forever() if ":f1:" in delivery.function_urn else None

    mail.answer = answer

    async def main(here: Post) -> None:
        await here.harness.enqueue("f1", 50)
        await here.harness.until(lambda: len(mail.got) == 4)
        await here.harness.enqueue("f2", 20)
        await here.harness.until(lambda: len(mail.got) == 24)
        assert 50 == here.deliverer.open

    post(tmp_path, main, mail=mail, delivery_workers=6)


def test_open_deliveries_count_as_backlog(tmp_path: Path) -> None:
    mail = Mail()
    mail.answer = lambda delivery: trio.sleep_forever()

    async def main(here: Post) -> None:
        await here.harness.enqueue("f1", 5)
        await here.harness.until(lambda: here.deliverer.open == 5)
        with pytest.raises(Overloaded):
            await here.harness.queue.enqueue(function(), "x", EVENT)

    post(tmp_path, main, mail=mail, async_backlog_max=5)


def test_a_restart_goes_on_with_what_was_on_its_way(tmp_path: Path) -> None:
    mail = Mail()

    def refuse(delivery: Delivery) -> None:
        raise OSError("away")

    mail.answer = refuse

    async def before(here: Post) -> None:
        await here.harness.enqueue("f1", 3)
        await here.harness.until(lambda: here.counted == [("Box", "retried", 1)] * 3)

    post(tmp_path, before, mail=mail, delivery_retry_first_s=200.0)
    mail.answer = lambda delivery: None

    async def after(here: Post) -> None:
        assert 3 == here.deliverer.open
        await trio.sleep(0.02)
        assert 3 == len(mail.got)
        here.harness.moved_s = 201.0
        here.deliverer._wake.set()
        await here.empty()

    post(tmp_path, after, mail=mail)

    assert [0, 0, 0, 1, 1, 1] == [delivery.tries for delivery in mail.got]


def test_a_clock_that_was_set_back_keeps_no_delivery_waiting(tmp_path: Path) -> None:
    mail = Mail()
    mail.answer = lambda delivery: trio.sleep_forever()

    async def before(here: Post) -> None:
        here.harness.moved_s = 7200.0
        await here.harness.enqueue()
        await here.harness.until(lambda: len(mail.got) == 1)

    post(tmp_path, before, mail=mail)
    mail.answer = lambda delivery: None

    async def after(here: Post) -> None:
        await here.empty()

    post(tmp_path, after, mail=mail)

    assert 2 == len(mail.got)


def test_old_and_surplus_failures_are_dropped_with_a_word_in_the_log(tmp_path: Path) -> None:
    mail = Mail()

    def refuse(delivery: Delivery) -> None:
        raise Undeliverable("no")

    mail.answer = refuse

    async def main(here: Post) -> None:
        await here.harness.enqueue("f1", 5)
        await here.harness.enqueue("f2", 1)
        await here.empty()
        store = here.harness.queue.deliveries
        now_s = here.harness.now_s()
        assert {("f1", "latest", "Box"): 3} == await store.expire(now_s - 60, 2)
        assert {("f1", "latest", "Box"): 2, ("f2", "latest", "Box"): 1} == await store.expire(now_s + 60, 2)
        assert 0 == await store.count_failed()

    post(tmp_path, main, mail=mail)

    async def tidied(here: Post) -> None:
        await one_event(here)
        here.harness.moved_s = 8 * 86400.0
        with trio.move_on_after(0.2):
            await here.deliverer._tidy()
        assert 0 == here.deliverer.failed
        assert ("Box", "dropped", 1) in here.counted
        assert any(level == "ERROR" and "were dropped" in text for level, text in here.notes)

    post(tmp_path, tidied, mail=mail)


def test_an_outcome_becomes_the_event_of_the_next_function(tmp_path: Path) -> None:
    async def main(here: Post) -> None:
        [name] = await here.harness.enqueue()
        await here.harness.until(lambda: 3 == len(here.harness.invoker.calls))
        await here.empty()
        first, second, third = here.harness.invoker.calls
        assert (name, "f1", ()) == (first.request_id, first.function.func_id, first.options.chain)
        assert ("f2", ("f1",)) == (second.function.func_id, second.options.chain)
        assert ("f3", ("f1", "f2")) == (third.function.func_id, third.options.chain)
        assert 3 == len({call.request_id for call in here.harness.invoker.calls})
        assert name == json.loads(second.event)["request_context"]["request_id"]
        assert second.event.decode() == json.loads(third.event)["request_payload"]

    aims = {one: AsyncConfig(on_success=to_function(two)) for one, two in (("f1", "f2"), ("f2", "f3"))}
    post(tmp_path, main, aims=aims | {"f3": AsyncConfig()})


def test_a_loop_is_cut_at_the_function_that_had_it_before(tmp_path: Path) -> None:
    async def main(here: Post) -> None:
        await here.harness.enqueue()
        await here.harness.until(lambda: here.deliverer.failed == 1)
        assert ["f1", "f2"] == [call.function.func_id for call in here.harness.invoker.calls]
        [(state, tries, error)] = await here.states("f2")
        assert ("FAIL", 1) == (state, tries) and error.startswith("loop: ")

    aims = {one: AsyncConfig(on_success=to_function(two)) for one, two in (("f1", "f2"), ("f2", "f1"))}
    post(tmp_path, main, aims=aims)


def test_a_chain_has_an_end(tmp_path: Path) -> None:
    async def main(here: Post) -> None:
        for number in range(CHAIN_MAX + 2):
            one = function(f"g{number}")
            here.harness.settings_of[one.func_id] = AsyncConfig(on_success=to_function(f"g{number + 1}"))
            here.harness.functions[one.func_id] = one
            here.directory.put(one)
        await here.harness.enqueue("g0")
        await here.harness.until(lambda: here.deliverer.failed == 1)
        assert CHAIN_MAX == len(here.harness.invoker.calls)

    post(tmp_path, main)


def test_a_function_that_is_away_or_disabled_is_tried_again(tmp_path: Path) -> None:
    async def main(here: Post) -> None:
        async def shown(word: str) -> None:
            with trio.fail_after(10):
                while not any(word in error for _, _, error in await here.states()):
                    await trio.sleep(0.005)

        await here.harness.enqueue()
        await shown("no function 'later'")
        later = msgspec.structs.replace(function("later"), max_instances=0)
        here.harness.functions["later"] = later
        here.directory.put(later)
        await shown("disabled")
        here.directory.put(msgspec.structs.replace(later, max_instances=1))
        await here.harness.until(lambda: 2 == len(here.harness.invoker.calls))
        await here.empty()
        assert "later" == here.harness.invoker.calls[-1].function.func_id

    aims = {"f1": AsyncConfig(on_success=to_function("later")), "later": AsyncConfig()}
    post(tmp_path, main, aims=aims, delivery_retry_first_s=0.02)


def test_a_function_of_another_project_gets_nothing(tmp_path: Path) -> None:
    async def main(here: Post) -> None:
        here.directory.put(msgspec.structs.replace(function("theirs"), project_id="p2"))
        here.harness.settings = AsyncConfig(on_success=to_function("p2:default:theirs"))
        await one_event(here)
        [(state, _, error)] = await here.states()
        assert ("FAIL", True) == (state, "another project" in error)
        assert 1 == len(here.harness.invoker.calls)

    post(tmp_path, main, delivery_tries_max=1)
