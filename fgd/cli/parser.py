"""All commands and options. Nothing heavy is imported here: `fgd` starts fast, a command loads only its own module."""

import argparse
from pathlib import Path
from typing import Final

from fgd.cli.client import DEFAULT_SOCKET, default_socket
from fgd.cli.parser_apig import add_apig
from fgd.cli.parser_dependencies import add_dependencies
from fgd.cli.parser_logs import add_audit, add_lts
from fgd.cli.parser_objects import add_objects
from fgd.cli.parser_plugins import add_plugins
from fgd.cli.parser_records import add_events, add_quotas, add_tags, add_test, add_transfer
from fgd.cli.parser_reserved import add_reserved
from fgd.cli.parser_smn import add_smn

_EPILOG: Final = """\
exit codes: 0 it worked, 1 the function failed or a check did, 2 wrong usage, 3 the API refused, 4 no daemon reachable
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command `fgd`; `args.run` names the function to call as `module:function`."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--admin-socket",
        metavar="PATH",
        default=argparse.SUPPRESS,
        help=f"the daemon's admin socket (default {DEFAULT_SOCKET}; environment FGD_ADMIN_SOCKET)",
    )
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    parser = argparse.ArgumentParser(
        prog="fgd",
        parents=[common],
        allow_abbrev=False,
        description="Runs FunctionGraph functions on this host, each instance in its own sandbox.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = _Group(parser, common, "command")
    _serve(commands)
    _keys(commands)
    _deploy(commands)
    _invoke(commands)
    add_test(commands)
    add_events(commands)
    _functions(commands)
    add_tags(commands)
    add_dependencies(commands)
    _versions(commands)
    _aliases(commands)
    _triggers(commands)
    add_apig(commands)
    add_smn(commands)
    add_objects(commands)
    _agencies(commands)
    _async(commands)
    add_reserved(commands)
    _logs(commands)
    add_lts(commands)
    add_audit(commands)
    add_quotas(commands)
    _node(commands)
    return parser


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line as values; ends the process with 2 and a message when it is wrong.

    The global options are possible before and after the command, so their defaults cannot be the parser's: those of
    the inner parser would replace what the outer one has read.
    """
    return build_parser().parse_args(argv, argparse.Namespace(admin_socket=default_socket(), json=False))


class _Group:
    """The commands below one parser."""

    def __init__(
        self, parser: argparse.ArgumentParser, common: argparse.ArgumentParser, title: str, *, needed: bool = True
    ) -> None:
        self._common = common
        self._commands = parser.add_subparsers(metavar=title.upper(), title=f"{title}s", required=needed)

    def add(self, name: str, run: str, text: str) -> argparse.ArgumentParser:
        parser = self._commands.add_parser(
            name, parents=[self._common], allow_abbrev=False, help=text, description=text[0].upper() + text[1:] + "."
        )
        if run:
            parser.set_defaults(run=f"fgd.cli.{run}")
        return parser

    def group(self, name: str, text: str, run: str = "") -> "_Group":
        """Commands below a name; `run` is what the name alone does."""
        return _Group(self.add(name, run, text), self._common, "command", needed=not run)


def _serve(commands: _Group) -> None:
    parser = commands.add("serve", "serve:serve", "run the daemon in the foreground (as root)")
    parser.add_argument("--state-dir", type=Path, default=Path("/var/lib/fgd"), metavar="DIR",
                        help="everything that survives a restart (default /var/lib/fgd)")  # fmt: skip
    parser.add_argument("--listen", default="127.0.0.1:8320", metavar="HOST:PORT",
                        help="where the API is served (default 127.0.0.1:8320)")  # fmt: skip
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings, TOML; see docs/configuration.md")
    parser.add_argument("--pid-file", type=Path, metavar="FILE", help="where to write the process id when ready")


def _keys(commands: _Group) -> None:
    keys = commands.group("keys", "access keys and tokens of API clients")
    create = keys.add("create", "keys:create", "make an access key, its secret key and a token")
    create.add_argument("--name", default="", help="a word to know it by")
    create.add_argument("--project", default="", metavar="ID", help="the project it is for (default: the daemon's)")
    keys.add("list", "keys:list_keys", "show the access keys")
    delete = keys.add("delete", "keys:delete", "delete an access key; its tokens end with it")
    delete.add_argument("access_key", metavar="ACCESS_KEY")


def _settings(parser: argparse.ArgumentParser) -> None:
    """Options that are settings of a function."""
    parser.add_argument("--handler", metavar="FILE.FUNCTION", help="what is called, such as index.handler")
    parser.add_argument("--memory", type=int, metavar="MB", help="memory of an instance: 128, 256, 512, ... 10240")
    parser.add_argument("--timeout", type=int, metavar="S", help="limit of one invocation, 3-259200 seconds")
    parser.add_argument("--env", action="append", metavar="K=V", default=[],
                        help="variable; may be repeated, and the variables given replace all earlier ones; "
                        "K alone takes its value from the environment")  # fmt: skip
    parser.add_argument("--secret-env", action="append", metavar="K=V", default=[],
                        help="variable that is stored encrypted and never shown; as --env")  # fmt: skip
    parser.add_argument(
        "--initializer", metavar="FILE.FUNCTION", help="called once per instance, before its first event"
    )
    parser.add_argument("--initializer-timeout", type=int, metavar="S", help="limit of the initializer, 1-300 seconds")
    parser.add_argument("--dynamic-memory", action=argparse.BooleanOptionalAction,
                        help="let a request choose the memory of its instance (fgd invoke --memory)")  # fmt: skip
    parser.add_argument("--heartbeat", metavar="FILE.FUNCTION",
                        help="asked every 5 s whether the instance is well; '' takes it away")  # fmt: skip
    parser.add_argument("--pre-stop", metavar="FILE.FUNCTION",
                        help="called before an instance ends; '' takes it away")  # fmt: skip
    parser.add_argument("--pre-stop-timeout", type=int, metavar="S", help="limit of that, 1-90 seconds (default 10)")
    parser.add_argument("--concurrency", type=int, metavar="N", help="events that one instance takes at once, 1-1000")
    parser.add_argument("--max-instances", type=int, metavar="N", help="instances at most: 1-1000, -1 no limit")
    parser.add_argument("--network", metavar="none|public|NAME",
                        help="what instances reach: nothing, public addresses, a named network")  # fmt: skip
    parser.add_argument("--only-from", metavar="NAME,...",
                        help="networks that it can be invoked from; an empty text for everywhere")  # fmt: skip
    parser.add_argument("--description", metavar="TEXT", help="at most 512 characters")
    parser.add_argument("--log-stream", metavar="GROUP/STREAM",
                        help="log stream that its lines go to beside its own; '' for its own alone")  # fmt: skip
    _mounts(parser)
    parser.add_argument("--agency", metavar="NAME", help='what it may do through this API; "" for nothing')
    parser.add_argument(
        "--execution-agency", metavar="NAME", help='another agency for its running instances alone; "" for the same one'
    )
    parser.add_argument("--dependency", action="append", metavar="NAME[:VERSION]", default=[],
                        help="dependency, the newest version without a number; may be repeated, and those given "
                        "replace all earlier ones")  # fmt: skip
    parser.add_argument("--no-dependencies", action="store_true", help="take all dependencies away")


def _mounts(parser: argparse.ArgumentParser) -> None:
    """Options about a function's disks."""
    parser.add_argument("--mount", action="append", metavar="SPEC", default=[],
                        help="disk: type=TYPE,resource=NAME[,share=FOLDER],path=/PATH[,ro]; may be repeated, and the "
                        "mounts given replace all earlier ones")  # fmt: skip
    parser.add_argument("--no-mounts", action="store_true", help="take all mounts away")
    parser.add_argument("--mount-user", metavar="UID:GID", help="who the function is on its disks (default 1003:1003)")
    parser.add_argument("--tmp", type=int, metavar="MB", help="size of /tmp: 512 or 10240; it counts as memory")


def _deploy(commands: _Group) -> None:
    parser = commands.add("deploy", "deploy:deploy", "create a function from a folder or file, or update it")
    parser.add_argument("source", type=Path, metavar="DIR|FILE", help="a folder, a source file, or a ZIP")
    parser.add_argument("--name", help="the function (default: the name of the folder or file)")
    parser.add_argument("--package", default="", help="the group it belongs to (default: default)")
    parser.add_argument(
        "--runtime", help="such as Python3.12 (default: the newest Python that this node and the cloud have)"
    )
    _settings(parser)


def _invoke(commands: _Group) -> None:
    parser = commands.add("invoke", "invoke:invoke", "send a function one event and print what it gives")
    parser.add_argument("function", metavar="NAME", help="name, package:name or URN; also name@VERSION and name@!ALIAS")
    parser.add_argument("--data", metavar="JSON|@FILE|-", default="{}",
                        help="the event: JSON, @ and a file's name, or - for standard input (default {})")  # fmt: skip
    parser.add_argument("--memory", type=int, metavar="MB",
                        help="memory of the instance, of a function with --dynamic-memory: 128, ... 10240")  # fmt: skip
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--async", dest="async_", action="store_true", help="queue it and print its request id")
    how.add_argument("--tail", action="store_true", help="print the end of its log to standard error")
    parser.add_argument("--timing", action="store_true", help="print where the time went to standard error")


def _functions(commands: _Group) -> None:
    functions = commands.group("functions", "list, show, change and delete functions")
    listing = functions.add("list", "functions:list_functions", "show all functions")
    listing.add_argument("--package", default="", help="only those of a package")
    listing.add_argument("--match", default="", metavar="TEXT", help="only those with this in their name")

    def one(name: str, run: str, text: str) -> argparse.ArgumentParser:
        parser = functions.add(name, f"functions:{run}", text)
        parser.add_argument("function", metavar="NAME", help="name, package:name or URN")
        return parser

    one("show", "show", "show a function's settings")
    _settings(one("update", "update", "change settings; what is not given stays"))
    one("delete", "delete", "delete a function with everything that belongs to it")
    one("enable", "enable", "let a disabled function take invocations again")
    one("disable", "disable", "refuse every invocation; code and settings stay and can be changed")
    code = one("code", "code", "download a function's code package")
    code.add_argument("--output", "-o", type=Path, metavar="FILE", help="where to write the ZIP (default NAME.zip)")
    add_transfer(functions)


def _versions(commands: _Group) -> None:
    versions = commands.group("versions", "publish, list and delete versions of a function")

    def one(name: str, run: str, text: str) -> argparse.ArgumentParser:
        parser = versions.add(name, f"versions:{run}", text)
        parser.add_argument("function", metavar="NAME", help="name, package:name or URN")
        return parser

    one("list", "list_versions", "show latest and all published versions, newest first")
    publish = one("publish", "publish", "make an unchangeable snapshot of code and configuration as they are now")
    publish.add_argument("--name", metavar="VERSION", help="at most 42 characters (default: vYYYYMMDD-HHMMSS)")
    publish.add_argument("--description", metavar="TEXT", help="at most 512 characters")
    delete = one("delete", "delete", "delete a published version and the aliases whose main version it is")
    delete.add_argument("version", metavar="VERSION")


def _aliases(commands: _Group) -> None:
    aliases = commands.group("aliases", "names that point to versions, and how requests are shared out")

    def one(name: str, run: str, text: str) -> argparse.ArgumentParser:
        parser = aliases.add(name, f"aliases:{run}", text)
        parser.add_argument("function", metavar="NAME", help="name, package:name or URN")
        return parser

    one("list", "list_aliases", "show the aliases of a function")
    one("show", "show", "show one alias").add_argument("alias", metavar="ALIAS")
    for name, run, text in (
        ("create", "create", "make an alias for a version"),
        ("update", "update", "point an alias to other versions; requests that come later follow it"),
    ):
        parser = one(name, run, text)
        parser.add_argument("alias", metavar="ALIAS", help="1-63 letters, digits, - and _; a letter first")
        parser.add_argument("version", metavar="VERSION", help="where requests go")
        parser.add_argument("--additional", metavar="VERSION", help="another version, for a part of the requests")
        parser.add_argument("--weight", type=int, metavar="PERCENT", help="this share goes to the additional version")
        parser.add_argument("--rule", action="append", default=[], metavar="HEADER=VALUE",
                            help="requests with this header go to the additional version; VALUE,VALUE allows any of "
                            "several; may be repeated, then all must be met")  # fmt: skip
        parser.add_argument("--any", action="store_true", help="one met rule is enough")
        parser.add_argument("--description", metavar="TEXT", help="at most 512 characters")
    one("delete", "delete", "delete an alias; its versions stay").add_argument("alias", metavar="ALIAS")


def _triggers(commands: _Group) -> None:
    triggers = commands.group("triggers", "what invokes functions: timers, gateways, queues, topics, ...")

    def data(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                            help="a setting; VALUE is JSON, or text as it is; may be repeated")  # fmt: skip
        parser.add_argument("--data", metavar="JSON|@FILE", help="all settings as one JSON object")

    listing = triggers.add("list", "triggers:list_triggers", "show all triggers, or those of a function")
    listing.add_argument("function", metavar="NAME", nargs="?", default="", help="name, package:name or URN")
    create = triggers.add("create", "triggers:create", "make a trigger of a function, version or alias")
    create.add_argument("function", metavar="NAME", help="name, package:name or URN; also name@VERSION and name@!ALIAS")
    create.add_argument("type", metavar="TYPE", help="see fgd triggers types")
    data(create)
    create.add_argument("--disabled", action="store_true", help="do not switch it on yet")
    for name, text in (
        ("show", "show settings and state of one trigger"),
        ("url", "print the address of the API of a trigger"),
        ("update", "change settings of a trigger; what is not given stays"),
        ("enable", "switch a trigger on"),
        ("disable", "switch a trigger off; its settings stay"),
        ("delete", "delete a trigger"),
    ):
        parser = triggers.add(name, f"triggers:{name}", text)
        parser.add_argument("trigger", metavar="TRIGGER", help="its id, the beginning of it, or its name")
        if name == "update":
            data(parser)
    types = triggers.add("types", "triggers:types", "show the types of triggers, or the settings of one")
    types.add_argument("type", metavar="TYPE", nargs="?", default="")


def _agencies(commands: _Group) -> None:
    agencies = commands.group("agencies", "what functions may do through the daemon's API")

    def one(name: str, run: str, text: str, *, named: bool = True) -> argparse.ArgumentParser:
        parser = agencies.add(name, f"agencies:{run}", text)
        if named:
            parser.add_argument("name", metavar="NAME", help="the agency")
        parser.add_argument("--project", default="", metavar="ID", help="its project (default: the daemon's)")
        return parser

    def settings(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
        parser.add_argument("--policy", action="append", default=[], metavar="NAME|JSON|@FILE|-",
                            help="a built-in policy by name, or a document: JSON, @ and a file's name, or - for "
                            "standard input; may be repeated")  # fmt: skip
        parser.add_argument("--description", metavar="TEXT", help="at most 255 characters")
        return parser

    settings(one("create", "create", "make an agency"))
    one("list", "list_agencies", "show all agencies", named=False)
    one("show", "show", "show an agency, its policies and the functions that have it")
    changing = settings(one("update", "update", "change an agency; the policies given replace all earlier ones"))
    changing.add_argument("--no-policies", action="store_true", help="take all policies away: it allows nothing")
    one("delete", "delete", "delete an agency that no function has")
    agencies.add("policies", "agencies:policies", "show the built-in policies and all actions")


def _async(commands: _Group) -> None:
    records = commands.group("async", "asynchronous invocations: look up, cancel, retries, destinations")

    def one(name: str, run: str, text: str, module: str = "asyncs") -> argparse.ArgumentParser:
        parser = records.add(name, f"{module}:{run}", text)
        parser.add_argument("function", metavar="NAME", help="name, package:name or URN")
        return parser

    listing = one("list", "list_records", "show recent asynchronous invocations of a function")
    listing.add_argument("--request", default="", metavar="ID", help="only this one")
    listing.add_argument("--status", default="", choices=["WAIT", "RUNNING", "SUCCESS", "FAIL", "DISCARD"])
    listing.add_argument("--limit", type=int, default=100, metavar="N", help="at most this many, 1-500 (default 100)")
    cancel = one("cancel", "cancel", "end a waiting or running asynchronous invocation")
    cancel.add_argument("request_id", metavar="REQUEST")
    config = one("config", "config", "show or set how often events are tried, and where their outcomes go")
    config.add_argument("--max-retries", type=int, metavar="N", help="further tries after the first, 0-3")
    config.add_argument("--max-age", type=int, metavar="S", help="seconds after which an event is given up, 1-86400")
    for option, when in (("--on-success", "succeeds"), ("--on-failure", "fails for good")):
        config.add_argument(option, metavar="KIND:...", help=f"where the outcome goes when an event {when}: "
                            "FunctionGraph:NAME, OBS:BUCKET/PREFIX[?expires=DAYS], DIS:STREAM, Webhook:URL, "
                            "KIND:{JSON}; none: nowhere")  # fmt: skip
    config.add_argument("--reset", action="store_true", help="return to the defaults")
    listing = one("deliveries", "list_deliveries", "show outcomes that have not arrived where they go", "deliveries")
    listing.add_argument("--request", default="", metavar="ID", help="only of this invocation")
    listing.add_argument("--status", default="", choices=["WAIT", "FAIL"], help="on its way, or given up")
    listing.add_argument("--limit", type=int, default=100, metavar="N", help="at most this many, 1-500 (default 100)")
    show = one("delivery", "show", "show one of them with its document", "deliveries")
    show.add_argument("delivery", type=int, metavar="ID")
    for name, text in (("retry", "have failed deliveries tried again"), ("drop", "forget failed deliveries")):
        settle = one(name, name, text, "deliveries")
        settle.add_argument("deliveries", type=int, nargs="*", metavar="ID")
        settle.add_argument("--all", action="store_true", help="all failed ones of the function")


def _logs(commands: _Group) -> None:
    parser = commands.add("logs", "logs:logs", "print what a function wrote, with request ids and times")
    parser.add_argument("function", metavar="FUNCTION", help="name, package:name or URN")
    parser.add_argument("--request", default="", metavar="ID", help="only the lines of one request")
    parser.add_argument("--match", default="", metavar="TEXT", help="only lines with these words")
    parser.add_argument("--limit", type=int, default=200, metavar="N", help="the newest N lines (default 200)")
    parser.add_argument("--follow", "-f", action="store_true", help="go on with lines as they come, until Ctrl-C")


def _node(commands: _Group) -> None:
    commands.add("status", "node:status", "show how the daemon is")
    doctor = commands.add("doctor", "node:doctor", "check this host: kernel, cgroups, namespaces, interpreters, limits")
    doctor.add_argument("--config", type=Path, metavar="FILE", help="settings to check against (default: the defaults)")
    doctor.add_argument("--state-dir", type=Path, metavar="DIR", help="whose disk to check (default /var/lib/fgd)")
    add_plugins(commands)
    mounts = commands.add("mounts", "mounts:list_mounts", "show what functions have mounted, and how it is")
    mounts.add_argument("--check", action="store_true", help="try each mount first")
    commands.add("runtimes", "node:runtimes", "show the interpreters that were found")
    commands.add("networks", "networks:networks", "show the networks that functions can be on")
    commands.add("streams", "node:streams", "show the streams that triggers and destinations can name")
    commands.add("metrics", "node:metrics", "print the daemon's metrics (Prometheus text)")
    bench = commands.add("bench", "bench:bench", "measure this host beside the ceilings (from a source tree)")
    bench.add_argument("programs", nargs="*", metavar="PROGRAM", help="which programs of bench/ (default: all)")
    completion = commands.add("completion", "completion:completion", "print a completion script for a shell")
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    commands.add("version", "node:version", "print the version")
