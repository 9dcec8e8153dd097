"""Log groups and streams, in the catalog's database. Their lines are elsewhere: `fgd.store.streams`."""

import sqlite3

import msgspec

from fgd.model import LogGroup, LogStream
from fgd.store.sqlite import Database


class LogGroupStore:
    """What a method returned from is on disk."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def groups(self) -> list[LogGroup]:
        """All, of all projects."""
        rows = await self._database.read(lambda connection: connection.execute("SELECT body FROM log_group").fetchall())
        return [msgspec.json.decode(body, type=LogGroup) for (body,) in rows]

    async def streams(self) -> list[LogStream]:
        """All, of all groups."""
        rows = await self._database.read(
            lambda connection: connection.execute("SELECT body FROM log_stream").fetchall()
        )
        return [msgspec.json.decode(body, type=LogStream) for (body,) in rows]

    async def put_group(self, group: LogGroup) -> None:
        """Stores a group, or puts it in the place of the one with its id."""
        row = (group.group_id, group.project_id, group.name, msgspec.json.encode(group).decode())
        await self._database.run(
            lambda connection: connection.execute("INSERT OR REPLACE INTO log_group VALUES (?,?,?,?)", row)
        )

    async def put_stream(self, stream: LogStream) -> None:
        """Stores a new stream."""
        row = (stream.stream_id, stream.group_id, stream.name, msgspec.json.encode(stream).decode())
        await self._database.run(lambda connection: connection.execute("INSERT INTO log_stream VALUES (?,?,?,?)", row))

    async def delete_group(self, group_id: str) -> None:
        """Deletes a group with its streams."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM log_stream WHERE group_id=?", (group_id,))
            connection.execute("DELETE FROM log_group WHERE group_id=?", (group_id,))

        await self._database.run(work)

    async def delete_stream(self, stream_id: str) -> None:
        """Deletes one."""
        await self._database.run(
            lambda connection: connection.execute("DELETE FROM log_stream WHERE stream_id=?", (stream_id,))
        )
