"""`fgd events` and `fgd test`: events kept with a function, and functions tried with them."""

import argparse
import base64
import json
import sys
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from fgd.cli.client import Client
from fgd.cli.invoke import read_event
from fgd.cli.report import EXIT_FUNCTION, print_json, print_table

#: Longest wait for a result; the daemon gives up earlier.
_WAIT_S = 320.0
_TEMPLATES = "/fgd/v1/event-templates"


def list_events(args: argparse.Namespace) -> None:
    """One line per test event."""
    client = Client(args.admin_socket)
    found = client.call("GET", client.functions_path(args.function, "events"))
    if args.json:
        print_json(found)
        return
    rows = [
        (event["name"], event["id"], datetime.fromtimestamp(event["last_modified"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        for event in found["events"]
    ]
    print_table(("NAME", "ID", "MODIFIED"), rows, empty=f"{args.function} has no test events")


def create(args: argparse.Namespace) -> None:
    """Keeps an event."""
    client = Client(args.admin_socket)
    if args.data is None:
        template = client.call("GET", f"{_TEMPLATES}/{quote(args.template or 'blank', safe='')}")
        content = json.dumps(template["event"], ensure_ascii=False).encode()
    else:
        content = read_event(args.data)
    body = {"name": args.event, "content": base64.b64encode(content).decode()}
    made = client.call("POST", client.functions_path(args.function, "events"), body=body)
    _done(args, "created", made)


def show(args: argparse.Namespace) -> None:
    """Prints its JSON."""
    client = Client(args.admin_socket)
    event = client.call("GET", _one(client, args))
    content = json.loads(base64.b64decode(event["content"]))
    print_json({**event, "event": content} if args.json else content)


def update(args: argparse.Namespace) -> None:
    """Gives it other content."""
    client = Client(args.admin_socket)
    body = {"content": base64.b64encode(read_event(args.data)).decode()}
    _done(args, "updated", client.call("PUT", _one(client, args), body=body))


def delete(args: argparse.Namespace) -> None:
    """Deletes it."""
    client = Client(args.admin_socket)
    client.call("DELETE", _one(client, args))
    _done(args, "deleted", {"deleted": args.event})


def _one(client: Client, args: argparse.Namespace) -> str:
    return client.functions_path(args.function, f"events/{quote(args.event, safe='')}")


def _done(args: argparse.Namespace, word: str, value: Any) -> None:
    if args.json:
        print_json(value)
    else:
        print(f"{word} {args.event}")


def templates(args: argparse.Namespace) -> None:
    """All event sources, or what one of them sends."""
    client = Client(args.admin_socket)
    if args.template:
        found = client.call("GET", f"{_TEMPLATES}/{quote(args.template, safe='')}")
        print_json(found if args.json else found["event"])
        return
    found = client.call("GET", _TEMPLATES)
    if args.json:
        print_json(found)
        return
    rows = [(one["name"], one["title"], one["description"]) for one in found["event_templates"]]
    print_table(("SOURCE", "TITLE", "EVENT"), rows)


def test(args: argparse.Namespace) -> int:
    """Runs a function and prints everything that came of it; the exit code tells whether it failed."""
    body: dict[str, Any] = {}
    if args.data is not None:
        body["data"] = json.loads(read_event(args.data))
    elif args.event:
        body["event"] = args.event
    elif args.template:
        body["template"] = args.template
    client = Client(args.admin_socket, timeout_s=_WAIT_S)
    found = client.call("POST", f"/fgd/v1/functions/{quote(client.urn(args.function), safe='')}/test", body=body)
    if args.json:
        print_json(found)
    else:
        _print(found)
    return EXIT_FUNCTION if found["error_code"] else 0


def _print(found: dict[str, Any]) -> None:
    summary = found["summary"]
    print(f"result ({f'failed with {found["error_code"]}' if found['error_code'] else 'success'})")
    print(json.dumps(found["result"], indent=2, ensure_ascii=False))
    print("\nsummary")
    print(f"  request   {found['request_id']}")
    print(f"  function  {found['function_urn']}")
    print(f"  duration  {summary['duration']:.3f} ms, billed {summary['billingDuration']} ms")
    print(f"  memory    {summary['memoryUsed']:.3f} MB used of {summary['memorySize']} MB")
    print("\nlog")
    sys.stdout.write(found["log"] if found["log"].endswith("\n") or not found["log"] else found["log"] + "\n")
