"""`fgd async`: what became of queued events."""

import argparse

from fgd.cli.client import Client
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
    given = {
        name: value
        for name, value in (
            ("max_async_retry_attempts", args.max_retries),
            ("max_async_event_age_in_seconds", args.max_age),
        )
        if value is not None
    }
    if args.reset and given:
        raise UsageError("async config: --reset goes alone")
    if args.reset:
        client.call("DELETE", path)
    current = _current(client, path)
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
            ]
        )


_KEPT = (
    "max_async_retry_attempts",
    "max_async_event_age_in_seconds",
    "destination_config",
    "enable_async_status_log",
)


def _current(client: Client, path: str) -> dict[str, object] | None:
    try:
        found: dict[str, object] = client.call("GET", path)
    except Refused as error:
        if error.status == 404:
            return None
        raise
    return found
