"""Every line and record that was taken is found again, in order, once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from fgd.store import logs
from fgd.store.api import InvocationRecord, LogBook, LogLine, StartRecord
from fgd.store.log_text import render_tail
from fgd.store.logs import SqliteLogBook
from tests.store.disks import tmpfs

NOON = 1_715_846_400.0  # 2024-05-16T08:00:00Z
DAY = 86_400.0


class Now:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.time_s = NOON

    def __call__(self) -> float:
        return self.time_s


def line(text: str, at: float = 0.0, *, request: str = "r1", level: str = "", func: str = "f1") -> LogLine:
    return LogLine(NOON + at, func, "latest", "i1", request, level, text)


def invocation(request: str = "r1", at: float = 0.0, *, func: str = "f1", runtime_us: int = 65_828) -> InvocationRecord:
    return InvocationRecord(
        NOON + at, request, func, "latest", "i1", "sync", 0, False, 10, 20, 30, runtime_us, 40, 22_516_072, 128
    )


def start(at: float = 0.0, *, init: str = "init-1") -> StartRecord:
    return StartRecord(
        NOON + at, "f1", "latest", "i1", 2000, 11_756_299, 24_703, 0, "load-1", init, 286_242_000, True
    )  # fmt: skip


@asynccontextmanager
async def opened(state_dir: Path, now: Now | None = None, keep_days: int = 7) -> AsyncIterator[SqliteLogBook]:
    book = await SqliteLogBook.open(state_dir, keep_days=keep_days, now_s=now or Now())
    yield book
    await book.aclose()


def test_user_lines_and_ours_come_merged_in_order_of_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as book:
            taking: LogBook = book
            taking.invocation(invocation(at=12.0))
            taking.line(line("printed", 12.01))
            taking.line(line("said", 12.02, level="INFO"))
            taking.start(start())
            await book.flush()
            lines, _ = await book.query("f1")
            assert [
                "2024-05-16T08:00:00Z Start load request 'load-1', version: latest",
                "2024-05-16T08:00:11Z Finish load request 'load-1', duration: 11756.299ms, memory used: 272.982MB.",
                "2024-05-16T08:00:11Z Start initialize request 'init-1', version: latest",
                "2024-05-16T08:00:11Z Finish initialize request 'init-1', duration: 24.703ms, memory used: 272.982MB.",
                "2024-05-16T08:00:12Z Start invoke request 'r1', version: latest",
                "printed",
                "2024-05-16T08:00:12Z r1 INFO said",
                "2024-05-16T08:00:12Z Finish invoke request 'r1', duration: 65.828ms, billing duration: 66ms,"
                " memory used: 21.473MB, billing memory: 128MB",
            ] == lines

    trio.run(main)


def test_a_request_id_finds_its_lines_only(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as book:
            for number in range(600):
                book.invocation(invocation(f"r{number:03}", number))
                book.line(line(f"line of {number}", number + 0.01, request=f"r{number:03}"))
            book.start(start())
            await book.flush()
            lines, _ = await book.query("f1", request_id="r007")
            assert ["Start invoke", "line of 7", "Finish invoke"] == [
                "line of 7" if text == "line of 7" else " ".join(text.split()[1:3]) for text in lines
            ]
            assert [invocation("r007", 7)] == await book.invocations("f1", request_id="r007")
            assert 2 == len((await book.query("f1", request_id="init-1"))[0])
            assert [] == (await book.query("f2", request_id="r007"))[0]

    trio.run(main)


def test_the_newest_lines_come_without_a_cursor_and_the_oldest_when_asked(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as book:
            for number in range(700):
                book.line(line(str(number), number))
                if number % 100 == 0:
                    await book.flush()
            await book.flush()
            assert ["697", "698", "699"] == (await book.query("f1", limit=3))[0]
            assert ["0", "1", "2"] == (await book.query("f1", limit=3, newest=False))[0]

    trio.run(main)


def test_the_newest_lines_hold_user_lines_and_ours_however_many_came_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as book:
            for number in range(500):
                book.line(line(f"user {number}", number + 0.01, request=str(number)))
                book.invocation(invocation(str(number), number))
            await book.flush()
            lines, _ = await book.query("f1", limit=3)
            assert ["Start", "499", "Finish"] == [text.split()[1] for text in lines]

    trio.run(main)


@pytest.mark.parametrize("limit", [1, 2, 7, 300, 10_000])
def test_following_gives_every_line_once(tmp_path: Path, limit: int) -> None:
    async def main() -> None:
        now = Now()
        async with opened(tmp_path, now) as book:
            found: list[str] = []
            expected: list[str] = []
            cursor = 0

            async def follow() -> None:
                nonlocal cursor
                while True:
                    lines, cursor = await book.query("f1", after=cursor, limit=limit, newest=False)
                    if not lines:
                        return
                    found.extend(lines)

            for round_ in range(4):
                for number in range(150 if limit > 2 else 15):
                    text = f"{round_}.{number}"
                    book.line(line(text, -number))
                    book.line(line("of another", func="f2"))
                    expected.append(text)
                book.invocation(invocation())
                book.start(start())
                await book.flush()
                await follow()
                now.time_s += 0.7 * DAY
            ours = [text for text in found if "request" in text]
            assert sorted(expected) == sorted(set(found) - set(ours))
            assert 4 * 6 == len(ours)
            assert len(expected) == len(found) - len(ours)
            assert cursor < 2**53

    trio.run(main)


def test_late_lines_are_not_lost_to_a_follower(tmp_path: Path) -> None:
    """The newest are read, then a line comes in that is older than all of them."""

    async def main() -> None:
        async with opened(tmp_path) as book:
            book.line(line("now", 10))
            await book.flush()
            _, cursor = await book.query("f1", limit=1)
            book.line(line("earlier", 1))
            await book.flush()
            assert ["earlier"] == (await book.query("f1", after=cursor))[0]

    trio.run(main)


def test_an_empty_answer_has_a_cursor_to_go_on_from(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as book:
            lines, cursor = await book.query("f1")
            assert [] == lines
            for number in range(50):
                book.line(line(str(number)))
            await book.flush()
            assert 50 == len((await book.query("f1", after=cursor, limit=100))[0])

    trio.run(main)


def test_words_find_lines(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as book:
            book.line(line("order 4711 was paid", 1))
            book.line(line("order 4712 FAILED: card refused", 2, level="ERROR"))
            book.line(line("Überweisung für Kunde_7 fehlt", 3))
            book.line(line("nothing of note", 4))
            book.invocation(invocation())
            await book.flush()

            async def found(match: str) -> list[str]:
                return [text.split()[-1] for text in (await book.query("f1", match=match))[0]]

            assert ["paid", "refused"] == await found("order")
            assert ["refused"] == await found("failed ORDER")
            assert ["fehlt"] == await found("überweisung")
            assert ["fehlt"] == await found("kunde 7")
            assert [] == await found("orde")
            assert [] == await found('"; DROP')
            assert [] == await found("***")
            assert [] == await found("invoke")

    trio.run(main)


def test_lines_survive_closing_and_reopening(tmp_path: Path) -> None:
    async def main() -> None:
        now = Now()
        async with opened(tmp_path, now) as book:
            book.line(line("before"))
            _, cursor = await book.query("f1")
        now.time_s -= 3600  # the clock was set back
        async with opened(tmp_path, now) as book:
            book.line(line("after", 1))
            await book.flush()
            assert ["before", "after"] == (await book.query("f1"))[0]
            assert ["before", "after"] == (await book.query("f1", after=cursor))[0]

    trio.run(main)


def test_old_days_are_removed_and_their_readers_closed(tmp_path: Path) -> None:
    async def main() -> None:
        now = Now()
        async with opened(tmp_path, now, keep_days=2) as book:
            for day in range(4):
                now.time_s = NOON + day * DAY
                book.line(line(f"day {day}", day * DAY))
                await book.flush()
                await book.query("f1")
            assert ["logs-20240518.db", "logs-20240519.db"] == sorted(path.name for path in tmp_path.glob("*.db"))
            assert ["day 2", "day 3"] == (await book.query("f1"))[0]

    trio.run(main)


def test_records_come_newest_first(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as book:
            records = [invocation(f"r{number}", number) for number in range(600)]
            for record in records:
                book.invocation(record)
            book.start(start(1))
            book.start(start(2, init=""))
            await book.flush()
            assert records[:-301:-1] == await book.invocations("f1", limit=300)
            assert [start(2, init=""), start(1)] == await book.starts("f1")
            assert [start(2, init="")] == await book.starts("f1", limit=1)

    trio.run(main)


def test_beyond_the_bound_the_oldest_lines_go_and_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_LINES_MAX", 1000)

    async def main() -> None:
        async with opened(tmp_path) as book:
            for number in range(3000):
                book.line(line(str(number), number / 1e4))
            assert 1000 >= len(book._lines)
            await book.flush()
            kept = [text for text in (await book.query("f1", limit=5000))[0] if "fgd:" not in text]
            await book.flush()
            [said] = [text for text in (await book.query("f1", limit=5000))[0] if "fgd:" in text]
            assert "2999" == kept[-1]
            assert f"fgd: {3000 - len(kept)} lines dropped" in said

    trio.run(main)


def test_the_text_that_waits_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_TEXT_MAX_CHARS", 10_000)

    async def main() -> None:
        async with opened(tmp_path) as book:
            for _ in range(100):
                book.line(line("x" * 999))
            assert 10_000 >= book._text_chars == sum(len(item.text) for item in book._lines)

    trio.run(main)


def test_the_task_writes_by_itself(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as book, trio.open_nursery() as nursery:
            nursery.start_soon(book.run)
            book.line(line("hello"))
            with trio.fail_after(5):
                while not (await book.query("f1"))[0]:
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

    trio.run(main)


@pytest.mark.host
def test_on_a_full_disk_the_oldest_day_goes_then_lines_and_both_are_told(tmp_path: Path) -> None:
    async def main(folder: Path) -> None:
        now = Now()
        async with opened(folder, now) as book:
            book.line(line("y" * 300_000))
            await book.flush()
            now.time_s += DAY
            for number in range(40):
                book.line(line(f"{number} " + "z" * 90_000, DAY + number))
                await book.flush()
            assert ["logs-20240517.db"] == sorted(path.name for path in folder.glob("*.db"))
            assert book._dropped
            kept = len((await book.query("f1"))[0])
            assert 0 < kept < 40
            chosen = sum(book._dropped.values())
            assert kept + chosen >= 40

    with tmpfs(tmp_path / "small", "3m") as folder:
        trio.run(main, folder)


def test_a_short_tail_is_start_output_finish() -> None:
    tail = render_tail(invocation(), [b"one\n", b"two", line("three", level="WARN")]).decode().splitlines()

    assert [
        "2024-05-16T08:00:00Z Start invoke request 'r1', version: latest",
        "one",
        "two",
        "2024-05-16T08:00:00Z r1 WARN three",
        "2024-05-16T08:00:00Z Finish invoke request 'r1', duration: 65.828ms, billing duration: 66ms,"
        " memory used: 21.473MB, billing memory: 128MB",
    ] == tail


@pytest.mark.parametrize("text", ["x" * 5000, "ключ" * 1000, "a\n" * 3000])
def test_a_long_tail_keeps_the_end_within_2000_bytes(text: str) -> None:
    tail = render_tail(invocation(), [b"lost", *(part.encode() for part in text.splitlines())])
    lines = tail.decode().splitlines()

    assert 1990 <= len(tail) <= 2000
    assert lines[0].endswith("Start invoke request 'r1', version: latest")
    assert "Finish invoke" in lines[-1]
    assert text.splitlines()[-1].endswith(lines[-2])
    assert b"lost" not in tail


def test_billing_rounds_up_to_whole_milliseconds() -> None:
    for runtime_us, billed in ((0, 0), (1, 1), (1000, 1), (2049, 3)):
        assert f"billing duration: {billed}ms" in render_tail(invocation(runtime_us=runtime_us), []).decode()


def test_records_are_plain_data() -> None:
    record = invocation()

    assert record == msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=InvocationRecord)
