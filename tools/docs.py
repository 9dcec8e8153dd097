"""Writes the generated pages of docs/ from the source: settings, commands, error codes. `--check` only compares."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import get_type_hints

import reference

from fgd import errors
from fgd.api.permissions import FREE, PASS
from fgd.api.table import OPERATIONS
from fgd.auth.actions import ACTIONS, BUILTIN
from fgd.cli.parser import build_parser
from fgd.config import Config
from fgd.daemon import RELOADED
from fgd.instance import codes

DOCS = Path(__file__).resolve().parents[1] / "docs"
_MADE = "<!-- Made by tools/docs.py from {source}; do not edit. -->\n"


def configuration() -> str:
    """docs/configuration.md: the table of settings."""
    hints = get_type_hints(Config)
    rows = []
    for item in fields(Config):
        assert item.default is not MISSING
        kind = _KINDS[getattr(hints[item.name], "__name__", "tuple")]
        low, high, choices = (item.metadata[name] for name in ("low", "high", "choices"))
        if choices:
            kind = ", ".join(f"`{choice}`" for choice in choices)
        elif low is not None and high is not None:
            kind += f", {_number(low)} to {_number(high)}"
        elif low is not None:
            kind += f", at least {_number(low)}"
        when = "yes" if item.name in RELOADED else ""
        rows.append(f"| `{item.name}` | `{_toml(item.default)}` | {kind} | {item.metadata['help']} | {when} |")
    return (
        _MADE.format(source="fgd/config.py")
        + """
# Settings

fgd needs no settings file. What differs from the defaults goes into a TOML file, one `name = value` a line:

```toml
keep_alive_s = 300.0
memory_budget_mib = 16384
```

A [network](networks.md) is a table, `[networks.NAME]`, a [stream](triggers/dis.md#streams) another, `[streams.NAME]`;
they stand behind all other lines.

The service reads `/etc/fgd/fgd.toml`; `fgd serve --config FILE` any other. A name that does not exist, a value of the
wrong type and one out of range end the start with a message that names the setting. Where things are (state
directory, address, admin socket) is said on the command line: see [serve](cli.md#fgd-serve).

Units are in the names: `_s` seconds, `_ms` milliseconds, `_mib` MiB; a bare number is a count.

`systemctl reload fgd` (SIGHUP) reads the file again. A file with an error in it changes nothing; the daemon says so in
its log and goes on with what it has. Settings without a "yes" in the last column take effect at the next start.

| setting | default | value | what it does | reload |
|---|---|---|---|---|
"""
        + "\n".join(rows)
        + "\n"
    )


_KINDS = {
    "str": "text",
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
    "tuple": "list of texts",
    "Mapping": "tables",
}


def _number(value: float) -> str:
    return f"{value:,.15g}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, Mapping):
        return "none"
    return f'"{value}"' if isinstance(value, str) else str(value)


def commands() -> str:
    """docs/cli.md: every command with its options."""
    parser = build_parser()
    return (
        _MADE.format(source="fgd/cli/parser.py")
        + """
# Commands

The command talks to the daemon through its admin socket (`/run/fgd/fgd.sock`; `--admin-socket` or the variable
`FGD_ADMIN_SOCKET` name another). Who may use that socket, root and the members of the group `fgd`, needs no key.

`--admin-socket PATH` and `--json` are possible with every command, before or after it. Without `--json` commands print
tables for people; with it one JSON document. Results go to standard output, everything else to standard error.

| exit code | meaning |
|---|---|
| 0 | it worked |
| 1 | the function failed (`invoke`), or a check did (`doctor`) |
| 2 | wrong usage; the message says what to do instead |
| 3 | the API refused; the message has the [error code](errors.md) |
| 4 | no daemon can be reached |

A function is named by its name, by `package:name`, or by its whole URN.

"""
        + "\n".join(_command(parser, "fgd"))
    )


def _command(parser: argparse.ArgumentParser, name: str) -> Iterator[str]:
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield f"## {name}\n"
        yield f"{parser.description}\n"
        rows = list(_options(parser))
        if rows:
            yield "| option | meaning |\n|---|---|"
            yield "\n".join(rows) + "\n"
    for group in inner:
        for word, command in group.choices.items():
            yield from _command(command, f"{name} {word}")


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if action.dest in ("help", "json", "admin_socket"):
            continue
        value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
        if action.choices:
            value = "|".join(map(str, action.choices))
        shown = ", ".join(f"{option} {value}".strip() for option in action.option_strings) or str(value)
        text = (action.help or "").replace("|", "\\|")
        yield f"| `{shown.replace('|', chr(92) + '|')}` | {text} |"


def error_codes() -> str:
    """docs/errors.md: every code that the API answers with, and those of function results."""
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.FgdError) and "." in (kind.__doc__ or "")
    ]
    rows = []
    for kind in kinds:
        if kind in (errors.FgdError, errors.RequestError, errors.PlatformError):
            continue
        line = (kind.__doc__ or "").strip().splitlines()[0]
        _, colon, text = line.partition(": ")
        meaning = text if colon else _spaced(kind.__name__)
        rows.append((kind.code, kind.status_hint, meaning[0].upper() + meaning[1:]))
    table = "\n".join(f"| {code} | {status} | {text} |" for code, status, text in sorted(rows))
    return (
        _MADE.format(source="fgd/errors.py")
        + f"""
# Errors

## Of the API

An error has an HTTP status of 400 or above and the body `{{"error_code": "FSS.1051", "error_msg": "..."}}`; the header
`X-Request-Id` finds it in the daemon's log. For bad input the message begins with the field's name.

| code | status | meaning |
|---|---|---|
{table}

## Of functions

A function that fails is an answer, not an error: HTTP status 200, `X-Func-Err-Code` with one of these codes, and a body
with `errorMessage`, `errorType` and, where there is one, `stackTrace`. `X-Is-Func-Err: true` tells that the function's
own code or settings are to blame.

| code | meaning |
|---|---|
| 4001 | the handler's file or name was not found, or does not fit |
| 4002 | the handler raised an exception |
| 4004 | the result is over 6 MB |
| {codes.HEARTBEAT} | the heartbeat function failed or was not found; the instance was ended |
| 4007 | the result cannot be written as JSON |
| 4009 | the initializer raised an exception |
| {codes.TIMED_OUT} | the time limit of the function passed; the instance was ended |
| {codes.PROTOCOL} | the instance said what no runtime says; it was ended |
| {codes.INIT_FAILED} | no instance could be started |
| {codes.OUT_OF_MEMORY} | the memory limit was passed; the kernel ended the instance |
| {codes.EXITED} | the process of the instance ended during the invocation |
| {codes.CANCELLED} | the invocation was cancelled |
| {codes.INIT_TIMED_OUT} | the initializer's time limit passed |

The log of the request (`fgd logs FUNCTION --request ID`) says more.
"""
    )


def actions() -> str:
    """docs/actions.md: what policies speak of, which operations need it, and the built-in policies."""
    needed: dict[str, list[str]] = {action: [] for action in ACTIONS}
    free = []
    for operation in OPERATIONS:
        if operation.action:
            needed[operation.action].append(operation.name)
        elif operation.action == FREE:
            free.append(operation.name)
    needed[PASS].append("whatever names an agency in `xrole` or `app_xrole`, and import_function")
    rows = "\n".join(f"| `{name}` | {text} | {', '.join(needed[name])} |" for name, text in ACTIONS.items())
    allowed = {
        name: [one for rule in policy["Statement"] for one in rule["Action"]] for name, policy in BUILTIN.items()
    }
    built_in = "\n".join(f"| {name} | {', '.join(f'`{one}`' for one in allowed[name])} |" for name in BUILTIN)
    return (
        _MADE.format(source="fgd/auth/actions.py and fgd/api/permissions.py")
        + f"""
# Actions

What [policies](agencies.md#policies) speak of. `*` in an action stands for any text.

| action | allows to | operations |
|---|---|---|
{rows}

Any valid credentials are enough for {", ".join(free)}. What is not in these lists needs the admin socket.

## Built-in policies

| name | allows |
|---|---|
{built_in}
"""
    )


def _spaced(name: str) -> str:
    return "".join(f" {char.lower()}" if char.isupper() else char for char in name).strip()


PAGES = {
    "configuration.md": configuration,
    "cli.md": commands,
    "errors.md": error_codes,
    "actions.md": actions,
    "reference/triggers.md": reference.trigger_types,
    "reference/plugins.md": reference.plugin_names,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 when a page is not current")
    args = parser.parse_args()
    stale = [name for name, make in PAGES.items() if not _current(name, make())]
    if not args.check:
        for name in stale:
            (DOCS / name).parent.mkdir(exist_ok=True)
            (DOCS / name).write_text(PAGES[name](), "utf-8")
            print(f"wrote docs/{name}")
        return 0
    for name in stale:
        print(f"docs/{name} is not current; run: .venv/bin/python tools/docs.py", file=sys.stderr)
    return 1 if stale else 0


def _current(name: str, text: str) -> bool:
    page = DOCS / name
    return page.is_file() and page.read_text("utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
