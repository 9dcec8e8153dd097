"""`fgd apig`: groups, environments, apps and throttling policies of published APIs."""

import argparse
from typing import Any
from urllib.parse import quote

from fgd.cli.client import Client
from fgd.cli.report import print_fields, print_json, print_table

_SEGMENTS = {"group": "groups", "environment": "environments", "app": "apps", "throttle": "throttles"}


def create(args: argparse.Namespace) -> None:
    """Makes one and shows it; of an app with its secret."""
    client = Client(args.admin_socket)
    _print(client.call("POST", _path(client, args), body={"name": args.name, **_fields(args)}), args.json)


def list_objects(args: argparse.Namespace) -> None:
    """One line each."""
    client = Client(args.admin_socket)
    answer = client.call("GET", _path(client, args))
    if args.json:
        print_json(answer)
        return
    rows = [
        (one["id"], one["name"], _brief(args.kind, one), one["description"]) for one in answer[_SEGMENTS[args.kind]]
    ]
    print_table(
        ("ID", "NAME", "", "DESCRIPTION"), rows, empty=f"none; make one: fgd apig {_SEGMENTS[args.kind]} create"
    )


def _brief(kind: str, one: dict[str, Any]) -> str:
    if kind == "group":
        return ", ".join(one["domains"])
    if kind == "app":
        return f"key {one['key']}, {one['codes']} codes, {len(one['apis'])} APIs"
    if kind == "throttle":
        return f"{one['api_limit']} per {one['interval']} {one['unit'].lower()}, {len(one['apis'])} APIs"
    return ""


def show(args: argparse.Namespace) -> None:
    """One with everything, an app's secret and codes included."""
    client = Client(args.admin_socket)
    _print(client.call("GET", _path(client, args, args.object)), args.json)


def update(args: argparse.Namespace) -> None:
    """Changes what was given."""
    client = Client(args.admin_socket)
    body = _fields(args)
    if args.name is not None:
        body["name"] = args.name
    _print(client.call("PUT", _path(client, args, args.object), body=body), args.json)


def delete(args: argparse.Namespace) -> None:
    """Deletes one."""
    client = Client(args.admin_socket)
    client.call("DELETE", _path(client, args, args.object))
    if args.json:
        print_json({"deleted": args.object})
    else:
        print(f"deleted {args.object}")


def bind(args: argparse.Namespace) -> None:
    """Adds APIs to those of an app or policy."""
    _bind(args, add=True)


def unbind(args: argparse.Namespace) -> None:
    """Takes APIs from an app or policy."""
    _bind(args, add=False)


def _bind(args: argparse.Namespace, *, add: bool) -> None:
    client = Client(args.admin_socket)
    path = _path(client, args, args.object)
    now = client.call("GET", path)["apis"]
    asked = [_api(client, args, wanted) for wanted in args.apis]
    apis = [*now, *(one for one in asked if one not in now)] if add else [one for one in now if one not in asked]
    _print(client.call("PUT", path, body={"apis": apis}), args.json)


def _api(client: Client, args: argparse.Namespace, wanted: str) -> str:
    """The id of an API from its id, the beginning of it, or its name."""
    every = client.call("GET", f"{_base(client, args)}/apis")["apis"]
    found = [one["trigger_id"] for one in every if one["name"] == wanted or one["trigger_id"].startswith(wanted)]
    return found[0] if len(found) == 1 else wanted


def add_code(args: argparse.Namespace) -> None:
    """Makes an AppCode and prints it."""
    client = Client(args.admin_socket)
    answer = client.call("POST", f"{_path(client, args, args.object)}/codes")
    if args.json:
        print_json(answer)
    else:
        print(answer["code"])


def remove_code(args: argparse.Namespace) -> None:
    """Takes an AppCode away."""
    client = Client(args.admin_socket)
    client.call("DELETE", f"{_path(client, args, args.object)}/codes/{quote(args.code, safe='')}")
    if args.json:
        print_json({"deleted": args.code})
    else:
        print("deleted")


def apis(args: argparse.Namespace) -> None:
    """All published APIs."""
    client = Client(args.admin_socket)
    answer = client.call("GET", f"{_base(client, args)}/apis")
    if args.json:
        print_json(answer)
        return
    rows = [
        (
            one["name"],
            one["method"],
            one["path"] + ("*" if one["prefix"] else ""),
            one["environment"],
            one["auth"],
            ":".join(one["function_urn"].split(":")[6:]),
            one["invoke_url"],
        )
        for one in answer["apis"]
    ]
    head = ("NAME", "METHOD", "PATH", "ENVIRONMENT", "AUTH", "FUNCTION", "URL")
    print_table(head, rows, empty="no APIs; make one: fgd triggers create FUNCTION APIG --set name=...")


def _base(client: Client, args: argparse.Namespace) -> str:
    return f"/fgd/v1/projects/{quote(args.project or client.project_id, safe='')}/apig"


def _path(client: Client, args: argparse.Namespace, wanted: str = "") -> str:
    path = f"{_base(client, args)}/{_SEGMENTS[args.kind]}"
    return f"{path}/{quote(wanted, safe='')}" if wanted else path


def _fields(args: argparse.Namespace) -> dict[str, Any]:
    names = ("description", "domains", "interval", "unit", "api_limit", "user_limit", "app_limit", "ip_limit", "shared")
    fields = {name: getattr(args, name, None) for name in names}
    if fields["domains"] is not None:
        fields["domains"] = [name for name in fields["domains"].split(",") if name]
    return {name: value for name, value in fields.items() if value is not None}


def _print(one: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(one)
        return
    print_fields([(name, ", ".join(value) if isinstance(value, list) else value) for name, value in one.items()])
