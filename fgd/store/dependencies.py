"""Dependencies in the catalog: one row for each version."""

import sqlite3
from collections.abc import Collection, Sequence

import msgspec

from fgd.model import Dependency
from fgd.store.sqlite import Database


class DependencyStore:
    """What a method returned from is on disk."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[Dependency]:
        """Every version of every dependency, public ones too."""
        rows = await self._database.read(
            lambda connection: connection.execute("SELECT body FROM dependency ORDER BY dep_id, version").fetchall()
        )
        return [msgspec.json.decode(row[0], type=Dependency) for row in rows]

    async def change(self, put: Sequence[Dependency] = (), delete: Collection[str] = ()) -> None:
        """Deletes versions by their ids, then stores others or puts them in the place of those with their ids; all or
        nothing of it."""
        rows = [
            (one.id, one.dep_id, one.project_id, one.name, one.version, msgspec.json.encode(one).decode())
            for one in put
        ]  # fmt: skip
        doomed = [(one,) for one in delete]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM dependency WHERE id=?", doomed)
            connection.executemany("INSERT OR REPLACE INTO dependency VALUES (?,?,?,?,?,?)", rows)

        await self._database.run(work)
