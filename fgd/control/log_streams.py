"""Log groups and streams: made by clients, or those that functions have by themselves (user guide, 3.14 and 7.2).

Each project has a default group, whose id is the project's, with one stream for each function, whose id is the
function's. Nobody makes or deletes those; their lines are read from the log book.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import msgspec
import trio

from fgd.clock import new_request_id
from fgd.config import Config
from fgd.control.rules import shown, text_of, whole
from fgd.errors import BadParameter, Conflict, LogStreamNotFound, PlatformError
from fgd.invoke.resolve import Directory
from fgd.model import Function, LogGroup, LogStream
from fgd.store.api import LogLine
from fgd.store.log_groups import LogGroupStore
from fgd.store.streams import StreamLine, StreamStore
from fgd.units import MIB

log = logging.getLogger(__name__)

#: The cloud's own limits.
GROUPS_MAX: Final = 100
STREAMS_MAX: Final = 100
KEEP_DAYS: Final = (1, 365)
KEEP_DAYS_DEFAULT: Final = 30
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}\Z")
_NAME_RULE: Final = "must be 1 to 64 letters, digits, hyphens, underscores and dots, and not begin with a dot"
DEFAULT_PREFIX: Final = "functiongraph.log.group."
_TIDY_S: Final = 60.0
_DAY_S: Final = 86_400.0


class FunctionLogs(Protocol):
    """Where functions' own lines are; the real thing is `fgd.store.logs.SqliteLogBook`."""

    async def flush(self) -> None: ...
    async def follow(self, func_id: str, after: int, limit: int) -> list[tuple[int, LogLine]]: ...


class LogStreams:
    """The operations on log groups and streams."""

    def __init__(
        self,
        config: Config,
        directory: Directory,
        groups: LogGroupStore,
        store: StreamStore,
        book: FunctionLogs,
        now_s: Callable[[], float],
        listeners: Callable[[str], Iterable[str]] = lambda stream_id: (),
    ) -> None:
        """
        Args:
            listeners: ids of functions that have a trigger on a stream.
        """
        self._config = config
        self._directory = directory
        self._groups_store = groups
        self._store = store
        self._book = book
        self._now_s = now_s
        self.listeners = listeners
        self._groups: dict[str, LogGroup] = {}
        self._streams: dict[str, LogStream] = {}
        self._changed: dict[str, trio.Event] = {}
        self._lock = trio.Lock()

    async def load(self) -> None:
        """Reads what groups and streams there are."""
        self._groups = {group.group_id: group for group in await self._groups_store.groups()}
        self._streams = {
            stream.stream_id: stream for stream in await self._groups_store.streams() if stream.group_id in self._groups
        }

    # --- groups and streams ------------------------------------------------------------------------------

    def groups(self, project_id: str) -> list[LogGroup]:
        """A project's, its default group first, then by name."""
        own = [group for group in self._groups.values() if group.project_id == project_id]
        return [self._default(project_id), *sorted(own, key=lambda group: group.name)]

    def group(self, project_id: str, group_id: str, field: str = "log_group_id") -> LogGroup:
        """One group.

        Raises:
            LogStreamNotFound: the project has none with this id.
        """
        if group_id == project_id:
            return self._default(project_id)
        group = self._groups.get(group_id)
        if group is None or group.project_id != project_id:
            raise LogStreamNotFound(f"{field}: the project has no log group {group_id[:64]!r}")
        return group

    async def create_group(self, project_id: str, body: Mapping[str, object]) -> LogGroup:
        """Makes a group.

        Raises:
            BadParameter: a bad name or number of days, or too many groups.
            Conflict: the name is taken.
        """
        name = _name("log_group_name", body.get("log_group_name"))
        if name.startswith(DEFAULT_PREFIX):
            raise BadParameter(f"log_group_name: {DEFAULT_PREFIX}... are the names of groups that fgd has by itself")
        keep_days = _days(body.get("ttl_in_days", KEEP_DAYS_DEFAULT))
        async with self._lock:
            mine = self.groups(project_id)
            if any(group.name == name for group in mine):
                raise Conflict(f"log_group_name: the project has a log group {name!r} already")
            if len(mine) > GROUPS_MAX:
                raise BadParameter(f"log_group_name: the project has its {GROUPS_MAX} log groups")
            group = LogGroup(
                group_id=new_request_id(), project_id=project_id, name=name, keep_days=keep_days,
                created_s=self._now_s(),
            )  # fmt: skip
            with trio.CancelScope(shield=True):
                await self._groups_store.put_group(group)
                self._groups[group.group_id] = group
        return group

    async def change_group(self, project_id: str, group_id: str, body: Mapping[str, object]) -> LogGroup:
        """Sets how long lines are kept; raises as `create_group` and `group`."""
        keep_days = _days(body.get("ttl_in_days"))
        async with self._lock:
            group = self._own_group(project_id, group_id)
            group = msgspec.structs.replace(group, keep_days=keep_days)
            with trio.CancelScope(shield=True):
                await self._groups_store.put_group(group)
                self._groups[group_id] = group
        return group

    async def delete_group(self, project_id: str, group_id: str) -> None:
        """Deletes a group with its streams and their lines.

        Raises:
            LogStreamNotFound: there is none.
            Conflict: a function writes to one of its streams, or a trigger reads one.
        """
        async with self._lock:
            self._own_group(project_id, group_id)
            streams = [one.stream_id for one in self._streams.values() if one.group_id == group_id]
            for stream_id in streams:
                self._check_unused(stream_id)
            with trio.CancelScope(shield=True):
                await self._groups_store.delete_group(group_id)
                del self._groups[group_id]
                for stream_id in streams:
                    del self._streams[stream_id]
        for stream_id in streams:
            self.notify(stream_id)

    def streams(self, project_id: str, group_id: str) -> list[LogStream]:
        """The streams of a group, by name; raises as `group`."""
        self.group(project_id, group_id)
        if group_id == project_id:
            found = [own_stream(function) for function in self._directory.list(project_id)]
        else:
            found = [stream for stream in self._streams.values() if stream.group_id == group_id]
        return sorted(found, key=lambda stream: stream.name)

    def stream(self, project_id: str, stream_id: str, group_id: str = "", field: str = "log_stream_id") -> LogStream:
        """One stream; with a group's id it must be of that group.

        Raises:
            LogStreamNotFound: the project, or the group, has none with this id.
        """
        stream = self._streams.get(stream_id)
        if stream is None and (function := self._directory.by_id(stream_id)) is not None:
            stream = own_stream(function)
        if stream is None or stream.project_id != project_id or group_id not in ("", stream.group_id):
            where = f"log group {group_id[:64]!r}" if group_id else "project"
            raise LogStreamNotFound(f"{field}: the {where} has no log stream {stream_id[:64]!r}")
        return stream

    async def create_stream(self, project_id: str, group_id: str, body: Mapping[str, object]) -> LogStream:
        """Makes a stream; raises as `create_group` and `group`."""
        name = _name("log_stream_name", body.get("log_stream_name"))
        async with self._lock:
            self._own_group(project_id, group_id)
            mine = self.streams(project_id, group_id)
            if any(stream.name == name for stream in mine):
                raise Conflict(f"log_stream_name: the log group has a stream {name!r} already")
            if len(mine) >= STREAMS_MAX:
                raise BadParameter(f"log_stream_name: the log group has its {STREAMS_MAX} streams")
            stream = LogStream(
                stream_id=new_request_id(), group_id=group_id, project_id=project_id, name=name,
                created_s=self._now_s(),
            )  # fmt: skip
            with trio.CancelScope(shield=True):
                await self._groups_store.put_stream(stream)
                self._streams[stream.stream_id] = stream
        return stream

    async def delete_stream(self, project_id: str, group_id: str, stream_id: str) -> None:
        """Deletes a stream with its lines; raises as `delete_group`."""
        async with self._lock:
            self._own_group(project_id, group_id)
            self.stream(project_id, stream_id, group_id)
            self._check_unused(stream_id)
            with trio.CancelScope(shield=True):
                await self._groups_store.delete_stream(stream_id)
                del self._streams[stream_id]
        self.notify(stream_id)

    # --- lines -------------------------------------------------------------------------------------------

    async def ingest(self, stream: LogStream, lines: Sequence[StreamLine]) -> None:
        """Adds lines; they are on disk when this returns.

        Raises:
            BadParameter: it is a function's own stream.
            StorageFull: nothing was stored.
        """
        if stream.group_id == stream.project_id:
            raise BadParameter("log_stream_id: is a function's own, to which only the function writes")
        await self.append([(stream.stream_id, lines)])

    async def append(
        self, parts: Sequence[tuple[str, Sequence[StreamLine]]], progress: tuple[str, int] | None = None
    ) -> None:
        """As `fgd.store.streams.StreamStore.append`, and tells who waits for these streams."""
        await self._store.append(parts, progress)
        for stream_id, _ in parts:
            self.notify(stream_id)

    async def read(
        self, stream: LogStream, after: int, most: int, *, newest: bool = False
    ) -> list[tuple[int, StreamLine]]:
        """Lines behind a position with their own, in order; with `newest` the last ones of the stream.

        `newest` has no effect on a function's own stream: the newest lines of those come by `fgd logs`.
        """
        if stream.group_id != stream.project_id:
            return await self._store.read(stream.stream_id, after, most, newest=newest)
        function = self._directory.by_id(stream.stream_id)
        path = "" if function is None else log_path(function)
        found = await self._book.follow(stream.stream_id, after, most)
        return [(position, function_line(line, path)) for position, line in found]

    def changed(self, stream_id: str) -> trio.Event:
        """Set when the stream next gets lines, or goes."""
        return self._changed.setdefault(stream_id, trio.Event())

    def notify(self, stream_id: str) -> None:
        """The stream has more lines, or is gone."""
        if (event := self._changed.pop(stream_id, None)) is not None:
            event.set()

    async def run(self) -> None:
        """Removes lines that are too old or too many; runs until cancelled."""
        while True:
            try:
                await self.tidy()
            except PlatformError as error:
                log.error("old lines of log streams stay: %s", error)
            await trio.sleep(_TIDY_S)

    async def tidy(self) -> None:
        """Removes them once."""
        now_s = self._now_s()
        keep = {
            stream.stream_id: now_s - self._groups[stream.group_id].keep_days * _DAY_S
            for stream in self._streams.values()
        }
        await self._store.trim(keep, self._config.stream_max_mib * MIB)

    # --- inside ------------------------------------------------------------------------------------------

    def _default(self, project_id: str) -> LogGroup:
        name = DEFAULT_PREFIX + project_id[:8]
        return LogGroup(
            group_id=project_id, project_id=project_id, name=name, keep_days=self._config.log_keep_days, created_s=0.0
        )

    def _own_group(self, project_id: str, group_id: str) -> LogGroup:
        if group_id == project_id:
            raise BadParameter("log_group_id: the default group is fgd's own; it cannot be changed")
        return self.group(project_id, group_id)

    def _check_unused(self, stream_id: str) -> None:
        users = {one.func_id for one in self._directory.all_versions() if one.log_stream_id == stream_id}
        users |= set(self.listeners(stream_id))
        names = sorted({one.name for func_id in users if (one := self._directory.by_id(func_id)) is not None})
        if names:
            raise Conflict(
                f"log_stream_id: {self._streams[stream_id].name!r} is used by the functions {', '.join(names[:5])};"
                " change their log settings and triggers first"
            )


def own_stream(function: Function) -> LogStream:
    """The stream that a function has by itself."""
    return LogStream(
        stream_id=function.func_id,
        group_id=function.project_id,
        project_id=function.project_id,
        name=f"{function.name}-{function.func_id[:8]}",
        created_s=function.created_s,
    )


def log_path(function: Function) -> str:
    """What stands for a file's path in lines of a function."""
    return f"functions/{function.package}/{function.name}"


def function_line(line: LogLine, path: str) -> StreamLine:
    """A line of the log book as streams have it."""
    return StreamLine(int(line.time_s * 1000), line.text, line.instance_id, "", path)


def _name(field: str, value: object) -> str:
    text = text_of(field, value)
    if not _NAME.match(text):
        raise BadParameter(f"{field}: {_NAME_RULE}, not {shown(value)}")
    return text


def _days(value: object) -> int:
    return whole("ttl_in_days", value, *KEEP_DAYS, BadParameter, "days")
