"""One thread for each database: transactions, migrations, and disks that fail."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from fgd.errors import StateError, StorageFull
from fgd.store.sqlite import Database, connect, slices, values_sql
from tests.store.disks import tmpfs

FIRST = (("CREATE TABLE thing (id INTEGER PRIMARY KEY, text TEXT NOT NULL)",),)
SECOND = (*FIRST, ("ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 7",))


def insert(text: str) -> Callable[[sqlite3.Connection], object]:
    return lambda connection: connection.execute("INSERT INTO thing (text) VALUES (?)", (text,))


def count(connection: sqlite3.Connection) -> int:
    number: int = connection.execute("SELECT count(*) FROM thing").fetchone()[0]
    return number


def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    async def main() -> int:
        database = await Database.open(tmp_path / "a.db", FIRST)
        await database.run(lambda c: c.execute("INSERT INTO thing (text) VALUES ('x')"))
        await database.aclose()
        again = await Database.open(tmp_path / "a.db", FIRST)
        found = await again.read(count)
        await again.aclose()
        return found

    assert 1 == trio.run(main)


def test_a_closure_that_raises_leaves_nothing(tmp_path: Path) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO thing (text) VALUES ('x')")
        raise LookupError("halfway")

    async def main() -> int:
        database = await Database.open(tmp_path / "a.db", FIRST)
        with pytest.raises(LookupError, match="halfway"):
            await database.run(half)
        found = await database.read(count)
        await database.aclose()
        return found

    assert 0 == trio.run(main)


def test_migrations_run_once_and_keep_the_rows(tmp_path: Path) -> None:
    async def main() -> tuple[object, ...]:
        old = await Database.open(tmp_path / "a.db", FIRST)
        await old.run(lambda c: c.execute("INSERT INTO thing (text) VALUES ('x')"))
        await old.aclose()
        for _ in range(2):
            new = await Database.open(tmp_path / "a.db", SECOND)
            row: tuple[object, ...] = await new.read(lambda c: c.execute("SELECT text, size FROM thing").fetchone())
            await new.aclose()
        return row

    assert ("x", 7) == trio.run(main)


def test_a_failing_migration_leaves_the_old_version(tmp_path: Path) -> None:
    broken = (*FIRST, ("ALTER TABLE thing ADD COLUMN size INTEGER", "CREATE TABLE thing (id INTEGER)"))

    async def main() -> int:
        await (await Database.open(tmp_path / "a.db", FIRST)).aclose()
        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            await Database.open(tmp_path / "a.db", broken)
        again = await Database.open(tmp_path / "a.db", FIRST)
        columns = await again.read(lambda c: c.execute("PRAGMA table_info(thing)").fetchall())
        await again.aclose()
        return len(columns)

    assert 2 == trio.run(main)


def test_a_newer_schema_is_refused_and_both_versions_named(tmp_path: Path) -> None:
    async def main() -> None:
        await (await Database.open(tmp_path / "a.db", SECOND)).aclose()
        with pytest.raises(StateError, match=r"a\.db: has schema version 2, this fgd knows versions up to 1"):
            await Database.open(tmp_path / "a.db", FIRST)

    trio.run(main)


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()

    async def main() -> None:
        with pytest.raises(StateError, match="another program"):
            await Database.open(tmp_path / "a.db", FIRST)

    trio.run(main)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"not a database at all" * 100)

    async def main() -> None:
        with pytest.raises(StateError, match="damaged or not a database"):
            await Database.open(tmp_path / "a.db", FIRST)

    trio.run(main)


def test_files_are_closed_to_others(tmp_path: Path) -> None:
    async def main() -> set[int]:
        database = await Database.open(tmp_path / "a.db", FIRST)
        await database.run(lambda c: c.execute("INSERT INTO thing (text) VALUES ('x')"))
        modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        await database.aclose()
        return modes

    assert {0o600} == trio.run(main)


def test_closing_finishes_what_was_asked_and_may_be_done_twice(tmp_path: Path) -> None:
    async def main() -> None:
        database = await Database.open(tmp_path / "a.db", FIRST)

        async def write(work: Callable[[sqlite3.Connection], object]) -> None:
            await database.run(work)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(write, insert(str(number)))
        await database.aclose()
        await database.aclose()
        with pytest.raises(StateError, match="closed"):
            await database.read(count)

    trio.run(main)
    check = sqlite3.connect(tmp_path / "a.db")
    found = check.execute("SELECT count(*) FROM thing").fetchone()[0]
    check.close()

    assert 20 == found
    assert not (tmp_path / "a.db-wal").exists()


def test_another_program_cannot_take_away_the_log_of_a_database_that_is_open_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    first, second = (connect(path, FIRST, "FULL") for _ in range(2))
    first.execute("INSERT INTO thing (text) VALUES ('x')")
    look = (
        "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute('SELECT * FROM thing').fetchall()\nc.close()"
    )

    subprocess.run([sys.executable, "-c", look, path], check=True)

    assert (tmp_path / "a.db-wal").exists()
    first.close()
    second.close()


def test_slices_cover_the_count_with_powers_of_two() -> None:
    assert [256, 256, 64, 8, 1] == slices(585)
    assert [] == slices(0)
    assert "(?,?),(?,?)" == values_sql(2, 2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    with tmpfs(tmp_path / "small", "1m") as folder:
        yield folder


@pytest.mark.host
def test_a_full_disk_stores_nothing_and_the_database_goes_on(small_disk: Path) -> None:
    async def main() -> tuple[int, int]:
        database = await Database.open(small_disk / "a.db", FIRST)
        stored = 0
        with pytest.raises(StorageFull, match="nothing was stored"):
            while True:
                await database.run(lambda c: c.execute("INSERT INTO thing (text) VALUES (?)", ("x" * 50_000,)))
                stored += 1
        found = await database.read(count)
        await database.run(lambda c: c.execute("SELECT 1"))
        await database.aclose()
        return stored, found

    stored, found = trio.run(main)

    assert stored == found > 0
