"""Posting to URLs that a project chose: where that is possible, and how it is done without reaching anything else.

Only URLs below one that the operator listed (`webhook_urls`) are possible. The name in it is looked up here and the
connection goes to the address that was looked at, so that a name cannot lead to this machine or its neighbours on the
link: such an address must be listed as it is. Redirects are not followed, and of an answer only its status counts.
"""

import ipaddress
import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

import httpx
import trio

from fgd.plugin import BadDestination

URL_MAX_CHARS: Final = 2048
_URL: Final = re.compile(r"[!-~]+\Z")
_HOST: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?\Z|[0-9a-f:]+\Z")
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Url:
    """A checked URL. `target`: path and query, as they go into the request."""

    scheme: str
    host: str
    port: int
    path: str
    target: str

    def below(self, other: "Url") -> bool:
        """Whether it is the same place or one further down."""
        base = other.path if other.path.endswith("/") else other.path + "/"
        same = (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port)
        return same and (self.path == other.path or self.path.startswith(base))

    @property
    def origin(self) -> str:
        """Host and port as a `Host` header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def parse_url(text: str) -> Url:
    """Reads a URL of http or https.

    Raises:
        BadDestination: with a user, a fragment, `.` or `..` as a segment, or a character that servers read differently.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise BadDestination(f"url: is not a URL: {error}") from error
    if not _URL.match(text) or len(text) > URL_MAX_CHARS or parts.scheme not in _PORTS or "\\" in text:
        raise BadDestination(
            f"url: must be http://... or https://... of at most {URL_MAX_CHARS} printable ASCII characters"
        )
    host = (parts.hostname or "").lower()
    if "@" in parts.netloc or parts.fragment or not _HOST.match(host) or port == 0:
        raise BadDestination("url: must have a host, and neither a user nor a fragment (#)")
    path = parts.path or "/"
    if re.search(r"%(?:2e|2f|5c|00)", path, re.IGNORECASE) or {".", ".."} & set(path.split("/")) or "//" in path:
        raise BadDestination("url: the path must not have empty segments, . or .., nor / . \\ written with %")
    return Url(parts.scheme, host, port or _PORTS[parts.scheme], path, _target(parts, path))


def _target(parts: SplitResult, path: str) -> str:
    return f"{path}?{parts.query}" if parts.query else path


class Web:
    """The URLs that the operator allows."""

    def __init__(self, allowed: str) -> None:
        """`allowed`: the setting `webhook_urls`.

        Raises:
            ValueError: one of them is no URL.
        """
        try:
            self._allowed = [parse_url(text) for text in allowed.split()]
        except BadDestination as error:
            raise ValueError(f"setting webhook_urls: {error}") from error
        # Reading the system's certificates takes 50 ms.
        self._ssl = ssl.create_default_context() if self._allowed else None

    def check(self, text: str) -> Url:
        """A URL that may be posted to.

        Raises:
            BadDestination: it is no URL, or none that the operator allows.
        """
        url = parse_url(text)
        if not any(url.below(allowed) for allowed in self._allowed):
            where = "none is" if not self._allowed else "this one is not below any that is"
            raise BadDestination(f"url: must be below one that the node's operator has listed (webhook_urls); {where}")
        return url

    async def post(self, url: Url, body: bytes, headers: Mapping[str, str]) -> None:
        """Posts JSON; returns once the answer's status says that it arrived. The caller limits the time.

        Raises:
            OSError, httpx.HTTPError: nobody is there.
            RuntimeError: the answer is no success.
        """
        *others, last = await _addresses(url)
        for address in others:
            with suppress(httpx.ConnectError):
                await self._post(url, body, headers, address)
                return
        await self._post(url, body, headers, last)

    async def _post(self, url: Url, body: bytes, headers: Mapping[str, str], address: str) -> None:
        host = f"[{address}]" if ":" in address else address
        fields = {**headers, "Host": url.origin, "Content-Type": "application/json", "User-Agent": "fgd"}
        client = httpx.AsyncClient(verify=self._ssl or True, trust_env=False, follow_redirects=False, timeout=None)
        async with (
            client,
            client.stream(
                "POST", f"{url.scheme}://{host}:{url.port}{url.target}", content=body, headers=fields,
                extensions={"sni_hostname": url.host},
            ) as answer,
        ):  # fmt: skip
            # The body is not read: it may have no end.
            if not 200 <= answer.status_code < 300:
                raise RuntimeError(f"{url.origin} answered {answer.status_code}")


async def _addresses(url: Url) -> list[str]:
    """The addresses to try; a name that leads to this machine or to the link is refused.

    Raises:
        OSError: there is no such host, or it is refused.
    """
    found = await trio.socket.getaddrinfo(url.host, url.port, type=trio.socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
    if not _is_literal(url.host) and url.host != "localhost":
        for address in addresses:
            place = ipaddress.ip_address(address.partition("%")[0])
            place = getattr(place, "ipv4_mapped", None) or place
            if place.is_loopback or place.is_link_local or place.is_unspecified or place.is_multicast:
                raise OSError(f"{url.host} leads to {address}; such an address must be listed itself (webhook_urls)")
    return addresses


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
