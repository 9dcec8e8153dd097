"""The trigger type OBS: which changes are events, what they look like, and what is remembered."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
import trio

from fgd.control.event_templates import event_template
from fgd.plugin import ObjectChange
from fgd.testing.trigger import BadTriggerConfig, HeldObjects, ListedSources, RecordingDoor, TriggerRig, parse
from fgd_obs.trigger import Obs, wanted_names

PUT = ObjectChange(
    1, "ObjectCreated:Put", "dir/file ü.txt", "5d41402abc4b2a76b9719d911017c592", 5, 1733132977.939,
    "me", "192.0.2.3", "r1",
)  # fmt: skip


def rig(
    *changes: ObjectChange, there: bool = True, start: int = 0, **fields: Any
) -> tuple[TriggerRig[Any], HeldObjects]:
    feed = HeldObjects(there=there, start=start, changes=list(changes))
    door = RecordingDoor(sources=ListedSources(buckets={"b-1": feed}))
    return TriggerRig(Obs, {"bucket": "b-1", "events": ["ObjectCreated"], **fields}, door=door), feed


def shape(value: Any) -> Any:
    """Names and types, however deep."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    return [shape(one) for one in value] if isinstance(value, list) else type(value)


def test_a_change_becomes_the_event_of_the_template() -> None:
    one, _ = rig(PUT)
    [event] = one.run(seconds=5)
    record = event["Records"][0]

    assert shape(event_template("obs").event) == shape(event)
    assert "dir%2Ffile%20%C3%BC.txt" == record["s3"]["object"]["key"]
    assert "2024-12-02T09:49:37.939Z" == record["eventTime"]
    assert f"{1:032X}" == record["s3"]["object"]["sequencer"]
    assert "arn:aws:s3:::b-1" == record["s3"]["bucket"]["arn"]
    assert not one.door.events[0].sync


def test_only_wanted_changes_of_keys_with_prefix_and_suffix_are_events() -> None:
    changes = [
        replace(PUT, seq=number, name=name, key=key)
        for number, (name, key) in enumerate(
            [
                ("ObjectCreated:Put", "in/a.txt"), ("ObjectCreated:Copy", "in/b.txt"),
                ("ObjectRemoved:Delete", "in/c.txt"), ("ObjectCreated:Put", "out/d.txt"),
                ("ObjectCreated:Put", "in/e.bin"), ("ObjectRemoved:DeleteMarkerCreated", "in/f.txt"),
            ],
            1,
        )
    ]  # fmt: skip
    one, _ = rig(*changes, events=["Put", "ObjectRemoved"], prefix="in/", suffix=".txt")
    events = one.run(seconds=5)

    assert ["in%2Fa.txt", "in%2Fc.txt", "in%2Ff.txt"] == [
        event["Records"][0]["s3"]["object"]["key"] for event in events
    ]
    assert {"source": "b-1", "seq": 6} == msgspec.json.decode(one.door.memory)


def test_what_it_is_done_with_does_not_come_again_and_a_new_one_begins_where_the_feed_says() -> None:
    first, feed = rig(PUT, replace(PUT, seq=2), start=1)
    assert 1 == len(first.run(seconds=5))
    feed.add(replace(PUT, seq=3))
    feed.start = 99
    again, _ = rig()
    again.door = replace(first.door, events=[])

    assert [f"{3:032X}"] == [one["Records"][0]["s3"]["object"]["sequencer"] for one in again.run(seconds=5)]


def test_another_bucket_does_not_begin_where_the_old_one_was() -> None:
    one, feed = rig(replace(PUT, seq=5), start=3)
    one.door.memory = msgspec.json.encode({"source": "other", "seq": 900})
    events = one.run(seconds=5)

    assert 1 == len(events)
    assert 3 == feed.followed[0]


def test_it_waits_for_its_bucket_and_says_so() -> None:
    one, feed = rig(PUT, there=False)

    async def make() -> None:
        await trio.sleep(60)
        feed.there = True

    events = one.run(seconds=120, events=1, ready=make)

    assert 1 == len(events)
    assert ["there is no bucket b-1 yet", "follows the bucket b-1"] == one.door.notes


def test_changes_wait_while_the_function_is_off() -> None:
    one, feed = rig(PUT)
    one.door.off = True

    async def on() -> None:
        await trio.sleep(100)
        assert not one.door.events
        assert [0] == feed.followed, "the changes stay in the store"
        one.door.off = False

    assert 1 == len(one.run(seconds=200, events=1, ready=on))


@pytest.mark.parametrize(
    ("events", "number"),
    [
        (["ObjectCreated"], 4), (["s3:ObjectCreated:*", "s3:ObjectRemoved:Delete"], 5), (["Put"], 1),
        (["ObjectRemoved", "Post"], 3),
    ],
)  # fmt: skip
def test_short_and_long_names_of_events(events: list[str], number: int) -> None:
    assert number == len(wanted_names(events))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"events": ["ObjectCreated", "Put"]}, "events"),
        ({"events": ["Put", "s3:ObjectCreated:Put"]}, "events"),
        ({"events": ["Nothing"]}, "events"),
        ({"events": []}, "events"),
        ({"events": "Put"}, "events"),
        ({"bucket": ""}, "bucket"),
        ({"bucket": "b" * 65}, "bucket"),
        ({"bucket": "../etc"}, "bucket"),
        ({"bucket": None}, "bucket"),
        ({"prefix": "x" * 1025}, "prefix"),
        ({"suffix": 7}, "suffix"),
    ],
)
def test_settings_that_cannot_be_name_the_field(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(BadTriggerConfig) as refused:
        parse(Obs, {"bucket": "b-1", "events": ["Put"], **fields})

    assert named == refused.value.field
    assert "FSS.1106" == refused.value.code


def test_bucket_prefix_and_suffix_together_are_one_trigger_s_alone() -> None:
    one, same, other = (
        parse(Obs, {"bucket": "b-1", "events": events, "suffix": suffix})
        for events, suffix in ((["Put"], ".a"), (["Delete"], ".a"), (["Put"], ".b"))
    )

    assert Obs.claim(one) == Obs.claim(same) != Obs.claim(other)
