"""`fgd aliases`: names that point to versions."""

import argparse
from typing import Any
from urllib.parse import quote

from fgd.cli.client import Client
from fgd.cli.report import UsageError, print_fields, print_json, print_table


def list_aliases(args: argparse.Namespace) -> None:
    """One line per alias."""
    client = Client(args.admin_socket)
    aliases = client.call("GET", client.functions_path(args.function, "aliases"))
    if args.json:
        print_json({"aliases": aliases})
        return
    rows = [
        (alias["name"], alias["version"], _shared(alias), alias["last_modified"], alias.get("description"))
        for alias in aliases
    ]
    head = ("ALIAS", "VERSION", "ADDITIONAL", "MODIFIED", "DESCRIPTION")
    print_table(head, rows, empty=f"no aliases; make one: fgd aliases create {args.function} NAME VERSION")


def _shared(alias: dict[str, Any]) -> str:
    """`v2 10 %`, or `v2 if x-user = ann and x-beta in a,b`."""
    for version, weight in (alias.get("additional_version_weights") or {}).items():
        return f"{version} {weight} %"
    for version, strategy in (alias.get("additional_version_strategy") or {}).items():
        rules = [f"{rule['param']} {rule['op']} {rule['value']}" for rule in strategy["rules"]]
        return f"{version} if " + f" {strategy['combine_type']} ".join(rules)
    return ""


def show(args: argparse.Namespace) -> None:
    """Everything about one."""
    client = Client(args.admin_socket)
    _print(client.call("GET", _path(client, args)), args.json)


def create(args: argparse.Namespace) -> None:
    """Makes one."""
    client = Client(args.admin_socket)
    body = {"name": args.alias, **_body(args)}
    _print(client.call("POST", client.functions_path(args.function, "aliases"), body=body), args.json)


def update(args: argparse.Namespace) -> None:
    """Points one to other versions; what is not given is unset."""
    client = Client(args.admin_socket)
    body = _body(args)
    if args.description is None:
        body["description"] = client.call("GET", _path(client, args)).get("description") or ""
    _print(client.call("PUT", _path(client, args), body=body), args.json)


def delete(args: argparse.Namespace) -> None:
    """Deletes one; its versions stay."""
    client = Client(args.admin_socket)
    client.call("DELETE", _path(client, args))
    if args.json:
        print_json({"deleted": args.alias})
    else:
        print(f"deleted {args.alias}")


def _path(client: Client, args: argparse.Namespace) -> str:
    return client.functions_path(args.function, f"aliases/{quote(args.alias, safe='')}")


def _body(args: argparse.Namespace) -> dict[str, Any]:
    body: dict[str, Any] = {"version": args.version, "description": args.description or ""}
    if (args.weight is not None or args.rule) and not args.additional:
        raise UsageError("aliases: --weight and --rule need --additional VERSION")
    if args.additional and (args.weight is None) == (not args.rule):
        raise UsageError("aliases: --additional needs either --weight PERCENT or --rule HEADER=VALUE")
    if args.weight is not None:
        body["additional_version_weights"] = {args.additional: args.weight}
    if args.rule:
        strategy = {"combine_type": "or" if args.any else "and", "rules": [_rule(text) for text in args.rule]}
        body["additional_version_strategy"] = {args.additional: strategy}
    return body


def _rule(text: str) -> dict[str, str]:
    """`NAME=VALUE`; several values with commas between them make an `in`."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise UsageError(f"--rule {text}: must be HEADER=VALUE or HEADER=VALUE,VALUE")
    return {"rule_type": "Header", "param": name.strip(), "op": "in" if "," in value else "=", "value": value.strip()}


def _print(alias: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(alias)
        return
    print_fields(
        [
            ("alias", alias["name"]),
            ("urn", alias["alias_urn"]),
            ("version", alias["version"]),
            ("additional", _shared(alias)),
            ("description", alias.get("description")),
            ("modified", alias["last_modified"]),
        ]
    )
