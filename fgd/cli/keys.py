"""`fgd keys`: credentials of network clients."""

import argparse
from urllib.parse import quote

from fgd.cli.client import Client
from fgd.cli.report import print_fields, print_json, print_table

_PATH = "/fgd/v1/keys"


def create(args: argparse.Namespace) -> None:
    """Prints the new pair and a token; the secret key is shown this once."""
    wanted = {"name": args.name, "project_id": args.project}
    key = Client(args.admin_socket).call("POST", _PATH, body={k: v for k, v in wanted.items() if v})
    if args.json:
        print_json(key)
        return
    print_fields((name, key.get(name)) for name in ("access_key", "secret_key", "project_id", "token"))


def list_keys(args: argparse.Namespace) -> None:
    """All access keys, without their secrets."""
    keys = Client(args.admin_socket).call("GET", _PATH)
    if args.json:
        print_json(keys)
        return
    rows = [(key["access_key"], key["project_id"], key["name"], key["created_at"]) for key in keys["keys"]]
    print_table(("ACCESS KEY", "PROJECT", "NAME", "CREATED"), rows, empty="no keys; make one: fgd keys create")


def delete(args: argparse.Namespace) -> None:
    """Deletes one; requests signed with it are refused from then on."""
    Client(args.admin_socket).call("DELETE", f"{_PATH}/{quote(args.access_key, safe='')}")
    if args.json:
        print_json({"deleted": args.access_key})
    else:
        print(f"deleted {args.access_key}")
