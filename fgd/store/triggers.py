"""Triggers and what they remember, in the catalog."""

import sqlite3
from typing import Literal

import msgspec

from fgd.store.sqlite import Database


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """A configured trigger of a function."""

    trigger_id: str
    func_id: str
    #: `latest`, a version, or an alias with its leading "!".
    qualifier: str
    code: str
    status: Literal["ACTIVE", "DISABLED"]
    #: `event_data` as it was sent, without its secrets.
    event_data: dict[str, object]
    #: JSON of the secret settings, encrypted; "" for none.
    sealed: str = ""
    created_s: float = 0.0
    updated_s: float = 0.0


class TriggerStore:
    """Reads and writes them; what a method returned from is on disk."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[Trigger]:
        rows = await self._database.read(
            lambda connection: connection.execute("SELECT body FROM trigger_ ORDER BY trigger_id").fetchall()
        )
        return [msgspec.json.decode(row[0], type=Trigger) for row in rows]

    async def notes(self) -> dict[str, bytes]:
        """What triggers remember, by trigger id."""
        rows = await self._database.read(
            lambda connection: connection.execute("SELECT trigger_id, note FROM trigger_note").fetchall()
        )
        return {row[0]: bytes(row[1]) for row in rows}

    async def put(self, trigger: Trigger) -> None:
        """Stores a trigger, or puts it in the place of the one with its id."""
        row = (trigger.trigger_id, trigger.func_id, trigger.qualifier, msgspec.json.encode(trigger).decode())
        await self._database.run(
            lambda connection: connection.execute("INSERT OR REPLACE INTO trigger_ VALUES (?,?,?,?)", row)
        )

    async def delete(self, triggers: list[Trigger]) -> None:
        """Deletes triggers with what they remember, all or none."""
        ids = [(trigger.trigger_id,) for trigger in triggers]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM trigger_ WHERE trigger_id=?", ids)
            connection.executemany("DELETE FROM trigger_note WHERE trigger_id=?", ids)

        await self._database.run(work)

    async def remember(self, trigger_id: str, note: bytes) -> None:
        """Stores what a trigger wants to know after a restart; nothing happens when the trigger is gone."""
        await self._database.run(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO trigger_note SELECT trigger_id, ? FROM trigger_ WHERE trigger_id=?",
                (note, trigger_id),
            )
        )
