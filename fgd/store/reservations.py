"""Reservations in the catalog's database."""

import sqlite3
from typing import Final

import msgspec

from fgd.model import Reservation
from fgd.store.sqlite import Database

_PUT: Final = "INSERT OR REPLACE INTO reservation VALUES (?,?,?)"


class ReservationStore:
    """The table `reservation`; what a method returned from is on disk. Rows go with their function, version or alias,
    which `SqliteCatalog` sees to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[Reservation]:
        def work(connection: sqlite3.Connection) -> list[tuple[str]]:
            return connection.execute("SELECT body FROM reservation ORDER BY func_id, qualifier").fetchall()

        return [msgspec.json.decode(body, type=Reservation) for (body,) in await self._database.read(work)]

    async def put(self, reservation: Reservation) -> None:
        """Stores one, or puts it in the place of the one with its qualifier."""
        row = (reservation.func_id, reservation.qualifier, msgspec.json.encode(reservation).decode())
        await self._database.run(lambda connection: connection.execute(_PUT, row))

    async def delete(self, func_id: str, qualifier: str) -> None:
        key = (func_id, qualifier)
        await self._database.run(
            lambda connection: connection.execute("DELETE FROM reservation WHERE func_id=? AND qualifier=?", key)
        )
