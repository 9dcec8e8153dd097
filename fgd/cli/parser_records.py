"""Commands about what belongs to functions beside their settings: tags, test events, files, quotas."""

import argparse
from pathlib import Path
from typing import Protocol

_FUNCTION = "name, package:name or URN"
_DATA = "the event: JSON, @ and a file's name, or - for standard input"


class Commands(Protocol):
    """The commands below one parser, see `fgd.cli.parser`."""

    def add(self, name: str, run: str, text: str) -> argparse.ArgumentParser: ...
    def group(self, name: str, text: str, run: str = "") -> "Commands": ...


def add_tags(commands: Commands) -> None:
    """`fgd tags`."""
    tags = commands.group("tags", "words that functions are sorted and found by")
    add = tags.add("add", "tags:add", "set tags of a function; a key that it has gets the new value")
    add.add_argument("function", metavar="NAME", help=_FUNCTION)
    add.add_argument("tags", nargs="+", metavar="KEY=VALUE", help="at most 20 for a function; the value may be empty")
    remove = tags.add("remove", "tags:remove", "take tags of a function away")
    remove.add_argument("function", metavar="NAME", help=_FUNCTION)
    remove.add_argument("keys", nargs="+", metavar="KEY")
    listing = tags.add("list", "tags:list_tags", "show the tags of a function, or all keys with all their values")
    listing.add_argument("function", nargs="?", metavar="NAME", help=_FUNCTION)
    find = tags.add("find", "tags:find", "show the functions that have all of these tags")
    find.add_argument("tags", nargs="*", metavar="KEY[=VALUE]",
                      help="KEY alone: with any value; a KEY with several values: one of them")  # fmt: skip
    find.add_argument("--none", action="store_true", help="functions without any tag")
    find.add_argument("--match", default="", metavar="TEXT", help="only those with this in their name")


def add_events(commands: Commands) -> None:
    """`fgd events`."""
    events = commands.group("events", "test events, kept with a function to try it with")

    def one(name: str, run: str, text: str) -> argparse.ArgumentParser:
        parser = events.add(name, f"events:{run}", text)
        parser.add_argument("function", metavar="NAME", help=_FUNCTION)
        return parser

    one("list", "list_events", "show the test events of a function")
    create = one("create", "create", "keep a test event; a function may have ten")
    create.add_argument("event", metavar="EVENT", help="its name: 1-25 letters, digits, - and _; a letter first")
    which = create.add_mutually_exclusive_group()
    which.add_argument("--data", metavar="JSON|@FILE|-", help=f"{_DATA}; at most 4 KB")
    which.add_argument("--template", metavar="SOURCE", help="what this source sends (default blank)")
    one("show", "show", "print a test event").add_argument("event", metavar="EVENT")
    update = one("update", "update", "give a test event other content")
    update.add_argument("event", metavar="EVENT")
    update.add_argument("--data", metavar="JSON|@FILE|-", required=True, help=f"{_DATA}; at most 4 KB")
    one("delete", "delete", "delete a test event").add_argument("event", metavar="EVENT")
    templates = events.add("templates", "events:templates", "show what each event source sends")
    templates.add_argument("template", nargs="?", metavar="SOURCE", help="print the event of this one")


def add_test(commands: Commands) -> None:
    """`fgd test`."""
    parser = commands.add("test", "events:test", "try a function: print result, summary and the last 2 KB of its log")
    parser.add_argument("function", metavar="NAME", help=f"{_FUNCTION}; also name@VERSION and name@!ALIAS")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--event", metavar="EVENT", help="a test event of the function")
    which.add_argument("--template", metavar="SOURCE", help="what this source sends, see fgd events templates")
    which.add_argument("--data", metavar="JSON|@FILE|-", help=_DATA)


def add_transfer(functions: Commands) -> None:
    """`fgd functions export` and `import`."""
    export = functions.add("export", "transfer:export", "write a function into a file: settings and code")
    export.add_argument("function", metavar="NAME", help=f"{_FUNCTION}; also name@VERSION")
    what = export.add_mutually_exclusive_group()
    what.add_argument("--config-only", action="store_true", help="the settings alone")
    what.add_argument("--code-only", action="store_true", help="the code package alone")
    export.add_argument("--output", "-o", type=Path, metavar="FILE",
                        help="where to write it (default: NAME_<MD5 of the code>.zip)")  # fmt: skip
    load = functions.add("import", "transfer:load", "make a function of an exported file")
    load.add_argument("file", type=Path, metavar="FILE", help="what fgd functions export wrote")
    load.add_argument("--name", default="", help="the function (default: the name in the file's name)")
    load.add_argument("--package", default="", help="the group it belongs to (default: default)")
    load.add_argument("--secret-env", action="append", metavar="K=V", default=[],
                      help="a secret variable, which files do not hold; K alone takes its value from the environment; "
                      "may be repeated")  # fmt: skip


def add_quotas(commands: Commands) -> None:
    """`fgd quotas`."""
    commands.add("quotas", "quotas:quotas", "show what may be had, what is used, and the setting that changes it")
