"""Mounts on the command line: `fgd mounts`, and the options of deploy and update."""

import argparse
import re
from typing import Any

from fgd.cli.client import Client
from fgd.cli.report import UsageError, print_json, print_table

_FIELDS = {
    "type": "mount_type", "resource": "mount_resource", "share": "mount_share_path", "path": "local_mount_path",
}  # fmt: skip


def list_mounts(args: argparse.Namespace) -> None:
    """One line per mount of a function version."""
    query = {"check": "true"} if args.check else {}
    mounts = Client(args.admin_socket).call("GET", "/fgd/v1/mounts", query=query)["mounts"]
    if args.json:
        print_json({"mounts": mounts})
        return
    rows = [
        (
            item["func_name"],
            item["version"],
            item["local_mount_path"],
            item["mount_type"],
            " ".join(filter(None, (item["mount_resource"], item["mount_share_path"]))),
            "ro" if item["read_only"] else "rw",
            item["status"],
        )
        for item in mounts
    ]
    print_table(
        ("FUNCTION", "VERSION", "PATH", "TYPE", "DISK", "MODE", "STATUS"), rows, empty="no function has a mount"
    )


def parse_mount(text: str) -> dict[str, Any]:
    """`type=TYPE,resource=NAME[,share=FOLDER],path=/PATH[,ro]` as the API has it.

    Raises:
        UsageError: another form.
    """
    mount: dict[str, Any] = {}
    for word in text.split(","):
        name, equals, value = word.partition("=")
        if word == "ro":
            mount["read_only"] = True
        elif equals and name in _FIELDS and _FIELDS[name] not in mount:
            mount[_FIELDS[name]] = value
        else:
            raise UsageError(f"--mount {text}: {word!r} is none of type=, resource=, share=, path= and ro, each once")
    missing = [name for name in ("type", "resource", "path") if _FIELDS[name] not in mount]
    if missing:
        raise UsageError(f"--mount {text}: {missing[0]}= is missing")
    return mount


def mount_config(args: argparse.Namespace) -> dict[str, Any] | None:
    """The field `mount_config` of what was given, None for nothing.

    Raises:
        UsageError: options that do not go together, or of a wrong form.
    """
    if args.no_mounts and args.mount:
        raise UsageError("--no-mounts: does not go together with --mount")
    config: dict[str, Any] = {}
    if args.mount or args.no_mounts:
        config["func_mounts"] = [parse_mount(text) for text in args.mount]
    if args.mount_user is not None:
        match = re.fullmatch(r"(-1|[0-9]{1,9}):(-1|[0-9]{1,9})", args.mount_user)
        if not match:
            raise UsageError(f"--mount-user {args.mount_user}: must be UID:GID, such as 5000:5000; -1 is 1003")
        config["mount_user"] = {"user_id": int(match[1]), "user_group_id": int(match[2])}
    return config or None


def described(function: dict[str, Any]) -> str:
    """The mounts of a function as `functions show` has them."""
    config = function.get("mount_config") or {}
    return ", ".join(
        f"{item['local_mount_path']} ({item['mount_type']} {item['mount_resource']}, {item['status']})"
        for item in config.get("func_mounts") or ()
    )
