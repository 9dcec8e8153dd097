"""`fgd smn`: topics, who subscribes to them, message templates, publishing."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fgd.cli.client import Client
from fgd.cli.report import UsageError, print_json, print_table

_PAGE = 100
_STATES = {0: "Unconfirmed", 1: "Confirmed", 3: "Cancelled"}


def _path(client: Client, rest: str) -> str:
    return f"/v2/{client.project_id}/notifications/{rest}"


def _urn(client: Client, topic: str) -> str:
    """A topic's URN, from it or from the topic's name."""
    if topic.startswith("urn:"):
        return topic
    found = client.call("GET", _path(client, "topics"), query={"name": topic})["topics"]
    if not found:
        raise UsageError(f"there is no topic {topic}; fgd smn topics list shows all")
    return str(found[0]["topic_urn"])


def _topic(client: Client, topic: str, rest: str = "") -> str:
    return _path(client, f"topics/{quote(_urn(client, topic), safe='')}{rest}")


def _all(client: Client, path: str, field: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = client.call("GET", path, query={"offset": len(found), "limit": _PAGE})[field]
        found += page
        if len(page) < _PAGE:
            return found


def _text(value: str) -> str:
    """What an option gives: itself, or the content of the file after @."""
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{value[1:]}: cannot be read: {error}") from error


def _done(args: argparse.Namespace, answer: Mapping[str, object], text: str) -> None:
    if args.json:
        print_json(answer)
    else:
        print(text)


# --- topics --------------------------------------------------------------------------------------------------


def create_topic(args: argparse.Namespace) -> None:
    """Makes a topic."""
    client = Client(args.admin_socket)
    body = {"name": args.topic, "display_name": args.display_name}
    answer = client.call("POST", _path(client, "topics"), body=body)
    _done(args, answer, answer["topic_urn"])


def list_topics(args: argparse.Namespace) -> None:
    """All topics."""
    client = Client(args.admin_socket)
    found = _all(client, _path(client, "topics"), "topics")
    if args.json:
        print_json({"topics": found})
        return
    rows = [(one["name"], one["display_name"], one["topic_urn"]) for one in found]
    print_table(("NAME", "DISPLAY NAME", "URN"), rows, empty="no topics")


def show_topic(args: argparse.Namespace) -> None:
    """One topic with its attributes."""
    client = Client(args.admin_socket)
    shown = client.call("GET", _topic(client, args.topic))
    shown["attributes"] = client.call("GET", _topic(client, args.topic, "/attributes"))["attributes"]
    print_json(shown)


def delete_topic(args: argparse.Namespace) -> None:
    """Deletes a topic."""
    client = Client(args.admin_socket)
    _done(args, client.call("DELETE", _topic(client, args.topic)), f"deleted {args.topic}")


# --- subscriptions -------------------------------------------------------------------------------------------


def add_subscription(args: argparse.Namespace) -> None:
    """Subscribes a function or an endpoint."""
    client = Client(args.admin_socket)
    protocol, _, rest = args.endpoint.partition("://")
    web = bool(rest)
    body: dict[str, object] = {"protocol": protocol if web else "functionstage", "remark": args.remark}
    body["endpoint"] = args.endpoint if web else client.urn(args.endpoint)
    headers = {}
    for item in args.header:
        name, equals, value = item.partition("=")
        if not equals:
            raise UsageError(f"--header {item}: must be NAME=VALUE")
        headers[name] = value
    if headers:
        body["extension"] = {"header": headers}
    answer = client.call("POST", _topic(client, args.topic, "/subscriptions"), body=body)
    _done(args, answer, answer["subscription_urn"])


def list_subscriptions(args: argparse.Namespace) -> None:
    """Of a topic, or of all."""
    client = Client(args.admin_socket)
    path = _topic(client, args.topic, "/subscriptions") if args.topic else _path(client, "subscriptions")
    found = _all(client, path, "subscriptions")
    if args.json:
        print_json({"subscriptions": found})
        return
    rows = [
        (one["protocol"], one["endpoint"], _STATES.get(one["status"], one["status"]), one["subscription_urn"])
        for one in found
    ]
    print_table(("PROTOCOL", "ENDPOINT", "STATUS", "URN"), rows, empty="no subscriptions")


def cancel_subscription(args: argparse.Namespace) -> None:
    """Cancels one."""
    client = Client(args.admin_socket)
    answer = client.call("DELETE", _path(client, f"subscriptions/{quote(args.subscription, safe='')}"))
    _done(args, answer, "cancelled")


# --- templates -----------------------------------------------------------------------------------------------


def create_template(args: argparse.Namespace) -> None:
    """Makes a message template."""
    client = Client(args.admin_socket)
    body = {"message_template_name": args.template, "protocol": args.protocol, "content": _text(args.content)}
    answer = client.call("POST", _path(client, "message_template"), body=body)
    _done(args, answer, answer["message_template_id"])


def list_templates(args: argparse.Namespace) -> None:
    """All message templates."""
    client = Client(args.admin_socket)
    found = _all(client, _path(client, "message_template"), "message_templates")
    if args.json:
        print_json({"message_templates": found})
        return
    rows = [
        (one["message_template_name"], one["protocol"], ", ".join(one["tag_names"]), one["message_template_id"])
        for one in found
    ]
    print_table(("NAME", "PROTOCOL", "TAGS", "ID"), rows, empty="no message templates")


def show_template(args: argparse.Namespace) -> None:
    """One with its text."""
    client = Client(args.admin_socket)
    print_json(client.call("GET", _path(client, f"message_template/{quote(args.template, safe='')}")))


def update_template(args: argparse.Namespace) -> None:
    """Gives one another text."""
    client = Client(args.admin_socket)
    path = _path(client, f"message_template/{quote(args.template, safe='')}")
    _done(args, client.call("PUT", path, body={"content": _text(args.content)}), "changed")


def delete_template(args: argparse.Namespace) -> None:
    """Deletes one."""
    client = Client(args.admin_socket)
    path = _path(client, f"message_template/{quote(args.template, safe='')}")
    _done(args, client.call("DELETE", path), "deleted")


# --- messages ------------------------------------------------------------------------------------------------


def publish(args: argparse.Namespace) -> None:
    """Publishes a message."""
    given = [one for one in (args.message, args.structure, args.template) if one is not None]
    if len(given) != 1:
        raise UsageError("publish: give one of MESSAGE, --structure and --template")
    body: dict[str, object] = {"time_to_live": str(args.ttl)}
    if args.subject:
        body["subject"] = args.subject
    if args.message is not None:
        body["message"] = _text(args.message)
    elif args.structure is not None:
        body["message_structure"] = _text(args.structure)
    else:
        body["message_template_name"] = args.template
        body["tags"] = dict(_pair("--tag", item) for item in args.tag)
    if args.attribute:
        pairs = (_pair("--attribute", item) for item in args.attribute)
        body["message_attributes"] = [{"name": name, "type": "STRING", "value": value} for name, value in pairs]
    client = Client(args.admin_socket)
    answer = client.call("POST", _topic(client, args.topic, "/publish"), body=body)
    _done(args, answer, answer["message_id"])


def _pair(option: str, item: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not equals:
        raise UsageError(f"{option} {item}: must be NAME=VALUE")
    return name, value


def deliveries(args: argparse.Namespace) -> None:
    """Messages that are on their way or did not arrive; or has those that failed tried again or dropped."""
    client = Client(args.admin_socket)
    path = f"/fgd/v1/projects/{client.project_id}/topics/{quote(_urn(client, args.topic), safe='')}/deliveries"
    if args.retry or args.drop:
        answer = client.call("POST", f"{path}/{'retry' if args.retry else 'drop'}", body={"all": True})
        _done(args, answer, json.dumps(answer["count"]))
        return
    found = client.call("GET", path)["deliveries"]
    if args.json:
        print_json({"deliveries": found})
        return
    rows = [
        (one["message_id"], one["endpoint"] or one["subscription_urn"], one["status"], one["tries"], one["error"])
        for one in found
    ]
    print_table(("MESSAGE", "ENDPOINT", "STATUS", "TRIES", "ERROR"), rows, empty="no messages are on their way")
