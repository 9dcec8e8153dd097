"""Object stores of others, as the setting `object_stores` names them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")
_WORDS: Final = frozenset({"keys", "region", "projects", "poll_s"})
_POLL_S: Final = 5.0


class BadRemoteStore(ValueError):
    """A line of the setting that cannot be; says why."""


@dataclass(frozen=True, slots=True)
class RemoteStore:
    """A server that speaks S3."""

    name: str
    #: http or https, host and port, without a slash at the end.
    endpoint: str
    #: File of the access key and the secret key.
    keys: str
    region: str = "us-east-1"
    #: Ids of projects; none: the daemon's own.
    projects: tuple[str, ...] = ()
    #: Seconds between two looks at a bucket that triggers follow.
    poll_s: float = _POLL_S


def parse_remote_stores(lines: Iterable[str]) -> dict[str, RemoteStore]:
    """`NAME URL keys=FILE [region=TEXT] [projects=ID,...] [poll_s=NUMBER]` each, by name.

    Raises:
        BadRemoteStore
    """
    stores: dict[str, RemoteStore] = {}
    for line in lines:
        store = _parse(line)
        if store.name in stores:
            raise BadRemoteStore(f"{store.name!r} is there twice")
        stores[store.name] = store
    return stores


def _parse(line: str) -> RemoteStore:
    name, url, *rest = line.split() if len(line.split()) > 1 else [line, ""]
    words = dict(word.partition("=")[::2] for word in rest)
    if not _NAME.match(name):
        raise BadRemoteStore(f"a name must have at most 32 lower-case letters, digits and -, not {line[:80]!r}")
    try:
        parts = urlsplit(url)
        good = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and parts.path in ("", "/") and parts.port != 0
        )
    except ValueError:
        good = False
    if not good or "?" in url or "#" in url or "@" in url:
        raise BadRemoteStore(f"{name}: must have http://HOST[:PORT] or https://... behind the name, not {url[:80]!r}")
    if len(words) != len(rest) or not set(words) <= _WORDS or not all(words.values()) or "keys" not in words:
        raise BadRemoteStore(f"{name}: must have keys=FILE, and may have region=, projects= and poll_s=, each once")
    try:
        poll_s = float(words.get("poll_s", _POLL_S))
    except ValueError:
        poll_s = 0.0
    if not 0.1 <= poll_s <= 86400:
        raise BadRemoteStore(f"{name}: poll_s must be a number from 0.1 to 86400")
    projects = tuple(filter(None, words.get("projects", "").split(",")))
    return RemoteStore(name, url.rstrip("/"), words["keys"], words.get("region", "us-east-1"), projects, poll_s)
