"""The disks of functions: which driver reads a mount, what the launcher is asked for, and how each disk is.

Theory of operation: a function keeps its mounts in the API's words; a driver makes a plan of them whenever one is
needed, so that a changed setting counts at once. Whether a disk is there is tried by the launcher, within its time
limit, when the configuration is set, and by each start of an instance. Servers are mounted before a start begins, see
`fgd.instance.gate`.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from fgd.disk import BadDisk, DiskDriver, DiskNode, NoSuchDisk, WantedMount
from fgd.errors import BadMountPath, BadParameter, MountNotFound, MountNotReady, MountTaken, RequestError
from fgd.model import Function, FunctionMount
from fgd.sandbox.mount_plan import BadMount, HostMount, Mount, NfsMount, Owner, check_paths

log = logging.getLogger(__name__)

#: A function's id inside, and on its disks where its configuration names none.
DEFAULT_ID: Final = 1003
_ACTIVE: Final = "active"


class Launcher(Protocol):
    """What mounts; the real thing is `fgd.sandbox.host.LauncherHost`."""

    #: What became of NFS mounts, by number of the export and folder in it.
    shares: dict[tuple[int, str], str]

    async def try_mounts(self, mounts: Sequence[Mount], owner: Owner) -> str:
        """Makes mounts and lets them go again; "" or why they cannot be made."""


@dataclass(frozen=True, slots=True)
class DiskRow:
    """One mount of a function version, and how it is: active, unmounted, unchecked, or "error: " and why."""

    function: Function
    mount: FunctionMount
    status: str


class Disks:
    """Knows the drivers. Everything but `verify`, `mount` and `try_all` is answered at once."""

    def __init__(
        self, drivers: Iterable[tuple[str, type[DiskDriver]]], node: DiskNode, launcher: Launcher,
        versions: Callable[[], Iterable[Function]], report: Callable[[str, str], None] = lambda plugin, error: None,
    ) -> None:  # fmt: skip
        """
        Args:
            drivers: name of the plugin and class, fgd's own first.
            node: what the operator offers.
            launcher: what mounts.
            versions: gives all function versions of the node.
            report: is told of a plugin that does what it must not.
        """
        self._drivers: dict[str, tuple[str, DiskDriver]] = {}
        self._launcher = launcher
        self._versions = versions
        self._report = report
        #: What the last trial of a host directory said.
        self._tried: dict[HostMount, str] = {}
        for plugin, driver_class in drivers:
            try:
                driver = driver_class(node)
                for kind in driver.kinds:
                    first, _ = self._drivers.setdefault(kind, (plugin, driver))
                    if first != plugin:
                        report(plugin, f"disk driver of {kind} is left out: the plugin {first} brings {kind}")
            except Exception as error:  # a stranger's class
                self._misbehaved(plugin, error)

    @property
    def kinds(self) -> list[str]:
        """Values of `mount_type` that there is a driver for."""
        return sorted(self._drivers)

    def of_plugin(self, plugin: str) -> list[str]:
        """Those that a plugin has brought."""
        return sorted(kind for kind, (owner, _) in self._drivers.items() if owner == plugin)

    def plans(self, function: Function) -> tuple[Mount, ...]:
        """What is mounted in its instances, in the order of the configuration.

        Raises:
            RequestError: a mount cannot be; begins with the field's name.
        """
        paths = [mount.path for mount in function.mounts]
        for number, path in enumerate(paths):
            if path in paths[:number]:
                raise MountTaken(f"mount_config.func_mounts[{number}].local_mount_path: {path} is there twice")
        try:
            check_paths(paths)
        except BadMount as error:
            raise BadMountPath(f"mount_config.func_mounts.local_mount_path: {error}") from error
        return tuple(self._plan(number, mount) for number, mount in enumerate(function.mounts))

    def _plan(self, number: int, mount: FunctionMount) -> Mount:
        where = f"mount_config.func_mounts[{number}]"
        plugin, driver = self._drivers.get(mount.kind, ("", None))
        if driver is None:
            raise BadParameter(f"{where}.mount_type: must be one of {', '.join(self.kinds)}, not {mount.kind[:40]!r}")
        try:
            plan = driver.plan(WantedMount(mount.kind, mount.resource, mount.share_path, mount.path, mount.read_only))
        except BadDisk as error:
            raise BadParameter(f"{where}.{error}") from error
        except NoSuchDisk as error:
            raise MountNotFound(f"{where}.{error}") from error
        except Exception as error:  # a stranger's driver
            self._misbehaved(plugin, error)
            raise BadParameter(f"{where}: the disk driver of plugin {plugin} failed; see fgd's log") from error
        if plan.path != mount.path:
            self._misbehaved(plugin, ValueError("the plan has another access path"))
            raise BadParameter(f"{where}: the disk driver of plugin {plugin} failed; see fgd's log")
        return plan

    def _misbehaved(self, plugin: str, error: Exception) -> None:
        log.error("disk driver of plugin %s failed", plugin, exc_info=error)
        self._report(plugin, f"disk driver: {type(error).__name__}: {error}")

    def owner(self, function: Function) -> Owner:
        """Who it is on its disks."""
        uid, gid = (DEFAULT_ID if one == -1 else one for one in (function.mount_uid, function.mount_gid))
        return Owner(uid, gid)

    def own_ids(self, function: Function) -> Owner | None:
        """See `fgd.instance.gate.Mounter`."""
        return self.owner(function) if self._shares(function) else None

    def mounted(self, function: Function) -> bool:
        """See `fgd.instance.gate.Mounter`. False for mounts that cannot be, so that `mount` says why."""
        try:
            plans = self.plans(function)
        except RequestError:
            return False
        keys = [(plan.export, plan.share) for plan in plans if isinstance(plan, NfsMount)]
        return all(self._launcher.shares.get(key) == _ACTIVE for key in keys)

    async def mount(self, function: Function) -> str:
        """See `fgd.instance.gate.Mounter`."""
        try:
            plans = self.plans(function)
        except RequestError as error:
            return str(error)
        return await self._try(plans, self.owner(function))

    async def verify(self, function: Function, old: Function | None) -> None:
        """Tries the mounts of a function as it would become, if they differ from before.

        Raises:
            MountNotReady: one cannot be mounted now.
        """
        if not function.mounts or (old is not None and _same_mounts(function, old)):
            return
        reason = await self._try(self.plans(function), self.owner(function))
        if reason:
            raise MountNotReady(f"mount_config: {reason}")

    async def try_all(self) -> None:
        """Tries every mount of the node, so that `rows` tells how they are now."""
        for function in list(self._versions()):
            if function.mounts:
                await self.mount(function)

    def rows(self) -> list[DiskRow]:
        """All mounts of the node."""
        return [
            DiskRow(function, mount, status)
            for function in self._versions()
            for mount, status in zip(function.mounts, self.statuses(function), strict=True)
        ]

    def statuses(self, function: Function) -> list[str]:
        """How each of its mounts is, as far as is known."""
        try:
            plans = self.plans(function)
        except RequestError as error:
            return [f"error: {error}"] * len(function.mounts)
        return [self._status(plan) for plan in plans]

    def _status(self, plan: Mount) -> str:
        match plan:
            case HostMount():
                return self._tried.get(plan, "unchecked")
            case NfsMount(_, export, share):
                return self._launcher.shares.get((export, share), "unmounted")
        return _ACTIVE

    def _shares(self, function: Function) -> bool:
        try:
            return any(isinstance(plan, NfsMount) for plan in self.plans(function))
        except RequestError:
            return False

    async def _try(self, plans: Sequence[Mount], owner: Owner) -> str:
        """One after the other, so that each is known by itself; the first reason."""
        first = ""
        for plan in plans:
            reason = await self._launcher.try_mounts([plan], owner)
            if isinstance(plan, HostMount):
                self._tried[plan] = f"error: {reason}" if reason else _ACTIVE
            first = first or reason
        return first


def _same_mounts(one: Function, other: Function) -> bool:
    names = ("mounts", "mount_uid", "mount_gid")
    return all(getattr(one, name) == getattr(other, name) for name in names)
