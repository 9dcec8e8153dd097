"""`fgd agencies`: permissions that functions are given."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fgd.cli.client import Client
from fgd.cli.report import UsageError, note, print_fields, print_json, print_table


def create(args: argparse.Namespace) -> None:
    """Makes one and shows it."""
    client = Client(args.admin_socket)
    body = {"name": args.name, **_fields(args)}
    _print(client.call("POST", _path(client, args), body=body), args.json)


def list_agencies(args: argparse.Namespace) -> None:
    """One line each."""
    client = Client(args.admin_socket)
    answer = client.call("GET", _path(client, args))
    if args.json:
        print_json(answer)
        return
    rows = [
        (one["name"], ", ".join(_policy_names(one)), len(one["functions"]), one["description"], one["last_modified"])
        for one in answer["agencies"]
    ]
    head = ("NAME", "POLICIES", "FUNCTIONS", "DESCRIPTION", "MODIFIED")
    print_table(head, rows, empty="no agencies; make one: fgd agencies create NAME --policy POLICY")


def show(args: argparse.Namespace) -> None:
    """One with its policies and the functions that have it."""
    client = Client(args.admin_socket)
    _print(client.call("GET", _path(client, args, args.name)), args.json)


def update(args: argparse.Namespace) -> None:
    """Changes what was given; the policies given replace all earlier ones."""
    fields = _fields(args)
    if args.no_policies:
        fields["policies"] = []
    if not fields:
        raise UsageError("agencies update: give --policy, --no-policies or --description")
    client = Client(args.admin_socket)
    _print(client.call("PUT", _path(client, args, args.name), body=fields), args.json)


def delete(args: argparse.Namespace) -> None:
    """Deletes one that no function has."""
    client = Client(args.admin_socket)
    client.call("DELETE", _path(client, args, args.name))
    if args.json:
        print_json({"deleted": args.name})
    else:
        print(f"deleted {args.name}")


def policies(args: argparse.Namespace) -> None:
    """The built-in policies and all actions."""
    answer = Client(args.admin_socket).call("GET", "/fgd/v1/policies")
    if args.json:
        print_json(answer)
        return
    rows = [
        (name, ", ".join(action for statement in document["Statement"] for action in statement["Action"]))
        for name, document in answer["policies"].items()
    ]
    print_table(("POLICY", "ALLOWS"), rows)
    print()
    print_table(("ACTION", "TO"), list(answer["actions"].items()))


def _path(client: Client, args: argparse.Namespace, name: str = "") -> str:
    path = f"/fgd/v1/projects/{quote(args.project or client.project_id, safe='')}/agencies"
    return f"{path}/{quote(name, safe='')}" if name else path


def _fields(args: argparse.Namespace) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if args.description is not None:
        fields["description"] = args.description
    if args.policy:
        fields["policies"] = [_policy(text) for text in args.policy]
    return fields


def _policy(text: str) -> Any:
    """The name of a built-in policy, or a document: JSON, @ and a file's name, or - for standard input.

    Raises:
        UsageError: no such file, or no JSON.
    """
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        try:
            text = Path(text[1:]).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--policy {text}: cannot be read: {error}") from error
    elif not text.lstrip().startswith("{"):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"--policy: must be a policy document in JSON: {error}") from error


def _policy_names(agency: dict[str, Any]) -> list[str]:
    return [policy if isinstance(policy, str) else "(document)" for policy in agency["policies"]]


def _print(agency: dict[str, Any], as_json: bool) -> None:
    if agency["without_effect"]:
        note(f"without effect on this node, as it has no such service: {', '.join(agency['without_effect'])}")
    if as_json:
        print_json(agency)
        return
    documents = [json.dumps(policy, indent=2) for policy in agency["policies"] if not isinstance(policy, str)]
    print_fields(
        [
            ("name", agency["name"]),
            ("description", agency["description"]),
            ("policies", ", ".join(_policy_names(agency)) or "none: it allows nothing"),
            ("functions", ", ".join(agency["functions"])),
            ("modified", agency["last_modified"]),
        ]
    )
    for document in documents:
        print(document)
