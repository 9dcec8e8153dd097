"""One operation of the API: the row from which its route, its checks and its documentation are made."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import msgspec

from fgd.api.services import Services
from fgd.errors import BadParameter, Forbidden, NotAcceptable, NotBuilt
from fgd.model import Principal
from fgd.units import MIB
from fgd.urn import FunctionUrn, parse_urn

#: Largest body of an operation that takes no code.
BODY_MAX_BYTES: Final = MIB
#: Stands for the setting `upload_max_mib`.
UPLOAD: Final = -1

V2: Final = "/v2/{project_id}/fgs"
#: What the API calls a function in its paths.
_URN_NAMES: Final = ("function_urn", "func_urn", "resource_id")
FUNCTION: Final = V2 + "/functions/{function_urn}"


class Access(Enum):
    """Who may use an operation."""

    PUBLIC = "anybody"
    ANY = "any valid credentials"
    PROJECT = "credentials of the project in the path"
    ADMIN = "administrators on the admin socket"


@dataclass(frozen=True, slots=True)
class Ask:
    """One authenticated request."""

    principal: Principal
    #: Decoded segments of the path, by the name in the operation's path.
    path: Mapping[str, str]
    #: Decoded query parameters; of a repeated one the last.
    query: Mapping[str, str]
    body: bytes
    default_project: str

    @property
    def project_id(self) -> str:
        """The project that the path names, or else the caller's own."""
        if "project_id" in self.path:
            return self.path["project_id"]
        return self.default_project if self.principal.admin else self.principal.project_id

    def json(self) -> dict[str, object]:
        """The body, which must be a JSON object, whatever its Content-Type says.

        Raises:
            NotAcceptable: not JSON.
            BadParameter: JSON, but no object.
        """
        try:
            value = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            raise NotAcceptable(f"body: is not valid JSON: {error}") from error
        if not isinstance(value, dict):
            raise BadParameter("body: must be a JSON object")
        return value

    def optional_json(self) -> dict[str, object]:
        """The same, where no body means an empty object."""
        return self.json() if self.body.strip() else {}

    def urn(self) -> FunctionUrn:
        """The function that the path names, in any form of URN.

        Raises:
            BadUrn: not a URN.
            Forbidden: of another project than the path's.
        """
        text = next(self.path[name] for name in _URN_NAMES if name in self.path)
        urn = parse_urn(text, self.project_id)
        if urn.project_id != self.project_id:
            if "project_id" not in self.path and self.principal.may_use(urn.project_id):
                return urn
            raise Forbidden(f"function_urn: names another project than the request's, {self.project_id}")
        return urn


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation gives back: a JSON value, or bytes of some other type."""

    value: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: "" for no body at all.
    content_type: str = "application/json"
    #: What the audit log cannot know otherwise: the state to which a trigger was switched.
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Audited:
    """How the audit log names an operation."""

    name: str
    resource_type: str
    service: str = "FunctionGraph"


NOTHING: Final = Answer(content_type="")

Handler = Callable[[Services, Ask], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the table of operations."""

    #: As the official SDK's method is called.
    name: str
    method: str
    path: str
    summary: str
    handler: Handler
    #: Status of success.
    status: int = 200
    access: Access = Access.PROJECT
    #: Names of query parameters.
    query: tuple[str, ...] = ()
    #: Fields of the request body, for the documentation.
    fields: tuple[str, ...] = ()
    body_max_bytes: int = BODY_MAX_BYTES
    #: What callers with policies need; "" nothing, None: they may not at all. `fgd.api.permissions` has the table.
    action: str | None = None
    #: By which name the audit log has it; None where it changes nothing. `fgd.api.traced` has the table.
    audit: Audited | None = None
    #: False where every request is answered with 501.
    built: bool = True


def not_built(name: str, method: str, path: str, part: str) -> Operation:
    """An operation of FunctionGraph that needs a part which fgd does not have."""

    async def refuse(services: Services, ask: Ask) -> Answer:
        raise NotBuilt(f"{name}: this version of fgd has no {part}")

    return Operation(name, method, path, f"Answered with 501: {part}", refuse, built=False)


def nothing_there(name: str, path: str, summary: str, value: object, query: tuple[str, ...] = ()) -> Operation:
    """A read that is truthfully empty, because nothing of its kind can be made; `{function_urn}` must exist."""

    async def read(services: Services, ask: Ask) -> Answer:
        if "function_urn" in ask.path:
            services.functions.resolve(ask.urn())
        return Answer(value)

    return Operation(name, "GET", path, summary, read, query=query)


def missing(name: str, path: str, summary: str, error: type[Exception], message: str) -> Operation:
    """A read of one thing of a kind that cannot be made: not found."""

    async def read(services: Services, ask: Ask) -> Answer:
        if "function_urn" in ask.path:
            services.functions.resolve(ask.urn())
        raise error(message)

    return Operation(name, "GET", path, summary, read)
