"""Log events: what is in them, how lines are gathered and split, and what a crash or a slow function does."""

import base64
import json
from typing import Any

import pytest
import trio

from fgd.control.event_templates import event_template
from fgd.testing.trigger import ListedFeed, ListedSources, RecordingDoor, TriggerRig
from fgd_lts import DOCUMENT_MAX_BYTES, LtsTrigger

SETTINGS = {"log_group_id": "g", "log_topic_id": "s"}


def record(message: str, number: int = 1) -> dict[str, Any]:
    return {
        "message": message, "time": 1_530_009_653_059, "host_name": "h", "ip": "192.0.2.9", "path": "/var/log/app.log",
        "log_uid": "663d6930-792d-11e8-8b08-286ed488ce70", "line_no": number,
    }  # fmt: skip


def rig(feed: ListedFeed, door: RecordingDoor | None = None, **settings: Any) -> TriggerRig[Any]:
    door = door or RecordingDoor()
    door.sources = ListedSources(streams={("g", "s"): feed})
    return TriggerRig(LtsTrigger, {**SETTINGS, **settings}, door=door)


def document(event: Any) -> tuple[bytes, dict[str, Any]]:
    raw = base64.b64decode(event["lts"]["data"], validate=True)
    return raw, json.loads(raw)


def messages(events: list[Any]) -> list[list[str]]:
    return [[one["message"] for one in json.loads(document(event)[1]["logs"])] for event in events]


def test_an_event_is_as_the_template_has_it() -> None:
    feed = ListedFeed()
    feed.add(record("line 1"))
    [event] = rig(feed).run(seconds=5)
    template = event_template("lts").event
    ours, theirs = document(event)[1], document(template)[1]

    assert ["lts"] == list(event) == list(template)
    assert ["data"] == list(event["lts"])
    assert list(theirs) == list(ours)
    assert [type(one) for one in theirs.values()] == [type(one) for one in ours.values()]
    assert list(json.loads(theirs["logs"])[0]) == list(json.loads(ours["logs"])[0])
    assert ("p" * 32, "g", "s") == (ours["owner"], ours["log_group_id"], ours["log_topic_id"])


def test_lines_are_gathered_by_number_and_by_time() -> None:
    feed = ListedFeed()

    async def write() -> None:
        for number in range(5):
            feed.add(record(f"n{number}"))
        await trio.sleep(0.4)
        feed.add(record("late"))
        await trio.sleep(10)
        feed.add(record("alone"))

    one = rig(feed, batch_size=2, batch_interval_ms=500)
    events = one.run(seconds=30, ready=write)
    times = [round(event.time_s - one.door.begin_s, 1) for event in one.door.events]

    assert [["n0", "n1"], ["n2", "n3"], ["n4", "late"], ["alone"]] == messages(events)
    assert [0.0, 0.0, 0.5, 10.9] == times


def test_a_large_message_is_split_between_lines() -> None:
    feed = ListedFeed()
    # Quotes and line ends grow when the array becomes a string.
    sent = ['"\\\n' * (size // 3) for size in (40_000, 9_000, 20_000, 100, 50_000, 5)]
    for message in sent:
        feed.add(record(message))
    events = rig(feed).run(seconds=5)
    sizes = [len(document(event)[0]) for event in events]

    assert sent == [message for batch in messages(events) for message in batch]
    assert [1] == [len(batch) for batch in messages(events) if sent[4] in batch], "a line that is too long goes alone"
    over = [size for size in sizes if size > DOCUMENT_MAX_BYTES]
    assert 1 <= len(over), "only lines that are too long by themselves"
    assert all(len(batch) == 1 for batch, size in zip(messages(events), sizes, strict=True) if size in over)


def test_documents_are_filled_up_to_the_limit() -> None:
    feed = ListedFeed()
    for number in range(2000):
        feed.add(record("x" * 100, number))
    events = rig(feed).run(seconds=5)
    sizes = [len(document(event)[0]) for event in events]

    assert 2000 == sum(map(len, messages(events)))
    assert all(DOCUMENT_MAX_BYTES - 400 < size <= DOCUMENT_MAX_BYTES for size in sizes[:-1])


def test_it_goes_on_where_it_was_and_begins_where_it_was_made() -> None:
    feed = ListedFeed(begin=1)
    feed.add(record("before"))
    feed.add(record("first"))
    door = RecordingDoor()
    first = messages(rig(feed, door).run(seconds=5))
    feed.add(record("while it was away"))
    again = messages(rig(feed, door).run(seconds=5))

    assert [["first"]] == first
    assert [["first"], ["while it was away"]] == again, "the first once only"
    assert b"3" == door.memory


def test_where_it_begins_is_remembered_at_once() -> None:
    door = RecordingDoor()
    rig(ListedFeed(begin=7), door).run(seconds=1)

    assert b"7" == door.memory


def test_a_function_that_is_off_gets_its_lines_later() -> None:
    feed = ListedFeed()
    feed.add(record("patient"))
    door = RecordingDoor(off=True)

    async def switch_on() -> None:
        await trio.sleep(60)
        door.off = False

    events = rig(feed, door).run(seconds=120, ready=switch_on)

    assert [["patient"]] == messages(events)
    assert any(note.startswith("waiting: ") for note in door.notes)
    assert "" == door.notes[-1]


def test_what_no_function_can_get_is_counted_and_left_out() -> None:
    feed = ListedFeed()
    feed.add(record("x" * 300_000))
    feed.add(record("next"))
    door = RecordingDoor()
    events = rig(feed, door).run(seconds=5)

    assert [["next"]] == messages(events)
    assert {"lines_too_long": 1, "lines": 1} == door.figures


def test_little_is_held_before_a_slow_function() -> None:
    """What is read ahead of an event that waits is one page."""
    feed = CountingFeed()
    for number in range(20_000):
        feed.add(record("y" * 50, number))
    door = RecordingDoor(delay_s=1.0)
    rig(feed, door).run(seconds=3.5)
    handed_over = sum(len(batch) for batch in messages([one.event for one in door.events]))

    assert 4 == len(door.events)
    assert feed.given - handed_over <= 1000


class CountingFeed(ListedFeed):
    """Counts what was read of it."""

    given = 0

    async def read(self, after: int, most: int = 1000) -> Any:
        found = await super().read(after, most)
        self.given = max(self.given, found[-1][0] if found else 0)
        return found


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"batch_size": 10_001}, {"batch_interval_ms": 60_001}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=f"event_data.{next(iter(settings))}: ") as caught:
        rig(ListedFeed(), None, **settings)

    assert "FSS.1110" == caught.value.code  # type: ignore[attr-defined]
