"""Log groups and streams, as the cloud's log service has them, and the lines of streams.

`POST .../tenant/contents` is the cloud's way of reporting lines; `.../lines` is fgd's own, which takes plain text too.
"""

import gzip
import io
import zlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from fgd.api.operation import NOTHING, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.control.asyncs import number
from fgd.control.rules import shown
from fgd.errors import BadParameter, BadQuery, BodyTooLarge
from fgd.model import LogGroup, LogStream
from fgd.store.streams import StreamLine
from fgd.units import MIB

INGEST_MAX_BYTES: Final = 8 * MIB
LINES_MAX: Final = 50_000
#: The cloud's own limit of one line.
LINE_MAX_BYTES: Final = 512 * 1024
READ_MAX: Final = 10_000
_GZIP: Final = b"\x1f\x8b"
_SHORT_MAX_CHARS: Final = 256

_GROUPS: Final = "/v2/{project_id}/groups"
_GROUP: Final = _GROUPS + "/{log_group_id}"
_STREAMS: Final = _GROUP + "/streams"
_STREAM: Final = _STREAMS + "/{log_stream_id}"
_LINES: Final = "/fgd/v1/projects/{project_id}/log-streams/{log_stream_id}/lines"
_CONTENTS: Final = "/v2/{project_id}/lts/groups/{log_group_id}/streams/{log_stream_id}/tenant/contents"


class SentLine(msgspec.Struct, frozen=True):
    """One line as JSON. `time`: epoch milliseconds."""

    message: str
    time: int = 0
    host_name: str = ""
    ip: str = ""
    path: str = ""


class _Content(msgspec.Struct, frozen=True):
    log: str
    log_time_ns: int = 0


class _Contents(msgspec.Struct, frozen=True):
    """The cloud's form: all of one time, or each with its own."""

    contents: list[str | _Content]
    log_time_ns: int | str = 0
    labels: dict[str, Any] | str | None = None


_sent_lines: Final = msgspec.json.Decoder(list[SentLine | str])
_contents: Final = msgspec.json.Decoder(_Contents)


async def list_log_groups(services: Services, ask: Ask) -> Answer:
    return Answer({"log_groups": [_group(one) for one in services.log_streams.groups(ask.project_id)]})


async def create_log_group(services: Services, ask: Ask) -> Answer:
    group = await services.log_streams.create_group(ask.project_id, ask.json())
    return Answer({"log_group_id": group.group_id})


async def update_log_group(services: Services, ask: Ask) -> Answer:
    return Answer(_group(await services.log_streams.change_group(ask.project_id, ask.path["log_group_id"], ask.json())))


async def delete_log_group(services: Services, ask: Ask) -> Answer:
    await services.log_streams.delete_group(ask.project_id, ask.path["log_group_id"])
    return NOTHING


async def list_log_streams(services: Services, ask: Ask) -> Answer:
    found = services.log_streams.streams(ask.project_id, ask.path["log_group_id"])
    return Answer({"log_streams": [_stream(one) for one in found]})


async def create_log_stream(services: Services, ask: Ask) -> Answer:
    stream = await services.log_streams.create_stream(ask.project_id, ask.path["log_group_id"], ask.json())
    return Answer({"log_stream_id": stream.stream_id})


async def delete_log_stream(services: Services, ask: Ask) -> Answer:
    await services.log_streams.delete_stream(ask.project_id, ask.path["log_group_id"], ask.path["log_stream_id"])
    return NOTHING


async def put_log_contents(services: Services, ask: Ask) -> Answer:
    """`{"log_time_ns": N, "contents": ["line", ...], "labels": {...}}`, or each content as {log, log_time_ns}.
    Labels are accepted and not kept."""
    stream = services.log_streams.stream(ask.project_id, ask.path["log_stream_id"], ask.path["log_group_id"])
    body = _inflated(ask.body)
    try:
        sent = _contents.decode(body)
        time_ms = int(sent.log_time_ns) // 1_000_000
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadParameter(f"contents: the body must be {{log_time_ns, contents: [line, ...]}}: {error}") from error
    now_ms = int(services.now_s() * 1000)
    lines = [
        StreamLine(time_ms or now_ms, one)
        if isinstance(one, str)
        else StreamLine(one.log_time_ns // 1_000_000 or time_ms or now_ms, one.log)
        for one in sent.contents
    ]
    await services.log_streams.ingest(stream, _checked(lines))
    return Answer({"errorCode": "SVCSTG.ALS.200.200", "errorMessage": "Report success.", "result": None})


async def put_log_lines(services: Services, ask: Ask) -> Answer:
    """A JSON array of lines (strings, or {message, time, host_name, ip, path}), or text with a line in each line; both
    possibly as gzip."""
    stream = services.log_streams.stream(ask.project_id, ask.path["log_stream_id"])
    body = _inflated(ask.body)
    now_ms = int(services.now_s() * 1000)
    if body.lstrip()[:1] == b"[":
        try:
            sent = _sent_lines.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise BadParameter(
                f"body: must be an array of lines, or text that does not begin with [: {error}"
            ) from error
        lines = [
            StreamLine(now_ms, one)
            if isinstance(one, str)
            else StreamLine(one.time or now_ms, one.message, one.host_name, one.ip, one.path)
            for one in sent
        ]
    else:
        lines = [StreamLine(now_ms, one) for one in body.decode("utf-8", "replace").split("\n") if one]
    await services.log_streams.ingest(stream, _checked(lines))
    return Answer({"count": len(lines)})


async def list_log_lines_of_stream(services: Services, ask: Ask) -> Answer:
    """Lines in the order in which they came; `cursor` given as `after` goes on behind them. Without `after` the newest
    come, of a function's own stream the oldest."""
    stream = services.log_streams.stream(ask.project_id, ask.path["log_stream_id"])
    limit = number(ask.query, "limit", 1000)
    if not 0 < limit <= READ_MAX:
        raise BadQuery(f"limit: must be 1 to {READ_MAX}, not {limit}")
    after = number(ask.query, "after", 0, 2**53)
    found = await services.log_streams.read(stream, after, limit, newest="after" not in ask.query)
    lines = [
        {
            "message": line.text, "time": line.time_ms, "host_name": line.host, "ip": line.ip, "path": line.path,
            "line_no": position,
        }
        for position, line in found
    ]  # fmt: skip
    return Answer({"lines": lines, "cursor": found[-1][0] if found else after})


def _inflated(body: bytes) -> bytes:
    """The body, unpacked if it is gzip: no text and no JSON begins like that."""
    if not body.startswith(_GZIP):
        return body
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            plain = file.read(INGEST_MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadParameter(f"body: begins like gzip and is not: {error}") from error
    if len(plain) > INGEST_MAX_BYTES:
        raise BodyTooLarge(f"body: must be at most {INGEST_MAX_BYTES} bytes when it is unpacked")
    return plain


def _checked(lines: list[StreamLine]) -> list[StreamLine]:
    if len(lines) > LINES_MAX:
        raise BadParameter(f"body: must have at most {LINES_MAX} lines, not {len(lines)}")
    for number_, line in enumerate(lines):
        if not 0 <= line.time_ms < 2**53:
            raise BadParameter(f"body[{number_}].time: must be epoch milliseconds, not {shown(line.time_ms)}")
        if len(line.text) * 4 > LINE_MAX_BYTES and len(line.text.encode()) > LINE_MAX_BYTES:
            raise BadParameter(f"body[{number_}]: a line has at most {LINE_MAX_BYTES} bytes")
        for name, value in (("host_name", line.host), ("ip", line.ip), ("path", line.path)):
            if len(value) > _SHORT_MAX_CHARS:
                raise BadParameter(f"body[{number_}].{name}: must be at most {_SHORT_MAX_CHARS} characters")
    return lines


def _group(group: LogGroup) -> Mapping[str, object]:
    return {
        "log_group_id": group.group_id,
        "log_group_name": group.name,
        "creation_time": int(group.created_s * 1000),
        "ttl_in_days": group.keep_days,
        "tag": {},
    }


def _stream(stream: LogStream) -> Mapping[str, object]:
    return {
        "log_stream_id": stream.stream_id,
        "log_stream_name": stream.name,
        "creation_time": int(stream.created_s * 1000),
        "filter_count": 0,
        "tag": {},
    }


OPERATIONS = (
    Operation("list_log_groups", "GET", _GROUPS, "List log groups", list_log_groups),
    Operation(
        "create_log_group", "POST", _GROUPS, "Create a log group", create_log_group, status=201,
        fields=("log_group_name", "ttl_in_days"),
    ),
    Operation(
        "update_log_group", "POST", _GROUP, "Set how long lines are kept", update_log_group, fields=("ttl_in_days",)
    ),
    Operation(
        "delete_log_group", "DELETE", _GROUP, "Delete a log group with its streams", delete_log_group, status=204
    ),
    Operation("list_log_streams", "GET", _STREAMS, "List the streams of a log group", list_log_streams),
    Operation(
        "create_log_stream", "POST", _STREAMS, "Create a log stream", create_log_stream, status=201,
        fields=("log_stream_name",),
    ),
    Operation("delete_log_stream", "DELETE", _STREAM, "Delete a log stream", delete_log_stream, status=204),
    Operation(
        "put_log_contents", "POST", _CONTENTS, "Add lines to a log stream (the cloud's form)", put_log_contents,
        fields=("log_time_ns", "contents", "labels"), body_max_bytes=INGEST_MAX_BYTES,
    ),
    Operation(
        "put_log_lines", "POST", _LINES, "Add lines to a log stream", put_log_lines, body_max_bytes=INGEST_MAX_BYTES
    ),
    Operation(
        "list_lines_of_stream", "GET", _LINES, "Lines of a log stream", list_log_lines_of_stream,
        query=("after", "limit"),
    ),
)  # fmt: skip
