"""The commands `fgd apig ...`."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fgd.cli.parser_records import Commands

_KINDS = {
    "group": ("groups", "API group"),
    "environment": ("environments", "environment"),
    "app": ("apps", "app, which calls APIs with its key or code"),
    "throttle": ("throttles", "throttling policy"),
}


def add_apig(commands: "Commands") -> None:
    """`fgd apig`."""
    apig = commands.group("apig", "published APIs: their groups, environments, apps and limits")
    listing = apig.add("list", "apig:apis", "show all published APIs with their addresses")
    _project(listing)
    for kind, (segment, title) in _KINDS.items():
        noun = title.partition(",")[0]
        group = apig.group(segment, f"{noun}: create, list, show, update, delete")

        def one(name: str, run: str, text: str, kind: str = kind, group: "Commands" = group) -> argparse.ArgumentParser:
            parser = group.add(name, f"apig:{run}", text)
            parser.set_defaults(kind=kind)
            _project(parser)
            if name not in ("create", "list"):
                parser.add_argument("object", metavar="NAME", help="its name or id")
            return parser

        create = one("create", "create", f"make one: {title}")
        create.add_argument("name", metavar="NAME")
        _fields(create, kind)
        one("list", "list_objects", "show all")
        one("show", "show", "show one with everything")
        update = one("update", "update", "change one; what is not given stays")
        update.add_argument("--name", metavar="NAME", help="another name")
        _fields(update, kind)
        one("delete", "delete", "delete one")
        if kind in ("app", "throttle"):
            for name, text in (("bind", "let it hold for APIs"), ("unbind", "let it hold for APIs no more")):
                one(name, name, text).add_argument("apis", nargs="+", metavar="API", help="name or id of an API")
        if kind == "app":
            one("code", "add_code", "make an AppCode and print it")
            one("delete-code", "remove_code", "take an AppCode away").add_argument("code", metavar="CODE")


def _project(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--project", default="", metavar="ID", help="the project (default: the daemon's)")


def _fields(parser: argparse.ArgumentParser, kind: str) -> None:
    parser.add_argument("--description", metavar="TEXT", help="at most 255 characters")
    if kind == "group":
        parser.add_argument("--domains", metavar="NAME,...", help="host names at which it is found too")
    if kind == "throttle":
        parser.add_argument("--interval", type=int, metavar="N", help="length of the time, in units (default 1)")
        parser.add_argument("--unit", choices=("SECOND", "MINUTE", "HOUR", "DAY"), help="default SECOND")
        parser.add_argument("--api-limit", type=int, metavar="N", help="requests of one API within the time")
        parser.add_argument("--user-limit", type=int, metavar="N", help="of one user; 0 no limit")
        parser.add_argument("--app-limit", type=int, metavar="N", help="of one app; 0 no limit")
        parser.add_argument("--ip-limit", type=int, metavar="N", help="of one client address; 0 no limit")
        parser.add_argument("--shared", action=argparse.BooleanOptionalAction, help="all its APIs have one count")
