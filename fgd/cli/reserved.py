"""`fgd reserved`: instances that are made ahead and kept."""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from fgd.cli.client import Client
from fgd.cli.report import UsageError, print_fields, print_json, print_table

_CRONS, _METRICS, _RECOMMEND = "cron_configs", "metric_configs", "recommend_config"
_PAGE = 400


def list_reserved(args: argparse.Namespace) -> None:
    """One line for each version or alias that has reserved instances."""
    client = Client(args.admin_socket)
    configs = _configs(client, args.function)
    now = _now(client, args.function)
    found = [{**one, "count": now.get(one["function_urn"], 0)} for one in configs]
    if args.json:
        print_json({"reserved_instances": found})
        return
    rows = [
        (
            _name(one["function_urn"]),
            one["min_count"],
            one["count"],
            "yes" if one["idle_mode"] else "",
            ", ".join(_policies(one["tactics_config"] or {})),
        )
        for one in found
    ]
    print_table(("FUNCTION", "FIXED", "NOW", "IDLE MODE", "POLICIES"), rows, empty="nothing is reserved")


def show(args: argparse.Namespace) -> None:
    """All about one."""
    client = Client(args.admin_socket)
    _print(client, args, _current(client, args.function))


def set_count(args: argparse.Namespace) -> None:
    """The fixed number."""

    def change(config: dict[str, Any]) -> None:
        config["count"] = args.count
        if args.idle_mode is not None:
            config["idle_mode"] = args.idle_mode

    _change(args, change)


def schedule(args: argparse.Namespace) -> None:
    """A policy with a cron expression."""
    policy = {
        "name": args.policy,
        "cron": args.cron,
        "count": args.count,
        "start_time": _moment("--from", args.from_),
        "expired_time": _moment("--until", args.until_),
    }
    _change(args, lambda config: _put(config, _CRONS, policy))


def metric(args: argparse.Namespace) -> None:
    """A policy that follows the use."""
    policy = {"name": args.policy, "type": "Concurrency", "threshold": args.use, "min": args.min}
    _change(args, lambda config: _put(config, _METRICS, policy))


def recommend(args: argparse.Namespace) -> None:
    """The policy that follows a forecast."""

    def change(config: dict[str, Any]) -> None:
        config["tactics_config"][_RECOMMEND] = {"level": args.level}

    _change(args, change)


def forecast(args: argparse.Namespace) -> None:
    """What each level would have come to."""
    client = Client(args.admin_socket)
    found = client.call("GET", client.functions_path(args.function, "reservedinstances/forecast"))
    if args.json:
        print_json(found)
        return
    rows = [
        (one["level"], one["instances_now"], f"{one['instance_hours']:.1f}", f"{one['beyond_percent']:.2f}")
        for one in found["levels"]
    ]
    print(f"the last {found['minutes'] / 60:.1f} hours with {found['requests']} requests")
    print_table(("LEVEL", "NOW", "INSTANCE HOURS", "% OF REQUESTS BEYOND"), rows)


def remove(args: argparse.Namespace) -> None:
    """One policy, or everything."""
    client = Client(args.admin_socket)
    if not args.policy:
        client.call("PUT", _path(client, args), body={"count": 0, "idle_mode": False})
        if args.json:
            print_json({"removed": args.function})
        else:
            print(f"nothing is reserved for {args.function} any more")
        return

    def change(config: dict[str, Any]) -> None:
        tactics = config["tactics_config"]
        names = {one["name"] for name in (_CRONS, _METRICS) for one in tactics.get(name, [])}
        names |= {"recommend"} if _RECOMMEND in tactics else set()
        if args.policy not in names:
            raise UsageError(
                f"reserved remove: {args.function} has no policy {args.policy!r}; it has"
                f" {', '.join(sorted(names)) or 'none'}"
            )
        for name in (_CRONS, _METRICS):
            tactics[name] = [one for one in tactics.get(name, []) if one["name"] != args.policy]
        if args.policy == "recommend":
            tactics.pop(_RECOMMEND, None)

    _change(args, change)


def _change(args: argparse.Namespace, change: Callable[[dict[str, Any]], None]) -> None:
    """Reads the reservation, changes it, writes it whole."""
    client = Client(args.admin_socket)
    config = _current(client, args.function)
    config["tactics_config"] = dict(config["tactics_config"] or {})
    change(config)
    _print(client, args, client.call("PUT", _path(client, args), body=config))


def _put(config: dict[str, Any], name: str, policy: dict[str, Any]) -> None:
    """Adds a policy; one of the same name, whatever its kind, goes."""
    tactics = config["tactics_config"]
    for kind in (_CRONS, _METRICS):
        tactics[kind] = [one for one in tactics.get(kind, []) if one["name"] != policy["name"]]
    tactics[name].append(policy)


def _current(client: Client, function: str) -> dict[str, Any]:
    """What the update operation would take to leave all as it is."""
    # Asked for by its configuration, so that a function or alias that is not there is told as such.
    urn = _urn(client, function)
    for one in _configs(client, function):
        if one["function_urn"] == urn:
            return {name: one[key] for name, key in _FIELDS}
    return {"count": 0, "idle_mode": False, "tactics_config": None}


_FIELDS = (("count", "min_count"), ("idle_mode", "idle_mode"), ("tactics_config", "tactics_config"))


def _urn(client: Client, function: str) -> str:
    """The full URN, with the alias where one was named (the configuration says its main version)."""
    base: str = client.call("GET", client.functions_path(function, "config"))["func_urn"]
    qualifier = client.urn(function).rpartition(":")[2]
    return f"{base.rpartition(':')[0]}:{qualifier}" if qualifier.startswith("!") else base


def _configs(client: Client, function: str) -> list[dict[str, Any]]:
    return _pages(client, "reservedinstanceconfigs", "reserved_instances", "function_urn", function)


def _now(client: Client, function: str) -> dict[str, int]:
    found = _pages(client, "reservedinstances", "reservedinstances", "urn", function)
    return {one["func_urn"]: one["count"] for one in found}


def _pages(client: Client, path: str, field: str, name: str, function: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        query = {name: client.urn(function) if function else "", "marker": len(found), "limit": _PAGE}
        page = client.call("GET", client.functions_path(path), query=query)[field]
        found += page
        if len(page) < _PAGE:
            return found


def _path(client: Client, args: argparse.Namespace) -> str:
    return client.functions_path(args.function, "reservedinstances")


def _print(client: Client, args: argparse.Namespace, config: dict[str, Any]) -> None:
    if args.json:
        print_json(config)
        return
    tactics = config["tactics_config"] or {}
    fields = [
        ("fixed", str(config["count"])),
        ("kept now", str(_now(client, args.function).get(_urn(client, args.function), 0))),
        ("idle mode", "yes" if config["idle_mode"] else "no"),
    ]
    print_fields([*fields, *(("policy", text) for text in _policies(tactics))])


def _policies(tactics: dict[str, Any]) -> list[str]:
    texts = []
    for one in tactics.get(_CRONS, []):
        validity = "".join(
            f" {word} {_time(one[field])}"
            for word, field in (("from", "start_time"), ("until", "expired_time"))
            if one.get(field)
        )
        texts.append(f"{one['name']}: {one['count']} at {one['cron']}{validity}")
    texts += [f"{one['name']}: {one['threshold']} % in use, {one['min']} or more" for one in tactics.get(_METRICS, [])]
    if _RECOMMEND in tactics:
        texts.append(f"recommend: {tactics[_RECOMMEND]['level']}")
    return texts


def _name(urn: str) -> str:
    """`name@v1` of a URN, with the package where it is not `default`."""
    package, name, qualifier = urn.split(":")[5:8]
    prefix = "" if package == "default" else f"{package}:"
    return f"{prefix}{name}" + ("" if qualifier == "latest" else f"@{qualifier}")


def _time(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"reserved schedule: {option} must be a time such as 2030-05-01T08:00:00") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
