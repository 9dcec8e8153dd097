"""The catalog: functions, their settings and credentials, in `catalog.db`."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from fgd.errors import FunctionExists
from fgd.model import Alias, AsyncConfig, Function
from fgd.store.api import AccessKey, Token
from fgd.store.secrets import Secrets, open_secrets
from fgd.store.sqlite import Database, Migrations

#: Functions could name agencies before there were any. Each name becomes an agency that allows nothing.
AGENCIES_OF_OLD = (
    *(
        f"""INSERT OR IGNORE INTO agency
            SELECT DISTINCT project_id, json_extract(body, '$.echo.{field}'), json_object(
                'project_id', project_id, 'name', json_extract(body, '$.echo.{field}'),
                'description', 'named by a function of an earlier version', 'policies', json_array()
            )
            FROM function WHERE json_extract(body, '$.echo.{field}') IS NOT NULL"""
        for field in ("xrole", "app_xrole")
    ),
    *(
        f"""UPDATE function SET body = json_set(
                json_remove(body, '$.echo.{field}'), '$.{field}', json_extract(body, '$.echo.{field}')
            ) WHERE json_extract(body, '$.echo.{field}') IS NOT NULL"""
        for field in ("xrole", "app_xrole")
    ),
)

MIGRATIONS: Migrations = (
    (
        """CREATE TABLE function (
            func_id TEXT NOT NULL, version TEXT NOT NULL,
            project_id TEXT NOT NULL, package TEXT NOT NULL, name TEXT NOT NULL,
            body TEXT NOT NULL,
            PRIMARY KEY (func_id, version), UNIQUE (project_id, package, name, version)
        ) WITHOUT ROWID""",
        """CREATE TABLE async_config (
            func_id TEXT NOT NULL, version TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (func_id, version)
        ) WITHOUT ROWID""",
        """CREATE TABLE access_key (
            access_key TEXT PRIMARY KEY, secret_key TEXT NOT NULL,
            project_id TEXT NOT NULL, name TEXT NOT NULL, created_s REAL NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE token (
            digest TEXT PRIMARY KEY, project_id TEXT NOT NULL, name TEXT NOT NULL, expires_s REAL NOT NULL
        ) WITHOUT ROWID""",
        "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    ),
    (
        """CREATE TABLE alias (
            func_id TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (func_id, name)
        ) WITHOUT ROWID""",
        # qualifier: a version, or an alias with its leading "!"
        """CREATE TABLE reservation (
            func_id TEXT NOT NULL, qualifier TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (func_id, qualifier)
        ) WITHOUT ROWID""",
        """CREATE TABLE dependency (
            id TEXT PRIMARY KEY, dep_id TEXT NOT NULL, project_id TEXT NOT NULL, name TEXT NOT NULL,
            version INTEGER NOT NULL, body TEXT NOT NULL, UNIQUE (dep_id, version)
        ) WITHOUT ROWID""",
        """CREATE TABLE tag (
            func_id TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (func_id, key)
        ) WITHOUT ROWID""",
        """CREATE TABLE test_event (
            func_id TEXT NOT NULL, event_id TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
            PRIMARY KEY (func_id, event_id), UNIQUE (func_id, name)
        ) WITHOUT ROWID""",
        """CREATE TABLE agency (
            project_id TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (project_id, name)
        ) WITHOUT ROWID""",
        """CREATE TABLE trigger_ (
            trigger_id TEXT PRIMARY KEY, func_id TEXT NOT NULL, qualifier TEXT NOT NULL, body TEXT NOT NULL
        ) WITHOUT ROWID""",
        "CREATE TABLE trigger_note (trigger_id TEXT PRIMARY KEY, note BLOB NOT NULL) WITHOUT ROWID",
        """CREATE TABLE log_group (
            group_id TEXT PRIMARY KEY, project_id TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
            UNIQUE (project_id, name)
        ) WITHOUT ROWID""",
        """CREATE TABLE log_stream (
            stream_id TEXT PRIMARY KEY, group_id TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
            UNIQUE (group_id, name)
        ) WITHOUT ROWID""",
        """CREATE TABLE agency_key (
            access_key TEXT PRIMARY KEY, secret_key TEXT NOT NULL, project_id TEXT NOT NULL, agency TEXT NOT NULL,
            security_digest TEXT NOT NULL, token_digest TEXT NOT NULL, expires_s REAL NOT NULL
        ) WITHOUT ROWID""",
        # kind: group, environment, app, throttle
        """CREATE TABLE api_object (
            kind TEXT NOT NULL, id TEXT PRIMARY KEY, project_id TEXT NOT NULL, name TEXT NOT NULL,
            body TEXT NOT NULL, sealed TEXT NOT NULL, UNIQUE (kind, project_id, name)
        ) WITHOUT ROWID""",
        *AGENCIES_OF_OLD,
    ),
)
#: What goes with a function, and what goes with one of its versions.
_OF_FUNCTION = ("function", "async_config", "alias", "reservation", "tag", "test_event", "trigger_")
_FORGET_NOTES = "DELETE FROM trigger_note WHERE trigger_id IN (SELECT trigger_id FROM trigger_"
_OF_VERSION = ("function", "async_config")

_encode = msgspec.json.encode
_KEY_CHECK = "key check"


class SqliteCatalog:
    """`fgd.store.api.Catalog` on SQLite; what a method returned from is on disk."""

    def __init__(self, database: Database, secrets: Secrets, now: Callable[[], float]) -> None:
        self._database = database
        self._secrets = secrets
        self._now = now

    @classmethod
    async def open(cls, state_dir: Path, now: Callable[[], float] = time.time) -> Self:
        """Opens `catalog.db` and the key file in the state directory, making both when they are new.

        Args:
            now: gives the epoch seconds.

        Raises:
            StateError: written by a newer fgd, damaged, or the key file does not belong to it.
            StorageFull: the disk is full or failing.
        """
        secrets = open_secrets(state_dir)
        database = await Database.open(state_dir / "catalog.db", MIGRATIONS)
        self = cls(database, secrets, now)
        try:
            secrets.decrypt(await self.setting(_KEY_CHECK, secrets.encrypt("fgd", _KEY_CHECK)), _KEY_CHECK)
        except BaseException:
            await database.aclose()
            raise
        return self

    @property
    def database(self) -> Database:
        """`catalog.db`, for the stores of other nouns."""
        return self._database

    @property
    def secrets(self) -> Secrets:
        """Encrypts and decrypts under this state directory's key."""
        return self._secrets

    async def aclose(self) -> None:
        await self._database.aclose()

    async def functions(self) -> list[Function]:
        rows = await self._rows("SELECT body FROM function ORDER BY func_id, version")
        return [msgspec.json.decode(row[0], type=Function) for row in rows]

    async def put_function(self, function: Function) -> None:
        """Stores one version, or puts it in the place of the same version.

        Raises:
            FunctionExists: another function has that project, package and name.
        """
        await self.put_functions([function])

    async def put_functions(self, functions: Sequence[Function]) -> None:
        """The same for several versions, all or none of them."""
        rows = [
            (one.func_id, one.version, one.project_id, one.package, one.name, _encode(one).decode())
            for one in functions
        ]  # fmt: skip

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT INTO function VALUES (?,?,?,?,?,?) ON CONFLICT (func_id, version) DO UPDATE SET"
                " project_id=excluded.project_id, package=excluded.package, name=excluded.name, body=excluded.body",
                rows,
            )

        try:
            await self._database.run(work)
        except sqlite3.IntegrityError as error:
            name = f"{functions[0].package}:{functions[0].name}"
            raise FunctionExists(f"func_name: {name} exists already") from error

    async def delete_function(self, function: Function) -> None:
        """Deletes a function with all its versions and everything that belongs to it."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_FORGET_NOTES + " WHERE func_id=?)", (function.func_id,))
            for table in _OF_FUNCTION:
                connection.execute(f"DELETE FROM {table} WHERE func_id=?", (function.func_id,))

        await self._database.run(work)

    async def delete_version(self, version: Function, aliases: Sequence[str]) -> None:
        """Deletes a published version with its settings and these aliases of its function, which point to it."""
        names = [(version.func_id, name) for name in aliases]
        qualifiers = [(version.func_id, version.version), *((func_id, f"!{name}") for func_id, name in names)]

        def work(connection: sqlite3.Connection) -> None:
            for table in _OF_VERSION:
                connection.execute(
                    f"DELETE FROM {table} WHERE func_id=? AND version=?", (version.func_id, version.version)
                )
            connection.executemany("DELETE FROM alias WHERE func_id=? AND name=?", names)
            connection.executemany("DELETE FROM reservation WHERE func_id=? AND qualifier=?", qualifiers)
            connection.executemany(_FORGET_NOTES + " WHERE func_id=? AND qualifier=?)", qualifiers)
            connection.executemany("DELETE FROM trigger_ WHERE func_id=? AND qualifier=?", qualifiers)

        await self._database.run(work)

    async def aliases(self) -> list[Alias]:
        rows = await self._rows("SELECT body FROM alias ORDER BY func_id, name")
        return [msgspec.json.decode(row[0], type=Alias) for row in rows]

    async def put_alias(self, alias: Alias) -> None:
        """Stores an alias, or puts it in the place of the one with its name."""
        await self._write(
            "INSERT OR REPLACE INTO alias VALUES (?,?,?)", (alias.func_id, alias.name, _encode(alias).decode())
        )

    async def delete_alias(self, alias: Alias) -> None:
        """Deletes an alias and what was reserved for it."""
        key = (alias.func_id, alias.name)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM alias WHERE func_id=? AND name=?", key)
            connection.execute("DELETE FROM reservation WHERE func_id=? AND qualifier=?", (key[0], f"!{key[1]}"))

        await self._database.run(work)

    async def async_configs(self) -> dict[tuple[str, str], AsyncConfig]:
        rows = await self._rows("SELECT func_id, version, body FROM async_config")
        return {(row[0], row[1]): msgspec.json.decode(row[2], type=AsyncConfig) for row in rows}

    async def put_async_config(self, func_id: str, version: str, config: AsyncConfig | None) -> None:
        if config is None:
            await self._write("DELETE FROM async_config WHERE func_id=? AND version=?", (func_id, version))
        else:
            await self._write(
                "INSERT OR REPLACE INTO async_config VALUES (?,?,?)", (func_id, version, _encode(config).decode())
            )

    async def access_keys(self) -> list[AccessKey]:
        rows = await self._rows("SELECT access_key, secret_key, project_id, name, created_s FROM access_key")
        return [
            AccessKey(
                access_key=row[0],
                secret_key=self._secrets.decrypt(row[1], _secret_context(row[0])),
                project_id=row[2],
                name=row[3],
                created_s=row[4],
            )
            for row in rows
        ]

    async def put_access_key(self, key: AccessKey) -> None:
        sealed = self._secrets.encrypt(key.secret_key, _secret_context(key.access_key))
        await self._write(
            "INSERT OR REPLACE INTO access_key VALUES (?,?,?,?,?)",
            (key.access_key, sealed, key.project_id, key.name, key.created_s),
        )

    async def delete_access_key(self, access_key: str) -> None:
        await self._write("DELETE FROM access_key WHERE access_key=?", (access_key,))

    async def tokens(self) -> list[Token]:
        rows = await self._rows(
            "SELECT digest, project_id, name, expires_s FROM token WHERE expires_s > ?", (self._now(),)
        )
        return [Token(digest=row[0], project_id=row[1], name=row[2], expires_s=row[3]) for row in rows]

    async def put_token(self, token: Token) -> None:
        """Stores a token; the expired ones go at the same time."""
        now = self._now()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM token WHERE expires_s <= ?", (now,))
            connection.execute("INSERT OR REPLACE INTO token VALUES (?,?,?,?)", msgspec.structs.astuple(token))

        await self._database.run(work)

    async def setting(self, name: str, default: str) -> str:
        def work(connection: sqlite3.Connection) -> str:
            connection.execute("INSERT OR IGNORE INTO setting VALUES (?,?)", (name, default))
            value: str = connection.execute("SELECT value FROM setting WHERE name=?", (name,)).fetchone()[0]
            return value

        return await self._database.run(work)

    # A row's types are those of the schema; no checker can know them, hence Any.
    async def _rows(self, sql: str, values: tuple[object, ...] = ()) -> list[Any]:
        return await self._database.read(lambda connection: connection.execute(sql, values).fetchall())

    async def _write(self, sql: str, values: tuple[object, ...]) -> None:
        await self._database.run(lambda connection: connection.execute(sql, values))


def _secret_context(access_key: str) -> str:
    return f"secret key of {access_key}"
