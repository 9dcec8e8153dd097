"""The control plane on a TCP port, with the real catalog, code store and keyring; only queue and logs are stand-ins."""

import http.client
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import quote

import trio

import fgd_apig
from fgd.api.app import make_app
from fgd.api.serve import serve_control
from fgd.api.services import Services
from fgd.api.traced import RECORDED
from fgd.auth.keyring import Keyring
from fgd.builtin import destinations as builtin_destinations
from fgd.builtin import disks as builtin_disks
from fgd.builtin.web import Web
from fgd.call import Call, Outcome
from fgd.config import Config
from fgd.control.agencies import Agencies, Roster
from fgd.control.aliases import Aliases
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
from fgd.control.feeds import OwnSources, TriggerSources
from fgd.control.functions import Functions
from fgd.control.handout import Handout
from fgd.control.log_streams import LogStreams
from fgd.control.message_templates import MessageTemplates
from fgd.control.networks import Networks
from fgd.control.object_source import ObjectSource
from fgd.control.planner import Planner
from fgd.control.publish import Publisher
from fgd.control.reserved import Reservations
from fgd.control.tags import Tags
from fgd.control.targets import Targets
from fgd.control.topics import Topics
from fgd.control.transfer import Transfer
from fgd.control.trials import Trials
from fgd.control.triggers import Triggers
from fgd.control.versions import Versions
from fgd.destination import Delivery
from fgd.disk import DiskNode
from fgd.invoke.deliverer import Deliverer
from fgd.invoke.resolve import Directory
from fgd.network import PUBLIC, public_network
from fgd.plugin_manager import PluginManager
from fgd.remote.client import RemoteStores
from fgd.sandbox.mount_plan import Mount, Owner
from fgd.shares import parse_exports, parse_roots
from fgd.store.agencies import AgencyStore
from fgd.store.api import AsyncRecord, InvocationRecord, LogLine, StartRecord
from fgd.store.apis import ApiStore
from fgd.store.archives import ArchiveReader
from fgd.store.audit import AuditStore
from fgd.store.catalog import SqliteCatalog
from fgd.store.code import FolderCodeStore
from fgd.store.deliveries import DeliveryStore
from fgd.store.dependencies import DependencyStore
from fgd.store.events import SavedEventStore
from fgd.store.history import RequestHistory
from fgd.store.log_groups import LogGroupStore
from fgd.store.names import PackageNames
from fgd.store.objects import ObjectStore
from fgd.store.queue import QueueStore
from fgd.store.reservations import ReservationStore
from fgd.store.signing import open_signer
from fgd.store.streams import StreamStore
from fgd.store.tags import TagStore
from fgd.store.topics import TopicStore
from fgd.store.triggers import Trigger, TriggerStore
from fgd.testing.trigger import RecordingDoor
from fgd.trigger import Place, TriggerType
from fgd.trigger_host import TriggerHost
from fgd_cts import CtsTrigger
from fgd_lts import LtsTrigger
from fgd_smn import SmnTrigger
from tests.control.keeper import NotedKeeper
from tests.control.world import FixedNode, builtin_kinds
from tests.pulse import fgd_trigger_types

PROJECT = "0123456789abcdef0123456789abcdef"
PEER = {"X-Fgd-Peer": "uid:0"}
INSTALLED = {"Python3.12": {"path": "/opt/python3.12"}, "Python3.9": {"path": "/opt/python3.9"}}


class ListedRecords:
    """A queue that holds the records it is given."""

    def __init__(self) -> None:
        self.records: list[AsyncRecord] = []

    async def list_records(
        self,
        func_id: str,
        *,
        version: str = "",
        request_id: str = "",
        state: str = "",
        begin_s: float = 0.0,
        end_s: float = 0.0,
        offset: int = 0,
        limit: int = 100,
    ) -> list[AsyncRecord]:
        found = [
            record
            for record in self.records
            if record.func_id == func_id
            and (not request_id or record.request_id == request_id)
            and (not state or record.state == state)
            and (not version or record.version == version)
            and record.enqueued_s >= begin_s
            and (not end_s or record.enqueued_s <= end_s)
        ]
        return found[offset : offset + limit]

    async def cancel(self, request_id: str) -> bool:
        return any(record.request_id == request_id and record.state in ("WAIT", "RUNNING") for record in self.records)


class TakingNode(FixedNode):
    """Takes events for functions: (URN, decoded event)."""

    def __init__(self, config: Config, now_s: Callable[[], float]) -> None:
        super().__init__(config, now_s)
        self.events: list[tuple[str, Any]] = []

    async def enqueue(self, delivery: Delivery, function_urn: str) -> None:
        self.events.append((function_urn, json.loads(delivery.document)))


class PlayedLauncher:
    """Says of each access path what the test wants; "" for everything else."""

    def __init__(self) -> None:
        self.shares: dict[tuple[int, str], str] = {}
        self.reasons: dict[str, str] = {}
        self.tried: list[Mount] = []

    async def try_mounts(self, mounts: Sequence[Mount], owner: Owner) -> str:
        await trio.lowlevel.checkpoint()
        self.tried += mounts
        return next((self.reasons[mount.path] for mount in mounts if mount.path in self.reasons), "")


class ListedLogs:
    """A log book in a list."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []
        self.records: list[InvocationRecord] = []

    def line(self, line: LogLine) -> None:
        self.lines.append(line)

    def invocation(self, record: InvocationRecord) -> None:
        self.records.append(record)

    def start(self, record: StartRecord) -> None:
        raise NotImplementedError

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()

    async def query(
        self,
        func_id: str,
        *,
        request_id: str = "",
        after: int = 0,
        limit: int = 1000,
        newest: bool = True,
        match: str = "",
    ) -> tuple[list[str], int]:
        found = [(number, line) for number, line in enumerate(self.lines, 1) if line.func_id == func_id]
        found = [
            (number, line)
            for number, line in found
            if number > after and match in line.text and request_id in ("", line.request_id)
        ]
        found = found[-limit:] if newest else found[:limit]
        return [line.text for _, line in found], found[-1][0] if found else after

    async def follow(self, func_id: str, after: int, limit: int) -> list[tuple[int, LogLine]]:
        found = [(number, line) for number, line in enumerate(self.lines, 1) if line.func_id == func_id]
        return [one for one in found if one[0] > after][:limit]

    async def invocations(self, func_id: str, *, request_id: str = "", limit: int = 100) -> list[InvocationRecord]:
        return [record for record in self.records if record.func_id == func_id][:limit]

    async def starts(self, func_id: str, *, limit: int = 100) -> list[StartRecord]:
        return []


class EchoInvoker:
    """Runs no function: what a test put into `outcomes` comes of the next calls, then their own event."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.outcomes: list[Outcome] = []
        self.recorded: list[str] = []

    def submit(self, call: Call) -> None:
        self.calls.append(call)
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome(0, call.event)
        trio.lowlevel.current_trio_token().run_sync_soon(call.done, call, outcome)

    def record(self, call: Call, outcome: Outcome, write_us: int) -> None:
        self.recorded.append(call.request_id)


class Api:
    """A running control plane, and a client that says who it is with whatever headers it likes."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.port = 0
        self.records = ListedRecords()
        self.logs = ListedLogs()
        self.launcher = PlayedLauncher()
        self.keeper = NotedKeeper()
        self.token: trio.lowlevel.TrioToken
        self.invoker = EchoInvoker()
        #: Number of instances by function id.
        self.instances: dict[str, int] = {}
        self.services: Services
        self.directory: Directory
        self.handout: Handout
        self.deliveries: DeliveryStore
        self.objects: ObjectStore
        self.keys: dict[str, str] = {}
        self.lost_s = 0.0
        self.triggers: TriggerHost
        self.own_sources: OwnSources
        #: What subscribed functions got.
        self.node: TakingNode
        #: What triggers handed over, by trigger id.
        self.doors: dict[str, RecordingDoor] = {}

    def open(self, trigger: Trigger, place: Place) -> RecordingDoor:
        """The door of a trigger, which records."""
        return self.doors.setdefault(trigger.trigger_id, RecordingDoor(place, self.sources(place)))

    def sources(self, place: Place) -> TriggerSources:
        """What fgd itself is a source of."""
        return self.own_sources.of(place)

    def forget(self, trigger_id: str) -> None:
        """The trigger was deleted; what it handed over stays for the test to look at."""

    def now_s(self) -> float:
        """Wall time, which a test can move by `lost_s`."""
        return time.time() + self.lost_s

    def send(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, decoded body and headers (names in lower case).

        `headers` None: the token of the first key; `{}`: nobody.
        """
        given = {"X-Auth-Token": self.keys["token"]} if headers is None else headers
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, data, {"Content-Type": "application/json", **given})
            response = connection.getresponse()
            raw = response.read()
            received = {name.lower(): value for name, value in response.headers.items()}
        finally:
            connection.close()
        is_json = raw and response.headers.get_content_type() == "application/json"
        return response.status, json.loads(raw) if is_json else raw.decode("utf-8", "replace"), received

    def do(self, work: Callable[..., Awaitable[object]], *args: object) -> None:
        """Runs something in the control plane's loop."""
        trio.from_thread.run(work, *args, trio_token=self.token)

    def v2(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """A request about the first key's project."""
        return self.send(method, f"/v2/{self.keys['project_id']}/fgs{path}", body)[:2]

    def function(self, name: str, **fields: object) -> dict[str, Any]:
        """Creates a function with inline code."""
        status, answer = self.v2("POST", "/functions", {**MINIMAL, "func_name": name, **fields})
        assert status == 200, answer
        created: dict[str, Any] = answer
        return created

    def of(self, name: str) -> str:
        """The path of a function by its full URN, percent-encoded as the official SDK does."""
        urn = f"urn:fss:{self.services.config.region}:{self.keys['project_id']}:function:default:{name}"
        return "/functions/" + quote(urn, safe="")


MINIMAL = {
    "runtime": "Python3.12",
    "handler": "index.handler",
    "timeout": 3,
    "memory_size": 128,
    "code_type": "inline",
    "func_code": {"file": "ZGVmIGhhbmRsZXIoZXZlbnQsIGNvbnRleHQpOgogICAgcmV0dXJuIGV2ZW50Cg=="},
}


@contextmanager
def running_api(state_dir: Path, config: Config) -> Iterator[Api]:
    """An `Api` whose loop runs in a thread of its own until the block ends."""
    api = Api(state_dir)
    ready = threading.Event()
    stop: list[Callable[[], None]] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            trio.run(_main, api, state_dir, config, ready, stop)
        except BaseException as error:  # shown by the thread that waits for `ready`
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait()
    if failed:
        raise failed[0]
    try:
        yield api
    finally:
        stop[0]()
        thread.join()
    if failed:
        raise failed[0]


async def _main(
    api: Api, state_dir: Path, config: Config, ready: threading.Event, stop: list[Callable[[], None]]
) -> None:
    catalog = await SqliteCatalog.open(state_dir, api.now_s)
    code = FolderCodeStore(
        state_dir, unpacked_max_mib=config.unpacked_max_mib, unpacked_max_files=config.unpacked_max_files
    )
    api.directory = Directory(await catalog.functions(), await catalog.aliases())
    keyring = Keyring(api.now_s)
    keyring.load(await catalog.access_keys(), await catalog.tokens())
    configs = AsyncConfigs(catalog, api.now_s, await catalog.async_configs())
    topic_store = await TopicStore.open(state_dir)
    web = Web(config.webhook_urls)
    topics = Topics(topic_store, api.directory, web, config.region, api.now_s, config.async_backlog_max)
    await topics.load()
    templates = MessageTemplates(topic_store, api.now_s)
    await templates.load()
    publisher = Publisher(topics, templates, api.now_s)
    signer = open_signer(state_dir, api.now_s())
    api.node = TakingNode(config, api.now_s)
    fanout = Deliverer(
        topic_store.deliveries,
        Fanout(config, topics, api.node, web, signer, "http://fgd.example", api.now_s),
        config,
        now_s=api.now_s,
        project_of=lambda urn: urn.split(":")[3],
        count=lambda func_id, version, kind, result, number: None,
        note=lambda func_id, version, request_id, level, text: None,
    )
    topics.attach(fanout.stored, lambda: fanout.open)
    api.directory.subscribe(configs.forget)

    queue = await QueueStore.open(state_dir)
    plugins = PluginManager([builtin_destinations], [])
    destinations = builtin_kinds(FixedNode(config, api.now_s))
    api.deliveries = queue.deliveries
    deliverer = Deliverer(
        queue.deliveries,
        destinations,
        config,
        now_s=api.now_s,
        project_of=lambda urn: PROJECT,
        count=lambda func_id, version, kind, result, number: None,
        note=lambda func_id, version, request_id, level, text: None,
    )

    async def doctor() -> object:
        return {"checks": []}

    dependency_store = DependencyStore(catalog.database)
    names = PackageNames(state_dir)
    dependencies = Dependencies(
        config, api.directory, dependency_store, code, names, api.now_s, await dependency_store.all()
    )
    node = DiskNode(parse_roots(config.mount_roots), parse_exports(config.nfs_servers))
    drivers = [("disks", driver) for driver in builtin_disks.fgd_disk_drivers()]
    disks = Disks(drivers, node, api.launcher, api.directory.all_versions)
    agency_store = AgencyStore(catalog)
    roster = Roster(await agency_store.agencies())
    networks = Networks(PUBLIC, config.networks, public_network(config.public_subnet, config.sandboxes_max))
    facets = (
        TagsFacet(),
        DependencyFacet(config, dependencies),
        LifecycleFacet(),
        AgencyFacet(roster.has),
        MountsFacet(disks),
        ReservedFacet(lambda function: reservations.of_version(function)),
        NetworkFacet(networks, api.directory.all_versions, IPv4Network(config.public_subnet)),
        LogFacet(api.directory, lambda: log_streams),
    )
    functions = Functions(
        config,
        api.directory,
        catalog,
        code,
        catalog.secrets,
        api.now_s,
        facets,
        shared=dependencies,
        verify=disks.verify,
        standing_by=lambda function: planner.standing_by(function),
    )
    stream_store = await StreamStore.open(state_dir, api.now_s)
    log_streams = LogStreams(
        config, api.directory, LogGroupStore(catalog.database), stream_store, api.logs, api.now_s,
        lambda stream_id: triggers.listeners(stream_id),
    )  # fmt: skip
    await log_streams.load()
    audit_store = await AuditStore.open(state_dir)
    audit = Audit(audit_store, api.now_s, RECORDED, lambda: triggers.secret_names)
    objects = await ObjectStore.open(state_dir, state_dir / "objects", api.now_s, 100)
    api.objects = objects
    remote = RemoteStores({}, PROJECT, api.now_s)
    api.own_sources = OwnSources(api.directory, log_streams, audit, log_streams.listeners, config, objects, remote)
    history = await RequestHistory.open(state_dir)
    reservation_store = ReservationStore(catalog.database)
    reservations = Reservations(
        functions, api.directory, reservation_store, api.now_s, await reservation_store.all(),
        memory_mib=16384, instances=500,
    )  # fmt: skip
    planner = Planner(reservations, api.directory, api.keeper, history, lambda: (), api.now_s)
    tag_store = TagStore(catalog.database)
    tags = Tags(functions, tag_store, await tag_store.load())
    api.directory.subscribe(tags.forget)
    test_events = SavedEvents(functions, SavedEventStore(catalog.database), api.now_s)
    store = TriggerStore(catalog.database)
    api.triggers = TriggerHost(api.now_s, lambda plugin, text: None)
    kinds: list[tuple[str, type[TriggerType[Any]]]] = [("pulse", kind) for kind in fgd_trigger_types()]
    kinds += [("logs", LtsTrigger), ("audit", CtsTrigger)]
    kinds += [("smn", SmnTrigger)]
    kinds += [("apig", kind) for kind in fgd_apig.fgd_trigger_types()]
    api_store = ApiStore(catalog.database, catalog.secrets)
    apis = Apis(api_store, await api_store.all(), api.now_s, lambda https: "http://127.0.0.1:8320/api/{group}")
    triggers = Triggers(
        functions,
        api.directory,
        store,
        catalog.secrets,
        kinds,
        api.triggers,
        api,
        config.region,
        api.now_s,
        apis,
        topics,
    )
    api.handout = Handout(agency_store, keyring, api.now_s, config.agency_ttl_s)
    agencies = Agencies(roster, agency_store, keyring, api.handout, api.directory, functions.settled, api.now_s)
    await agencies.open()
    api.services = Services(
        config=config,
        project_id=PROJECT,
        functions=functions,
        versions=Versions(functions, api.directory, catalog, api.now_s),
        aliases=Aliases(functions, api.directory, catalog, api.now_s, planner.moving),
        triggers=triggers,
        apis=apis,
        trigger_states=api.triggers.state,
        object_source=ObjectSource(objects, remote),
        dependencies=dependencies,
        disks=disks,
        async_configs=configs,
        reservations=reservations,
        planner=planner,
        history=history,
        tags=tags,
        test_events=test_events,
        trials=Trials(api.directory, test_events, api.invoker, config.sync_timeout_s),
        targets=Targets(destinations, api.directory),
        deliveries=deliverer,
        topic_deliveries=fanout,
        topics=topics,
        templates=templates,
        publisher=publisher,
        certificate=(signer.certificate_id, signer.certificate),
        transfer=Transfer(functions, tags, ArchiveReader(state_dir), dependencies),
        records=api.records,
        credentials=Credentials(catalog, keyring, api.now_s, config.token_ttl_s, PROJECT),
        agencies=agencies,
        keyring=keyring,
        logs=api.logs,
        log_streams=log_streams,
        audit=audit,
        runtimes=lambda: INSTALLED,
        networks=networks.shown,
        status=lambda: {"version": "0", "instances": 0},
        instances=lambda: api.instances,
        metrics=lambda project_id: b"fgd_up 1\n",
        plugins=lambda: [{"name": state.name, "error": state.error} for state in plugins.states()],
        doctor=doctor,
        now_s=api.now_s,
    )
    await triggers.load()
    async with trio.open_nursery() as nursery:
        await nursery.start(planner.run)
        await nursery.start(api.triggers.run)
        nursery.start_soon(triggers.sweep)
        await nursery.start(fanout.run)
        binds: list[str] = await nursery.start(serve_control, make_app(api.services), "127.0.0.1:0")
        api.port = int(binds[0].rsplit(":", 1)[1])
        token = api.token = trio.lowlevel.current_trio_token()
        stop.append(lambda: token.run_sync_soon(nursery.cancel_scope.cancel))
        key, issued = await api.services.credentials.create("tests")
        api.keys = {
            "access_key": key.access_key,
            "secret_key": key.secret_key,
            "project_id": key.project_id,
            "token": issued.text,
        }
        ready.set()
    with trio.CancelScope(shield=True):
        await stream_store.aclose()
        await audit_store.aclose()
        await history.aclose()
        await topic_store.aclose()
        await queue.aclose()
        await objects.aclose()
        await catalog.aclose()
