"""`fgd plugins`: what they bring, and what is wrong with them."""

import argparse
from typing import Any
from urllib.parse import quote

from fgd.cli.client import Client
from fgd.cli.report import print_fields, print_json, print_table
from fgd.cli.triggers import all_triggers, complaint

#: Figures that are only worth a line when they are not zero.
_TROUBLES = {
    "waiting": "triggers that failed and start again",
    "restarts": "restarts of triggers",
    "blocked": "steps that kept the daemon from working",
    "leaked_tasks": "tasks left behind",
    "leaked_threads": "threads left behind",
}


def list_plugins(args: argparse.Namespace) -> None:
    """fgd's own and those of installed packages."""
    found = Client(args.admin_socket).call("GET", "/fgd/v1/plugins")
    if args.json:
        print_json(found)
        return
    rows = [
        (
            one["name"],
            "built in" if one["builtin"] else one["version"],
            ", ".join([*one["trigger_types"], *one["destinations"], *one["disk_drivers"]]),
            one["figures"]["triggers"] or "",
            one["error"] or "ok",
        )
        for one in found["plugins"]
    ]
    print_table(("PLUGIN", "VERSION", "BRINGS", "TRIGGERS", "STATE"), rows)


def show(args: argparse.Namespace) -> None:
    """One of them, with the triggers of its types that are not well."""
    client = Client(args.admin_socket)
    plugin = client.call("GET", f"/fgd/v1/plugins/{quote(args.plugin, safe='')}")
    types = set(plugin["trigger_types"])
    triggers = [one for one in all_triggers(client) if one["trigger_type_code"] in types] if types else []
    if args.json:
        print_json({**plugin, "triggers": triggers})
        return
    figures = plugin["figures"]
    print_fields(
        [
            ("plugin", plugin["name"]),
            ("version", plugin["version"]),
            ("package", "fgd itself" if plugin["builtin"] else plugin["package"]),
            ("file", plugin["file"]),
            ("hooks", ", ".join(plugin["hooks"])),
            ("trigger types", ", ".join(plugin["trigger_types"])),
            ("destinations", ", ".join(plugin["destinations"])),
            ("disk drivers", ", ".join(plugin["disk_drivers"])),
            ("state", "ok" if not plugin["error"] else "not well"),
            *(("problem", text) for text in plugin["problems"]),
            ("triggers", figures["triggers"] or None),
            ("events", figures["events"] or None),
            *((text, figures[name] or None) for name, text in _TROUBLES.items()),
            ("longest step", f"{figures['longest_step_ms']} ms" if figures["longest_step_ms"] else None),
        ]
    )
    rows = [_trouble(one) for one in triggers if (one["state"] or {}).get("error")]
    if rows:
        print()
        print_table(("TRIGGER", "FUNCTION", "STATE", "ERROR"), rows)


def _trouble(trigger: dict[str, Any]) -> tuple[str, str, str, str]:
    function = ":".join(trigger["func_urn"].split(":")[6:])
    return trigger["trigger_id"], function, trigger["state"]["state"], complaint(trigger)
