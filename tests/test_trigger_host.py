"""Triggers run, fail, misbehave and end, in virtual time; the loop never suffers more than what is reported."""

import logging
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from fgd.testing.trigger import BadTriggerConfig, RecordingDoor, TriggerRig
from fgd.trigger_host import TriggerHost
from tests.pulse import Pulse, PulseSettings


class Lab:
    """A host with triggers whose doors record."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, str]] = []
        self.host = TriggerHost(lambda: 7.0, lambda plugin, text: self.reports.append((plugin, text)))
        self.door = RecordingDoor()

    def start(self, trigger_id: str = "t", **settings: object) -> None:
        config = Pulse.parse({"name": "p", **settings}, self.door.place)
        self.host.start(trigger_id, "pulse", lambda: Pulse(config, self.door))


def in_lab(main: Callable[[Lab], Awaitable[None]], *, real_time: bool = False) -> None:
    async def run() -> None:
        lab = Lab()
        async with trio.open_nursery() as nursery:
            await nursery.start(lab.host.run)
            await main(lab)
            nursery.cancel_scope.cancel()

    trio.run(run, clock=None if real_time else trio.testing.MockClock(autojump_threshold=0))


def test_a_trigger_runs_until_it_is_stopped() -> None:
    async def main(lab: Lab) -> None:
        lab.start()
        await trio.sleep(3.5)
        running = lab.host.state("t")
        assert running is not None and ("running", 0, {"beats": 3.0}) == (
            running.state,
            running.restarts,
            {"beats": 3.0},
        )
        await lab.host.stop("t")
        await lab.host.stop("t")
        await trio.sleep(5)

        assert 3 == len(lab.door.events)
        assert lab.host.state("t") is None

    in_lab(main)


@pytest.mark.parametrize(
    ("fault", "says"), [("raise", "ValueError: the source is broken"), ("exit", "SystemExit: out")]
)
def test_what_fails_starts_again_after_waits_that_double(
    fault: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main(lab: Lab) -> None:
        lab.start(fault=fault)
        lab.start("healthy")
        await trio.sleep(2.5)
        running = lab.host.state("t")
        assert running is not None
        assert ("waiting", 2, says, 7.0) == (running.state, running.restarts, running.error, running.error_s)
        await trio.sleep(3600)
        assert 10 < running.restarts < 25
        assert len(lab.door.events) > 3000, "others are not harmed"

    with caplog.at_level(logging.CRITICAL):
        in_lab(main)


def test_who_blocks_the_loop_is_known_by_name() -> None:
    async def main(lab: Lab) -> None:
        lab.start(fault="block")
        await trio.sleep(1)
        running = lab.host.state("t")

        assert running is not None and 1 == running.blocked and running.longest_step_s > 0.1
        assert "pulse" == lab.reports[0][0] and "kept the daemon from working" in lab.reports[0][1]

    in_lab(main)


def test_tasks_left_behind_are_counted_and_reported() -> None:
    async def main(lab: Lab) -> None:
        lab.start(fault="leak")
        await trio.sleep(0.5)
        running = lab.host.state("t")

        assert running is not None and 1 == running.leaked
        assert "left 1 tasks behind" in lab.reports[0][1]

    in_lab(main)


def test_threads_left_behind_are_counted_and_reported_but_not_those_of_trio() -> None:
    async def main(lab: Lab) -> None:
        lab.start("thread", fault="thread")
        lab.start("worker", fault="worker")
        await trio.sleep(0.5)
        for name in ("thread", "worker"):
            await lab.host.stop(name)

        assert ["trigger thread: left 1 threads behind: pulse-thread"] == [text for _, text in lab.reports]

    in_lab(main, real_time=True)


def test_one_that_never_gives_the_loop_back_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main(lab: Lab) -> None:
        lab.start(fault="hang")
        await trio.sleep(1)

    with caplog.at_level(logging.ERROR):
        in_lab(main)

    assert 1 == len(caplog.messages)
    assert "plugin pulse: trigger t keeps the daemon from working for" in caplog.messages[0]
    assert "time.sleep(" in caplog.messages[0], "it says where"


def test_one_that_does_not_end_is_given_up_and_reported() -> None:
    async def main(lab: Lab) -> None:
        lab.start(fault="stay")
        await trio.sleep(1)
        with trio.fail_after(10):
            await lab.host.stop("t")

        assert "does not end when it is told to" in lab.reports[0][1]
        assert ["pulse"] == lab.host.remaining()
        assert lab.host.state("t") is None

    in_lab(main)


def test_the_kit_runs_a_type_in_virtual_time() -> None:
    rig = TriggerRig(Pulse, {"name": "p", "every_s": 3600, "other": 1})
    events = rig.run(seconds=86_400.5)

    assert 24 == len(events)
    assert {"beat": 1, "password": ""} == events[0]
    assert 3600 == rig.door.events[1].time_s - rig.door.events[0].time_s
    assert b"24" == rig.door.memory


@pytest.mark.parametrize(
    ("data", "field"),
    [({}, "name"), ({"name": 5}, "name"), ({"name": "p", "every_s": 0}, "every_s"), ({"name": "bad"}, "name"),
     ({"name": None}, "name"), ({"name": "much too long"}, "name")],
)  # fmt: skip
def test_settings_that_cannot_be_name_the_field(data: dict[str, object], field: str) -> None:
    with pytest.raises(BadTriggerConfig) as refused:
        Pulse.parse(data, RecordingDoor().place)

    assert str(refused.value).startswith(f"event_data.{field}: ")
    assert "FSS.1109" == refused.value.code


def test_settings_are_typed_and_their_schema_says_the_rules() -> None:
    settings: PulseSettings = Pulse.parse({"name": "p"}, RecordingDoor().place)

    assert ("p", 1.0) == (settings.name, settings.every_s)
