"""How much every function version was used, minute by minute, in `history.db`: what forecasts are made of.

Minutes in which nothing happened have no row. A minute of a version takes 40 bytes, so two weeks of one that is used
all the time take 0.8 MB; beyond `ROWS_MAX` rows (200 MB) the oldest minutes go early.
"""

import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from fgd.store.sqlite import Database, Migrations, slices, values_sql

KEEP_MINUTES: Final = 14 * 24 * 60
ROWS_MAX: Final = 5_000_000

MIGRATIONS: Migrations = (
    (
        "CREATE TABLE series (id INTEGER PRIMARY KEY, func_id TEXT NOT NULL, version TEXT NOT NULL,"
        " UNIQUE (func_id, version))",
        "CREATE TABLE minute (series INTEGER NOT NULL, minute INTEGER NOT NULL, requests INTEGER NOT NULL,"
        " load REAL NOT NULL, instances INTEGER NOT NULL, reserved INTEGER NOT NULL, PRIMARY KEY (series, minute)"
        ") WITHOUT ROWID",
        "CREATE INDEX minute_age ON minute (minute)",
    ),
)


class Minute(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One minute of a version.

    `minute`: epoch seconds / 60. `requests`: invocations that ended in it. `load`: calls at work, on average.
    `instances`, `reserved`: the most that lived at once, and how many of those were kept.
    """

    func_id: str
    version: str
    minute: int
    requests: int
    load: float
    instances: int
    reserved: int


class RequestHistory:
    """The last two weeks. Make it with `open`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, state_dir: Path) -> Self:
        """Opens or makes the file. A crash of the host may cost the last minutes: they are no promise to anybody.

        Raises:
            StateError, StorageFull: as `Database.open`.
        """
        return cls(await Database.open(state_dir / "history.db", MIGRATIONS, synchronous="NORMAL"))

    async def aclose(self) -> None:
        await self._database.aclose()

    async def add(self, minutes: Sequence[Minute]) -> None:
        """Stores minutes; one that is there already is replaced.

        Raises:
            StorageFull: nothing was stored.
        """
        rows = [msgspec.structs.astuple(one) for one in minutes]

        def work(connection: sqlite3.Connection) -> None:
            begin = 0
            for size in slices(len(rows), 128):
                part = rows[begin : begin + size]
                begin += size
                names = [value for row in part for value in row[:2]]
                connection.execute(
                    f"INSERT OR IGNORE INTO series (func_id, version) VALUES {values_sql(2, size)}", names
                )
                connection.execute(
                    f"WITH new (func_id, version, minute, requests, load, instances, reserved) AS"
                    f" (VALUES {values_sql(7, size)})"
                    " INSERT OR REPLACE INTO minute SELECT series.id, minute, requests, load, instances, reserved"
                    " FROM new JOIN series USING (func_id, version)",
                    [value for row in part for value in row],
                )

        await self._database.run(work)

    async def minutes(self, func_id: str, *, since: int = 0, version: str = "") -> list[Minute]:
        """Minutes of a function from `since` on in order of time, of one version or of all."""

        def work(connection: sqlite3.Connection) -> list[Any]:
            return connection.execute(
                "SELECT func_id, version, minute, requests, load, instances, reserved FROM series"
                " JOIN minute ON series = id WHERE func_id = ? AND minute >= ? AND (version = ? OR ? = '')"
                " ORDER BY minute, version",
                (func_id, since, version, version),
            ).fetchall()

        return [Minute(*row) for row in await self._database.read(work)]

    async def clean(self, before: int, functions: Collection[str]) -> None:
        """Removes minutes before a moment, those of other functions than these, and the oldest when there are too
        many.

        Args:
            before: a minute (epoch seconds / 60).
            functions: ids of all functions that there are.
        """
        known = set(functions)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM minute WHERE minute < ?", (before,))
            have = connection.execute("SELECT DISTINCT func_id FROM series").fetchall()
            gone = [(func_id,) for (func_id,) in have if func_id not in known]
            connection.executemany("DELETE FROM minute WHERE series IN (SELECT id FROM series WHERE func_id = ?)", gone)
            connection.executemany("DELETE FROM series WHERE func_id = ?", gone)
            (rows,) = connection.execute("SELECT count(*) FROM minute").fetchone()
            if rows > ROWS_MAX:
                connection.execute(
                    "DELETE FROM minute WHERE minute <= (SELECT minute FROM minute ORDER BY minute LIMIT 1 OFFSET ?)",
                    (rows - ROWS_MAX,),
                )

        await self._database.run(work)
