"""Drivers make plans of what a configuration says; what is not offered cannot be had."""

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import trio

from fgd.builtin.disks import fgd_disk_drivers
from fgd.control.disks import Disks
from fgd.disk import DiskNode, HostMount, Mount, NfsMount, TmpfsMount, WantedMount
from fgd.errors import (
    BadMountPath,
    BadParameter,
    MountNotFound,
    MountNotReady,
    MountTaken,
    RequestError,
)
from fgd.model import Function, FunctionMount
from fgd.sandbox.mount_plan import Owner
from fgd.shares import parse_exports, parse_roots

NODE = DiskNode(
    parse_roots(["data=/srv/data", "/srv/models ro"]),
    parse_exports(["10.0.0.5:/export", "turbo-1=nas:/share/deep", "nas:/share", "all=any:/", "six=[fd00::1]:/x"]),
)


class Played:
    """A launcher that says what the test wants."""

    def __init__(self) -> None:
        self.shares: dict[tuple[int, str], str] = {}
        self.reason = ""
        self.tried: list[tuple[Mount, Owner]] = []

    async def try_mounts(self, mounts: Sequence[Mount], owner: Owner) -> str:
        await trio.lowlevel.checkpoint()
        self.tried += [(mount, owner) for mount in mounts]
        return self.reason


def disks(played: Played | None = None, functions: Sequence[Function] = (), drivers: Sequence[Any] = ()) -> Disks:
    classes = [("disks", driver) for driver in fgd_disk_drivers()] + [("theirs", driver) for driver in drivers]
    return Disks(classes, NODE, played or Played(), lambda: functions)


def mount(kind: str, resource: str, share: str = "", path: str = "/data", *, read_only: bool = False) -> FunctionMount:
    return FunctionMount(kind=kind, resource=resource, share_path=share, path=path, read_only=read_only)


def function(*mounts: FunctionMount, **fields: Any) -> Function:
    return Function(
        func_id="f", project_id="p", package="default", name="f", runtime="Python3.12", handler="index.handler",
        timeout_s=3, memory_mib=128, code_type="inline", code_digest="d", code_size_bytes=1, created_s=0,
        last_modified_s=0, mounts=mounts, **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "plan"),
    [
        (mount("host", "data"), HostMount("/data", 0)),
        (mount("host", "/srv/data", "/a/b/"), HostMount("/data", 0, "a/b")),
        (mount("host", "/srv/models", "x", read_only=True), HostMount("/data", 1, "x", True)),
        (mount("nfs", "10.0.0.5:/export"), NfsMount("/data", 0)),
        (mount("nfs", "10.0.0.5:/export/a", "b"), NfsMount("/data", 0, "a/b")),
        (mount("sfsTurbo", "turbo-1", "/logs"), NfsMount("/data", 1, "logs")),
        (mount("sfs", "nas:/share/deep/er"), NfsMount("/data", 1, "er")),
        (mount("sfs", "nas:/share/other"), NfsMount("/data", 2, "other")),
        (mount("ecs", "ecs-id", "10.0.0.5:/export/x"), NfsMount("/data", 0, "x")),
        (mount("ecs", "ecs-id", "10.0.0.5: /export"), NfsMount("/data", 0)),
        (mount("nfs", "any:/w/x", "y"), NfsMount("/data", 3, "w/x/y")),
        (mount("nfs", "[fd00::1]:/x/y"), NfsMount("/data", 4, "y")),
        (mount("tmpfs", "64"), TmpfsMount("/data", 64)),
    ],
)
def test_a_mount_becomes_a_plan(wanted: FunctionMount, plan: Mount) -> None:
    assert (plan,) == disks().plans(function(wanted))


@pytest.mark.parametrize(
    ("wanted", "error", "text"),
    [
        (mount("host", "/etc"), MountNotFound, "mount_resource"),
        (mount("host", "/srv"), MountNotFound, "mount_resource"),
        (mount("host", "data", "../x"), BadParameter, "mount_share_path"),
        (mount("host", "data", "a//b"), BadParameter, "mount_share_path"),
        (mount("nfs", "10.0.0.5:/exports"), MountNotFound, "mount_resource"),
        (mount("nfs", "10.0.0.5:/export/../etc"), BadParameter, "mount_share_path"),
        (mount("nfs", "evil:/export"), MountNotFound, "mount_resource"),
        (mount("sfs", ""), MountNotFound, "mount_resource"),
        (mount("tmpfs", "0"), BadParameter, "mount_resource"),
        (mount("tmpfs", "10241"), BadParameter, "mount_resource"),
        (mount("tmpfs", "1m"), BadParameter, "mount_resource"),
        (mount("tmpfs", "1", "x"), BadParameter, "mount_share_path"),
        (mount("floppy", "a"), BadParameter, "mount_type: must be one of ecs, host, nfs, sfs, sfsTurbo, tmpfs"),
        (mount("host", "data", path="/usr/lib"), BadMountPath, "local_mount_path"),
        (mount("host", "data", path="/opt/function/code/x"), BadMountPath, "/opt/function"),
        (mount("host", "data", path="/"), BadMountPath, "local_mount_path"),
        (mount("host", "data", path="/a/../etc"), BadMountPath, "local_mount_path"),
        (mount("host", "data", path="data"), BadMountPath, "local_mount_path"),
    ],
)
def test_what_cannot_be_is_refused_with_the_fields_name(
    wanted: FunctionMount, error: type[RequestError], text: str
) -> None:
    with pytest.raises(error, match=r"^mount_config\.func_mounts") as caught:
        disks().plans(function(wanted))

    assert text in str(caught.value)


def test_access_paths_do_not_meet() -> None:
    with pytest.raises(MountTaken):
        disks().plans(function(mount("host", "data"), mount("tmpfs", "1")))
    with pytest.raises(BadMountPath):
        disks().plans(function(mount("host", "data"), mount("tmpfs", "1", path="/data/x")))


def test_the_default_owner_is_the_id_inside() -> None:
    assert Owner(1003, 1003) == disks().owner(function())
    assert Owner(5000, 1003) == disks().owner(function(mount_uid=5000))


def test_disks_are_tried_when_they_change_only() -> None:
    played = Played()
    mine = disks(played)
    old, same = function(mount("host", "data")), function(mount("host", "data"), description="other")

    trio.run(mine.verify, function(), None)
    trio.run(mine.verify, same, old)
    assert [] == played.tried
    trio.run(mine.verify, old, None)
    trio.run(mine.verify, function(mount("host", "data"), mount_uid=7), old)

    assert [(HostMount("/data", 0), Owner()), (HostMount("/data", 0), Owner(7, 1003))] == played.tried


def test_a_disk_that_is_not_there_is_not_ready_and_its_status_says_why() -> None:
    played = Played()
    wanted = function(mount("host", "data"))
    mine = disks(played, [wanted])
    assert ["unchecked"] == mine.statuses(wanted)
    played.reason = "mount /data: No such file or directory"

    with pytest.raises(MountNotReady, match="No such file"):
        trio.run(mine.verify, wanted, None)

    assert ["error: mount /data: No such file or directory"] == [row.status for row in mine.rows()]
    played.reason = ""
    trio.run(mine.try_all)
    assert ["active"] == mine.statuses(wanted)


def test_a_server_is_as_the_launcher_says() -> None:
    played = Played()
    wanted = function(mount("sfsTurbo", "turbo-1", "logs"))
    mine = disks(played)

    assert ["unmounted"] == mine.statuses(wanted)
    assert not mine.mounted(wanted)
    played.shares[1, "logs"] = "active"
    assert ["active"] == mine.statuses(wanted)
    assert mine.mounted(wanted)
    assert Owner(1003, 1003) == mine.own_ids(wanted)
    assert mine.own_ids(function(mount("host", "data"))) is None


def test_a_disk_that_is_not_offered_any_more_fails_the_start_with_its_reason() -> None:
    wanted = function(mount("host", "/srv/gone"))

    assert not disks().mounted(wanted)
    assert "offers no host directory '/srv/gone'" in trio.run(disks().mount, wanted)


def test_a_drivers_mistake_is_its_plugins() -> None:
    class Broken:
        kinds: ClassVar[tuple[str, ...]] = ("broken",)

        def __init__(self, node: DiskNode) -> None:
            pass

        def plan(self, wanted: WantedMount) -> Mount:
            raise ZeroDivisionError

    class Elsewhere(Broken):
        kinds: ClassVar[tuple[str, ...]] = ("elsewhere", "host")

        def plan(self, wanted: WantedMount) -> Mount:
            return TmpfsMount("/usr", 1)

    class Unmade(Broken):
        def __init__(self, node: DiskNode) -> None:
            raise ZeroDivisionError

    mine = disks(drivers=(Broken, Elsewhere, Unmade))

    for kind in ("broken", "elsewhere"):
        with pytest.raises(BadParameter, match="plugin theirs failed"):
            mine.plans(function(mount(kind, "x")))
    assert (HostMount("/data", 0),) == mine.plans(function(mount("host", "data")))
