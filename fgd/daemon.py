"""Builds the daemon: hands every part what it needs, starts the tasks in order, ends them in the opposite one.

`serve` is `fgd serve`: the root phase (`fgd.startup`), the drop of privileges, then `_Node.run` in trio.
"""

import argparse
import contextlib
import dataclasses
import gc
import hashlib
import logging
import os
import resource
import signal
import socket
import sys
import time
import uuid
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path

import psutil
import trio

from fgd import startup
from fgd.api.app import make_app
from fgd.api.serve import serve_control
from fgd.api.services import Services
from fgd.auth.keyring import Keyring
from fgd.builtin import destinations as builtin_destinations
from fgd.builtin import disks as builtin_disks
from fgd.call import Call
from fgd.clock import Clock
from fgd.config import Config, ConfigError, load_config
from fgd.control.agencies import Agencies, Roster
from fgd.control.aliases import Aliases, left_alone
from fgd.control.asyncs import AsyncConfigs
from fgd.control.credentials import Credentials
from fgd.control.dependencies import Dependencies
from fgd.control.disks import Disks
from fgd.control.events import SavedEvents
from fgd.control.facets.agency import AgencyFacet
from fgd.control.facets.dependencies import DependencyFacet
from fgd.control.facets.lifecycle import LifecycleFacet
from fgd.control.facets.mounts import MountsFacet
from fgd.control.facets.network import NetworkFacet
from fgd.control.facets.reserved import ReservedFacet
from fgd.control.facets.tags import TagsFacet
from fgd.control.functions import Functions
from fgd.control.furnish import Furnisher
from fgd.control.handout import Handout
from fgd.control.networks import DOOR_ADDRESS, Networks
from fgd.control.planner import Planner
from fgd.control.public import PublicFolder
from fgd.control.reserved import Reservations
from fgd.control.tags import Tags
from fgd.control.targets import Targets
from fgd.control.transfer import Transfer
from fgd.control.trials import Trials
from fgd.control.triggers import Triggers
from fgd.control.versions import Versions
from fgd.disk import DiskNode
from fgd.doctor import run_checks
from fgd.errors import FgdError, StateError
from fgd.gateway.api import Listener
from fgd.gateway.pump import pump
from fgd.gateway.server import Gateway
from fgd.instance.budget import Budget
from fgd.instance.gate import Gate
from fgd.instance.instance import Instance
from fgd.instance.keeper import Keeper
from fgd.instance.recorder import Recorder
from fgd.instance.scheduler import Scheduler
from fgd.invoke.deliverer import Deliverer
from fgd.invoke.destinations import Destinations
from fgd.invoke.handover import InvokeNode
from fgd.invoke.invoker import SchedulerInvoker
from fgd.invoke.queue import AsyncQueue
from fgd.invoke.resolve import Directory
from fgd.linux.notify import listen_fds, sd_notify
from fgd.linux.process import drop_privileges, make_reachable
from fgd.linux.reactor import Reactor
from fgd.log import set_up_logging
from fgd.metrics import Metrics
from fgd.model import Alias
from fgd.network import PUBLIC
from fgd.plugin_manager import PluginManager, PluginState
from fgd.runtime import RuntimeInstall, discover
from fgd.sandbox.host import LauncherHost, LauncherLost
from fgd.sandbox.launch import LauncherSettings, spawn_launcher
from fgd.sandbox.network_survey import Survey, survey
from fgd.shares import parse_exports, parse_owners, parse_roots
from fgd.status import Status
from fgd.store.agencies import AgencyStore
from fgd.store.api import LogLine
from fgd.store.archives import ArchiveReader
from fgd.store.catalog import SqliteCatalog
from fgd.store.certificate import server_context
from fgd.store.code import FolderCodeStore
from fgd.store.dependencies import DependencyStore
from fgd.store.events import SavedEventStore
from fgd.store.history import RequestHistory
from fgd.store.logs import SqliteLogBook
from fgd.store.names import PackageNames
from fgd.store.reservations import ReservationStore
from fgd.store.tags import TagStore
from fgd.store.triggers import TriggerStore
from fgd.trigger_door import TriggerDoors
from fgd.trigger_host import TriggerHost
from fgd.units import MIB
from fgd.urn import parse_urn

log = logging.getLogger(__name__)

#: Belongs to root: what it says of an interpreter is believed at the next start.
_RUNTIME_CACHE = Path("/var/cache/fgd/runtimes.json")
#: The daemon works in its state directory; the longest path of a unix socket is 107 bytes, this one is always short.
_CONTROL_SOCKET = "/proc/self/cwd/control.sock"
_BUDGET_SHARE = 0.8
_OPEN_FILES = 65536
_SWEEP_S = 600.0


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What the root phase leaves behind."""

    config: Config
    config_path: Path | None
    state_dir: Path
    host: str
    port: int
    admin: socket.socket
    inherited: list[socket.socket]
    launcher: socket.socket
    runtimes: list[RuntimeInstall]
    survey: Survey


def serve(args: argparse.Namespace) -> int:
    """Runs the daemon until it is told to stop; gives the exit status."""
    try:
        prepared = _prepare(args)
    except (startup.StartError, ConfigError, FgdError) as error:
        print(f"fgd: {error}", file=sys.stderr)
        return getattr(error, "status", 1)
    node = _Node(prepared)
    try:
        trio.run(node.run)
    except BaseException as error:
        return _explain(error)
    return 0


def _explain(error: BaseException) -> int:
    """One line for what an operator can mend, a traceback for what only we can."""
    leaves = _leaves(error)
    for leaf in leaves:
        if isinstance(leaf, startup.StartError | StateError | LauncherLost):
            print(f"fgd: {leaf}", file=sys.stderr)
            return 1
    log.critical("fgd ends because of an error of its own", exc_info=error)
    return 70


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def _prepare(args: argparse.Namespace) -> _Prepared:
    """The root phase; ends without any privilege."""
    config_path = Path(args.config).absolute() if args.config else None
    config = load_config(config_path)
    set_up_logging(config.log_level)
    if os.geteuid() != 0:
        raise startup.StartError(
            "fgd serve must be started as root: its launcher makes namespaces and cgroups; the daemon itself then runs"
            " without privileges. Use sudo, or the systemd unit."
        )
    host, port = startup.parse_listen(args.listen)
    state_dir = Path(args.state_dir).resolve()
    account = startup.find_account(config)
    inherited = [socket.socket(fileno=fd) for fd, _ in listen_fds()]
    startup.prepare_state(state_dir, account)
    files = [Path(args.admin_socket).absolute()]
    admin = startup.open_admin_socket(files[0], account)
    if args.pid_file:
        files.append(Path(args.pid_file).absolute())
        startup.write_pid_file(files[1])
    _RUNTIME_CACHE.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    runtimes = discover(cache=_RUNTIME_CACHE)
    _allow_open_files()
    # One folder of cgroups per state directory: a later daemon finds what an earlier one left.
    name = "d" + hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:12]
    found = survey(config, name)
    if found.lack and config.network == PUBLIC:
        raise startup.StartError(f"network: this host has no public network: {found.lack}; set auto or none")
    if found.lack:
        log.warning("functions have no network: %s", found.lack)
    launcher, _ = spawn_launcher(
        LauncherSettings(
            name=name,
            code_root=state_dir / "code",
            first_uid=config.first_uid + 65536,
            sandboxes_max=config.sandboxes_max,
            provider=config.provider,
            runtimes=runtimes,
            files=files,
            mount_roots=parse_roots(config.mount_roots),
            nfs_exports=parse_exports(config.nfs_servers),
            nfs_owners=parse_owners(config.nfs_owners),
            mount_limit_s=config.mount_timeout_s,
            networks=found.plan,
        )
    )
    paths = startup.needed_paths(state_dir, runtimes)
    if config_path is not None:
        paths = startup.outermost([*paths, config_path.resolve()])
    if config.public_dependencies and Path(config.public_dependencies).is_dir():
        paths = startup.outermost([*paths, Path(config.public_dependencies).resolve()])
    make_reachable(paths)
    drop_privileges(account.uid, account.gid)
    os.chdir(state_dir)
    return _Prepared(config, config_path, state_dir, host, port, admin, inherited, launcher, runtimes, found)


def _allow_open_files() -> None:
    """Each instance takes three descriptors of the daemon's."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, max(hard, _OPEN_FILES)))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def memory_budget_mib(config: Config) -> int:
    """Memory that instances may be promised together."""
    real_mib = config.memory_budget_mib or int(psutil.virtual_memory().total * _BUDGET_SHARE) // MIB
    return int(real_mib * config.memory_overcommit)


class _Node:
    """The running daemon."""

    def __init__(self, prepared: _Prepared) -> None:
        self._prepared = prepared
        self._config = prepared.config
        self._stop = trio.Event()

    async def run(self) -> None:
        """Everything from the first task to the last."""
        prepared, config = self._prepared, self._config
        clock = Clock()
        async with contextlib.AsyncExitStack() as stack:
            nursery = await stack.enter_async_context(trio.open_nursery())
            host = LauncherHost(prepared.launcher)
            await nursery.start(host.run)
            stack.push_async_callback(host.aclose)
            catalog = await SqliteCatalog.open(prepared.state_dir, clock.time_s)
            stack.push_async_callback(catalog.aclose)
            book = await SqliteLogBook.open(prepared.state_dir, keep_days=config.log_keep_days)
            stack.push_async_callback(book.aclose)
            code = FolderCodeStore(
                prepared.state_dir,
                unpacked_max_mib=config.unpacked_max_mib,
                unpacked_max_files=config.unpacked_max_files,
            )
            project_id = await catalog.setting("project_id", uuid.uuid4().hex)
            keyring = Keyring(clock.time_s)
            keyring.load(await catalog.access_keys(), await catalog.tokens())
            directory = Directory(await catalog.functions(), await catalog.aliases())
            dependency_store = DependencyStore(catalog.database)
            listings = PackageNames(prepared.state_dir)
            dependencies = Dependencies(
                config, directory, dependency_store, code, listings, clock.time_s, await dependency_store.all()
            )
            public = PublicFolder(
                config.public_dependencies, dependencies, {install.id for install in prepared.runtimes}
            )
            plugins = PluginManager([builtin_destinations, builtin_disks])
            node = DiskNode(parse_roots(config.mount_roots), parse_exports(config.nfs_servers))
            disks = Disks(plugins.classes("fgd_disk_drivers"), node, host, directory.all_versions, plugins.report)
            history = await RequestHistory.open(prepared.state_dir)
            stack.push_async_callback(history.aclose)
            agency_store = AgencyStore(catalog)
            roster = Roster(await agency_store.agencies())
            found = prepared.survey
            networks = Networks(found.default, config.networks, found.public, found.lack, config.api_inside)
            facets = (
                TagsFacet(),
                DependencyFacet(config, dependencies),
                LifecycleFacet(),
                AgencyFacet(roster.has),
                MountsFacet(disks),
                ReservedFacet(lambda function: reservations.of_version(function)),
                NetworkFacet(networks, directory.all_versions, IPv4Network(config.public_subnet)),
            )
            functions = Functions(
                config,
                directory,
                catalog,
                code,
                catalog.secrets,
                clock.time_s,
                facets,
                shared=dependencies,
                verify=disks.verify,
                standing_by=lambda function: planner.standing_by(function),
            )
            tag_store = TagStore(catalog.database)
            tags = Tags(functions, tag_store, await tag_store.load())
            directory.subscribe(tags.forget)
            handout = Handout(agency_store, keyring, clock.time_s, config.agency_ttl_s)
            agencies = Agencies(roster, agency_store, keyring, handout, directory, functions.settled, clock.time_s)
            await agencies.open()
            async_configs = AsyncConfigs(catalog, clock.time_s, await catalog.async_configs())
            directory.subscribe(async_configs.forget)

            def names(func_id: str) -> tuple[str, str, str] | None:
                function = directory.by_id(func_id)
                return None if function is None else (function.project_id, function.package, function.name)

            metrics = Metrics(names)
            recorder = Recorder(book, metrics)
            reactor = Reactor()

            furnisher = Furnisher(functions, handout, disks, networks)
            scheduler = Scheduler(
                config,
                host=host,
                reactor=reactor,
                nursery=nursery,
                budget=Budget(memory_budget_mib(config), config.sandboxes_max),
                book=book,
                recorder=recorder,
                binding=furnisher.binding,
                init_document=furnisher.init_document,
                stop_extras=furnisher.stop_extras,
                counters=metrics,
                gate=Gate(disks, nursery),
                network=networks.of,
            )
            for function in directory.all_versions():
                scheduler.function_changed(None, function)
            directory.subscribe(scheduler.function_changed)
            reservation_store = ReservationStore(catalog.database)
            # Before what drains versions that an alias has left: what is still kept of those is not drained.
            reservations = Reservations(
                functions,
                directory,
                reservation_store,
                clock.time_s,
                await reservation_store.all(),
                memory_mib=memory_budget_mib(config),
                instances=config.sandboxes_max,
            )
            planner = Planner(reservations, directory, Keeper(scheduler), history, metrics.totals, clock.time_s)

            def drain_left_alone(old: Alias | None, new: Alias | None) -> None:
                for version in left_alone(directory, old, new):
                    scheduler.drain_version(version)

            directory.subscribe_aliases(drain_left_alone)
            invoker = SchedulerInvoker(scheduler, recorder, handout.extras)
            queue = await AsyncQueue.open(
                prepared.state_dir,
                config,
                invoker=invoker,
                functions=directory.version,
                settings=async_configs.get,
                extras=handout.extras,
                record=recorder.invocation,
                now_s=clock.time_s,
            )
            stack.push_async_callback(queue.aclose)
            destinations = Destinations(
                [(name, plugins.builtin(name), kind) for name, kind in plugins.classes("fgd_destinations")],
                # Not the run's clock: destinations work in other threads and loops too.
                InvokeNode(config, directory, queue, time.time),
                timeout_s=config.delivery_timeout_s,
                report=plugins.report,
            )

            def note(func_id: str, version: str, request_id: str, level: str, text: str) -> None:
                book.line(LogLine(clock.time_s(), func_id, version, "", request_id, level, text))

            deliverer = Deliverer(
                queue.deliveries,
                destinations,
                config,
                now_s=clock.time_s,
                project_of=lambda urn: parse_urn(urn, project_id).project_id,
                count=metrics.delivery,
                note=note,
            )
            queue.attach(deliverer.stored, lambda: deliverer.open)
            status = Status(
                scheduler,
                metrics,
                project_id=project_id,
                functions=lambda: len(directory),
                async_waiting=lambda: queue.waiting,
                deliveries=lambda: (deliverer.open, deliverer.failed),
                network=networks.summary,
            )
            test_events = SavedEvents(functions, SavedEventStore(catalog.database), clock.time_s)
            trigger_store = TriggerStore(catalog.database)
            trigger_host = TriggerHost(clock.time_s, plugins.report)
            doors = TriggerDoors(
                directory, queue, invoker, trigger_store, trigger_host, clock.time_s, await trigger_store.notes()
            )
            triggers = Triggers(
                functions,
                directory,
                trigger_store,
                catalog.secrets,
                plugins.classes("fgd_trigger_types"),
                trigger_host,
                doors,
                config.region,
                clock.time_s,
            )
            services = Services(
                config=config,
                project_id=project_id,
                functions=functions,
                versions=Versions(functions, directory, catalog, clock.time_s),
                aliases=Aliases(functions, directory, catalog, clock.time_s, planner.moving),
                triggers=triggers,
                trigger_states=trigger_host.state,
                dependencies=dependencies,
                disks=disks,
                async_configs=async_configs,
                reservations=reservations,
                planner=planner,
                history=history,
                tags=tags,
                test_events=test_events,
                trials=Trials(directory, test_events, invoker, config.sync_timeout_s, handout.extras),
                targets=Targets(destinations, directory),
                deliveries=deliverer,
                transfer=Transfer(functions, tags, ArchiveReader(prepared.state_dir), dependencies),
                records=queue,
                credentials=Credentials(catalog, keyring, clock.time_s, config.token_ttl_s, project_id),
                agencies=agencies,
                keyring=keyring,
                logs=book,
                runtimes=lambda: {install.id: _shown(install) for install in prepared.runtimes},
                networks=networks.shown,
                status=status.document,
                instances=status.instances,
                metrics=status.metrics,
                plugins=lambda: [_plugin(state, destinations) for state in plugins.states()],
                doctor=self._doctor,
                now_s=clock.time_s,
            )
            gateway = Gateway(
                config,
                reactor,
                directory=directory,
                keyring=keyring,
                invoker=invoker,
                queue=queue,
                record=recorder.invocation,
                time_s=clock.time_s,
                cold_parts=_cold_parts,
                extras=handout.extras,
                tls=partial(server_context, prepared.state_dir, DOOR_ADDRESS),
                subnets={name: network.subnet for name, network in config.networks.items()},
            )
            host.doors = gateway.doors
            listeners = [Listener(prepared.admin, admin=True)]
            tcp = prepared.inherited or [startup.open_listener(prepared.host, prepared.port)]
            listeners += [Listener(sock) for sock in tcp]
            nursery.start_soon(_sweep_code, functions, scheduler)
            for task in (book.run, recorder.run, scheduler.run, public.run, handout.run):
                nursery.start_soon(task)
            await nursery.start(self._listen_to_signals, scheduler, public)
            async with trio.open_nursery() as early:  # until the gateway looks after the instances' channels
                early.start_soon(pump, reactor)
                await nursery.start(planner.run)
                early.cancel_scope.cancel()
            await nursery.start(serve_control, make_app(services), _CONTROL_SOCKET)
            await nursery.start(deliverer.run)
            await nursery.start(queue.run)
            await triggers.load()
            await nursery.start(trigger_host.run)
            nursery.start_soon(triggers.sweep)
            await nursery.start(gateway.serve, listeners, _CONTROL_SOCKET)
            # What is there now stays; looking at it again and again cost 20 us per request.
            gc.collect()
            gc.freeze()
            gc.set_threshold(20_000, 20, 20)
            addresses = ", ".join(_address(sock) for sock in tcp)
            sd_notify(f"READY=1\nSTATUS=serving on {addresses}")
            log.info("ready: %s functions, serving on %s", len(directory), addresses)
            await self._stop.wait()
            await self._shut_down(gateway, queue, scheduler)
            await book.flush()
            # While its reader still runs, which is what this waits for: when we have ended, systemd kills the launcher,
            # and it shall have removed everything by then.
            await host.aclose()
            nursery.cancel_scope.cancel()

    async def _shut_down(self, gateway: Gateway, queue: AsyncQueue, scheduler: Scheduler) -> None:
        """No new work, time for what runs, then the end of every instance."""
        seconds = self._config.drain_s
        sd_notify(f"STOPPING=1\nSTATUS=draining for at most {seconds:g} s")
        log.info("stopping: %s invocations are running or waiting", scheduler.busy)
        queue.stop()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gateway.drain, seconds)
            await scheduler.drain(seconds)
            nursery.cancel_scope.deadline = trio.current_time() + 1
        with trio.move_on_after(2):
            await queue.wait_idle()

    async def _listen_to_signals(
        self,
        scheduler: Scheduler,
        public: PublicFolder,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGHUP:
                    self._reload(scheduler)
                    public.reload()
                elif self._stop.is_set():
                    log.warning("told to stop again: ending at once")
                    os._exit(1)
                else:
                    self._stop.set()

    def _reload(self, scheduler: Scheduler) -> None:
        """Reads the settings again. A file with a mistake changes nothing."""
        sd_notify("RELOADING=1")
        try:
            config = load_config(self._prepared.config_path)
        except ConfigError as error:
            log.error("settings not reloaded: %s", error)
        else:
            fixed = [
                item.name
                for item in dataclasses.fields(Config)
                if item.name not in RELOADED and getattr(config, item.name) != getattr(self._prepared.config, item.name)
            ]
            if fixed:
                log.warning("these settings take effect at the next start: %s", ", ".join(fixed))
            self._config = config
            scheduler.configure(config)
            set_up_logging(config.log_level)
            log.info("settings reloaded")
        sd_notify("READY=1")

    async def _doctor(self) -> object:
        checks = await trio.to_thread.run_sync(run_checks, self._config)
        return [dataclasses.asdict(check) for check in checks]


#: Settings that SIGHUP changes; the others need a restart.
RELOADED = frozenset(
    {
        "blank_pool", "blank_pool_max", "keep_alive_s", "freeze", "freeze_delay_ms", "queue_max", "queue_total_max",
        "starts_at_once", "log_lines_per_s", "log_bytes_per_s", "drain_s", "log_level",
    }
)  # fmt: skip


async def _sweep_code(functions: Functions, scheduler: Scheduler) -> None:
    """Removes packages that no function names and no instance runs, at the start and then now and again."""
    while True:
        removed = await functions.sweep_code(scheduler.code_in_use)
        if removed:
            log.info("removed %d code packages that nothing uses any more", removed)
        await trio.sleep(_SWEEP_S)


def _cold_parts(call: Call) -> dict[str, float]:
    """Parts in milliseconds of the start that a cold call waited for."""
    instance = call.instance
    if not isinstance(instance, Instance):
        return {}
    return {
        "instance": instance.sandbox_us / 1000,
        "code": instance.ready.load_us / 1000,
        "init": instance.ready.init_us / 1000,
    }


def _shown(install: RuntimeInstall) -> dict[str, object]:
    return {
        "version": install.version,
        "language": install.language,
        "interpreter": str(install.executable),
        "forks": install.forks,
    }


def _plugin(state: PluginState, destinations: Destinations) -> dict[str, object]:
    return {
        "name": state.name,
        "version": state.version,
        "builtin": state.builtin,
        "hooks": list(state.hooks),
        "destinations": destinations.of_plugin(state.name),
        "error": state.error,
    }


def _address(sock: socket.socket) -> str:
    address = sock.getsockname()
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)
