"""Test events of functions, in the catalog's database. Few and seldom needed: they are read when somebody asks."""

import sqlite3

import msgspec

from fgd.errors import TestEventExists
from fgd.model import SavedEvent
from fgd.store.sqlite import Database


class SavedEventStore:
    """What a method returned from is on disk. Events of a deleted function go with it, in its own transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, func_id: str) -> list[SavedEvent]:
        """The test events of a function, by name."""

        def work(connection: sqlite3.Connection) -> list[tuple[str]]:
            return connection.execute(
                "SELECT body FROM test_event WHERE func_id=? ORDER BY name", (func_id,)
            ).fetchall()

        return [msgspec.json.decode(row[0], type=SavedEvent) for row in await self._database.read(work)]

    async def put(self, event: SavedEvent) -> None:
        """Stores an event, or puts it in the place of the one with its id.

        Raises:
            TestEventExists: the function has another of that name.
        """
        row = (event.func_id, event.event_id, event.name, msgspec.json.encode(event).decode())

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO test_event (func_id, event_id, name, body) VALUES (?,?,?,?)"
                " ON CONFLICT (func_id, event_id) DO UPDATE SET name=excluded.name, body=excluded.body",
                row,
            )

        try:
            await self._database.run(work)
        except sqlite3.IntegrityError as error:
            raise TestEventExists(f"name: the function has a test event {event.name!r} already") from error

    async def delete(self, event: SavedEvent) -> None:
        """Deletes an event."""
        key = (event.func_id, event.event_id)
        await self._database.run(
            lambda connection: connection.execute("DELETE FROM test_event WHERE func_id=? AND event_id=?", key)
        )
