"""Further places to listen at: what the settings say of them, their certificate, the address of published APIs."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fgd.config import Config
from fgd.gateway.api import Listener
from fgd.gateway.tls import Certificate
from fgd.startup import StartError, open_listener

_PLACE: Final = re.compile(r"\S+:\d{1,5}\Z")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """One of the setting `listeners`."""

    host: str
    port: int
    tls: bool
    apis: bool


def parse_listeners(config: Config) -> list[Place]:
    """The further places to listen at.

    Raises:
        StartError: one that cannot be, or TLS without a certificate.
    """
    places = []
    for text in config.listeners:
        address, *words = text.split() or [""]
        host, colon, port = address.rpartition(":")
        if not colon or not port.isdigit() or int(port) > 65535 or not set(words) <= {"tls", "apis"}:
            raise StartError(f"listeners: must be HOST:PORT, then tls and apis where they are wanted, not {text!r}")
        places.append(Place(host.strip("[]"), int(port), "tls" in words, "apis" in words))
    objects = config.obs_listen.split()
    if objects and (not _PLACE.match(objects[0]) or objects[1:] not in ([], ["tls"])):
        raise StartError(f"obs_listen: must be HOST:PORT, then tls where it is wanted, not {config.obs_listen!r}")
    for name, wanted in (("listeners", any(place.tls for place in places)), ("obs_listen", bool(objects[1:]))):
        if wanted and not (config.tls_cert and config.tls_key):
            raise StartError(f"{name}: tls needs the settings tls_cert and tls_key")
    if config.apig_url and not config.apig_url.startswith(("http://", "https://")):
        raise StartError(f"apig_url: must begin with http:// or https://, not {config.apig_url!r}")
    if config.apig_url and "{group}" not in config.apig_url:
        raise StartError("apig_url: must hold {group} where the id of the group belongs")
    return places


def wants_tls(config: Config, places: Sequence[Place]) -> bool:
    """Whether a certificate is needed."""
    return any(place.tls for place in places) or config.obs_listen.split()[1:] == ["tls"]


def open_places(places: Sequence[Place]) -> list[Listener]:
    """Listens at them.

    Raises:
        StartError: one is in use, not permitted, or its host is not ours.
    """
    return [Listener(open_listener(place.host, place.port), secure=place.tls, apis_only=place.apis) for place in places]


def open_certificate(config: Config) -> Certificate:
    """The certificate of the settings.

    Raises:
        StartError: it cannot be used.
    """
    try:
        return Certificate(config.tls_cert, config.tls_key)
    except OSError as error:
        raise StartError(
            f"tls_cert, tls_key: cannot be used, {error}; both must be PEM files that {config.user} can read"
        ) from error


def reload_certificate(certificate: Certificate | None) -> None:
    """Reads it anew; one that cannot be used changes nothing, and the log says so."""
    if certificate is None:
        return
    try:
        certificate.reload()
    except OSError as error:
        log.error("the certificate stays as it was: tls_cert, tls_key: %s", error)


def api_url(config: Config, listeners: Sequence[Listener], https: bool) -> str:
    """Where published APIs are, with `{group}` for the id of their group."""
    if config.apig_url:
        return config.apig_url.rstrip("/")
    # By TLS where it is wanted and there is such a listener; one that has nothing else goes first.
    tcp = [one for one in listeners if not one.admin]
    best = min(tcp, key=lambda one: (one.secure is not https, not one.apis_only))
    address = best.socket.getsockname()
    if not isinstance(address, tuple):
        return "/api/{group}"
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(address[0]) or (
        f"[{address[0]}]" if ":" in address[0] else address[0]
    )
    return f"{'https' if best.secure else 'http'}://{host}:{address[1]}/api/{{group}}"
