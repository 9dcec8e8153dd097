"""An API that a trigger publishes at the gateway: where it is, who may call it, and how it reaches its function."""

import re
from dataclasses import dataclass
from typing import Final, Literal

RELEASE: Final = "RELEASE"
RELEASE_ID: Final = "DEFAULT_ENVIRONMENT_RELEASE_ID"
METHODS: Final = ("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS")
ANY: Final = "ANY"
PATH_MAX: Final = 512
SEGMENTS_MAX: Final = 32
TIMEOUT_MAX_MS: Final = 60000

_PLAIN = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@]+")
_PARAMETER = re.compile(r"\{([A-Za-z][A-Za-z0-9\-_]{0,31})\}")

type Auth = Literal["NONE", "IAM", "APP"]


@dataclass(frozen=True, slots=True)
class ApiRoute:
    """What a trigger type asks the gateway for (`TriggerType.routes`)."""

    name: str
    #: Id or name of the group whose address it is at; "" for the project's default group.
    group: str
    #: Name or id of the environment.
    environment: str
    #: One of `METHODS`, or `ANY`.
    method: str
    #: Begins with "/"; a whole segment may be a parameter: `/users/{id}`.
    path: str
    #: Whether longer paths belong to it too.
    prefix: bool
    auth: Auth
    #: Whether it may be called by HTTPS alone, where the node speaks TLS.
    https: bool
    async_: bool
    timeout_ms: int
    #: Whether the body always comes in Base64; otherwise only what is no text in UTF-8 does.
    base64: bool = True
    #: Origins whose scripts may call it; "*" for all, nothing for none.
    origins: tuple[str, ...] = ()


def path_fault(path: str) -> str:
    """What is wrong with the path of an API; "" when nothing is."""
    if not path.startswith("/") or len(path) > PATH_MAX:
        return f"must begin with / and have at most {PATH_MAX} characters, not {path[:80]!r}"
    if path == "/":
        return ""
    segments = path[1:].split("/")
    if len(segments) > SEGMENTS_MAX:
        return f"must have at most {SEGMENTS_MAX} segments, not {len(segments)}"
    names: list[str] = []
    for number, segment in enumerate(segments):
        match = _PARAMETER.fullmatch(segment)
        if match:
            names.append(match[1])
        elif segment in (".", "..") or not (_PLAIN.fullmatch(segment) or (not segment and number == len(segments) - 1)):
            return (
                "must have segments of letters, digits and -._~!$&'()*+,;=:@, or parameters such as {id}, not"
                f" {segment[:80]!r}"
            )
    if len(set(names)) != len(names):
        return "must not name a parameter twice"
    return ""


def route_fault(route: object) -> str:
    """What is wrong with what a trigger type gave for an API; "" when nothing is."""
    if not isinstance(route, ApiRoute):
        return f"{route!r} is no ApiRoute"
    if route.method != ANY and route.method not in METHODS:
        return f"method {route.method!r}"
    if route.auth not in ("NONE", "IAM", "APP"):
        return f"auth {route.auth!r}"
    if not 1 <= route.timeout_ms <= TIMEOUT_MAX_MS:
        return f"timeout_ms {route.timeout_ms!r}"
    if any("\r" in origin or "\n" in origin for origin in route.origins):
        return "an origin with a line end"
    fault = path_fault(route.path)
    return f"path {fault}" if fault else ""


def pattern(path: str) -> tuple[str | None, ...]:
    """The segments of an API's path; None where a parameter is."""
    return tuple(None if _PARAMETER.fullmatch(segment) else segment for segment in path[1:].split("/"))


def parameters(path: str) -> tuple[str, ...]:
    """The names of its parameters, in order."""
    return tuple(match[1] for segment in path.split("/") if (match := _PARAMETER.fullmatch(segment)))
