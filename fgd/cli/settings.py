"""Options of the command line as fields of the function API."""

import argparse
import json
import os
from typing import Any

from fgd.cli.mounts import mount_config
from fgd.cli.report import UsageError

#: Seconds an initializer gets when only the handler is named.
INITIALIZER_TIMEOUT_S = 30


def variables(items: list[str], option: str) -> str:
    """`K=V` items as the JSON object text of the API; `K` alone takes its value from the environment.

    Raises:
        UsageError: no such variable in the environment, or a name twice.
    """
    values: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            if key not in os.environ:
                raise UsageError(f"{option} {key}: not in the environment; give a value: {option} {key}=VALUE")
            value = os.environ[key]
        if key in values:
            raise UsageError(f"{option} {key}: given twice")
        values[key] = value
    return json.dumps(values, ensure_ascii=False)


def config_fields(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given, by the API's names; the limits that travel in strategy_config are not here."""
    fields: dict[str, Any] = {
        "handler": args.handler,
        "memory_size": args.memory,
        "timeout": args.timeout,
        "initializer_handler": args.initializer,
        "initializer_timeout": args.initializer_timeout,
        "enable_dynamic_memory": args.dynamic_memory,
        "heartbeat_handler": args.heartbeat,
        "pre_stop_handler": args.pre_stop,
        "pre_stop_timeout": args.pre_stop_timeout,
        "description": args.description,
        "xrole": args.agency,
        "app_xrole": args.execution_agency,
        "mount_config": mount_config(args),
        "ephemeral_storage": args.tmp,
    }
    if args.initializer and args.initializer_timeout is None:
        fields["initializer_timeout"] = INITIALIZER_TIMEOUT_S
    if args.env:
        fields["user_data"] = variables(args.env, "--env")
    if args.secret_env:
        fields["encrypted_user_data"] = variables(args.secret_env, "--secret-env")
    return {name: value for name, value in fields.items() if value is not None}


def strategy_fields(args: argparse.Namespace) -> dict[str, int]:
    """`strategy_config` as far as it was given."""
    wanted = {"concurrency": args.max_instances, "concurrent_num": args.concurrency}
    return {name: value for name, value in wanted.items() if value is not None}


#: What the SDK's model of a configuration update always carries.
_NEEDED = ("func_name", "runtime", "timeout", "handler", "memory_size")


def update_body(current: dict[str, Any], fields: dict[str, Any], strategy: dict[str, int]) -> dict[str, Any]:
    """The body of update_function_config: what the API needs from the current settings, and what changes."""
    body = {name: current[name] for name in _NEEDED} | fields
    if strategy:
        body["strategy_config"] = (current.get("strategy_config") or {}) | strategy
    return body
