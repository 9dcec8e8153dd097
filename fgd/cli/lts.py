"""`fgd lts`: log groups, log streams and their lines."""

import argparse
import gzip
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fgd.cli.client import Client
from fgd.cli.report import UsageError, print_fields, print_json, print_table

_FOLLOW_S = 0.5
_BATCH_LINES = 10_000
_BATCH_CHARS = 4 * 1024 * 1024


def groups(args: argparse.Namespace) -> None:
    """All groups, or one that is made, changed or deleted."""
    client = Client(args.admin_socket)
    path = f"/v2/{client.project_id}/groups"
    if not args.group:
        if args.create or args.delete or args.days is not None:
            raise UsageError("lts groups: name the log group")
        found = client.call("GET", path)
        if args.json:
            print_json(found)
            return
        rows = [
            (one["log_group_id"], one["log_group_name"], one["ttl_in_days"], _moment(one["creation_time"]))
            for one in found["log_groups"]
        ]
        print_table(("ID", "GROUP", "DAYS", "CREATED"), rows)
        return
    if args.create:
        body = {"log_group_name": args.group, **({} if args.days is None else {"ttl_in_days": args.days})}
        _print(client.call("POST", path, body=body), args.json)
        return
    one = f"{path}/{quote(_group_id(client, args.group), safe='')}"
    if args.delete:
        client.call("DELETE", one)
    elif args.days is not None:
        _print(client.call("POST", one, body={"ttl_in_days": args.days}), args.json)
    else:
        _print(_group(client, args.group), args.json)


def streams(args: argparse.Namespace) -> None:
    """The streams of a group, or one that is made or deleted."""
    client = Client(args.admin_socket)
    path = f"/v2/{client.project_id}/groups/{quote(_group_id(client, args.group), safe='')}/streams"
    if not args.stream:
        if args.create or args.delete:
            raise UsageError("lts streams: name the log stream")
        found = client.call("GET", path)
        if args.json:
            print_json(found)
            return
        rows = [
            (one["log_stream_id"], one["log_stream_name"], _moment(one["creation_time"]))
            for one in found["log_streams"]
        ]
        print_table(("ID", "STREAM", "CREATED"), rows, empty="no log streams")
        return
    if args.create:
        _print(client.call("POST", path, body={"log_stream_name": args.stream}), args.json)
        return
    stream = _stream(client, args.group, args.stream)
    if args.delete:
        client.call("DELETE", f"{path}/{quote(stream['log_stream_id'], safe='')}")
    else:
        _print(stream, args.json)


def ingest(args: argparse.Namespace) -> None:
    """Sends the lines of a file, many with each request."""
    client = Client(args.admin_socket)
    path = _lines_path(client, args.stream)
    try:
        count = 0
        for batch in _batches(sys.stdin if args.file == "-" else _lines_of(Path(args.file))):
            count += client.call("POST", path, raw=gzip.compress("".join(batch).encode(), 1))["count"]
    except OSError as error:
        raise UsageError(f"{args.file}: {error.strerror}") from error
    if args.json:
        print_json({"count": count})
    else:
        print(f"{count} lines")


def _lines_of(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from file


def _batches(lines: Any) -> Iterator[list[str]]:
    """Parts of what comes in, each small enough for one request."""
    batch: list[str] = []
    size = 0
    for line in lines:
        batch.append(line)
        size += len(line)
        # A body may have 8 MiB when it is unpacked; a character at most 4 bytes, mostly one.
        if len(batch) == _BATCH_LINES or size > _BATCH_CHARS // 2:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def read(args: argparse.Namespace) -> None:
    """The newest lines, or those behind a cursor; with --follow what comes after them."""
    client = Client(args.admin_socket)
    path = _lines_path(client, args.stream)
    found = client.call("GET", path, query={"limit": args.limit, "after": args.after})
    if args.json and not args.follow:
        print_json(found)
        return
    while True:
        for line in found["lines"]:
            print(f"{_moment(line['time'])} {line['message']}", flush=True)
        if not args.follow:
            return
        if not found["lines"]:
            time.sleep(_FOLLOW_S)
        found = client.call("GET", path, query={"limit": 1000, "after": found["cursor"]})


def config_fields(args: argparse.Namespace, client: Client) -> dict[str, Any]:
    """`log_config` of --log-stream, if it was given."""
    if args.log_stream is None:
        return {}
    if not args.log_stream:
        return {"log_config": {"group_id": "", "stream_id": ""}}
    group, slash, name = args.log_stream.partition("/")
    if not slash:
        raise UsageError(f"--log-stream: must be GROUP/STREAM, not {args.log_stream!r}")
    stream_id = _stream(client, group, name)["log_stream_id"]
    return {"log_config": {"group_id": _group_id(client, group), "stream_id": stream_id}}


def _lines_path(client: Client, stream: str) -> str:
    group, slash, name = stream.partition("/")
    stream_id = _stream(client, group, name)["log_stream_id"] if slash else stream
    return f"/fgd/v1/projects/{client.project_id}/log-streams/{quote(stream_id, safe='')}/lines"


def _group(client: Client, wanted: str) -> dict[str, Any]:
    found = client.call("GET", f"/v2/{client.project_id}/groups")["log_groups"]
    for one in found:
        if wanted in (one["log_group_id"], one["log_group_name"]):
            return dict(one)
    raise UsageError(f"there is no log group {wanted!r}; fgd lts groups lists them")


def _group_id(client: Client, wanted: str) -> str:
    return str(_group(client, wanted)["log_group_id"])


def _stream(client: Client, group: str, wanted: str) -> dict[str, Any]:
    path = f"/v2/{client.project_id}/groups/{quote(_group_id(client, group), safe='')}/streams"
    for one in client.call("GET", path)["log_streams"]:
        if wanted in (one["log_stream_id"], one["log_stream_name"]):
            return dict(one)
    raise UsageError(f"the log group {group!r} has no stream {wanted!r}; fgd lts streams lists them")


def _print(value: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(value)
    else:
        print_fields((name.replace("_", " "), one) for name, one in value.items())


def _moment(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time_ms else ""
