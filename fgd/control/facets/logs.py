"""`log_config`: the log stream that a function's lines go to, beside the one that it has by itself."""

from collections.abc import Callable, Mapping
from typing import Final

from fgd.control.log_loops import loops_by
from fgd.control.log_streams import DEFAULT_PREFIX, LogStreams, own_stream
from fgd.control.rules import shown, text_of
from fgd.errors import BadParameter, LogLoop, LogStreamNotFound
from fgd.invoke.resolve import Directory
from fgd.model import Function

_IDS: Final = ("group_id", "stream_id")
_FIELDS: Final = ("group_name", "group_id", "stream_name", "stream_id")


class LogFacet:
    """Both ids empty (or the whole object) take the stream away; names may come along and must be right."""

    wire: tuple[str, ...] = ("log_config",)
    #: Where lines go is the daemon's business alone.
    seen_by_instances: tuple[str, ...] = ()

    def __init__(self, directory: Directory, streams: Callable[[], LogStreams]) -> None:
        self._directory = directory
        self._streams = streams

    def parse(self, project_id: str, body: Mapping[str, object], old: Function | None) -> Mapping[str, object]:
        config = body.get("log_config")
        if config is None:
            return {}
        if not isinstance(config, dict):
            raise BadParameter(f"log_config: must be an object, not {shown(config)}")
        given = {name: text_of(f"log_config.{name}", config.get(name) or "") for name in _FIELDS}
        group_id, stream_id = given["group_id"], given["stream_id"]
        if not any(given.values()):
            return {"log_group_id": "", "log_stream_id": ""}
        for name in _IDS:
            if not given[name]:
                raise BadParameter(f"log_config.{name}: is needed; leave out log_config for the function's own stream")
        streams = self._streams()
        if group_id == project_id:
            raise BadParameter(
                f"log_config.group_id: {DEFAULT_PREFIX}... cannot be chosen: its streams are the functions' own"
            )
        group = streams.group(project_id, group_id, "log_config.group_id")
        stream = streams.stream(project_id, stream_id, group_id, "log_config.stream_id")
        for name, right in (("group_name", group.name), ("stream_name", stream.name)):
            if given[name] not in ("", right):
                raise BadParameter(f"log_config.{name}: the name of that id is {right!r}, not {shown(given[name])}")
        return {"log_group_id": group_id, "log_stream_id": stream_id}

    def check(self, function: Function) -> None:
        if function.log_stream_id and loops_by(
            self._directory, self._streams().listeners, function, function.log_stream_id
        ):
            raise LogLoop("log_config.stream_id: a trigger on that stream invokes this function, which would never end")

    def show(self, function: Function) -> Mapping[str, object]:
        where = log_details(self._streams(), function)
        return {
            "log_config": where if function.log_stream_id else None,
            "log_group_id": where["group_id"],
            "log_stream_id": where["stream_id"],
        }


def log_details(streams: LogStreams, function: Function) -> dict[str, str]:
    """Where the log of a function version goes, as `log_config` and lts-log-detail have it."""
    try:
        stream = streams.stream(function.project_id, function.log_stream_id or function.func_id, function.log_group_id)
    except LogStreamNotFound:  # a function that is being created is not in the directory yet
        stream = own_stream(function)
    return {
        "group_name": streams.group(function.project_id, stream.group_id).name,
        "group_id": stream.group_id,
        "stream_name": stream.name,
        "stream_id": stream.stream_id,
    }
