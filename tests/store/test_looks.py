"""Looks at a bucket elsewhere: what is told, in pieces and pages, and what is not."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import trio

from fgd.errors import ObjectStoreAway
from fgd.store import object_journal, object_mirror
from fgd.store.object_looks import Looks
from fgd.store.object_mirror import Seen
from fgd.store.object_types import ObjectError
from fgd.store.objects import ObjectStore
from tests.store.test_objects import PROJECT, Clock, in_trio, opened

STREAM = "far/box/t1/"


async def pages(*rows: Sequence[Seen]) -> AsyncIterator[tuple[Sequence[Seen], bool]]:
    for number, row in enumerate(rows, 1):
        await trio.lowlevel.checkpoint()
        yield row, number == len(rows)


def seen(*keys: str, etag: str = "1") -> list[Seen]:
    return [Seen(key, etag, "2026", 1) for key in keys]


async def told(store: ObjectStore) -> list[tuple[str, str]]:
    events = await store.journal.events(PROJECT, STREAM, 0, 10_000)
    return [(event.name.partition(":")[2], event.key) for event in events]


@in_trio
async def test_the_first_look_tells_nothing_and_later_ones_what_changed(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        looks = Looks(store, PROJECT, STREAM, "box")
        await looks.begin(store.now_s())
        await looks.look(pages(seen("a", "b"), seen("c", "d")))
        assert [] == await told(store)
        await looks.look(pages(seen("a", "b"), seen("c", "d")))
        assert [] == await told(store)
        await looks.look(pages([*seen("a"), *seen("aa"), *seen("c", etag="2")], seen("x")))
    async with opened(tmp_path) as store:
        assert [("Delete", "b"), ("Put", "aa"), ("Put", "c"), ("Delete", "d"), ("Put", "x")] == await told(store)
        await Looks(store, PROJECT, STREAM, "box").look(pages([]))

        assert ["a", "aa", "c", "x"] == [key for _, key in (await told(store))[5:]]


@in_trio
async def test_a_look_that_broke_off_is_made_good_and_tells_nothing_twice(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[tuple[Sequence[Seen], bool]]:
        async for page, _ in pages(seen("a", "new"), seen("z")):
            yield page, False
            raise ObjectStoreAway("it went away")

    async with opened(tmp_path) as store:
        looks = Looks(store, PROJECT, STREAM, "box")
        with pytest.raises(ObjectStoreAway):
            await looks.look(broken())
        await looks.look(pages(seen("a", "new"), seen("z")))
        assert [] == await told(store), "the first whole look tells nothing"
        await looks.look(pages(seen("a"), seen("z")))
        with pytest.raises(ObjectStoreAway):
            await looks.look(broken())
        await looks.look(pages(seen("a", "new"), seen("z")))

        assert [("Delete", "new"), ("Put", "new")] == await told(store)


@in_trio
async def test_large_differences_are_taken_in_pieces(tmp_path: Path) -> None:
    keys = [f"{number:05}" for number in range(5 * object_mirror._STEP // 2)]
    async with opened(tmp_path) as store:
        looks = Looks(store, PROJECT, STREAM, "box")
        await looks.look(pages(seen(*keys)))
        await looks.look(pages(seen("00001", "00001x", keys[-1], "z")))
        events = await store.journal.events(PROJECT, STREAM, 0, 100_000)
        names = {(event.name.partition(":")[2], event.key) for event in events}

    gone = {("Delete", key) for key in keys if key not in ("00001", keys[-1])}
    assert gone | {("Put", "00001x"), ("Put", "z")} == names
    assert len(events) == len(names)


@pytest.mark.parametrize("rows", [[["b", "a"]], [["a", "a"]], [["a", "c"], ["b"]], [["a"], ["a"]]])
def test_lists_in_another_order_are_refused(tmp_path: Path, rows: list[list[str]]) -> None:
    async def main() -> None:
        async with opened(tmp_path) as store:
            with pytest.raises(ObjectStoreAway, match="not in the order of keys"):
                await Looks(store, PROJECT, STREAM, "box").look(pages(*(seen(*row) for row in rows)))

    trio.run(main)


@in_trio
async def test_a_changed_trigger_begins_anew_and_one_that_was_interrupted_does_not(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as store:
        looks = Looks(store, PROJECT, STREAM, "box")
        since_s = clock.at_s
        clock.at_s += 1
        await looks.begin(since_s)
        await looks.look(pages(seen("a")))
        await looks.look(pages(seen("a", "b")))
        await looks.begin(since_s)
        assert [("Put", "b")] == await told(store), "it had begun: what was found since is kept"
        clock.at_s += 1
        await looks.begin(clock.at_s)
        await looks.look(pages(seen("a", "b", "c")))

        assert [] == await told(store)


@in_trio
async def test_what_nobody_follows_is_forgotten_and_too_many_changes_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_journal, "EVENTS_MAX", 2)
    clock = Clock()
    async with opened(tmp_path, clock) as store:
        looks = Looks(store, PROJECT, STREAM, "box")
        store.journal.hold("t1", PROJECT, STREAM)
        await looks.look(pages([]))
        await looks.look(pages(seen("a", "b")))
        with pytest.raises(ObjectError, match="wait for triggers"):
            await looks.look(pages(seen("a", "b", "c")))
        clock.at_s += object_journal.EVENT_GRACE_S + 1
        await store.tidy()
        assert [("Put", "a"), ("Put", "b")] == await told(store), "its trigger has not said that it has them"
        store.journal.leave("t1")
        await store.tidy()
        rows = await store.database.read(lambda one: one.execute("SELECT count(*) FROM mirrored").fetchone())

        assert [] == await told(store)
        assert (0,) == rows
