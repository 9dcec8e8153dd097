"""What fgd itself is a source of (`fgd.trigger.Sources`) for triggers: log streams, the audit log and buckets."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import msgspec

from fgd.config import Config
from fgd.control.audit import Audit
from fgd.control.log_loops import leads_to
from fgd.control.log_streams import LogStreams
from fgd.control.object_feed import StoreFeed
from fgd.control.remote_feed import RemoteFeed
from fgd.errors import LogLoop
from fgd.invoke.resolve import Directory
from fgd.remote.client import RemoteStores
from fgd.store.objects import ObjectStore
from fgd.store.streams import POSITION_STEP
from fgd.stream import Stream
from fgd.trigger import ObjectFeed, Place
from fgd.urn import FunctionUrn


class LogRecord(msgspec.Struct, frozen=True):
    """A line as events carry it (events, section 4)."""

    message: str
    time: int
    host_name: str
    ip: str
    path: str
    log_uid: str
    line_no: int


class OwnSources:
    """Makes feeds. One for the whole daemon; `of` gives a trigger's view of it."""

    def __init__(
        self,
        directory: Directory,
        streams: LogStreams,
        audit: Audit,
        listeners: Callable[[str], Iterable[str]],
        config: Config,
        objects: ObjectStore,
        remote: RemoteStores,
    ) -> None:
        self.directory = directory
        self.streams = streams
        self.audit = audit
        self.listeners = listeners
        self.config = config
        self.objects = objects
        self.remote = remote

    def of(self, place: Place) -> "TriggerSources":
        """What a trigger may read."""
        return TriggerSources(self, place)


class TriggerSources:
    """See `fgd.trigger.Sources`."""

    def __init__(self, own: OwnSources, place: Place) -> None:
        self._own = own
        self._place = place

    def logs(self, group_id: str, stream_id: str) -> "LogFeed":
        own, place = self._own, self._place
        own.streams.group(place.project_id, group_id, "event_data.log_group_id")
        own.streams.stream(place.project_id, stream_id, group_id, "event_data.log_topic_id")
        function = own.directory.resolve(FunctionUrn(place.project_id, place.package, place.function_name, "latest"))
        if leads_to(own.directory, own.listeners, function.func_id, stream_id):
            raise LogLoop(
                f"event_data.log_topic_id: the log of {place.function_name} goes into that stream, directly or by"
                " way of other functions, so that it would invoke itself without end"
            )
        return LogFeed(own.streams, place, group_id, stream_id)

    def audit(self) -> "AuditRecords":
        return AuditRecords(self._own.audit, self._place)

    def stream(self, name: str, field: str = "stream_name") -> Stream:
        return self._own.config.stream(name, f"event_data.{field}", self._place.project_id)

    def objects(self, bucket: str, store: str = "", prefix: str = "") -> ObjectFeed:
        own, place = self._own, self._place
        if not store:
            return StoreFeed(own.objects, place, bucket)
        client = own.remote.of(place.project_id, store, "event_data.store")
        return RemoteFeed(own.objects, client, place, bucket, prefix)


class LogFeed:
    """Lines of one stream, see `fgd.trigger.Feed`."""

    def __init__(self, streams: LogStreams, place: Place, group_id: str, stream_id: str) -> None:
        self._streams = streams
        self._project_id = place.project_id
        self._group_id = group_id
        self._stream_id = stream_id
        self._changed = streams.changed(stream_id)
        # Ids of chunks are milliseconds of the clock, or higher.
        self.begin = int(place.since_s * 1000) * POSITION_STEP
        self._uid_end = stream_id[18:]

    async def read(self, after: int, most: int = 1000) -> Sequence[tuple[int, bytes]]:
        self._changed = self._streams.changed(self._stream_id)
        stream = self._streams.stream(self._project_id, self._stream_id, self._group_id)
        encode = msgspec.json.encode
        return [
            (position, encode(LogRecord(*_shown(line), self._uid(position), position)))
            for position, line in await self._streams.read(stream, after, most)
        ]

    async def wait(self) -> None:
        await self._changed.wait()

    def _uid(self, position: int) -> str:
        """The same each time that the line is read: a line that comes twice is known by it."""
        digits = f"{position:016x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:]}{self._uid_end}"


def _shown(line: Any) -> tuple[str, int, str, str, str]:
    return line.text, line.time_ms, line.host, line.ip, line.path


class AuditRecords:
    """The project's traces, see `fgd.trigger.AuditFeed`."""

    def __init__(self, audit: Audit, place: Place) -> None:
        self._audit = audit
        self._project_id = place.project_id
        self._changed = audit.changed
        self.begin = audit.position_of(place.since_s)
        self.operations: Collection[tuple[str, str, str]] = audit.operations

    async def read(self, after: int, most: int = 1000) -> Sequence[tuple[int, bytes]]:
        self._changed = self._audit.changed
        return await self._audit.store.read(self._project_id, after, most)

    async def wait(self) -> None:
        await self._changed.wait()
