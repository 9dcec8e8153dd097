"""What a function sees mounted: plain data that drivers make, the launcher checks, and its helpers carry out.

Standard library only, since the launcher reads it. A plan names no path of the host: host directories and NFS exports
are numbers of the launcher's own lists, fixed at its start, and a share is a folder below one of them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeGuard

from fgd.sandbox import access_path

MOUNTS_MAX: Final = 5
SHARE_MAX_CHARS: Final = 1024
TMPFS_MAX_MIB: Final = 10240
#: Ids that functions may have on a disk.
ID_MIN, ID_MAX = 1, 65534
_NAME = re.compile(r"[^/\0]{1,255}", re.DOTALL)


class BadMount(ValueError):
    """A mount that cannot be; the message says which rule it breaks."""


@dataclass(frozen=True, slots=True)
class HostMount:
    """A folder of the host: `share` (names joined by slashes, or "") below a directory of `mount_roots`."""

    path: str
    root: int
    share: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class NfsMount:
    """A folder of an NFS server: `share` below an export of `nfs_servers`."""

    path: str
    export: int
    share: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class TmpfsMount:
    """An empty file system in memory, of this instance alone."""

    path: str
    size_mib: int


type Mount = HostMount | NfsMount | TmpfsMount


@dataclass(frozen=True, slots=True)
class Owner:
    """Who the function is on its disks: uid and gid of what it makes there."""

    uid: int = 1003
    gid: int = 1003


DEFAULT_OWNER: Final = Owner()


def plain(mounts: Sequence[Mount]) -> list[list[object]]:
    """As a request to the launcher carries them."""
    rows: list[list[object]] = []
    for mount in mounts:
        match mount:
            case HostMount(path, root, share, read_only):
                rows.append(["host", path, root, share, read_only])
            case NfsMount(path, export, share, read_only):
                rows.append(["nfs", path, export, share, read_only])
            case TmpfsMount(path, size_mib):
                rows.append(["tmpfs", path, size_mib])
    return rows


def parse(value: object, roots: int, exports: int) -> tuple[Mount, ...]:
    """The opposite of `plain`, for what is not believed.

    Args:
        value: JSON.
        roots: how many host directories there are.
        exports: how many NFS exports there are.

    Raises:
        BadMount: anything else than `plain` gives for mounts that may be.
    """
    if not isinstance(value, list) or len(value) > MOUNTS_MAX:
        raise BadMount(f"must be a list of at most {MOUNTS_MAX}")
    mounts: list[Mount] = []
    for row in value:
        match row:
            case ["host", str(path), root, str(share), bool(read_only)] if _is_number(root, 0, roots - 1):
                mounts.append(HostMount(path, root, check_share(share), read_only))
            case ["nfs", str(path), export, str(share), bool(read_only)] if _is_number(export, 0, exports - 1):
                mounts.append(NfsMount(path, export, check_share(share), read_only))
            case ["tmpfs", str(path), size_mib] if _is_number(size_mib, 1, TMPFS_MAX_MIB):
                mounts.append(TmpfsMount(path, size_mib))
            case _:
                raise BadMount("no such mount")
    check_paths([mount.path for mount in mounts])
    return tuple(mounts)


def _is_number(value: object, low: int, high: int) -> TypeGuard[int]:
    """`true` of JSON is none."""
    return type(value) is int and low <= value <= high


def check_paths(paths: Sequence[str]) -> None:
    """The rules of access paths, also of several together.

    Raises:
        BadMount: names the path and the rule.
    """
    for number, path in enumerate(paths):
        rule = access_path.why_not(path)
        if rule:
            raise BadMount(f"{path[:80]!r} {rule}")
        for earlier in paths[:number]:
            if access_path.overlap(path, earlier):
                raise BadMount(
                    f"{path!r} must not be, cover or lie below {earlier!r}, where something is mounted already"
                )


def check_share(share: str) -> str:
    """A folder below a root: "", or names joined by slashes, none of them "." or "..".

    Raises:
        BadMount: anything else.
    """
    names = share.split("/") if share else []
    if len(share) > SHARE_MAX_CHARS or any(name in (".", "..") or not _NAME.fullmatch(name) for name in names):
        raise BadMount(
            f"share {share[:80]!r} must be names joined by single slashes, none of them '.' or '..', of at most "
            f"{SHARE_MAX_CHARS} characters"
        )
    return share


def check_owner(value: object) -> Owner:
    """[uid, gid] as an owner.

    Raises:
        BadMount: anything else, or ids out of range.
    """
    match value:
        case [uid, gid] if _is_number(uid, ID_MIN, ID_MAX) and _is_number(gid, ID_MIN, ID_MAX):
            return Owner(uid, gid)
    raise BadMount(f"owner: must be uid and gid from {ID_MIN} to {ID_MAX}")
