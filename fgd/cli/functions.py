"""`fgd functions`: the catalog."""

import argparse
import base64
from pathlib import Path
from typing import Any

from fgd.cli import lts, networks
from fgd.cli.client import Client
from fgd.cli.dependencies import dependency_fields
from fgd.cli.mounts import described
from fgd.cli.report import Refused, UsageError, human_bytes, print_fields, print_json, print_table
from fgd.cli.settings import config_fields, strategy_fields, update_body

_PAGE = 100


def list_functions(args: argparse.Namespace) -> None:
    """One line per function."""
    functions = _all(Client(args.admin_socket), package=args.package, match=args.match)
    if args.json:
        print_json({"functions": functions})
        return
    rows = [
        (
            item["func_name"],
            item["package"],
            item["runtime"],
            item["memory_size"],
            item["timeout"],
            human_bytes(item["code_size"]),
            "disabled" if _disabled(item) else "",
            item["last_modified"],
        )
        for item in functions
    ]
    head = ("NAME", "PACKAGE", "RUNTIME", "MB", "TIMEOUT", "CODE", "STATE", "MODIFIED")
    print_table(head, rows, empty="no functions; make one: fgd deploy DIR")


def _all(client: Client, *, package: str, match: str) -> list[dict[str, Any]]:
    """Every page of list_functions."""
    functions: list[dict[str, Any]] = []
    while True:
        query = {"marker": len(functions), "maxitems": _PAGE, "package_name": package, "func_name": match}
        page = client.call("GET", client.functions_path(), query=query)["functions"]
        functions += page
        if len(page) < _PAGE:
            return functions


def _disabled(function: dict[str, Any]) -> bool:
    return bool((function.get("strategy_config") or {}).get("concurrency") == 0)


def show(args: argparse.Namespace) -> None:
    """The settings of one."""
    client = Client(args.admin_socket)
    _print(client.call("GET", client.functions_path(args.function, "config")), args.json)


def _print(function: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(function)
        return
    strategy = function.get("strategy_config") or {}
    log = function.get("log_config")
    limit = strategy.get("concurrency")
    initializer = function.get("initializer_handler")
    pre_stop = function.get("pre_stop_handler")
    by_request = "; a request may choose" if function.get("enable_dynamic_memory") else ""
    print_fields(
        [
            ("urn", function["func_urn"]),
            ("description", function.get("description")),
            ("runtime", function["runtime"]),
            ("handler", function["handler"]),
            ("initializer", f"{initializer} ({function.get('initializer_timeout')} s)" if initializer else ""),
            ("heartbeat", function.get("heartbeat_handler")),
            ("pre-stop", f"{pre_stop} ({function.get('pre_stop_timeout')} s)" if pre_stop else ""),
            ("memory", f"{function['memory_size']} MB, {function.get('cpu')} millicores{by_request}"),
            ("timeout", f"{function['timeout']} s"),
            ("instances", {0: "disabled", -1: "no limit"}.get(limit, f"at most {limit}") if limit is not None else ""),
            ("network", networks.shown(function)),
            ("invoked only from", networks.shown_entry(function)),
            ("concurrency", f"{strategy.get('concurrent_num', 1)} at once per instance"),
            ("/tmp", f"{function['ephemeral_storage']} MB" if function.get("ephemeral_storage") else ""),
            ("mounts", described(function)),
            ("log stream", "/".join(log[name] for name in ("group_name", "stream_name")) if log else ""),
            ("variables", function.get("user_data")),
            ("secret variables", function.get("encrypted_user_data")),
            ("agency", function.get("xrole")),
            ("execution agency", function.get("app_xrole")),
            ("code", f"{human_bytes(function['code_size'])}, SHA-512 {function['digest'][:16]}..."),
            ("dependencies", ", ".join(f"{one['name']}:{one['version']}" for one in function.get("dependencies", []))),
            ("modified", function["last_modified"]),
        ]
    )


def update(args: argparse.Namespace) -> None:
    """Changes the settings that were given."""
    fields, strategy = config_fields(args), strategy_fields(args)
    given = (
        (args.network, args.only_from, args.log_stream) != (None, None, None) or args.dependency or args.no_dependencies
    )
    if not fields and not strategy and not given:
        raise UsageError("functions update: give at least one setting to change, such as --memory 256")
    client = Client(args.admin_socket)
    path = client.functions_path(args.function, "config")
    current = client.call("GET", path)
    fields.update(dependency_fields(client, args, current["runtime"]))
    fields |= networks.fields(args, client, current)
    fields |= lts.config_fields(args, client)
    client.call("PUT", path, body=update_body(current, fields, strategy))
    _print(client.call("GET", path), args.json)


def delete(args: argparse.Namespace) -> None:
    """Deletes one, with all that belongs to it."""
    client = Client(args.admin_socket)
    client.call("DELETE", client.functions_path(args.function))
    if args.json:
        print_json({"deleted": args.function})
    else:
        print(f"deleted {args.function}")


def disable(args: argparse.Namespace) -> None:
    """No instances, so no invocations."""
    _limit(Client(args.admin_socket), args, 0, "disabled")


def enable(args: argparse.Namespace) -> None:
    """Gives back the limit that it had before it was disabled."""
    client = Client(args.admin_socket)
    current = client.call("GET", client.functions_path(args.function, "config"))
    if _disabled(current):
        _limit(client, args, current["enabled_concurrency"], "enabled")
    elif args.json:
        print_json(current)
    else:
        print(f"{args.function} is enabled already")


def _limit(client: Client, args: argparse.Namespace, instances: int, word: str) -> None:
    path = client.functions_path(args.function, "config-max-instance")
    function = client.call("PUT", path, body={"max_instance_num": instances})
    if args.json:
        print_json(function)
    else:
        print(f"{word} {args.function}")


def code(args: argparse.Namespace) -> None:
    """Writes the ZIP that was deployed."""
    client = Client(args.admin_socket)
    answer = client.call("GET", client.functions_path(args.function, "code"))
    content = base64.b64decode((answer.get("func_code") or {}).get("file") or "")
    if not content:
        raise Refused(200, "", "the answer holds no code")
    file: Path = args.output or Path(f"{answer['func_name']}.zip")
    try:
        file.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}") from None
    if args.json:
        print_json({"file": str(file), "bytes": len(content), "digest": answer.get("digest")})
    else:
        print(f"wrote {file} ({human_bytes(len(content))})")
