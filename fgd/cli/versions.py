"""`fgd versions`: snapshots of a function's code and configuration."""

import argparse
from typing import Any

from fgd.cli.client import Client
from fgd.cli.report import UsageError, human_bytes, print_json, print_table

_PAGE = 100
_LATEST = "latest"


def list_versions(args: argparse.Namespace) -> None:
    """`latest`, then the published ones, newest first, with the aliases that point to each."""
    client = Client(args.admin_socket)
    versions = _all(client, args.function)
    if args.json:
        print_json({"versions": versions})
        return
    names = _aliases_by_version(client.call("GET", client.functions_path(args.function, "aliases")))
    rows = [
        (
            item["version"],
            ", ".join(names.get(item["version"], [])),
            human_bytes(item["code_size"]),
            item["last_modified"],
            item.get("version_description"),
        )
        for item in versions
    ]
    print_table(("VERSION", "ALIASES", "CODE", "MODIFIED", "DESCRIPTION"), rows)


def _all(client: Client, function: str) -> list[dict[str, Any]]:
    versions: list[dict[str, Any]] = []
    path = client.functions_path(function, "versions")
    while True:
        page = client.call("GET", path, query={"marker": len(versions), "maxitems": _PAGE})["versions"]
        versions += page
        if len(page) < _PAGE:
            return versions


def _aliases_by_version(aliases: list[dict[str, Any]]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for alias in aliases:
        names.setdefault(alias["version"], []).append(alias["name"])
        for version in additional_versions(alias):
            names.setdefault(version, []).append(f"{alias['name']} (additional)")
    return names


def additional_versions(alias: dict[str, Any]) -> list[str]:
    """The additional version of an alias, if it has one."""
    return [*(alias.get("additional_version_weights") or {}), *(alias.get("additional_version_strategy") or {})]


def publish(args: argparse.Namespace) -> None:
    """Makes a version of what `latest` is now."""
    client = Client(args.admin_socket)
    body = {"version": args.name or "", "description": args.description or ""}
    version = client.call("POST", client.functions_path(args.function, "versions"), body=body)
    if args.json:
        print_json(version)
    else:
        print(f"published {version['func_urn']}")


def delete(args: argparse.Namespace) -> None:
    """Deletes a published version with the aliases whose main version it is."""
    if args.version == _LATEST:
        raise UsageError("versions delete: latest cannot be deleted; fgd functions delete removes the whole function")
    client = Client(args.admin_socket)
    config = client.call("GET", client.functions_path(args.function, "config"))
    urn = config["func_urn"].removesuffix(f":{config['version']}") + f":{args.version}"
    client.call("DELETE", client.functions_path(urn))
    if args.json:
        print_json({"deleted": urn})
    else:
        print(f"deleted {urn}")
