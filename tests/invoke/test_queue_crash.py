"""What was acknowledged runs: through kill -9, and on a disk that fills up."""

import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from fgd.clock import new_request_id
from fgd.errors import StorageFull
from fgd.invoke.api import Outcome
from tests.invoke.async_harness import EVENT, function, running
from tests.store.disks import tmpfs

_REPOSITORY = Path(__file__).parents[2]
#: Twice the victim's workers: what it holds in memory.
_WINDOW = 32


def run_and_kill(state_dir: Path, lines: int) -> list[str]:
    """Lets the victim say so many lines, then kills it; gives all that it said."""
    victim = subprocess.Popen(
        [sys.executable, "-m", "tests.invoke.async_victim", str(state_dir)], cwd=_REPOSITORY, stdout=subprocess.PIPE
    )
    assert victim.stdout is not None
    said = [victim.stdout.readline() for _ in range(lines)]
    victim.send_signal(signal.SIGKILL)
    said += victim.stdout.read().splitlines(keepends=True)
    victim.wait()
    victim.stdout.close()
    return [line.decode().strip() for line in said if line.endswith(b"\n")]


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path) -> None:
    choose = random.Random(7)
    said: list[str] = []
    kills = 4
    for _ in range(kills):
        said += run_and_kill(tmp_path, choose.randrange(1, 3000))
    acknowledged = {line[2:] for line in said if line.startswith("A ")}
    ran = [line[2:] for line in said if line.startswith("R ")]

    async def finish() -> list[str]:
        async with running(tmp_path) as harness:
            await harness.drained()
            return harness.invoker.ran()

    ran += trio.run(finish)

    assert len(acknowledged) > kills
    assert set() == acknowledged - set(ran)
    assert kills * _WINDOW >= sum(times - 1 for times in Counter(ran).values())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two MiB."""
    with tmpfs(tmp_path / "small", "2m") as folder:
        yield folder


@pytest.mark.host
def test_a_full_disk_refuses_and_loses_nothing(small_disk: Path) -> None:
    kept: list[str] = []
    refused: list[str] = []

    async def fill() -> None:
        async with running(small_disk) as harness:
            harness.invoker.full.add("f1")
            while not refused:
                request_id = new_request_id()
                try:
                    await harness.queue.enqueue(function(), request_id, EVENT * 5000)
                    kept.append(request_id)
                except StorageFull:
                    refused.append(request_id)

    async def resume() -> list[str]:
        async with running(small_disk) as harness:
            await harness.drained()
            return harness.invoker.ran()

    trio.run(fill)
    ran = trio.run(resume)

    assert kept
    assert sorted(kept) == sorted(set(ran))
    assert set() == set(refused) & set(ran)


@pytest.mark.host
def test_results_wait_for_the_disk_and_the_queue_goes_on(small_disk: Path) -> None:
    """Another program fills the disk while events run; when it has room again, all is written down."""
    ballast = small_disk / "ballast"

    async def main() -> None:
        async with running(small_disk, lambda call: None) as harness:
            names = await harness.enqueue("f1", 20)
            await harness.until(lambda: harness.queue.running == 20)
            with pytest.raises(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            refused = 0
            for _ in range(50):
                try:
                    await harness.queue.enqueue(function("f2"), new_request_id(), EVENT * 2000)
                except StorageFull:
                    refused += 1
                    break
            for call in list(harness.invoker.running):
                if call.function.func_id == "f1":
                    harness.invoker.finish(call, Outcome(0, b"{}"))
            ballast.unlink()
            await harness.until(lambda: not harness.queue._runner.results)
            assert dict.fromkeys(names, "SUCCESS") == await harness.states()
            assert 1 == refused

    trio.run(main)


@pytest.mark.slow
def test_a_hundred_thousand_waiting_events_are_counted_without_being_loaded(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, lambda call: None, async_workers=1) as harness:
            await harness.enqueue("f1", 1)

            def fill(connection: sqlite3.Connection) -> None:
                connection.execute(
                    "INSERT INTO event (fn, request_id, due_s, enqueued_s, event)"
                    " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
                    " SELECT 1, 'r' || i, unixepoch(), unixepoch(), '{}' FROM n"
                )

            await harness.queue._store._database.run(fill)
        with trio.fail_after(5):
            async with running(tmp_path, lambda call: None, async_workers=1) as harness:
                await harness.until(lambda: harness.queue.running == 1)
                assert 100_000 == harness.queue.waiting

    trio.run(main)


def test_an_acknowledgement_comes_after_the_sync(tmp_path: Path) -> None:
    async def main() -> tuple[int, str]:
        async with running(tmp_path) as harness:

            def pragmas(connection: sqlite3.Connection) -> tuple[int, str]:
                sync = connection.execute("PRAGMA synchronous").fetchone()[0]
                return sync, connection.execute("PRAGMA journal_mode").fetchone()[0]

            return await harness.queue._store._database.read(pragmas)

    assert (2, "wal") == trio.run(main)  # FULL


def test_a_clock_that_was_set_back_keeps_nothing_waiting(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, lambda call: None, async_workers=1) as harness:
            harness.moved_s = 7200.0
            names = await harness.enqueue("f1", 5)
        async with running(tmp_path) as harness:
            await harness.drained()
            assert set(names) == set(harness.invoker.ran())

    trio.run(main)
