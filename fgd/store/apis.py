"""What the gateway's APIs hang on: groups, environments, apps and throttling policies, in the catalog's database."""

from typing import ClassVar

import msgspec

from fgd.store.secrets import Secrets
from fgd.store.sqlite import Database


class ApiGroup(msgspec.Struct, frozen=True, kw_only=True):
    """APIs with an address of their own."""

    kind: ClassVar[str] = "group"
    id: str
    project_id: str
    name: str
    description: str = ""
    #: Host names, in lower case, at which it is found too.
    domains: tuple[str, ...] = ()
    created_s: float = 0.0


class ApiEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """A place where an API can be published beside others of the same path; requests choose by the header X-Stage."""

    kind: ClassVar[str] = "environment"
    id: str
    project_id: str
    name: str
    description: str = ""
    created_s: float = 0.0


class ApiApp(msgspec.Struct, frozen=True, kw_only=True):
    """A caller of APIs with AUTH `APP`: key and secret for signatures, codes for simple authentication."""

    kind: ClassVar[str] = "app"
    id: str
    project_id: str
    name: str
    description: str = ""
    key: str
    #: Stored encrypted.
    secret: str = ""
    #: AppCodes; stored encrypted.
    codes: tuple[str, ...] = ()
    #: Ids of the APIs (triggers) that it may call.
    apis: tuple[str, ...] = ()
    created_s: float = 0.0


class ApiThrottle(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests APIs take within a time; 0 for no limit of that kind."""

    kind: ClassVar[str] = "throttle"
    id: str
    project_id: str
    name: str
    description: str = ""
    #: Length of the time.
    interval: int = 1
    unit: str = "SECOND"
    api_limit: int
    user_limit: int = 0
    app_limit: int = 0
    ip_limit: int = 0
    #: Whether all its APIs have one count together.
    shared: bool = False
    #: Ids of the APIs (triggers) that it holds for.
    apis: tuple[str, ...] = ()
    created_s: float = 0.0


type ApiObject = ApiGroup | ApiEnvironment | ApiApp | ApiThrottle
KINDS: tuple[type[ApiObject], ...] = (ApiGroup, ApiEnvironment, ApiApp, ApiThrottle)


class ApiStore:
    """Reads and writes them; what a method returned from is on disk."""

    def __init__(self, database: Database, secrets: Secrets) -> None:
        self._database = database
        self._secrets = secrets

    async def all(self) -> list[ApiObject]:
        """Everything, in the order of creation."""
        rows = await self._database.read(
            lambda connection: connection.execute("SELECT kind, id, body, sealed FROM api_object").fetchall()
        )
        of_kind = {kind.kind: kind for kind in KINDS}
        found: list[ApiObject] = []
        for kind, id_, body, sealed in rows:
            one = msgspec.json.decode(body, type=of_kind[kind])
            if isinstance(one, ApiApp):
                secret, *codes = msgspec.json.decode(self._secrets.decrypt(sealed, _context(id_)), type=list[str])
                one = msgspec.structs.replace(one, secret=secret, codes=tuple(codes))
            found.append(one)
        return sorted(found, key=lambda one: (one.created_s, one.id))

    async def put(self, one: ApiObject) -> None:
        """Stores one, or puts it in the place of the one with its id."""
        sealed = ""
        stored = one
        if isinstance(one, ApiApp):
            text = msgspec.json.encode([one.secret, *one.codes]).decode()
            sealed = self._secrets.encrypt(text, _context(one.id))
            stored = msgspec.structs.replace(one, secret="", codes=())
        row = (one.kind, one.id, one.project_id, one.name, msgspec.json.encode(stored).decode(), sealed)
        await self._database.run(
            lambda connection: connection.execute(
                "INSERT INTO api_object VALUES (?,?,?,?,?,?)"
                " ON CONFLICT (id) DO UPDATE SET name=excluded.name, body=excluded.body, sealed=excluded.sealed",
                row,
            )
        )

    async def delete(self, one: ApiObject) -> None:
        await self._database.run(lambda connection: connection.execute("DELETE FROM api_object WHERE id=?", (one.id,)))


def _context(id_: str) -> str:
    return f"api app {id_}"
