"""The seam between event sources and functions: what a trigger type is, and what it is handed.

A trigger type is a class that a plugin gives by the hook `fgd_trigger_types`. fgd makes one object of it for each
trigger that is switched on and runs its `serve` as a task; what the object may do is what its `Door` offers.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import msgspec
import trio

from fgd.call import Outcome
from fgd.errors import RequestError
from fgd.route import ApiRoute
from fgd.stream import Stream
from fgd.topic import TopicMessage

Status = Literal["ACTIVE", "DISABLED"]


class BadTriggerConfig(RequestError):
    """A setting of a trigger that cannot be; the message begins with `event_data.<field>`."""

    def __init__(self, field: str, rule: str, code: str = "FSS.0400") -> None:
        """
        Args:
            field: path of the setting inside `event_data`, such as `schedule`.
            rule: what it must be, and what it is.
            code: of the error; left out, it is the one of the trigger's type.
        """
        super().__init__(f"event_data.{field}: {rule}")
        self.field = field
        self.rule = rule
        self.code = code  # type: ignore[misc]  # each trigger type has its own


class FunctionOff(Exception):
    """The function of a trigger takes no events now: it is disabled, or gone."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a trigger is: what its settings are checked against and its events may name."""

    trigger_id: str
    project_id: str
    region: str
    function_name: str
    package: str
    #: `latest`, a version, or an alias with its leading "!".
    qualifier: str
    #: The URN of 8 fields.
    function_urn: str
    #: When the trigger was made, changed, or switched on or off last; epoch seconds.
    since_s: float = 0.0
    #: Name of the region's time zone.
    time_zone: str = "UTC"
    #: Topics that the trigger listens to and that are not there; filled in for `TriggerType.shown` alone.
    missing_topics: frozenset[str] = frozenset()


class Feed(Protocol):
    """Records that fgd itself keeps, in the order in which they came. Each has a position, a number that grows."""

    #: Where a new trigger begins: below the position of every record that came since `Place.since_s`. Remember it at
    #: once, because a change of the trigger moves it.
    begin: int

    async def read(self, after: int, most: int = 1000) -> Sequence[tuple[int, bytes]]:
        """The next records behind a position: (position, JSON of the record); none when there are no more yet.

        Raises:
            RequestError: what it is about is gone.
        """

    async def wait(self) -> None:
        """Returns when there may be more than the last `read` saw."""


class AuditFeed(Feed, Protocol):
    """The audit log; records are traces."""

    #: (service, type of resource, name) of all operations that are recorded.
    operations: Collection[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """A change in the node's object store."""

    #: Grows with every change.
    seq: int
    #: Such as `ObjectCreated:Put` or `ObjectRemoved:Delete`.
    name: str
    key: str
    #: MD5 in hex; of an object in parts with "-" and their number.
    etag: str
    size_bytes: int
    at_s: float
    #: Who changed it, from which address, by which request.
    principal: str
    address: str
    request_id: str
    #: Of an object that a destination made: ids of the functions whose notifications led to it, for `Door.enqueue`.
    chain: tuple[str, ...] = ()


class ObjectFeed(Protocol):
    """Changes in one bucket. They are kept on disk until the trigger says that it has them."""

    async def ready(self) -> bool:
        """Whether there is such a bucket now."""

    async def begin(self) -> int:
        """Where a new trigger begins: the number of the last change before it was made or changed."""

    async def follow(self, after_seq: int, most: int) -> list[ObjectChange]:
        """Changes after one, oldest first, at least one; waits for it. Those up to `after_seq` may be forgotten."""


class Sources(Protocol):
    """What fgd itself is a source of, for the project of one trigger; and the sources that its settings name."""

    def logs(self, group_id: str, stream_id: str) -> Feed:
        """A log stream.

        Raises:
            RequestError: there is none, or the trigger's function writes its own log there.
        """

    def audit(self) -> AuditFeed:
        """What was done in the project."""

    def stream(self, name: str, field: str = "stream_name") -> Stream:
        """A stream of the node's settings: where it is, and how to get in. fgd reads nothing of it by itself.

        Args:
            field: the setting of the trigger that names it.

        Raises:
            StreamNotFound: there is none of that name for the trigger's project; begins with `event_data.<field>`.
        """

    def objects(self, bucket: str, store: str = "", prefix: str = "") -> ObjectFeed:
        """A bucket, which need not be there yet.

        Args:
            store: one of the setting `object_stores`; "": the node's own.
            prefix: changes of other keys are not needed, and may be left out.

        Raises:
            RequestError: the project has no such store.
        """


class Door(Protocol):
    """What a running trigger may do."""

    place: Place

    @property
    def sources(self) -> Sources:
        """What fgd itself is a source of."""

    async def enqueue(self, event: Any, *, chain: tuple[str, ...] = ()) -> str:
        """Hands an event over; it is on disk when this returns. Gives the request id.

        Waits as long as the queue is full, so that a slow function slows its source.

        Args:
            event: what becomes the event's JSON: any value that JSON knows, or bytes that are JSON already.
            chain: ids of the functions whose notifications led to it, where the source tells them.

        Raises:
            FunctionOff: the function is disabled or gone; the event was not taken.
            BadEvent: it is over 256 KB or no JSON, or the function is in its chain: it would go round for ever.
        """

    async def invoke(self, event: Any) -> Outcome:
        """Runs an event now and waits for what it comes to; waits as long as there is no room.

        Raises:
            FunctionOff, BadEvent: as `enqueue`, the limit being 6 MB.
        """

    async def listen(
        self,
        topic_urn: str,
        take: Callable[[TopicMessage], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Calls `take` with every message that is published to a topic which `TriggerType.topics` names, until
        cancelled; several at once.

        A message is over when `take` returns. When it raises, or takes longer than the setting `delivery_timeout_s`,
        it gets the message again later, until the message's time to live is over.

        Raises:
            TopicNotFound: there is no such topic, or it was deleted.
        """

    def now_s(self) -> float:
        """Epoch seconds. Sleep with `trio.sleep`; both follow a test's clock."""

    async def sleep_until(self, at_s: float) -> bool:
        """Waits until it is `at_s`, epoch seconds: True. False as soon as the system's clock was set meanwhile (or the
        machine was suspended): what `now_s` gives has jumped, so reckon anew."""

    def recall(self) -> bytes:
        """What was remembered last, b"" for nothing: a cursor, a moment, an offset."""

    async def remember(self, note: bytes) -> None:
        """Keeps up to 64 KiB for this trigger across restarts; on disk when this returns."""

    def count(self, name: str, number: int = 1) -> None:
        """Adds to one of the trigger's own counters, which users see beside its state."""

    def gauge(self, name: str, value: float) -> None:
        """Sets one of the trigger's own figures."""

    def note(self, text: str) -> None:
        """Says how the source is ("connected to ..."); users see the last one. "" takes it away."""


class BadEvent(Exception):
    """An event that no function can get: too large, or not JSON."""


class TriggerType[S: msgspec.Struct](ABC):
    """One kind of event source. Subclasses set the class variables and write `serve`, and `check` where the settings
    have rules that their types cannot express."""

    #: `trigger_type_code` on the wire, upper case.
    code: ClassVar[str]
    #: What `event_data` holds: a msgspec Struct, whose annotations are the rules and whose texts are the docs.
    settings: ClassVar[type[msgspec.Struct]]
    #: Settings that are stored encrypted and never shown.
    secrets: ClassVar[frozenset[str]] = frozenset()
    #: State of a new trigger, unless its creator says another.
    starts: ClassVar[Status] = "ACTIVE"
    may_be_disabled: ClassVar[bool] = True
    #: Whether it is one of those of which a function version may have ten.
    pulls: ClassVar[bool] = True
    #: Codes of errors about its settings, about a second one with the same `identity`, and about one that is not there.
    #: Code of the error about a second trigger of a project with the same `claim`.
    claimed_code: ClassVar[str] = "FSS.0403"
    bad_code: ClassVar[str] = "FSS.0400"
    exists_code: ClassVar[str] = "FSS.0409"
    missing_code: ClassVar[str] = "FSS.1131"

    def __init__(self, settings: S, door: Door) -> None:
        self.config = settings
        self.door = door

    @classmethod
    def parse(cls, event_data: Mapping[str, object], place: Place) -> S:
        """Settings from `event_data`; null counts as absent, and what the type does not know is left alone.

        Raises:
            BadTriggerConfig: names the setting and the rule; with the type's own code.
        """
        known = {name: value for name, value in event_data.items() if value is not None}
        try:
            settings: S = msgspec.convert(known, cls.settings)  # type: ignore[assignment]  # S is the Struct named there
            cls.check(settings, place)
        except msgspec.ValidationError as error:
            text, _, path = str(error).partition(" - at `$")
            field = path.removesuffix("`").lstrip(".")
            if not field and "missing required field" in text:
                field, text = text.split("`")[1], "is needed"
            raise BadTriggerConfig(field or "?", text, cls.bad_code) from error
        except BadTriggerConfig as error:
            code = cls.bad_code if error.code == RequestError.code else error.code
            raise BadTriggerConfig(error.field, error.rule, code) from None
        return settings

    @classmethod  # noqa: B027 - most types have no such rules
    def check(cls, settings: S, place: Place) -> None:
        """Rules beyond types and ranges. Pure: no waiting, no network, no clock.

        Raises:
            BadTriggerConfig: names the setting and the rule.
        """

    @classmethod  # noqa: B027 - most types name nothing of fgd's own
    def admit(cls, settings: S, place: Place, sources: Sources) -> None:
        """Rules about what fgd itself has, looked at when a trigger is made or changed.

        Raises:
            RequestError: begins with the setting; BadTriggerConfig, or what `sources` raised.
        """

    @classmethod
    def identity(cls, settings: S) -> str:
        """What two triggers of one function may not share, "" where nothing."""
        return ""

    @classmethod
    def topics(cls, settings: S) -> Sequence[str]:
        """URNs of the SMN topics that it listens to. They must be there when the trigger is made; from then on what is
        published to them is kept for it, whether it runs or not."""
        return ()

    @classmethod
    def claim(cls, settings: S) -> str:
        """What two triggers of one project may not share, "" where nothing."""
        return ""

    @classmethod
    def shown(cls, settings: S, place: Place) -> Mapping[str, object]:
        """Fields that answers add to the settings as they were sent."""
        return {}

    @classmethod
    def routes(cls, settings: S, place: Place) -> Sequence[ApiRoute]:
        """APIs that the gateway serves while the trigger is there. It calls the function by itself; they are there
        when the trigger's creation is answered. Pure."""
        return ()

    @abstractmethod
    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Takes events from the source and hands them over, until cancelled.

        Call `task_status.started()` once the source is connected. Raising means: start again after a while; what was
        raised is shown as the trigger's error.
        """
