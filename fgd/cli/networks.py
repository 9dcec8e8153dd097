"""Networks of functions: `fgd networks`, and the options of a function about them."""

import argparse
from collections.abc import Iterable, Mapping
from typing import Any

from fgd.cli.client import Client
from fgd.cli.report import UsageError, print_json, print_table

_NONE, _PUBLIC = "none", "public"


def networks(args: argparse.Namespace) -> None:
    """All networks of this node."""
    found = Client(args.admin_socket).call("GET", "/fgd/v1/networks")
    if args.json:
        print_json(found)
        return
    rows = [
        (
            one["name"],
            "yes" if one["default"] else "",
            one["instances"] or "",
            one["bridge"] or "",
            ", ".join(_reached(one)),
            ", ".join(one["hosts"]),
        )
        for one in found["networks"]
    ]
    print_table(("NETWORK", "DEFAULT", "INSTANCES", "BRIDGE", "REACHES", "NAMES"), rows, empty="")


def _reached(network: Mapping[str, Any]) -> list[str]:
    own = [network["subnet"]] if network["name"] not in (_NONE, _PUBLIC) else []
    return [*own, *network["routes"], *(["public addresses"] if network["public"] else [])]


def fields(args: argparse.Namespace, client: Client, current: Mapping[str, Any]) -> dict[str, Any]:
    """The options --network and --only-from by the API's names.

    Args:
        current: the function as it is, {} for a new one: the two options share a field.

    Raises:
        UsageError: a network that the node does not have.
    """
    if args.network is None and args.only_from is None:
        return {}
    possible = [one["name"] for one in client.call("GET", "/fgd/v1/networks")["networks"]]
    found: dict[str, Any] = {}
    controller = dict(current.get("network_controller") or {})
    if args.network is not None:
        _check("--network", [args.network], possible)
        named = args.network not in (_NONE, _PUBLIC)
        found["func_vpc"] = {"vpc_id": args.network, "subnet_id": args.network} if named else {}
        if not named:
            found["domain_names"] = ""
        controller["disable_public_network"] = args.network == _NONE
    if args.only_from is not None:
        names = [name.strip() for name in args.only_from.split(",") if name.strip()]
        _check("--only-from", names, [name for name in possible if name not in (_NONE, _PUBLIC)])
        controller["trigger_access_vpcs"] = [{"vpc_id": name, "vpc_name": name} for name in names]
    return {**found, "network_controller": controller}


def _check(option: str, names: Iterable[str], possible: Iterable[str]) -> None:
    for name in names:
        if name not in possible:
            words = ", ".join(possible) or "none: the settings name no networks"
            raise UsageError(f"{option} {name}: no such network on this node; possible: {words}")


def shown(function: Mapping[str, Any]) -> str:
    """The network of a function for people."""
    vpc, controller = function.get("func_vpc") or {}, function.get("network_controller") or {}
    if vpc:
        return str(vpc["vpc_id"])
    return _NONE if controller.get("disable_public_network") else "the node's default"


def shown_entry(function: Mapping[str, Any]) -> str:
    """From where it can be invoked; "" for everywhere."""
    access = (function.get("network_controller") or {}).get("trigger_access_vpcs") or []
    return ", ".join(one["vpc_id"] for one in access)
