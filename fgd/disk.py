"""The seam for disks: a driver turns what a function's configuration says into a mount that the launcher can make.

A driver is pure: it reads words and gives a plan, it opens and asks nothing. Whether the disk is there is tried by the
launcher when the configuration is set, and again when an instance starts. Hook: `fgd_disk_drivers`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from fgd.sandbox.mount_plan import HostMount, Mount, NfsMount, TmpfsMount, check_share
from fgd.shares import HostRoot, NfsExport

__all__ = ["BadDisk", "DiskDriver", "DiskNode", "HostMount", "Mount", "NfsMount", "NoSuchDisk", "TmpfsMount",
           "WantedMount", "check_share"]  # fmt: skip


class BadDisk(Exception):
    """A mount that the driver cannot understand; begins with the field's name."""


class NoSuchDisk(Exception):
    """The operator offers no such disk; begins with the field's name."""


@dataclass(frozen=True, slots=True)
class WantedMount:
    """One of `mount_config.func_mounts`, its texts as the client sent them; "" for what was left out."""

    kind: str
    resource: str
    share_path: str
    path: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class DiskNode:
    """What the operator offers: the settings `mount_roots` and `nfs_servers`, in the launcher's order."""

    roots: Sequence[HostRoot] = ()
    exports: Sequence[NfsExport] = ()


class DiskDriver(Protocol):
    """One way to have a disk. fgd makes one object of the class when it starts."""

    #: Values of `mount_type` that it takes.
    kinds: ClassVar[tuple[str, ...]]

    def __init__(self, node: DiskNode) -> None: ...

    def plan(self, wanted: WantedMount) -> Mount:
        """What is to be mounted at `wanted.path`, which is checked already.

        Raises:
            BadDisk: a field has the wrong form.
            NoSuchDisk: there is no such directory or export.
        """
