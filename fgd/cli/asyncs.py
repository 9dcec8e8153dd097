"""`fgd async`: what became of queued events."""

import argparse
from typing import Any

from fgd.cli.client import Client
from fgd.cli.deliveries import shown, target
from fgd.cli.report import Refused, UsageError, print_fields, print_json, print_table


def list_records(args: argparse.Namespace) -> None:
    """The records of a function's asynchronous invocations, newest first."""
    client = Client(args.admin_socket)
    query = {"request_id": args.request, "status": args.status, "limit": args.limit}
    found = client.call("GET", client.functions_path(args.function, "async-invocations"), query=query)
    if args.json:
        print_json(found)
        return
    rows = [
        (
            item["request_id"],
            item["status"],
            item.get("start_time"),
            item.get("end_time"),
            item.get("error_code") or "",
            item.get("error_message"),
        )
        for item in found["invocations"]
    ]
    head = ("REQUEST", "STATUS", "START", "END", "CODE", "ERROR")
    print_table(head, rows, empty="no asynchronous invocations in the last hour")


def cancel(args: argparse.Namespace) -> None:
    """Ends one, waiting or running."""
    client = Client(args.admin_socket)
    body = {"request_id": args.request_id, "type": "force"}
    client.call("POST", client.functions_path(args.function, "cancel"), body=body)
    if args.json:
        print_json({"cancelled": args.request_id})
    else:
        print(f"cancelled {args.request_id}")


def config(args: argparse.Namespace) -> None:
    """Shows the retry settings, after changing what was given."""
    client = Client(args.admin_socket)
    path = client.functions_path(args.function, "async-invoke-config")
    given: dict[str, Any] = {
        name: value
        for name, value in (
            ("max_async_retry_attempts", args.max_retries),
            ("max_async_event_age_in_seconds", args.max_age),
        )
        if value is not None
    }
    targets = {
        name: target(client, option, text)
        for name, option, text in (
            ("on_success", "--on-success", args.on_success),
            ("on_failure", "--on-failure", args.on_failure),
        )
        if text is not None
    }
    if args.reset and (given or targets):
        raise UsageError("async config: --reset goes alone")
    if args.reset:
        client.call("DELETE", path)
    current = _current(client, path)
    if targets:
        given["destination_config"] = (current or {}).get("destination_config", {}) | targets
    if given:
        keep = {name: current[name] for name in _KEPT if name in current} if current else {}
        current = client.call("PUT", path, body=keep | given)
    if args.json:
        print_json(current)
    elif current is None:
        print("the defaults: 1 retry, given up after 3600 s")
    else:
        print_fields(
            [
                ("retries", str(current["max_async_retry_attempts"])),
                ("given up after", f"{current['max_async_event_age_in_seconds']} s"),
                ("on success", shown(current["destination_config"]["on_success"])),
                ("on failure", shown(current["destination_config"]["on_failure"])),
            ]
        )


_KEPT = (
    "max_async_retry_attempts",
    "max_async_event_age_in_seconds",
    "destination_config",
    "enable_async_status_log",
)


def _current(client: Client, path: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = client.call("GET", path)
    except Refused as error:
        if error.status == 404:
            return None
        raise
    return found
