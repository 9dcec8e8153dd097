"""`fgd tags`: set, shown, taken away, searched by."""

import argparse
from typing import Any
from urllib.parse import quote

from fgd.cli.client import Client
from fgd.cli.report import UsageError, print_json, print_table

_PAGE = 1000


def _path(client: Client, rest: str, function: str = "") -> str:
    """Paths about tags have no `/fgs` in them."""
    resource = f"/{quote(client.urn(function), safe='')}" if function else ""
    return f"/v2/{client.project_id}/functions{resource}/{rest}"


def add(args: argparse.Namespace) -> None:
    """Sets tags."""
    tags = []
    for item in args.tags:
        key, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"tags add {item}: give a value: {item}=VALUE, or {item}= for an empty one")
        tags.append({"key": key, "value": value})
    client = Client(args.admin_socket)
    client.call("POST", _path(client, "tags/create", args.function), body={"action": "create", "tags": tags})
    _print(client, args)


def remove(args: argparse.Namespace) -> None:
    """Takes tags away, whatever their values."""
    client = Client(args.admin_socket)
    body = {"action": "delete", "tags": [{"key": key} for key in args.keys]}
    client.call("DELETE", _path(client, "tags/delete", args.function), body=body)
    _print(client, args)


def list_tags(args: argparse.Namespace) -> None:
    """Those of a function, or of all functions."""
    client = Client(args.admin_socket)
    if args.function:
        _print(client, args)
        return
    found = client.call("GET", _path(client, "tags"))
    if args.json:
        print_json(found)
        return
    rows = [(tag["key"], ", ".join(value or '""' for value in tag["values"])) for tag in found["tags"]]
    print_table(("KEY", "VALUES"), rows, empty="no function has tags")


def _print(client: Client, args: argparse.Namespace) -> None:
    found = client.call("GET", _path(client, "tags", args.function))
    if args.json:
        print_json(found)
        return
    rows = [(tag["key"], tag["value"]) for tag in found["tags"]]
    print_table(("KEY", "VALUE"), rows, empty=f"{args.function} has no tags")


def find(args: argparse.Namespace) -> None:
    """Functions by their tags."""
    if args.none and args.tags:
        raise UsageError("tags find: --none goes without tags")
    wanted: dict[str, list[str]] = {}
    for item in args.tags:
        key, equals, value = item.partition("=")
        wanted.setdefault(key, []).extend([value] if equals else [])
    body: dict[str, Any] = {"tags": [{"key": key, "values": values} for key, values in wanted.items()]}
    if args.none:
        body["without_any_tag"] = True
    if args.match:
        body["matches"] = [{"key": "resource_name", "value": args.match}]
    client = Client(args.admin_socket)
    found = _all(client, body)
    if args.json:
        print_json({"resources": found, "total_count": len(found)})
        return
    rows = [
        (
            one["resource_name"],
            one["resource_id"].split(":")[5],
            ", ".join(f"{tag['key']}={tag['value']}" for tag in one["tags"]),
        )
        for one in found
    ]
    print_table(("NAME", "PACKAGE", "TAGS"), rows, empty="no such functions")


def _all(client: Client, body: dict[str, Any]) -> list[dict[str, Any]]:
    path = _path(client, "resource-instances/filter")
    found: list[dict[str, Any]] = []
    while True:
        page = client.call("POST", path, body={**body, "offset": len(found), "limit": _PAGE})["resources"]
        found += page
        if len(page) < _PAGE:
            return found
