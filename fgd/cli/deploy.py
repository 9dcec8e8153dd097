"""`fgd deploy`: a folder or file becomes a function, or the new code and settings of one."""

import argparse
import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from fgd.cli import lts, networks
from fgd.cli.archive import MAX_ARCHIVE_BYTES, pack
from fgd.cli.client import Client
from fgd.cli.dependencies import dependency_fields
from fgd.cli.report import Refused, UsageError, human_bytes, print_json
from fgd.cli.settings import config_fields, strategy_fields, update_body
from fgd.runtime import CLOUD_IDS


def deploy(args: argparse.Namespace) -> None:
    """Creates the function, or sends code and settings as far as they differ; prints the URN."""
    archive = pack(args.source)
    if len(archive) > MAX_ARCHIVE_BYTES:
        raise UsageError(
            f"{args.source}: the package has {human_bytes(len(archive))}, at most 50 MiB are possible; "
            "list what is not needed in .fgdignore"
        )
    fields, strategy = config_fields(args), strategy_fields(args)
    name = args.name or function_name(args.source)
    address = f"{args.package}:{name}" if args.package else name
    client = Client(args.admin_socket)
    current = _current(client, address)
    fields |= networks.fields(args, client, current or {})
    fields |= lts.config_fields(args, client)
    if current is None:
        did, function = "created", _create(client, args, name, archive, fields, strategy)
    else:
        did, function = _update(client, args, address, current, archive, fields, strategy)
    if args.json:
        print_json({"action": did, **function})
    else:
        print(f"{did} {function['func_urn']} ({function['runtime']}, {human_bytes(len(archive))})")


def function_name(source: Path) -> str:
    """A function name from a file's or folder's.

    Raises:
        UsageError: no letter to begin with.
    """
    path = source.resolve()
    base = path.name if path.is_dir() else path.stem
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", base)[:60]
    name = re.sub(r"^[^A-Za-z]+|[^A-Za-z0-9]+$", "", name)
    if not name:
        raise UsageError(f"{source}: no function name can be made of that; give one: --name NAME")
    return name


def guess_handler(source: Path) -> str:
    """`<module>.handler` for the module that a source has at its top: index.py, or the only one.

    Raises:
        UsageError: several modules, or none.
    """
    if source.suffix == ".py" and source.is_file():
        return f"{source.stem}.handler"
    if not source.is_dir():
        return "index.handler"
    modules = sorted(path.stem for path in source.glob("*.py"))
    if "index" in modules:
        return "index.handler"
    if len(modules) == 1:
        return f"{modules[0]}.handler"
    raise UsageError(f"{source}: has no index.py; name the handler: --handler FILE.FUNCTION")


def _current(client: Client, address: str) -> dict[str, Any] | None:
    try:
        config: dict[str, Any] = client.call("GET", client.functions_path(address, "config"))
    except Refused as error:
        if error.status == 404:
            return None
        raise
    return config


def _newest_python(client: Client) -> str:
    """The newest Python that the cloud has too, so that the function could move there; else the newest there is."""
    found = [
        (name in CLOUD_IDS, tuple(map(int, match.groups())), name)
        for name in client.call("GET", "/fgd/v1/runtimes")["runtimes"]
        if (match := re.fullmatch(r"Python(\d+)\.(\d+)", name))
    ]
    if not found:
        raise UsageError("--runtime: this node has no Python runtime; see what it has: fgd runtimes")
    name: str = max(found)[2]
    return name


def _code_fields(archive: bytes, name: str) -> dict[str, Any]:
    return {
        "code_type": "zip",
        "code_filename": f"{name}.zip",
        "func_code": {"file": base64.b64encode(archive).decode()},
    }


def _create(
    client: Client,
    args: argparse.Namespace,
    name: str,
    archive: bytes,
    fields: dict[str, Any],
    strategy: dict[str, int],
) -> dict[str, Any]:
    body = {
        "func_name": name,
        "package": args.package or "default",
        "runtime": args.runtime or _newest_python(client),
        "handler": args.handler or guess_handler(args.source),
        "timeout": 3,
        "memory_size": 128,
        **_code_fields(archive, name),
        **fields,
    }
    body.update(dependency_fields(client, args, str(body["runtime"])))
    if strategy:
        body["strategy_config"] = strategy
    function: dict[str, Any] = client.call("POST", client.functions_path(), body=body)
    return function


def _update(
    client: Client,
    args: argparse.Namespace,
    address: str,
    current: dict[str, Any],
    archive: bytes,
    fields: dict[str, Any],
    strategy: dict[str, int],
) -> tuple[str, dict[str, Any]]:
    if args.runtime and args.runtime != current["runtime"]:
        raise UsageError(
            f"--runtime: {address} runs on {current['runtime']}, and a function's runtime never changes; "
            "deploy under another --name, or delete it first"
        )
    did = "unchanged"
    function = current
    # In one request: a file that moves from the code into a dependency must never be in both.
    code: dict[str, Any] = dependency_fields(client, args, str(current["runtime"]))
    if code.get("depend_version_list") == current.get("depend_version_list"):
        code = {}
    if hashlib.sha512(archive).hexdigest() != current.get("digest"):
        code.update(_code_fields(archive, str(current["func_name"])))
    if code:
        client.call("PUT", client.functions_path(address, "code"), body=code)
        did = "updated"
    if fields or strategy:
        client.call("PUT", client.functions_path(address, "config"), body=update_body(current, fields, strategy))
        did = "updated"
    if did == "updated":
        function = client.call("GET", client.functions_path(address, "config"))
    return did, function
