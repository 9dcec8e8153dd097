"""Agencies and their temporary credentials in `catalog.db`."""

import sqlite3

import msgspec

from fgd.model import Agency
from fgd.store.api import AgencyKey
from fgd.store.catalog import SqliteCatalog

#: Nothing, where the agency was deleted meanwhile.
_INSERT = (
    "INSERT INTO agency_key SELECT ?,?,?,?,?,?,? WHERE EXISTS (SELECT 1 FROM agency WHERE project_id=? AND name=?)"
)


class AgencyStore:
    """What a method returned from is on disk."""

    def __init__(self, catalog: SqliteCatalog) -> None:
        self._database = catalog.database
        self._secrets = catalog.secrets

    async def agencies(self) -> list[Agency]:
        """All, by project and name."""
        rows = await self._database.read(
            lambda connection: connection.execute("SELECT body FROM agency ORDER BY project_id, name").fetchall()
        )
        return [msgspec.json.decode(row[0], type=Agency) for row in rows]

    async def put(self, agency: Agency, key: AgencyKey | None = None) -> None:
        """Stores an agency, or puts it in the place of the one with its name; with its first credentials."""
        row = (agency.project_id, agency.name, msgspec.json.encode(agency).decode())
        rows = [] if key is None else [self._row(key)]

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO agency VALUES (?,?,?)", row)
            connection.executemany(_INSERT, rows)

        await self._database.run(work)

    async def delete(self, agency: Agency) -> None:
        """Deletes an agency with all its credentials."""
        row = (agency.project_id, agency.name)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM agency WHERE project_id=? AND name=?", row)
            connection.execute("DELETE FROM agency_key WHERE project_id=? AND agency=?", row)

        await self._database.run(work)

    async def keys(self, now_s: float) -> list[AgencyKey]:
        """The credentials that are valid at that moment (epoch seconds)."""
        rows = await self._database.read(
            lambda connection: connection.execute(
                "SELECT access_key, secret_key, project_id, agency, security_digest, token_digest, expires_s"
                " FROM agency_key WHERE expires_s > ?",
                (now_s,),
            ).fetchall()
        )
        return [
            AgencyKey(
                access_key=row[0],
                secret_key=self._secrets.decrypt(row[1], _context(row[0])),
                project_id=row[2],
                agency=row[3],
                security_digest=row[4],
                token_digest=row[5],
                expires_s=row[6],
            )
            for row in rows
        ]

    async def add_keys(self, keys: list[AgencyKey], now_s: float) -> None:
        """Stores credentials of agencies that are there; the expired ones of all go at the same time."""
        rows = [self._row(key) for key in keys]

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM agency_key WHERE expires_s <= ?", (now_s,))
            connection.executemany(_INSERT, rows)

        await self._database.run(work)

    def _row(self, key: AgencyKey) -> tuple[object, ...]:
        sealed = self._secrets.encrypt(key.secret_key, _context(key.access_key))
        owner = (key.project_id, key.agency)
        return (key.access_key, sealed, *owner, key.security_digest, key.token_digest, key.expires_s, *owner)


def _context(access_key: str) -> str:
    return f"secret key of {access_key}"
