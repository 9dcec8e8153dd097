"""The cgroups of one daemon, whichever version the host has. Standard library only: the launcher runs this as root."""

from fgd.linux.cgroup_base import Cgroup, CgroupRoot, read_file
from fgd.linux.cgroup_v1 import CONTROLLERS as V1_CONTROLLERS
from fgd.linux.cgroup_v1 import CgroupRootV1, mounted_controllers
from fgd.linux.cgroup_v2 import CONTROLLERS as V2_CONTROLLERS
from fgd.linux.cgroup_v2 import CgroupRootV2, delegated_base, own_cgroup

__all__ = ["Cgroup", "CgroupRoot", "open_cgroup_root", "unified_mount"]


def unified_mount(mountinfo: str) -> str | None:
    """Where version 2 is mounted, from the text of /proc/self/mountinfo."""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        if right.startswith("cgroup2 ") and len(left.split()) > 4:
            return left.split()[4]
    return None


def open_cgroup_root(name: str) -> CgroupRoot:
    """The folder for the sandboxes of the daemon `name`; made if it is not there.

    Version 2 where its hierarchy has all controllers we need (delegated by systemd, else below `fgd` at the top),
    version 1 otherwise. Call it before starting sandboxes, and `sweep` right after.

    Raises:
        ValueError: a name that cannot be a folder's.
        OSError: neither version offers what is needed, or we may not write there; says what is missing.
    """
    mountinfo = read_file("/proc/self/mountinfo")
    mount = unified_mount(mountinfo)
    if mount is not None:
        have = read_file(f"{mount}/cgroup.controllers").split()
        if all(controller in have for controller in V2_CONTROLLERS):
            base = delegated_base(mount, own_cgroup(read_file("/proc/self/cgroup")))
            return CgroupRootV2(mount, base or f"{mount}/fgd", name)
    mounts = mounted_controllers(mountinfo)
    missing = [controller for controller in V1_CONTROLLERS if controller not in mounts]
    if missing:
        raise OSError(
            95,
            f"cgroups: version 2 lacks one of {', '.join(V2_CONTROLLERS)}, and version 1 is without "
            f"{', '.join(missing)}; boot with systemd.unified_cgroup_hierarchy=1",
        )
    return CgroupRootV1(mounts, name)
