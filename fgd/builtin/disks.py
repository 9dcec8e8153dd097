"""fgd's own disk drivers: host directories, NFS, and memory. They come by the hook by which those of plugins do."""

from collections.abc import Sequence
from typing import ClassVar, Final

from fgd.plugin import (
    BadDisk,
    DiskDriver,
    DiskNode,
    HostMount,
    Mount,
    NfsMount,
    NoSuchDisk,
    TmpfsMount,
    WantedMount,
    check_share,
    hookimpl,
)

_TMPFS_MAX_MIB: Final = 10240


@hookimpl
def fgd_disk_drivers() -> Sequence[type[DiskDriver]]:
    return [HostDriver, NfsDriver, TmpfsDriver]


class HostDriver:
    """A directory of the host: `mount_resource` is its name or path in `mount_roots`, the share a folder below it."""

    kinds: ClassVar[tuple[str, ...]] = ("host",)

    def __init__(self, node: DiskNode) -> None:
        self._roots = {root.name: number for number, root in enumerate(node.roots)}
        self._roots |= {root.path: number for number, root in enumerate(node.roots)}

    def plan(self, wanted: WantedMount) -> Mount:
        number = self._roots.get(wanted.resource)
        if number is None:
            raise NoSuchDisk(
                f"mount_resource: this node offers no host directory {wanted.resource[:80]!r} (mount_roots)"
            )
        return HostMount(wanted.path, number, _share(wanted.share_path), wanted.read_only)


class NfsDriver:
    """A folder of an NFS server, in each of the ways in which FunctionGraph's kinds name one.

    `mount_resource` is the name of an export in `nfs_servers`, or HOST:/PATH at or below one; `mount_share_path` a
    folder in it. An ECS directory may be given as guide 3.5 does: HOST:/PATH in `mount_share_path`.
    """

    kinds: ClassVar[tuple[str, ...]] = ("sfs", "sfsTurbo", "ecs", "nfs")

    def __init__(self, node: DiskNode) -> None:
        self._exports = list(node.exports)

    def plan(self, wanted: WantedMount) -> Mount:
        resource, share = wanted.resource, wanted.share_path
        if wanted.kind == "ecs" and ":/" in share.replace(": /", ":/"):
            resource, share = share.replace(": /", ":/"), ""
        for number, export in enumerate(self._exports):
            if resource == export.name:
                return NfsMount(wanted.path, number, _share(share), wanted.read_only)
        host, colon, folder = resource.rpartition(":")
        best, rest = -1, ""
        for number, export in enumerate(self._exports):
            top = export.path.rstrip("/")
            below = folder.rstrip("/").removeprefix(top)
            if not colon or host.strip("[]") != export.host or not folder.startswith(top) or below[:1] not in ("", "/"):
                continue
            if best < 0 or len(export.path) > len(self._exports[best].path):
                best, rest = number, below
        if best < 0:
            raise NoSuchDisk(f"mount_resource: this node offers no NFS export {resource[:80]!r} (nfs_servers)")
        return NfsMount(wanted.path, best, _share("/".join((rest, share.strip("/")))), wanted.read_only)


class TmpfsDriver:
    """Memory of the instance as a disk of its own: `mount_resource` is its size in MB, and counts as its memory."""

    kinds: ClassVar[tuple[str, ...]] = ("tmpfs",)

    def __init__(self, node: DiskNode) -> None:
        pass

    def plan(self, wanted: WantedMount) -> Mount:
        size = wanted.resource
        if not size.isascii() or not size.isdigit() or len(size) > 5 or not 1 <= int(size) <= _TMPFS_MAX_MIB:
            raise BadDisk(f"mount_resource: must be the size of the tmpfs in MB, 1 to {_TMPFS_MAX_MIB}, as text")
        if wanted.share_path.strip("/"):
            raise BadDisk("mount_share_path: a tmpfs is empty and has no folder to share; leave it out")
        if wanted.read_only:
            raise BadDisk("read_only: a tmpfs that cannot be written to is of no use; leave it out")
        return TmpfsMount(wanted.path, int(size))


def _share(text: str) -> str:
    """A share path as the plan has it, without slashes around it."""
    try:
        return check_share(text.strip("/"))
    except ValueError as error:
        raise BadDisk(f"mount_share_path: {error}") from error
