"""Options of `fgd smn`."""

import argparse

from fgd.cli.parser_records import Commands

_TOPIC = "its name or URN"


def add_smn(commands: Commands) -> None:
    """`fgd smn`."""
    smn = commands.group("smn", "topics: what is published to one goes to all who subscribe")
    topics = smn.group("topics", "topics of the project")
    create = topics.add("create", "smn:create_topic", "make a topic; print its URN")
    create.add_argument("topic", metavar="NAME", help="1-255 letters, digits, - and _; a letter or digit first")
    create.add_argument("--display-name", default="", metavar="TEXT", help="what it is called beside its name")
    topics.add("list", "smn:list_topics", "show the topics")
    _named(topics, "show", "show_topic", "print a topic with its attributes")
    _named(topics, "delete", "delete_topic", "delete a topic with its subscriptions")

    subscriptions = smn.group("subscriptions", "who gets the messages of a topic")
    add = _named(subscriptions, "add", "add_subscription", "subscribe a function or an HTTP endpoint; print the URN")
    add.add_argument("endpoint", metavar="FUNCTION|URL", help="a function's name or URN, or http://... or https://...")
    add.add_argument("--remark", default="", metavar="TEXT", help="a word about it")
    add.add_argument("--header", action="append", default=[], metavar="NAME=VALUE",
                     help="a header of each message to a URL; may be repeated")  # fmt: skip
    listing = subscriptions.add("list", "smn:list_subscriptions", "show the subscriptions of a topic, or of all")
    listing.add_argument("topic", nargs="?", default="", metavar="TOPIC", help=_TOPIC)
    cancel = subscriptions.add("cancel", "smn:cancel_subscription", "cancel a subscription")
    cancel.add_argument("subscription", metavar="URN")

    templates = smn.group("templates", "texts with {tags} for messages")
    make = templates.add("create", "smn:create_template", "make a message template; print its id")
    make.add_argument("template", metavar="NAME", help="templates of one name, for several protocols, go together")
    make.add_argument("content", metavar="TEXT|@FILE", help="with {tags}")
    make.add_argument("--protocol", default="default", help="functionstage, http, https, or default for all others")
    templates.add("list", "smn:list_templates", "show the message templates")
    templates.add("show", "smn:show_template", "print a message template").add_argument("template", metavar="ID")
    update = templates.add("update", "smn:update_template", "give a message template another text")
    update.add_argument("template", metavar="ID")
    update.add_argument("content", metavar="TEXT|@FILE", help="with {tags}")
    templates.add("delete", "smn:delete_template", "delete a message template").add_argument("template", metavar="ID")

    publish = _named(smn, "publish", "publish", "publish a message; print its id")
    publish.add_argument("message", nargs="?", metavar="MESSAGE|@FILE", help="at most 256 KB")
    publish.add_argument("--structure", metavar="JSON|@FILE", help="a message for each protocol, and one for default")
    publish.add_argument("--template", metavar="NAME", help="a message template")
    publish.add_argument("--tag", action="append", default=[], metavar="NAME=VALUE",
                         help="what a tag of the template becomes; may be repeated")  # fmt: skip
    publish.add_argument("--subject", default="", metavar="TEXT", help="at most 512 bytes")
    publish.add_argument("--ttl", type=int, default=3600, metavar="S",
                         help="seconds for which it is delivered, 1-86400 (default 3600)")  # fmt: skip
    publish.add_argument("--attribute", action="append", default=[], metavar="NAME=VALUE",
                         help="an attribute of the message; may be repeated")  # fmt: skip

    deliveries = _named(smn, "deliveries", "deliveries", "show messages on their way and those that did not arrive")
    then = deliveries.add_mutually_exclusive_group()
    then.add_argument("--retry", action="store_true", help="try all failed ones again")
    then.add_argument("--drop", action="store_true", help="forget all failed ones")


def _named(commands: Commands, name: str, run: str, text: str) -> argparse.ArgumentParser:
    parser = commands.add(name, f"smn:{run}", text)
    parser.add_argument("topic", metavar="TOPIC", help=_TOPIC)
    return parser
