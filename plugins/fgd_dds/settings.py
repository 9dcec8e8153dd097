"""What a trigger of a document database is told, and its rules. Pure."""

import re
import ssl
from typing import Annotated, Final, Literal

import msgspec

from fgd.plugin import BadTriggerConfig

#: Databases of the server itself.
RESERVED: Final = frozenset({"admin", "local", "config"})
#: Where the cloud's instances listen.
DEFAULT_PORT: Final = 8635
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?\Z", re.ASCII)
_ADDRESS: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([^\[\]:]+))(?::([0-9]{1,5}))?\Z", re.ASCII)
_NO_DATABASE: Final = frozenset('/\\. "$*<>:|?\0')
_CA_CHARS_MAX: Final = 32_768

type Mode = Literal["ReplicaSet", "Sharding", "Single"]


class DdsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which collection's changes are events, and how to reach its server."""

    instance_id: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            max_length=253,
            description="Id of the instance; events name it. A host without instance_addrs.",
        ),
    ]
    db_name: Annotated[
        str, msgspec.Meta(min_length=1, max_length=63, description="Database; not admin, local or config.")
    ]
    collection_name: Annotated[str, msgspec.Meta(min_length=1, max_length=120, description="Collection.")]
    db_password: Annotated[str, msgspec.Meta(max_length=256, description="Password of db_user.")] = ""
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=10_000, description="Changes per event at most.")]
    db_user: Annotated[
        str, msgspec.Meta(max_length=64, description="User of the database `admin`; empty for a server without users.")
    ] = "rwuser"
    instance_addrs: Annotated[
        tuple[str, ...],
        msgspec.Meta(max_length=50, description="`HOST:PORT` of the server's nodes; `instance_id:8635` if absent."),
    ] = ()
    mode: Annotated[
        Mode, msgspec.Meta(description="Kind of the instance. `Single`: only the one address is spoken to.")
    ] = "ReplicaSet"
    ssl_enable: Annotated[bool, msgspec.Meta(description="Whether connections are encrypted.")] = False
    ssl_ca: Annotated[
        str,
        msgspec.Meta(max_length=_CA_CHARS_MAX, description="PEM of the authority to trust; the system's if absent."),
    ] = ""
    ssl_check_host: Annotated[bool, msgspec.Meta(description="Whether the certificate must name the host.")] = True
    batch_wait_ms: Annotated[
        int, msgspec.Meta(ge=50, le=60_000, description="How long an event waits to be full, from its first change on.")
    ] = 500

    def addresses(self) -> list[str]:
        """`HOST:PORT` each."""
        return [with_port(one) for one in self.instance_addrs or (self.instance_id,)]


def check_settings(settings: DdsSettings) -> None:
    """
    Raises:
        BadTriggerConfig: the first setting that breaks a rule.
    """
    for number, address in enumerate(settings.instance_addrs):
        _check_address(f"instance_addrs[{number}]", address)
    if not settings.instance_addrs and not _HOST.match(settings.instance_id):
        raise BadTriggerConfig("instance_id", "must be the name of a host where there are no instance_addrs")
    name = settings.db_name
    if name.lower() in RESERVED:
        raise BadTriggerConfig("db_name", "must not be admin, local or config, which are the server's own")
    if _NO_DATABASE & set(name) or len(name.encode()) > 63:
        raise BadTriggerConfig("db_name", 'must be at most 63 bytes without /\\. "$*<>:|? and NUL')
    collection = settings.collection_name
    if collection.startswith(("system.", ".")) or "$" in collection or "\0" in collection:
        raise BadTriggerConfig("collection_name", "must not begin with system. or a dot, nor hold $ or NUL")
    if settings.db_user and not settings.db_password:
        raise BadTriggerConfig("db_password", f"is needed, for the user {settings.db_user}")
    if settings.db_password and not settings.db_user:
        raise BadTriggerConfig("db_password", "must be left out where db_user is empty")
    if settings.mode == "Single" and len(settings.addresses()) > 1:
        raise BadTriggerConfig("instance_addrs", "must be one address where the mode is Single")
    if settings.ssl_ca:
        if not settings.ssl_enable:
            raise BadTriggerConfig("ssl_ca", "must be left out where ssl_enable is false")
        try:
            ssl.create_default_context(cadata=settings.ssl_ca)
        except (ssl.SSLError, ValueError):
            raise BadTriggerConfig("ssl_ca", "must be PEM of certificates") from None


def with_port(address: str) -> str:
    """The address, with the usual port where it has none."""
    found = _ADDRESS.match(address)
    return address if found is not None and found[3] else f"{address}:{DEFAULT_PORT}"


def _check_address(field: str, address: str) -> None:
    found = _ADDRESS.match(address)
    if (
        found is None
        or (found[2] is not None and not _HOST.match(found[2]))
        or (found[3] is not None and not 1 <= int(found[3]) <= 65535)
    ):
        raise BadTriggerConfig(field, "must be HOST:PORT")
