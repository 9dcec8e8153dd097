"""What a running trigger is handed (`fgd.trigger.Door`): its way to the function, its memory, its figures."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
import trio

from fgd.call import PLAIN, CallOptions, Outcome
from fgd.clock import Clock, new_request_id
from fgd.errors import (
    AliasNotFound,
    FunctionDisabled,
    FunctionNotFound,
    Overloaded,
    StateError,
    StorageFull,
    VersionNotFound,
)
from fgd.invoke.api import Invoker
from fgd.invoke.handover import loop_of
from fgd.invoke.queue import AsyncQueue
from fgd.invoke.resolve import Directory
from fgd.invoke.topic_feeds import CHAIN
from fgd.model import Function
from fgd.store.triggers import Trigger, TriggerStore
from fgd.topic import TopicMessage
from fgd.trigger import BadEvent, FunctionOff, Place, Sources
from fgd.trigger_host import TriggerHost
from fgd.trigger_watch import Running
from fgd.units import ASYNC_PAYLOAD_MAX_BYTES, SYNC_PAYLOAD_MAX_BYTES
from fgd.urn import FunctionUrn

NOTE_MAX_BYTES: Final = 64 * 1024
COUNTERS_MAX: Final = 64
_NO_ROOM_FIRST_S: Final = 0.05
_NO_ROOM_MAX_S: Final = 2.0
_TEXT_MAX: Final = 200


class Listening(Protocol):
    """Lets a trigger listen to a topic; see `Door.listen`."""

    async def __call__(
        self,
        trigger_id: str,
        topic_urn: str,
        take: Callable[[TopicMessage], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[None],
    ) -> None: ...


class TriggerDoors:
    """Makes doors, and keeps what triggers remember."""

    def __init__(
        self, directory: Directory, queue: AsyncQueue, invoker: Invoker, store: TriggerStore, host: TriggerHost,
        clock: Clock, notes: Mapping[str, bytes], sources: Callable[[Place], Sources], listen: Listening,
        leave: Callable[[str], None],
    ) -> None:  # fmt: skip
        """
        Args:
            notes: what `TriggerStore.notes` gave at the start.
            sources: what fgd itself is a source of, for a trigger.
            leave: told the id of a trigger that was deleted.
        """
        self.listen = listen
        self.directory = directory
        self.queue = queue
        self.invoker = invoker
        self.store = store
        self.clock = clock
        self.notes = dict(notes)
        self.sources = sources
        self._leave = leave
        self._host = host

    def open(self, trigger: Trigger, place: Place) -> "TriggerDoor":
        """The door of a trigger that is about to run."""
        running = self._host.state(trigger.trigger_id)
        if running is None:
            raise StateError(f"trigger {trigger.trigger_id} is not switched on")
        return TriggerDoor(self, place, running)

    def forget(self, trigger_id: str) -> None:
        """The trigger was deleted."""
        self.notes.pop(trigger_id, None)
        self._leave(trigger_id)


class TriggerDoor:
    """See `fgd.trigger.Door`."""

    def __init__(self, doors: TriggerDoors, place: Place, running: Running) -> None:
        self.place = place
        self.sources = doors.sources(place)
        self._doors = doors
        self._running = running
        self._urn = FunctionUrn(place.project_id, place.package, place.function_name, place.qualifier)

    async def enqueue(self, event: Any, *, chain: tuple[str, ...] = ()) -> str:
        data = _encoded(event, ASYNC_PAYLOAD_MAX_BYTES)
        chain = chain or CHAIN.get()
        wait_s = _NO_ROOM_FIRST_S
        while True:
            function, options = self._function()
            if chain:
                loop = loop_of(function, chain)
                if loop:
                    raise BadEvent(loop)
                options = CallOptions(alias=options.alias, chain=chain)
            request_id = new_request_id()
            try:
                await self._doors.queue.enqueue(function, request_id, data, options)
            except (Overloaded, StorageFull):
                await trio.sleep(wait_s)
                wait_s = min(wait_s * 2, _NO_ROOM_MAX_S)
                continue
            self._running.events += 1
            return request_id

    async def invoke(self, event: Any) -> Outcome:
        data = _encoded(event, SYNC_PAYLOAD_MAX_BYTES)
        wait_s = _NO_ROOM_FIRST_S
        while True:
            function, _ = self._function()
            try:
                outcome = await self._doors.invoker.invoke(function, new_request_id(), data)
            except Overloaded:
                await trio.sleep(wait_s)
                wait_s = min(wait_s * 2, _NO_ROOM_MAX_S)
                continue
            except FunctionDisabled as error:
                raise FunctionOff(str(error)) from error
            self._running.events += 1
            return outcome

    async def listen(
        self,
        topic_urn: str,
        take: Callable[[TopicMessage], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        await self._doors.listen(self.place.trigger_id, topic_urn, take, task_status=task_status)

    def now_s(self) -> float:
        return self._doors.clock.time_s()

    async def sleep_until(self, at_s: float) -> bool:
        return await self._doors.clock.sleep_until(at_s)

    def recall(self) -> bytes:
        return self._doors.notes.get(self.place.trigger_id, b"")

    async def remember(self, note: bytes) -> None:
        if len(note) > NOTE_MAX_BYTES:
            raise ValueError(f"a note may have {NOTE_MAX_BYTES} bytes, not {len(note)}")
        await self._doors.store.remember(self.place.trigger_id, note)
        self._doors.notes[self.place.trigger_id] = note

    def count(self, name: str, number: int = 1) -> None:
        self.gauge(name, self._running.counters.get(name, 0) + number)

    def gauge(self, name: str, value: float) -> None:
        counters = self._running.counters
        if name in counters or len(counters) < COUNTERS_MAX:
            counters[name[:_TEXT_MAX]] = value

    def note(self, text: str) -> None:
        self._running.note = text[:_TEXT_MAX]

    def _function(self) -> tuple[Function, CallOptions]:
        """The version that gets the next event."""
        if self._running.closed:
            raise FunctionOff("the trigger was stopped")
        directory = self._doors.directory
        try:
            split = directory.split(self._urn)
            function = directory.resolve(self._urn) if split is None else split.pick()
        except (FunctionNotFound, VersionNotFound, AliasNotFound) as error:
            raise FunctionOff(str(error)) from error
        if function.disabled:
            raise FunctionOff(f"function {function.name} is disabled")
        return function, PLAIN if split is None else CallOptions(alias=split.alias.name)


def _encoded(event: Any, most: int) -> bytes:
    try:
        data = event if isinstance(event, bytes) else msgspec.json.encode(event)
        if isinstance(event, bytes) and len(data) <= most:  # looking at 100 MB would keep the loop from working
            msgspec.json.Decoder(msgspec.Raw).decode(data)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise BadEvent(f"the event is no JSON: {error}") from error
    if len(data) > most:
        raise BadEvent(f"the event has {len(data)} bytes, more than {most}")
    return data
