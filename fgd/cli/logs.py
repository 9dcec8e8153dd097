"""`fgd logs`: what a function wrote."""

import argparse
import json
import time
from urllib.parse import quote

from fgd.cli.client import Client
from fgd.cli.report import print_json

#: Seconds between two looks with --follow.
_LOOK_EVERY_S = 0.5
#: Lines fetched with one request while following.
_BATCH = 1000


def logs(args: argparse.Namespace) -> None:
    """The newest lines in order of time; with --follow what comes after them, one JSON line each with --json."""
    client = Client(args.admin_socket)
    path = f"/fgd/v1/functions/{quote(args.function, safe='')}/logs"
    query: dict[str, object] = {"request_id": args.request, "match": args.match, "limit": args.limit}
    found = client.call("GET", path, query=query)
    if args.json and not args.follow:
        print_json(found)
        return
    _print(found["lines"], args.json)
    while args.follow:
        time.sleep(_LOOK_EVERY_S)
        found = client.call("GET", path, query=query | {"after": found["cursor"], "limit": _BATCH})
        _print(found["lines"], args.json)


def _print(lines: list[str], as_json: bool) -> None:
    for line in lines:
        print(json.dumps({"line": line}, ensure_ascii=False) if as_json else line, flush=True)
