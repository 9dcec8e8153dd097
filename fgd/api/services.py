"""What the API works with. The daemon makes one of these and hands it to `make_app`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fgd.config import Config
from fgd.control.agencies import Agencies
from fgd.control.aliases import Aliases
from fgd.control.apis import Apis
from fgd.control.asyncs import AsyncConfigs, Records
from fgd.control.audit import Audit
from fgd.control.credentials import Credentials
from fgd.control.deliveries import Deliveries
from fgd.control.dependencies import Dependencies
from fgd.control.disks import Disks
from fgd.control.events import SavedEvents
from fgd.control.functions import Functions
from fgd.control.log_streams import LogStreams
from fgd.control.message_templates import MessageTemplates
from fgd.control.object_source import ObjectSource
from fgd.control.planner import History, Planner
from fgd.control.publish import Publisher
from fgd.control.reserved import Reservations
from fgd.control.tags import Tags
from fgd.control.targets import Targets
from fgd.control.topics import Topics
from fgd.control.transfer import Transfer
from fgd.control.trials import Trials
from fgd.control.triggers import Triggers
from fgd.control.versions import Versions
from fgd.model import Principal
from fgd.store.api import LogBook
from fgd.trigger_watch import Running

type Headers = Sequence[tuple[bytes, bytes]]


class Authenticator(Protocol):
    """Who sent a request; the real thing is `fgd.auth.keyring.Keyring`."""

    def precheck(self, headers: Headers) -> None:
        """Refuses with Unauthorized what can be told before the body is there."""

    def authenticate(self, method: str, target: bytes, headers: Headers, body: bytes) -> Principal:
        """Who that is; raises Unauthorized."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that answers of the API come from."""

    config: Config
    #: Project of keys and short URNs where nothing else names one.
    project_id: str
    functions: Functions
    versions: Versions
    aliases: Aliases
    triggers: Triggers
    #: What the gateway publishes.
    apis: Apis
    #: How a trigger that is switched on is.
    trigger_states: Callable[[str], Running | None]
    object_source: ObjectSource
    dependencies: Dependencies
    disks: Disks
    async_configs: AsyncConfigs
    reservations: Reservations
    planner: Planner
    #: Minutes of every version.
    history: History
    tags: Tags
    test_events: SavedEvents
    trials: Trials
    targets: Targets
    #: Outcomes of asynchronous invocations that are on their way or did not arrive.
    deliveries: Deliveries
    #: Messages on their way to subscribers, or that did not arrive; a topic is their function.
    topic_deliveries: Deliveries
    topics: Topics
    templates: MessageTemplates
    publisher: Publisher
    #: Id and PEM of the certificate by which messages are checked.
    certificate: tuple[str, bytes]
    transfer: Transfer
    #: The asynchronous queue.
    records: Records
    credentials: Credentials
    agencies: Agencies
    keyring: Authenticator
    logs: LogBook
    log_streams: LogStreams
    audit: Audit
    #: Runtime ids that this node can run, each with what `fgd runtimes` shows of it.
    runtimes: Callable[[], Mapping[str, Mapping[str, object]]]
    #: Networks of this node, as JSON objects.
    networks: Callable[[], Sequence[Mapping[str, object]]]
    #: JSON value for `fgd status`: version, uptime, instances, memory, queue.
    status: Callable[[], Mapping[str, object]]
    #: How many instances there are of each function that has any, by its id.
    instances: Callable[[], Mapping[str, int]]
    #: Prometheus text: of one project's functions and of the node, or of everything for "".
    metrics: Callable[[str], bytes]
    #: JSON value for `fgd plugins`.
    plugins: Callable[[], Sequence[Mapping[str, object]]]
    #: JSON value for `fgd doctor`.
    doctor: Callable[[], Awaitable[object]]
    #: Epoch seconds.
    now_s: Callable[[], float]
