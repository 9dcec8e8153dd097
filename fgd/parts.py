"""All parts of the daemon, and who is handed what."""

import contextlib
import dataclasses
import time
import uuid
from functools import partial
from ipaddress import IPv4Network

import psutil
import trio

from fgd.api.objects import ObjectApp
from fgd.api.services import Services
from fgd.api.table import OPERATIONS
from fgd.api.traced import RECORDED
from fgd.auth.keyring import Keyring
from fgd.builtin import destinations as builtin_destinations
from fgd.builtin import disks as builtin_disks
from fgd.builtin.web import Web
from fgd.call import Call
from fgd.clock import Clock
from fgd.config import Config
from fgd.control.agencies import Agencies, Roster
from fgd.control.aliases import Aliases, left_alone
from fgd.control.apis import Apis
from fgd.control.asyncs import AsyncConfigs
from fgd.control.audit import Audit
from fgd.control.credentials import Credentials
from fgd.control.dependencies import Dependencies
from fgd.control.disks import Disks
from fgd.control.events import SavedEvents
from fgd.control.facets.agency import AgencyFacet
from fgd.control.facets.dependencies import DependencyFacet
from fgd.control.facets.lifecycle import LifecycleFacet
from fgd.control.facets.logs import LogFacet
from fgd.control.facets.mounts import MountsFacet
from fgd.control.facets.network import NetworkFacet
from fgd.control.facets.reserved import ReservedFacet
from fgd.control.facets.tags import TagsFacet
from fgd.control.fanout import Fanout
from fgd.control.feeds import OwnSources
from fgd.control.functions import Functions
from fgd.control.furnish import Furnisher
from fgd.control.handout import Handout
from fgd.control.log_collector import LogCollector
from fgd.control.log_streams import LogStreams
from fgd.control.message_templates import MessageTemplates
from fgd.control.networks import DOOR_ADDRESS, Networks
from fgd.control.object_source import ObjectSource
from fgd.control.planner import Planner
from fgd.control.public import PublicFolder
from fgd.control.publish import Publisher
from fgd.control.reserved import Reservations
from fgd.control.tags import Tags
from fgd.control.targets import Targets
from fgd.control.topics import Topics
from fgd.control.transfer import Transfer
from fgd.control.trials import Trials
from fgd.control.triggers import Triggers
from fgd.control.versions import Versions
from fgd.disk import DiskNode
from fgd.doctor import run_checks
from fgd.gateway.api import Listener
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
from fgd.linux.reactor import Reactor
from fgd.listeners import api_url, open_certificate, parse_listeners, wants_tls
from fgd.metrics import Metrics
from fgd.model import Alias
from fgd.plugin_list import PluginList
from fgd.plugin_manager import PluginManager
from fgd.prepare import Prepared
from fgd.remote.client import RemoteStores
from fgd.remote_stores import parse_remote_stores
from fgd.runtime import RuntimeInstall
from fgd.sandbox.host import LauncherHost
from fgd.shares import parse_exports, parse_roots
from fgd.startup import StartError
from fgd.status import Status
from fgd.store.agencies import AgencyStore
from fgd.store.api import LogLine
from fgd.store.apis import ApiStore
from fgd.store.archives import ArchiveReader
from fgd.store.audit import AuditStore
from fgd.store.catalog import SqliteCatalog
from fgd.store.certificate import server_context
from fgd.store.code import FolderCodeStore
from fgd.store.dependencies import DependencyStore
from fgd.store.events import SavedEventStore
from fgd.store.history import RequestHistory
from fgd.store.log_groups import LogGroupStore
from fgd.store.logs import SqliteLogBook
from fgd.store.names import PackageNames
from fgd.store.object_uploads import Uploads
from fgd.store.objects import ObjectStore
from fgd.store.reservations import ReservationStore
from fgd.store.signing import open_signer
from fgd.store.streams import StreamStore
from fgd.store.tags import TagStore
from fgd.store.topics import TopicStore
from fgd.store.triggers import TriggerStore
from fgd.stream import BadStream, check_files
from fgd.trigger_door import TriggerDoors
from fgd.trigger_host import TriggerHost
from fgd.units import MIB
from fgd.urn import parse_urn

_BUDGET_SHARE = 0.8


class Parts:
    """Everything that the daemon is made of.

    `build` makes the parts in the order in which they need each other; what they tell each other later goes by the
    functions and listeners that they are handed here.
    """

    def __init__(
        self, prepared: Prepared, nursery: trio.Nursery, stack: contextlib.AsyncExitStack, host: LauncherHost
    ) -> None:
        """
        Args:
            nursery: of tasks that live as long as the daemon.
            stack: closes what is opened here, the last first.
            host: makes sandboxes, and runs already.

        Raises:
            StartError: a listener, its certificate or a file of a stream cannot be.
        """
        self.prepared = prepared
        self.config = prepared.config
        self.clock = Clock()
        self.nursery = nursery
        self.stack = stack
        self.host = host
        #: Where clients come in; filled by who opens them.
        self.listeners: list[Listener] = []
        self.places = parse_listeners(self.config)
        try:
            check_files(self.config.streams.values())
        except BadStream as error:
            raise StartError(str(error)) from error
        self.certificate = open_certificate(self.config) if wants_tls(self.config, self.places) else None
        #: The settings as they are now: SIGHUP changes some.
        self.current = prepared.config

    async def doctor(self) -> object:
        """What this host lacks, as JSON."""
        checks = await trio.to_thread.run_sync(run_checks, self.current)
        return [dataclasses.asdict(check) for check in checks]

    async def build(self) -> None:
        """Makes all parts; none of their tasks runs yet.

        Raises:
            StateError, StorageFull: the state directory cannot be used.
        """
        await self._open_stores()
        await self._make_dependencies_and_disks()
        await self._make_functions()
        await self._make_instances()
        await self._make_topics()
        await self._make_queue()
        await self._make_triggers()
        self._make_front()

    async def _open_stores(self) -> None:
        """What is on disk, and who may ask."""
        self.catalog = await SqliteCatalog.open(self.prepared.state_dir, self.clock.time_s)
        self.stack.push_async_callback(self.catalog.aclose)
        self.book = await SqliteLogBook.open(self.prepared.state_dir, keep_days=self.config.log_keep_days)
        self.stack.push_async_callback(self.book.aclose)
        self.stream_store = await StreamStore.open(self.prepared.state_dir, self.clock.time_s)
        self.stack.push_async_callback(self.stream_store.aclose)
        audit_store = await AuditStore.open(self.prepared.state_dir)
        self.stack.push_async_callback(audit_store.aclose)
        own = {(one.audit.service, one.audit.resource_type, one.audit.name) for one in OPERATIONS if one.audit}
        self.audit = Audit(audit_store, self.clock.time_s, RECORDED | own, lambda: self.triggers.secret_names)
        self.code = FolderCodeStore(
            self.prepared.state_dir,
            unpacked_max_mib=self.config.unpacked_max_mib,
            unpacked_max_files=self.config.unpacked_max_files,
        )
        self.objects = await ObjectStore.open(
            self.prepared.state_dir, self.prepared.state_dir / "objects", self.clock.time_s, self.config.obs_quota_mib
        )
        self.stack.push_async_callback(self.objects.aclose)
        self.uploads = Uploads(self.objects)
        self.history = await RequestHistory.open(self.prepared.state_dir)
        self.stack.push_async_callback(self.history.aclose)
        self.project_id = await self.catalog.setting("project_id", uuid.uuid4().hex)
        stores = parse_remote_stores(self.config.object_stores)
        self.remote = RemoteStores(stores, self.project_id, self.clock.time_s)
        self.stack.push_async_callback(self.remote.aclose)
        self.keyring = Keyring(self.clock.time_s)
        self.keyring.load(await self.catalog.access_keys(), await self.catalog.tokens())
        self.directory = Directory(await self.catalog.functions(), await self.catalog.aliases())

    async def _make_dependencies_and_disks(self) -> None:
        """What functions have beside their code; plugins bring kinds of disks."""
        dependency_store = DependencyStore(self.catalog.database)
        listings = PackageNames(self.prepared.state_dir)
        self.dependencies = Dependencies(
            self.config,
            self.directory,
            dependency_store,
            self.code,
            listings,
            self.clock.time_s,
            await dependency_store.all(),
        )
        self.public = PublicFolder(
            self.config.public_dependencies, self.dependencies, {install.id for install in self.prepared.runtimes}
        )
        self.plugins = PluginManager([builtin_destinations, builtin_disks], skipped=self.config.skip_plugins)
        node = DiskNode(parse_roots(self.config.mount_roots), parse_exports(self.config.nfs_servers))
        self.disks = Disks(
            self.plugins.classes("fgd_disk_drivers"), node, self.host, self.directory.all_versions, self.plugins.report
        )

    async def _make_functions(self) -> None:
        """Functions with the facets of their configuration, and what belongs to them."""
        self.agency_store = AgencyStore(self.catalog)
        self.roster = Roster(await self.agency_store.agencies())
        found = self.prepared.survey
        self.networks = Networks(found.default, self.config.networks, found.public, found.lack, self.config.api_inside)
        facets = (
            TagsFacet(),
            DependencyFacet(self.config, self.dependencies),
            LifecycleFacet(),
            AgencyFacet(self.roster.has),
            MountsFacet(self.disks),
            ReservedFacet(lambda function: self.reservations.of_version(function)),
            NetworkFacet(self.networks, self.directory.all_versions, IPv4Network(self.config.public_subnet)),
            LogFacet(self.directory, lambda: self.log_streams),
        )
        self.functions = Functions(
            self.config,
            self.directory,
            self.catalog,
            self.code,
            self.catalog.secrets,
            self.clock.time_s,
            facets,
            shared=self.dependencies,
            verify=self.disks.verify,
            standing_by=lambda function: self.planner.standing_by(function),
        )
        self.log_streams = LogStreams(
            self.config,
            self.directory,
            LogGroupStore(self.catalog.database),
            self.stream_store,
            self.book,
            self.clock.time_s,
            lambda stream_id: self.triggers.listeners(stream_id),
        )
        await self.log_streams.load()
        self.collector = LogCollector(self.directory, self.log_streams, self.stream_store, self.book.follow)
        self.book.on_written = self.collector.written
        tag_store = TagStore(self.catalog.database)
        self.tags = Tags(self.functions, tag_store, await tag_store.load())
        self.directory.subscribe(self.tags.forget)
        self.handout = Handout(self.agency_store, self.keyring, self.clock.time_s, self.config.agency_ttl_s)
        self.agencies = Agencies(
            self.roster,
            self.agency_store,
            self.keyring,
            self.handout,
            self.directory,
            self.functions.settled,
            self.clock.time_s,
        )
        await self.agencies.open()
        self.async_configs = AsyncConfigs(self.catalog, self.clock.time_s, await self.catalog.async_configs())
        self.directory.subscribe(self.async_configs.forget)

    async def _make_instances(self) -> None:
        """What runs functions, and what is kept running."""

        def names(func_id: str) -> tuple[str, str, str] | None:
            function = self.directory.by_id(func_id)
            return None if function is None else (function.project_id, function.package, function.name)

        self.metrics = Metrics(names)
        self.recorder = Recorder(self.book, self.metrics)
        self.reactor = Reactor()

        furnisher = Furnisher(self.functions, self.handout, self.disks, self.networks)
        self.scheduler = Scheduler(
            self.config,
            host=self.host,
            reactor=self.reactor,
            nursery=self.nursery,
            budget=Budget(memory_budget_mib(self.config), self.config.sandboxes_max),
            book=self.book,
            recorder=self.recorder,
            binding=furnisher.binding,
            init_document=furnisher.init_document,
            stop_extras=furnisher.stop_extras,
            counters=self.metrics,
            gate=Gate(self.disks, self.nursery),
            network=self.networks.of,
        )
        for function in self.directory.all_versions():
            self.scheduler.function_changed(None, function)
        self.directory.subscribe(self.scheduler.function_changed)
        reservation_store = ReservationStore(self.catalog.database)
        # Before what drains versions that an alias has left: what is still kept of those is not drained.
        self.reservations = Reservations(
            self.functions,
            self.directory,
            reservation_store,
            self.clock.time_s,
            await reservation_store.all(),
            memory_mib=memory_budget_mib(self.config),
            instances=self.config.sandboxes_max,
        )
        self.planner = Planner(
            self.reservations,
            self.directory,
            Keeper(self.scheduler),
            self.history,
            self.metrics.totals,
            self.clock.time_s,
        )

        def drain_left_alone(old: Alias | None, new: Alias | None) -> None:
            for version in left_alone(self.directory, old, new):
                self.scheduler.drain_version(version)

        self.directory.subscribe_aliases(drain_left_alone)

    async def _make_topics(self) -> None:
        """Topics, without what takes their messages to subscribers."""
        self.topic_store = await TopicStore.open(self.prepared.state_dir)
        self.stack.push_async_callback(self.topic_store.aclose)
        self.web = Web(self.config.webhook_urls)
        self.topics = Topics(
            self.topic_store,
            self.directory,
            self.web,
            self.config.region,
            self.clock.time_s,
            self.config.async_backlog_max,
        )
        await self.topics.load()
        self.templates = MessageTemplates(self.topic_store, self.clock.time_s)
        await self.templates.load()
        self.publisher = Publisher(self.topics, self.templates, self.clock.time_s)

    async def _make_queue(self) -> None:
        """Asynchronous events and where their outcomes go."""
        self.invoker = SchedulerInvoker(self.scheduler, self.recorder, self.handout.extras)
        self.queue = await AsyncQueue.open(
            self.prepared.state_dir,
            self.config,
            invoker=self.invoker,
            functions=self.directory.version,
            settings=self.async_configs.get,
            extras=self.handout.extras,
            record=self.recorder.invocation,
            now_s=self.clock.onward_s,
        )
        self.stack.push_async_callback(self.queue.aclose)
        # Not the run's clock: destinations work in other threads and loops too.
        node = InvokeNode(
            self.config, self.directory, self.queue, time.time, self.publisher.deliver, self.objects, self.remote
        )
        self.destinations = Destinations(
            [(name, self.plugins.builtin(name), kind) for name, kind in self.plugins.classes("fgd_destinations")],
            node,
            timeout_s=self.config.delivery_timeout_s,
            report=self.plugins.report,
        )

        def note(func_id: str, version: str, request_id: str, level: str, text: str) -> None:
            self.book.line(LogLine(self.clock.time_s(), func_id, version, "", request_id, level, text))

        self.deliverer = Deliverer(
            self.queue.deliveries,
            self.destinations,
            self.config,
            now_s=self.clock.onward_s,
            project_of=lambda urn: parse_urn(urn, self.project_id).project_id,
            count=self.metrics.delivery,
            note=note,
        )
        self.queue.attach(self.deliverer.stored, lambda: self.deliverer.open)
        self.signer = await trio.to_thread.run_sync(open_signer, self.prepared.state_dir, self.clock.time_s())
        host = f"[{self.prepared.host}]" if ":" in self.prepared.host else self.prepared.host
        base_url = self.config.public_url.rstrip("/") or f"http://{host}:{self.prepared.port}"
        self.fanout = Deliverer(
            self.topic_store.deliveries,
            Fanout(self.config, self.topics, node, self.web, self.signer, base_url, self.clock.time_s),
            self.config,
            now_s=self.clock.time_s,
            project_of=lambda urn: urn.split(":")[3],
            count=lambda topic_id, subscription_id, kind, result, count: None,
            # Who asks for the deliveries of a topic is shown what went wrong; there is no log of a topic.
            note=lambda topic_id, subscription_id, message_id, level, text: None,
        )
        self.topics.attach(self.fanout.stored, lambda: self.fanout.open)

    async def _make_triggers(self) -> None:
        """What makes events."""
        self.test_events = SavedEvents(self.functions, SavedEventStore(self.catalog.database), self.clock.time_s)
        trigger_store = TriggerStore(self.catalog.database)
        api_store = ApiStore(self.catalog.database, self.catalog.secrets)
        self.apis = Apis(
            api_store,
            await api_store.all(),
            self.clock.time_s,
            lambda https: api_url(self.config, self.listeners, https),
        )
        self.trigger_host = TriggerHost(self.clock.time_s, self.plugins.report)
        doors = TriggerDoors(
            self.directory,
            self.queue,
            self.invoker,
            trigger_store,
            self.trigger_host,
            self.clock,
            await trigger_store.notes(),
            OwnSources(
                self.directory,
                self.log_streams,
                self.audit,
                self.log_streams.listeners,
                self.config,
                self.objects,
                self.remote,
            ).of,
            self.topics.listen,
            self.objects.journal.leave,
        )
        self.triggers = Triggers(
            self.functions,
            self.directory,
            trigger_store,
            self.catalog.secrets,
            self.plugins.classes("fgd_trigger_types"),
            self.trigger_host,
            doors,
            self.config.region,
            self.clock.time_s,
            self.apis,
            self.topics,
            self.config.time_zone,
            report=self.plugins.report,
        )

    def _make_front(self) -> None:
        """The API and the gateway before all that."""
        self.status = Status(
            self.scheduler,
            self.metrics,
            project_id=self.project_id,
            functions=lambda: len(self.directory),
            async_waiting=lambda: self.queue.waiting,
            deliveries=lambda: (self.deliverer.open, self.deliverer.failed),
            network=self.networks.summary,
        )
        self.services = Services(
            config=self.config,
            project_id=self.project_id,
            functions=self.functions,
            versions=Versions(self.functions, self.directory, self.catalog, self.clock.time_s),
            aliases=Aliases(self.functions, self.directory, self.catalog, self.clock.time_s, self.planner.moving),
            triggers=self.triggers,
            apis=self.apis,
            trigger_states=self.trigger_host.state,
            object_source=ObjectSource(self.objects, self.remote),
            dependencies=self.dependencies,
            disks=self.disks,
            async_configs=self.async_configs,
            reservations=self.reservations,
            planner=self.planner,
            history=self.history,
            tags=self.tags,
            test_events=self.test_events,
            trials=Trials(
                self.directory, self.test_events, self.invoker, self.config.sync_timeout_s, self.handout.extras
            ),
            targets=Targets(self.destinations, self.directory),
            deliveries=self.deliverer,
            topic_deliveries=self.fanout,
            topics=self.topics,
            templates=self.templates,
            publisher=self.publisher,
            certificate=(self.signer.certificate_id, self.signer.certificate),
            transfer=Transfer(self.functions, self.tags, ArchiveReader(self.prepared.state_dir), self.dependencies),
            records=self.queue,
            credentials=Credentials(
                self.catalog, self.keyring, self.clock.time_s, self.config.token_ttl_s, self.project_id
            ),
            agencies=self.agencies,
            keyring=self.keyring,
            logs=self.book,
            log_streams=self.log_streams,
            audit=self.audit,
            runtimes=lambda: {install.id: _shown(install) for install in self.prepared.runtimes},
            networks=self.networks.shown,
            status=self.status.document,
            instances=self.status.instances,
            metrics=self.status.metrics,
            plugins=PluginList(self.plugins, self.destinations, self.disks, self.triggers, self.trigger_host).shown,
            doctor=self.doctor,
            now_s=self.clock.time_s,
        )
        self.gateway = Gateway(
            self.config,
            self.reactor,
            directory=self.directory,
            keyring=self.keyring,
            invoker=self.invoker,
            queue=self.queue,
            record=self.recorder.invocation,
            time_s=self.clock.time_s,
            cold_parts=_cold_parts,
            extras=self.handout.extras,
            tls=partial(server_context, self.prepared.state_dir, DOOR_ADDRESS),
            subnets={name: network.subnet for name, network in self.config.networks.items()},
            apis=self.apis,
            certificate=None if self.certificate is None else self.certificate.context,
        )
        self.host.doors = self.gateway.doors


def object_app(parts: Parts, *, behind_gateway: bool) -> ObjectApp:
    """The object store's HTTP side."""
    return ObjectApp(
        parts.objects,
        parts.uploads,
        parts.keyring,
        parts.project_id,
        parts.config.region,
        behind_gateway=behind_gateway,
    )


def memory_budget_mib(config: Config) -> int:
    """Memory that instances may be promised together."""
    real_mib = config.memory_budget_mib or int(psutil.virtual_memory().total * _BUDGET_SHARE) // MIB
    return int(real_mib * config.memory_overcommit)


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
