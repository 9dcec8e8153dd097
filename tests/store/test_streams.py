"""Lines of streams on disk: order, positions, bounds, group commit, and what a full disk does."""

from pathlib import Path

import trio

from fgd.errors import StorageFull
from fgd.store.audit import AuditStore, Trace
from fgd.store.streams import CHUNK_MAX, StreamLine, StreamStore

NOW_S = 1_800_000_000.0


def lines(*texts: str) -> list[StreamLine]:
    return [StreamLine(1, text) for text in texts]


async def texts(store: StreamStore, stream_id: str, after: int = 0, most: int = 10_000) -> list[str]:
    return [line.text for _, line in await store.read(stream_id, after, most)]


def test_positions_grow_also_over_restarts_and_when_the_clock_is_set_back(tmp_path: Path) -> None:
    async def main() -> None:
        found: list[int] = []
        for now_s in (NOW_S, NOW_S - 3600, NOW_S):
            store = await StreamStore.open(tmp_path, lambda now_s=now_s: now_s)  # type: ignore[misc]
            await store.append([("s", lines("a", "b"))])
            await store.append([("t", lines("other"))])
            found = [position for position, _ in await store.read("s", 0, 100)]
            await store.aclose()

        assert 6 == len(found)
        assert sorted(set(found)) == found
        assert found[0] >= int(NOW_S * 1000) * 1024
        assert found[-1] < 2**53

    trio.run(main)


def test_reading_goes_on_behind_a_position_and_newest_gives_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        store = await StreamStore.open(tmp_path, lambda: NOW_S)
        wanted = [str(number) for number in range(2 * CHUNK_MAX + 7)]
        await store.append([("s", lines(*wanted))])
        got: list[str] = []
        after = 0
        while page := await store.read("s", after, 300):
            got += [line.text for _, line in page]
            after = page[-1][0]
        newest = [line.text for _, line in await store.read("s", 0, 5, newest=True)]
        await store.aclose()

        assert wanted == got
        assert wanted[-5:] == newest

    trio.run(main)


def test_what_is_given_at_once_is_written_together_and_all_of_it(tmp_path: Path) -> None:
    async def main() -> None:
        store = await StreamStore.open(tmp_path, lambda: NOW_S)
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(store.append, [("s", lines(f"{number}a", f"{number}b"))])
        found = await texts(store, "s")
        await store.aclose()

        assert 200 == len(set(found))
        assert all(found[at][:-1] == found[at + 1][:-1] for at in range(0, 200, 2)), "nobody's lines are parted"

    trio.run(main)


def test_everybody_whose_lines_were_not_stored_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        store = await StreamStore.open(tmp_path, lambda: NOW_S)
        await store.append([("s", lines("before"))])
        database = store._database
        await database.read(lambda connection: connection.execute("PRAGMA max_page_count=20"))
        told: list[int] = []

        async def give(number: int) -> None:
            try:
                await store.append([("s", lines("x" * 50_000))], ("f", number))
            except StorageFull:
                told.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(give, number)
        kept = await texts(store, "s")
        progress = await store.progress()
        await store.aclose()

        assert 1 + 10 - len(told) == len(kept)
        assert told
        assert (not progress) == (len(told) == 10)

    trio.run(main)


def test_what_is_old_too_much_or_of_no_stream_goes(tmp_path: Path) -> None:
    async def main() -> None:
        now_s = [NOW_S]
        store = await StreamStore.open(tmp_path, lambda: now_s[0])
        for day in range(5):
            now_s[0] = NOW_S + day * 86_400
            await store.append([("old", lines(f"day {day}")), ("big", lines(f"{day}" * 1000)), ("gone", lines("x"))])
        await store.trim({"old": NOW_S + 2 * 86_400, "big": 0.0}, 2500)
        found = [await texts(store, name) for name in ("old", "big", "gone")]
        await store.aclose()

        assert [["day 2", "day 3", "day 4"], ["3" * 1000, "4" * 1000], []] == found

    trio.run(main)


def test_the_audit_log_is_bounded_by_time_and_number(tmp_path: Path) -> None:
    def trace(number: int) -> Trace:
        return Trace(
            project_id="p", time_ms=number, name="n", resource_type="t", resource_name="r", resource_id="i", user="u",
            status="normal", trace_id=str(number), body=b"%d" % number,
        )  # fmt: skip

    async def main() -> None:
        store = await AuditStore.open(tmp_path)
        await store.add([trace(number) for number in range(500)], NOW_S)
        await store.trim(100, 300)
        found = [int(body) for _, body in await store.read("p", 0, 1000)]
        await store.trim(450, 300)
        later = [int(body) for _, body in await store.read("p", 0, 1000)]
        await store.aclose()

        assert list(range(200, 500)) == found
        assert list(range(450, 500)) == later

    trio.run(main)
