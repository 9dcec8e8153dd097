"""Tags of functions, in the catalog's database."""

import sqlite3
from collections.abc import Mapping, Sequence

from fgd.store.sqlite import Database, values_sql


class TagStore:
    """What a method returned from is on disk. Tags of a deleted function go with it, in its own transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> dict[str, dict[str, str]]:
        """All tags by function id, then key. Those of functions that are not there are removed: they were stored for
        a function whose creation a crash interrupted."""

        def work(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
            connection.execute("DELETE FROM tag WHERE func_id NOT IN (SELECT func_id FROM function)")
            return connection.execute("SELECT func_id, key, value FROM tag ORDER BY func_id, key").fetchall()

        found: dict[str, dict[str, str]] = {}
        for func_id, key, value in await self._database.run(work):
            found.setdefault(func_id, {})[key] = value
        return found

    async def put(self, func_id: str, tags: Mapping[str, str]) -> None:
        """Stores tags of a function; a key that it has gets the new value."""
        values = [text for key, value in tags.items() for text in (func_id, key, value)]
        sql = f"INSERT OR REPLACE INTO tag (func_id, key, value) VALUES {values_sql(3, len(tags))}"
        if tags:
            await self._database.run(lambda connection: connection.execute(sql, values))

    async def delete(self, func_id: str, keys: Sequence[str]) -> None:
        """Deletes tags of a function by their keys; those that are not there are no error."""
        marks = ",".join("?" * len(keys))
        sql = f"DELETE FROM tag WHERE func_id=? AND key IN ({marks})"
        await self._database.run(lambda connection: connection.execute(sql, (func_id, *keys)))
