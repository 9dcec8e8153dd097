"""A kit for tests of trigger types: a door that records, and a clock that jumps.

    def test_it_hands_over_what_comes() -> None:
        rig = TriggerRig(Timer, {"name": "tick", "schedule_type": "Rate", "schedule": "1m"})

        events = rig.run(seconds=150)

        assert 2 == len(events)

Virtual time: while every task waits, trio's `MockClock` jumps to the next deadline, so a day takes no time. What talks
to a real server needs the real clock: `TriggerRig(..., real_time=True)`.
"""

import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio
import trio.testing

from fgd.call import Outcome
from fgd.config import Config
from fgd.errors import LogStreamNotFound
from fgd.stream import Stream
from fgd.topic import TopicMessage
from fgd.trigger import (
    BadEvent,
    BadTriggerConfig,
    FunctionOff,
    ObjectChange,
    Place,
    Sources,
    TriggerType,
)
from fgd.units import ASYNC_PAYLOAD_MAX_BYTES, SYNC_PAYLOAD_MAX_BYTES

#: When virtual time begins: 1 January 2026, 00:00 UTC, in epoch seconds.
BEGIN_S = 1_767_225_600.0

PLACE = Place(
    trigger_id="00000000-0000-4000-8000-000000000001",
    project_id="p" * 32,
    region="local",
    function_name="f",
    package="default",
    qualifier="latest",
    function_urn=f"urn:fss:local:{'p' * 32}:function:default:f:latest",
    since_s=BEGIN_S,
)


@dataclass(slots=True)
class Recorded:
    """An event that the trigger handed over: decoded JSON, the moment in epoch seconds, and by which way."""

    event: Any
    time_s: float
    sync: bool


@dataclass
class HeldObjects:
    """`fgd.trigger.ObjectFeed` with the changes that a test makes."""

    there: bool = True
    start: int = 0
    changes: list[ObjectChange] = field(default_factory=list)
    #: What the trigger said it has, in the order of its calls.
    followed: list[int] = field(default_factory=list)
    _more: trio.Event = field(default_factory=trio.Event)

    def add(self, *changes: ObjectChange) -> None:
        """Makes changes."""
        self.changes.extend(changes)
        more, self._more = self._more, trio.Event()
        more.set()

    async def ready(self) -> bool:
        await trio.lowlevel.checkpoint()
        return self.there

    async def begin(self) -> int:
        await trio.lowlevel.checkpoint()
        return self.start

    async def follow(self, after_seq: int, most: int) -> list[ObjectChange]:
        self.followed.append(after_seq)
        while not (found := [one for one in self.changes if one.seq > after_seq]):
            await self._more.wait()
        return found[:most]


@dataclass
class ListedFeed:
    """`fgd.trigger.AuditFeed` of a list: `add` a record, it gets the next position."""

    begin: int = 0
    operations: Collection[tuple[str, str, str]] = ()
    records: list[tuple[int, bytes]] = field(default_factory=list)
    _more: trio.Event = field(default_factory=trio.Event)
    _seen: trio.Event | None = None

    def add(self, record: Any) -> None:
        """A record: bytes that are JSON, or what becomes JSON."""
        data = record if isinstance(record, bytes) else msgspec.json.encode(record)
        self.records.append((len(self.records) + 1, data))
        more, self._more = self._more, trio.Event()
        more.set()

    async def read(self, after: int, most: int = 1000) -> Sequence[tuple[int, bytes]]:
        self._seen = self._more
        await trio.lowlevel.checkpoint()
        return [one for one in self.records if one[0] > after][:most]

    async def wait(self) -> None:
        await (self._more if self._seen is None else self._seen).wait()


@dataclass
class ListedSources:
    """`fgd.trigger.Sources`: log streams by (group, stream), the audit log, named streams, and buckets by name or
    `STORE/BUCKET`."""

    streams: dict[tuple[str, str], ListedFeed] = field(default_factory=dict)
    trail: ListedFeed = field(default_factory=ListedFeed)
    named: dict[str, Stream] = field(default_factory=dict)
    buckets: dict[str, HeldObjects] = field(default_factory=dict)

    def logs(self, group_id: str, stream_id: str) -> ListedFeed:
        try:
            return self.streams[group_id, stream_id]
        except KeyError:
            raise LogStreamNotFound(f"event_data.log_topic_id: there is no log stream {stream_id!r}") from None

    def audit(self) -> ListedFeed:
        return self.trail

    def stream(self, name: str, field: str = "stream_name") -> Stream:
        return Config(streams=self.named).stream(name, f"event_data.{field}", PLACE.project_id)

    def objects(self, bucket: str, store: str = "", prefix: str = "") -> HeldObjects:
        name = f"{store}/{bucket}" if store else bucket
        return self.buckets.setdefault(name, HeldObjects(there=False))


@dataclass
class RecordingDoor:
    """`fgd.trigger.Door` that keeps what comes through it.

    `answer` is what `invoke` gives, from the decoded event; `off` makes the function refuse; `delay_s` is how long each
    event takes, which is what a slow function does to its source.
    """

    place: Place = PLACE
    sources: Sources = field(default_factory=ListedSources)
    answer: Callable[[Any], Outcome] = field(default=lambda event: Outcome(0, b"null"))
    off: bool = False
    delay_s: float = 0.0
    events: list[Recorded] = field(default_factory=list)
    memory: bytes = b""
    figures: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    #: Messages that `listen` gives, each to who listens to its topic; what `take` raises comes out of it.
    messages: list[TopicMessage] = field(default_factory=list)
    begin_s: float = BEGIN_S
    _offset_s: float = math.nan
    _more: trio.Event | None = None
    _was_set: trio.Event | None = None

    async def enqueue(self, event: Any, *, chain: tuple[str, ...] = ()) -> str:
        self._take(event, ASYNC_PAYLOAD_MAX_BYTES, sync=False)
        await trio.sleep(self.delay_s)
        return f"00000000-0000-4000-8000-{len(self.events):012d}"

    async def invoke(self, event: Any) -> Outcome:
        recorded = self._take(event, SYNC_PAYLOAD_MAX_BYTES, sync=True)
        await trio.sleep(self.delay_s)
        return self.answer(recorded.event)

    async def listen(
        self,
        topic_urn: str,
        take: Callable[[TopicMessage], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        task_status.started()
        while self.messages:
            message = self.messages.pop(0)
            if message.topic_urn == topic_urn:
                await take(message)
        await trio.sleep_forever()

    async def wait_for(self, number: float) -> None:
        """Waits until so many events have come."""
        while len(self.events) < number:
            self._more = trio.Event()
            await self._more.wait()

    def now_s(self) -> float:
        if math.isnan(self._offset_s):
            self._offset_s = self.begin_s - trio.current_time()
        return trio.current_time() + self._offset_s

    async def sleep_until(self, at_s: float) -> bool:
        if self._was_set is None:
            self._was_set = trio.Event()
        was_set = self._was_set
        with trio.move_on_after(max(at_s - self.now_s(), 0)):
            await was_set.wait()
        return not was_set.is_set()

    def set_clock(self, ahead_s: float) -> None:
        """Somebody sets the system's clock forward, or back."""
        self._offset_s = self.now_s() - trio.current_time() + ahead_s
        if self._was_set is not None:
            self._was_set.set()
        self._was_set = trio.Event()

    def recall(self) -> bytes:
        return self.memory

    async def remember(self, note: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.memory = note

    def count(self, name: str, number: int = 1) -> None:
        self.figures[name] = self.figures.get(name, 0) + number

    def gauge(self, name: str, value: float) -> None:
        self.figures[name] = value

    def note(self, text: str) -> None:
        self.notes.append(text)

    def _take(self, event: Any, most: int, *, sync: bool) -> Recorded:
        if self.off:
            raise FunctionOff("function f is disabled")
        try:
            data = event if isinstance(event, bytes) else msgspec.json.encode(event)
            decoded = msgspec.json.decode(data)
        except (msgspec.MsgspecError, TypeError) as error:
            raise BadEvent(f"the event is no JSON: {error}") from error
        if len(data) > most:
            raise BadEvent(f"the event has {len(data)} bytes, more than {most}")
        recorded = Recorded(decoded, self.now_s(), sync)
        self.events.append(recorded)
        if self._more is not None:
            self._more.set()
        return recorded


class TriggerRig[S: msgspec.Struct]:
    """One trigger of a type, with a door that records."""

    def __init__(
        self,
        kind: type[TriggerType[S]],
        event_data: Mapping[str, object],
        *,
        door: RecordingDoor | None = None,
        real_time: bool = False,
    ) -> None:
        """
        Raises:
            BadTriggerConfig: the settings cannot be; as a user's would be refused.
        """
        self.kind = kind
        self.door = door or RecordingDoor()
        self.settings = parse(kind, event_data, self.door.place)
        self._real_time = real_time

    def run(self, *, seconds: float = math.inf, events: int = 0, ready: Callable[[], Any] | None = None) -> list[Any]:
        """Runs it for so long, or until so many events came; gives them decoded.

        Args:
            ready: an async function called once the source is connected, to make something happen there.

        Raises:
            TimeoutError: it was to give `events` within `seconds`, and did not.
        """
        clock = None if self._real_time else trio.testing.MockClock(autojump_threshold=0)
        trio.run(self.serve, seconds, events, ready, clock=clock)
        return [one.event for one in self.door.events]

    async def serve(self, seconds: float, events: int, ready: Callable[[], Any] | None = None) -> None:
        """The same inside of a trio run."""
        self.door.now_s()
        with trio.move_on_after(seconds) as limit:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.kind(self.settings, self.door).serve)
                if ready is not None:
                    nursery.start_soon(ready)
                await self.door.wait_for(events or math.inf)
                nursery.cancel_scope.cancel()
        if limit.cancelled_caught and events:
            raise TimeoutError(f"{len(self.door.events)} events of {events} within {seconds} s")


def parse[S: msgspec.Struct](kind: type[TriggerType[S]], event_data: Mapping[str, object], place: Place = PLACE) -> S:
    """Settings as fgd checks them.

    Raises:
        BadTriggerConfig: names the setting and the rule.
    """
    return kind.parse(event_data, place)


__all__ = [
    "BEGIN_S",
    "PLACE",
    "BadTriggerConfig",
    "HeldObjects",
    "ListedFeed",
    "ListedSources",
    "Recorded",
    "RecordingDoor",
    "TriggerRig",
    "parse",
]
