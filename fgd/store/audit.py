"""The audit log on disk: `audit.db`, one row a trace. What `add` returned from is on disk, power cuts included."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec

from fgd.store.sqlite import Database, Migrations, values_sql

MIGRATIONS: Migrations = (
    (
        # id: microseconds of the clock, or one more than the last
        """CREATE TABLE trace (
            id INTEGER PRIMARY KEY, project_id TEXT NOT NULL, time_ms INTEGER NOT NULL, name TEXT NOT NULL,
            resource_type TEXT NOT NULL, resource_name TEXT NOT NULL, resource_id TEXT NOT NULL, user TEXT NOT NULL,
            status TEXT NOT NULL, trace_id TEXT NOT NULL, body BLOB NOT NULL
        )""",
        "CREATE INDEX trace_project ON trace (project_id, id)",
    ),
)
_COLUMNS = 11
_AT_ONCE = 200


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """What a trace is found by, and the trace itself."""

    project_id: str
    time_ms: int
    name: str
    resource_type: str
    resource_name: str
    resource_id: str
    user: str
    status: str
    trace_id: str
    #: JSON, as everyone gets to see it.
    body: bytes


class TraceFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody looks for; "" and 0 for anything. Names are compared whole, `project_id` "" is all projects."""

    project_id: str = ""
    name: str = ""
    resource_type: str = ""
    resource_name: str = ""
    resource_id: str = ""
    user: str = ""
    status: str = ""
    trace_id: str = ""
    from_ms: int = 0
    to_ms: int = 0
    #: Only those older than this position.
    before: int = 0


class AuditStore:
    """Make it with `open`; close it with `aclose`."""

    def __init__(self, database: Database, last_id: int) -> None:
        self._database = database
        self._last_id = last_id

    @classmethod
    async def open(cls, state_dir: Path) -> Self:
        """Opens `audit.db`; raises as `Database.open`."""
        database = await Database.open(state_dir / "audit.db", MIGRATIONS)
        last_id = await database.read(
            lambda connection: connection.execute("SELECT coalesce(max(id), 0) FROM trace").fetchone()[0]
        )
        return cls(database, last_id)

    async def aclose(self) -> None:
        """Closes the file. May be called twice."""
        await self._database.aclose()

    async def add(self, traces: Sequence[Trace], now_s: float) -> None:
        """Adds traces, all or none. One call at a time.

        Raises:
            StorageFull: nothing was stored.
        """
        first = max(self._last_id + 1, int(now_s * 1_000_000))

        def work(connection: sqlite3.Connection) -> None:
            for at in range(0, len(traces), _AT_ONCE):
                part = traces[at : at + _AT_ONCE]
                values: list[object] = []
                for number, one in enumerate(part, first + at):
                    values += (
                        number, one.project_id, one.time_ms, one.name, one.resource_type, one.resource_name,
                        one.resource_id, one.user, one.status, one.trace_id, one.body,
                    )  # fmt: skip
                connection.execute(f"INSERT INTO trace VALUES {values_sql(_COLUMNS, len(part))}", values)

        await self._database.run(work)
        self._last_id = first + len(traces) - 1

    async def read(self, project_id: str, after: int, most: int) -> list[tuple[int, bytes]]:
        """A project's traces behind a position, oldest first, each with its position."""
        rows = await self._database.read(
            lambda connection: connection.execute(
                "SELECT id, body FROM trace WHERE project_id=? AND id>? ORDER BY id LIMIT ?", (project_id, after, most)
            ).fetchall()
        )
        return [(number, bytes(body)) for number, body in rows]

    async def find(self, wanted: TraceFilter, most: int) -> list[tuple[int, bytes]]:
        """Traces, newest first, each with its position."""
        where = ["id>0"]
        values: list[object] = []
        for column in (
            "project_id", "name", "resource_type", "resource_name", "resource_id", "user", "status", "trace_id",
        ):  # fmt: skip
            if value := getattr(wanted, column):
                where.append(f"{column}=?")
                values.append(value)
        for condition, value in (
            ("time_ms>=?", wanted.from_ms), ("time_ms<=?", wanted.to_ms), ("id<?", wanted.before),
        ):  # fmt: skip
            if value:
                where.append(condition)
                values.append(value)
        sql = f"SELECT id, body FROM trace WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?"
        rows = await self._database.read(lambda connection: connection.execute(sql, [*values, most]).fetchall())
        return [(number, bytes(body)) for number, body in rows]

    async def trim(self, before_ms: int, most: int) -> None:
        """Removes what is older than a moment, and the oldest of more than `most`."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM trace WHERE time_ms<?", (before_ms,))
            connection.execute(
                "DELETE FROM trace WHERE id<=(SELECT id FROM trace ORDER BY id DESC LIMIT 1 OFFSET ?)", (most,)
            )

        await self._database.run(work)
