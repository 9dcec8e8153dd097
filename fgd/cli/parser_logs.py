"""Commands about log streams and the audit log."""

from pathlib import Path

from fgd.cli.parser_records import Commands

_STREAM = "its id, or GROUP/STREAM by names"


def add_lts(commands: Commands) -> None:
    """`fgd lts`."""
    lts = commands.group("lts", "log groups and streams: lines that functions read, or write")
    groups = lts.add("groups", "lts:groups", "show log groups, make one, change or delete it")
    groups.add_argument("group", nargs="?", metavar="GROUP", help="its name or id; none for all")
    what = groups.add_mutually_exclusive_group()
    what.add_argument("--create", action="store_true", help="make it")
    what.add_argument("--delete", action="store_true", help="delete it with its streams")
    groups.add_argument("--days", type=int, metavar="N", help="how long its lines are kept: 1-365 (a new one's: 30)")
    streams = lts.add("streams", "lts:streams", "show the streams of a log group, make or delete one")
    streams.add_argument("group", metavar="GROUP", help="name or id of the log group")
    streams.add_argument("stream", nargs="?", metavar="STREAM", help="name or id; none for all")
    which = streams.add_mutually_exclusive_group()
    which.add_argument("--create", action="store_true", help="make it")
    which.add_argument("--delete", action="store_true", help="delete it with its lines")
    ingest = lts.add("ingest", "lts:ingest", "add lines to a log stream")
    ingest.add_argument("stream", metavar="STREAM", help=_STREAM)
    ingest.add_argument("file", nargs="?", default="-", metavar="FILE", help="text, a line in each line (default: -)")
    read = lts.add("read", "lts:read", "show lines of a log stream, the newest ones")
    read.add_argument("stream", metavar="STREAM", help=_STREAM)
    read.add_argument("--limit", type=int, default=100, metavar="N", help="lines at most, 1-10000 (default 100)")
    read.add_argument("--after", type=int, metavar="CURSOR", help="from the line behind this one on")
    read.add_argument("--follow", "-f", action="store_true", help="go on with what comes in")


def add_audit(commands: Commands) -> None:
    """`fgd audit`."""
    parser = commands.add("audit", "audit:audit", "show what was done in the last seven days, newest first")
    parser.add_argument("--name", default="", metavar="NAME", help="the operation, such as createFunction")
    parser.add_argument("--resource", default="", metavar="NAME", help="name of what it was done to")
    parser.add_argument("--resource-id", default="", metavar="ID", help="URN of a function, id of a trigger, ...")
    parser.add_argument("--type", default="", metavar="TYPE", help="type of resource: Functions, Triggers, ...")
    parser.add_argument("--user", default="", metavar="NAME", help="who did it: an access key, an agency, uid:N")
    parser.add_argument("--status", default="", choices=("", "normal", "warning", "incident"),
                        help="normal: done; warning: refused; incident: failed")  # fmt: skip
    parser.add_argument("--since", default="", metavar="TIME", help="30m, 12h, 2d, or 2026-01-31T12:00:00Z")
    parser.add_argument("--until", default="", metavar="TIME", help="as --since")
    parser.add_argument("--all-projects", action="store_true", help="of every project")
    parser.add_argument("--limit", type=int, default=50, metavar="N", help="traces at most, 1-5000 (default 50)")
    parser.add_argument("--export", type=Path, metavar="FILE",
                        help="write up to 5,000 traces to FILE.csv or FILE.xlsx instead")  # fmt: skip
