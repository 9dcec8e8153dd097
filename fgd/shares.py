"""What an operator lets functions mount: lines of the settings `mount_roots`, `nfs_servers` and `nfs_owners`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]")
_PATH = re.compile(r"/|(?:/[^/\s\0]{1,255})+")
NFS_VERSIONS: Final = ("3", "4.0", "4.1", "4.2")
_ID_MAX: Final = 65534


class BadShare(Exception):
    """A line that cannot be; says why."""


@dataclass(frozen=True, slots=True)
class HostRoot:
    """A directory of the host that functions may mount, or a folder below it."""

    name: str
    path: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class NfsExport:
    """An export of an NFS server. `version`: "" for the highest that the server has."""

    name: str
    host: str
    path: str
    version: str = ""
    read_only: bool = False


def parse_roots(lines: Sequence[str]) -> tuple[HostRoot, ...]:
    """`[NAME=]/PATH [ro]` each; without a name the path is the name.

    Raises:
        BadShare: another form, or a name twice.
    """
    roots = []
    for line in lines:
        name, place, words = _split(line)
        if not _is_path(place):
            raise BadShare(f"{line!r}: must be [NAME=]/PATH [ro], the path absolute, without '..' and spaces")
        read_only = _only(line, words, {"ro"}) == {"ro"}
        roots.append(HostRoot(name or place, place, read_only))
    _check_names([root.name for root in roots])
    return tuple(roots)


def parse_exports(lines: Sequence[str]) -> tuple[NfsExport, ...]:
    """`[NAME=]HOST:/PATH [ro] [vers=3|4.0|4.1|4.2]` each; without a name HOST:/PATH is the name.

    Raises:
        BadShare: another form, or a name twice.
    """
    exports = []
    for line in lines:
        name, place, words = _split(line)
        host, colon, path = place.rpartition(":")
        if not colon or not _HOST.fullmatch(host) or not _is_path(path):
            raise BadShare(
                f"{line!r}: must be [NAME=]HOST:/PATH [ro] [vers=VERSION]; an IPv6 address stands in brackets"
            )
        found = _only(line, words, {"ro", *(f"vers={version}" for version in NFS_VERSIONS)})
        versions = [word.removeprefix("vers=") for word in found if word != "ro"]
        if len(versions) > 1:
            raise BadShare(f"{line!r}: has more than one version")
        exports.append(NfsExport(name or place, host.strip("[]"), path, "".join(versions), "ro" in found))
    _check_names([export.name for export in exports])
    return tuple(exports)


def parse_owners(lines: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """`UID:GID` each.

    Raises:
        BadShare: another form, or root.
    """
    owners = []
    for line in lines:
        match = re.fullmatch(r"([0-9]{1,5}):([0-9]{1,5})", line)
        ids = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 0 < min(ids) <= max(ids) <= _ID_MAX:
            raise BadShare(f"{line!r}: must be UID:GID, each from 1 to {_ID_MAX}")
        owners.append(ids)
    return tuple(owners)


def _split(line: str) -> tuple[str, str, list[str]]:
    """Name ("" for none), place, and the words after it."""
    first, *words = line.split() or [""]
    name, equals, place = first.partition("=")
    if not equals or name.startswith("/") or ":" in name:
        return "", first, words
    if not _NAME.fullmatch(name):
        raise BadShare(f"{line!r}: the name {name!r} must be 1 to 64 letters, digits, dots, hyphens and underscores")
    return name, place, words


def _is_path(text: str) -> bool:
    return _PATH.fullmatch(text) is not None and not {".", ".."} & set(text.split("/"))


def _only(line: str, words: list[str], known: set[str]) -> set[str]:
    for word in words:
        if word not in known:
            raise BadShare(f"{line!r}: does not know {word!r}; possible: {', '.join(sorted(known))}")
    return set(words)


def _check_names(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise BadShare(f"{name!r} is there twice")
