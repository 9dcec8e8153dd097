"""Where outcomes of asynchronous invocations go: targets as people write them, and what has not arrived."""

import argparse
import json
from typing import Any
from urllib.parse import quote

from fgd.cli.client import Client
from fgd.cli.report import UsageError, print_fields, print_json, print_table

NO_TARGET = "none"
_FORMS = "FunctionGraph:NAME, OBS:BUCKET/PREFIX[?expires=DAYS], DIS:STREAM, Webhook:URL, KIND:{JSON}, or none"


def target(client: Client, option: str, text: str) -> dict[str, str] | None:
    """`KIND:...` of the command line as the API takes it; None for `none`.

    Raises:
        UsageError: not one of the forms.
    """
    if text == NO_TARGET:
        return None
    kind, colon, rest = text.partition(":")
    if not colon or not rest:
        raise UsageError(f"{option}: must be {_FORMS}, not {text!r}")
    return {"destination": kind, "param": json.dumps(_param(client, option, kind, rest))}


def _param(client: Client, option: str, kind: str, rest: str) -> dict[str, Any]:
    if rest.startswith("{"):
        try:
            given: dict[str, Any] = json.loads(rest)
        except ValueError as error:
            raise UsageError(f"{option}: {rest!r} is not JSON: {error}") from None
        return given
    match kind:
        case "FunctionGraph":
            return {"func_urn": client.urn(rest)}
        case "Webhook":
            return {"url": rest}
        case "SMN":
            return {"topic_urn": rest}
        case "DIS":
            return {"stream_name": rest}
        case "OBS":
            place, question, days = rest.partition("?expires=")
            bucket, _, prefix = place.partition("/")
            param: dict[str, Any] = {"bucket": bucket, "prefix": prefix}
            if question:
                if not days.isdigit():
                    raise UsageError(f"{option}: expires must be a number of days, not {days!r}")
                param["expires"] = int(days)
            return param
    raise UsageError(f"{option}: settings of the kind {kind} are written as JSON: {kind}:{{...}}")


def shown(value: dict[str, str] | None) -> str:
    """A target in one line; "" for none."""
    return f"{value['destination']} {value['param']}" if value else ""


def _path(client: Client, function: str, rest: str = "") -> str:
    return f"/fgd/v1/functions/{quote(client.urn(function), safe='')}/async-deliveries{rest}"


def list_deliveries(args: argparse.Namespace) -> None:
    """What is on its way and what did not arrive, newest first."""
    client = Client(args.admin_socket)
    query = {"status": args.status, "request_id": args.request, "limit": args.limit}
    found = client.call("GET", _path(client, args.function), query=query)
    if args.json:
        print_json(found)
        return
    rows = [
        (
            one["id"], one["request_id"], one["outcome"], one["destination"], one["status"], one["tries"],
            one["next_try"] or "", one["error"],
        )
        for one in found["deliveries"]
    ]  # fmt: skip
    head = ("ID", "REQUEST", "OUTCOME", "DESTINATION", "STATUS", "TRIES", "NEXT TRY", "ERROR")
    print_table(head, rows, empty="nothing is on its way, and nothing failed")


def show(args: argparse.Namespace) -> None:
    """One with the document that is to be delivered."""
    client = Client(args.admin_socket)
    found = client.call("GET", _path(client, args.function, f"/{args.delivery}"))
    if args.json:
        print_json(found)
    else:
        print_fields((name.replace("_", " "), value) for name, value in found.items())


def retry(args: argparse.Namespace) -> None:
    """Has failed ones tried again."""
    _settle(args, "retry", "tried again")


def drop(args: argparse.Namespace) -> None:
    """Forgets failed ones."""
    _settle(args, "drop", "dropped")


def _settle(args: argparse.Namespace, what: str, done: str) -> None:
    if bool(args.deliveries) == args.all:
        raise UsageError(f"async {what}: name deliveries by their numbers (fgd async deliveries), or say --all")
    client = Client(args.admin_socket)
    body = {"all": True} if args.all else {"ids": args.deliveries}
    found = client.call("POST", _path(client, args.function, f"/{what}"), body=body)
    if args.json:
        print_json(found)
    else:
        print(f"{found['count']} {done}")
