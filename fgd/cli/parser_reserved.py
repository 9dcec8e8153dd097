"""The commands and options of `fgd reserved`."""

import argparse
from typing import Final

from fgd.cli.parser_records import Commands

_LEVELS: Final = ("high_performance", "balance", "low_cost")


def add_reserved(commands: Commands) -> None:
    """`fgd reserved`."""
    reserved = commands.group("reserved", "instances that are made ahead and kept")

    def one(name: str, run: str, text: str) -> argparse.ArgumentParser:
        parser = reserved.add(name, f"reserved:{run}", text)
        parser.add_argument(
            "function", metavar="NAME", help="name, package:name or URN; also name@VERSION, name@!ALIAS"
        )
        return parser

    listing = reserved.add(
        "list", "reserved:list_reserved", "show what is reserved, and how many instances are kept now"
    )
    listing.add_argument("function", nargs="?", default="", metavar="NAME", help="only of this function")
    one("show", "show", "show the reservation of a version or alias with its policies")
    fixed = one("set", "set_count", "keep so many instances at all times; policies stay as they are")
    fixed.add_argument("count", type=int, metavar="COUNT", help="0-1000; 0 without policies takes the reservation away")
    fixed.add_argument(
        "--idle-mode", action=argparse.BooleanOptionalAction, help="freeze them while they are not invoked (no CPU)"
    )
    schedule = one("schedule", "schedule", "keep another number from certain times on: adds or replaces a policy")
    schedule.add_argument("policy", metavar="POLICY", help="a name for it")
    schedule.add_argument("--cron", required=True, metavar="EXPRESSION",
                          help="second minute hour day month weekday, in UTC, such as '0 0 8 * * *'")  # fmt: skip
    schedule.add_argument("--count", required=True, type=int, metavar="N", help="instances from these times on")
    for name, text in (("from", "begins"), ("until", "ends")):
        schedule.add_argument(f"--{name}", dest=f"{name}_", metavar="TIME",
                              help=f"when its validity {text}: 2030-05-01T08:00:00 (UTC unless it says "
                              "otherwise)")  # fmt: skip
    metric = one("metric", "metric", "follow the use of instances, minute by minute: adds or replaces a policy")
    metric.add_argument("policy", metavar="POLICY", help="a name for it")
    metric.add_argument("--use", required=True, type=int, metavar="PERCENT", help="how many shall be in use, 1-99")
    metric.add_argument("--min", type=int, metavar="N", help="never fewer than this (default: the fixed count)")
    recommend = one("recommend", "recommend", "follow a forecast made of the requests of the last days")
    recommend.add_argument("level", choices=_LEVELS, help="how careful it is; excludes other policies")
    one("forecast", "forecast", "show what each level of a recommendation would have kept in the last day")
    remove = one("remove", "remove", "take away one policy, or all that is reserved")
    remove.add_argument("policy", nargs="?", default="", metavar="POLICY", help="only this policy")
