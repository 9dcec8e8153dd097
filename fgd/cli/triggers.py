"""`fgd triggers`: what invokes a function."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fgd.cli.client import Client
from fgd.cli.report import Refused, UsageError, print_fields, print_json, print_table

_PAGE = 100


def list_triggers(args: argparse.Namespace) -> None:
    """All triggers, or those of one function (all its versions and aliases)."""
    client = Client(args.admin_socket)
    triggers = all_triggers(client)
    if args.function:
        config = client.call("GET", client.functions_path(args.function.partition("@")[0], "config"))
        start = config["func_urn"].removesuffix(config["version"])
        triggers = [one for one in triggers if one["func_urn"].startswith(start)]
    if args.json:
        print_json({"triggers": triggers})
        return
    rows = [
        (
            one["trigger_id"],
            one["trigger_type_code"],
            ":".join(one["func_urn"].split(":")[6:]),
            one["trigger_status"],
            (one["state"] or {}).get("state", ""),
            (one["state"] or {}).get("events", ""),
            one["event_data"].get("name") or _brief(one["event_data"]),
            complaint(one),
        )
        for one in triggers
    ]
    head = ("ID", "TYPE", "FUNCTION", "STATUS", "STATE", "EVENTS", "NAME", "")
    print_table(head, rows, empty="no triggers; make one: fgd triggers create FUNCTION TYPE ...")


def all_triggers(client: Client) -> list[dict[str, Any]]:
    """Every trigger of the project, with its state."""
    triggers: list[dict[str, Any]] = []
    path = f"/v2/{client.project_id}/fgs/triggers"
    while True:
        page = client.call("GET", path, query={"marker": len(triggers), "maxitems": _PAGE})["triggers"]
        triggers += page
        if len(page) < _PAGE:
            return triggers


def _brief(event_data: dict[str, Any]) -> str:
    text = json.dumps(event_data, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."


def complaint(trigger: dict[str, Any]) -> str:
    """What is wrong with its source, or how it is."""
    state = trigger["state"] or {}
    return state.get("error") or state.get("note") or ""


def show(args: argparse.Namespace) -> None:
    """Settings and state of one."""
    client = Client(args.admin_socket)
    trigger = _found(client, args.trigger)
    _print(trigger, args.json)


def url(args: argparse.Namespace) -> None:
    """The address to open."""
    client = Client(args.admin_socket)
    trigger = _found(client, args.trigger)
    address = trigger["event_data"].get("invoke_url")
    if address is None:
        raise UsageError(f"{args.trigger}: a trigger of type {trigger['trigger_type_code']} has no address")
    if args.json:
        print_json({"invoke_url": address})
    else:
        print(address)


def create(args: argparse.Namespace) -> None:
    """Makes one; it runs at once unless its type or --disabled says otherwise."""
    client = Client(args.admin_socket)
    body: dict[str, Any] = {"trigger_type_code": args.type.upper(), "event_data": _event_data(args)}
    if args.disabled:
        body["trigger_status"] = "DISABLED"
    trigger = client.call("POST", _path(client, args.function), body=body)
    _print(trigger, args.json)


def update(args: argparse.Namespace) -> None:
    """Changes the settings that were given."""
    client = Client(args.admin_socket)
    trigger = _found(client, args.trigger)
    added = {name for name in trigger["event_data"] if name not in _sendable(client, trigger)}
    kept = {name: value for name, value in trigger["event_data"].items() if name not in added}
    body = {"event_data": {**kept, **_event_data(args)}}
    _print(client.call("PUT", _one(client, trigger), body=body), args.json)


def _sendable(client: Client, trigger: dict[str, Any]) -> set[str]:
    """Settings of the type; what an answer has beside them was filled in by the type."""
    kind = client.call("GET", f"/fgd/v1/trigger-types/{quote(trigger['trigger_type_code'], safe='')}")
    name = kind["schema"]["$ref"].rpartition("/")[2]
    return set(kind["schema"]["$defs"][name]["properties"])


def enable(args: argparse.Namespace) -> None:
    """Switches one on."""
    _switch(args, "ACTIVE")


def disable(args: argparse.Namespace) -> None:
    """Switches one off; its settings stay."""
    _switch(args, "DISABLED")


def _switch(args: argparse.Namespace, status: str) -> None:
    client = Client(args.admin_socket)
    trigger = client.call("PUT", _one(client, _found(client, args.trigger)), body={"trigger_status": status})
    if args.json:
        print_json(trigger)
    else:
        print(f"{trigger['trigger_id']} is {status}")


def delete(args: argparse.Namespace) -> None:
    """Deletes one."""
    client = Client(args.admin_socket)
    trigger = _found(client, args.trigger)
    client.call("DELETE", _one(client, trigger))
    if args.json:
        print_json({"deleted": trigger["trigger_id"]})
    else:
        print(f"deleted {trigger['trigger_id']}")


def types(args: argparse.Namespace) -> None:
    """All types with a line each, or the settings of one."""
    client = Client(args.admin_socket)
    if args.type:
        kind = client.call("GET", f"/fgd/v1/trigger-types/{quote(args.type, safe='')}")
        if args.json:
            print_json(kind)
            return
        print(f"{kind['trigger_type_code']} ({kind['plugin']}): {kind['summary']}\n")
        print_table(("SETTING", "", "RULE", "MEANING"), settings_rows(kind))
        return
    found = client.call("GET", "/fgd/v1/trigger-types")["trigger_types"]
    if args.json:
        print_json({"trigger_types": found})
        return
    rows = [(kind["trigger_type_code"], kind["plugin"], kind["starts"], kind["summary"]) for kind in found]
    print_table(("TYPE", "PLUGIN", "STARTS", "WHAT IT IS"), rows, empty="no plugin brings a trigger type")


def settings_rows(kind: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(name, "needed" or "", rule, meaning) of each setting of a type as the API describes it."""
    name = kind["schema"]["$ref"].rpartition("/")[2]
    schema = kind["schema"]["$defs"][name]
    needed = set(schema.get("required", ()))
    return [
        (
            field,
            "needed" if field in needed else "",
            _rule(rule),
            rule.get("description", "") + (" (secret)" if field in kind["secrets"] else ""),
        )
        for field, rule in schema["properties"].items()
    ]


#: Words of JSON schema, and how people read them.
_WORDS = {
    "minimum": "from", "exclusiveMinimum": "over", "maximum": "to", "exclusiveMaximum": "under", "pattern": "like",
    "minLength": "from chars", "maxLength": "to chars", "minItems": "from items", "maxItems": "to items",
    "default": "default",
}  # fmt: skip


def _rule(rule: dict[str, Any]) -> str:
    options = rule.get("enum") or [one.get("type") for one in rule.get("anyOf", ())]
    words = [str(rule.get("type") or "|".join(map(str, options)))]
    words += [f"{word} {rule[key]}" for key, word in _WORDS.items() if rule.get(key) not in (None, "")]
    return ", ".join(words)


def _event_data(args: argparse.Namespace) -> dict[str, Any]:
    """Settings from `--set NAME=VALUE` and `--data JSON|@FILE`."""
    values: dict[str, Any] = {}
    if args.data:
        text = args.data
        if text.startswith("@"):
            try:
                text = Path(text[1:]).read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"--data {args.data}: cannot be read: {error}") from None
        try:
            values = json.loads(text)
        except ValueError as error:
            raise UsageError(f"--data: not JSON: {error}") from None
        if not isinstance(values, dict):
            raise UsageError("--data: must be a JSON object")
    for item in args.set:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {item}: must be NAME=VALUE; VALUE is JSON, or text as it is")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values


def _found(client: Client, wanted: str) -> dict[str, Any]:
    """The trigger whose id, or name, this is or begins so."""
    every = all_triggers(client)
    found = [one for one in every if one["trigger_id"].startswith(wanted)]
    found = found or [one for one in every if one["event_data"].get("name") == wanted]
    if not found:
        raise Refused(404, "FSS.1131", f"there is no trigger {wanted!r}; fgd triggers list shows all")
    if len(found) > 1:
        raise UsageError(f"{wanted}: {len(found)} triggers are called or begin so; give more of the id")
    return found[0]


def _path(client: Client, function: str) -> str:
    return f"/v2/{client.project_id}/fgs/triggers/{quote(client.urn(function), safe='')}"


def _one(client: Client, trigger: dict[str, Any]) -> str:
    return f"{_path(client, trigger['func_urn'])}/{trigger['trigger_type_code']}/{trigger['trigger_id']}"


def _print(trigger: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(trigger)
        return
    state = trigger.get("state") or {}
    print_fields(
        [
            ("trigger", trigger["trigger_id"]),
            ("type", trigger["trigger_type_code"]),
            ("function", trigger.get("func_urn")),
            ("status", trigger["trigger_status"]),
            ("state", state.get("state")),
            ("source", state.get("note")),
            ("error", state.get("error")),
            ("restarts", state.get("restarts") or None),
            ("kept the daemon waiting", _times(state)),
            ("tasks left behind", state.get("leaked_tasks") or None),
            ("threads left behind", state.get("leaked_threads") or None),
            ("events", state.get("events")),
            *sorted((state.get("figures") or {}).items()),
            *((f"  {name}", value) for name, value in trigger["event_data"].items()),
        ]
    )


def _times(state: dict[str, Any]) -> str | None:
    if not state.get("blocked"):
        return None
    return f"{state['blocked']} times, for at most {state['longest_step_ms'] / 1000:.2f} s"
