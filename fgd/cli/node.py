"""Commands about this node: status, doctor, runtimes, streams, metrics, version."""

import argparse
import sys
from importlib.metadata import version as package_version

from fgd.cli.client import Client, refusal
from fgd.cli.report import EXIT_FUNCTION, UsageError, print_fields, print_json, print_table


def status(args: argparse.Namespace) -> None:
    """The daemon's own account of itself."""
    found = Client(args.admin_socket).call("GET", "/fgd/v1/status")
    if args.json:
        print_json(found)
        return
    print_fields((name.replace("_", " "), _plain(value)) for name, value in found.items())


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {inner}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def doctor(args: argparse.Namespace) -> int:
    """Checks of this host; needs no daemon. Exit code 1 when one failed."""
    from fgd.config import ConfigError, load_config
    from fgd.doctor import run_checks

    try:
        config = load_config(args.config)
    except ConfigError as error:
        raise UsageError(f"--config: {error}") from None
    checks = run_checks(config, args.state_dir)
    failed = any(check.state == "fail" for check in checks)
    if args.json:
        print_json({"ok": not failed, "checks": [check.to_json() for check in checks]})
        return EXIT_FUNCTION if failed else 0
    for check in checks:
        print(f"{check.state:5} {check.name}: {check.found}")
        if check.state != "ok":
            print("".join(f"      {text}\n" for text in (check.meaning, check.mend) if text), end="")
    return EXIT_FUNCTION if failed else 0


def runtimes(args: argparse.Namespace) -> None:
    """Interpreters that functions can use."""
    found = Client(args.admin_socket).call("GET", "/fgd/v1/runtimes")
    if args.json:
        print_json(found)
        return
    columns = sorted({name for item in found["runtimes"].values() for name in item})
    rows = [(name, *(item.get(column) for column in columns)) for name, item in found["runtimes"].items()]
    head = ("RUNTIME", *(column.replace("_", " ").upper() for column in columns))
    print_table(head, rows, empty="no interpreter was found; see fgd doctor")


def streams(args: argparse.Namespace) -> None:
    """Streams that the settings name."""
    found = Client(args.admin_socket).call("GET", "/fgd/v1/streams")
    if args.json:
        print_json(found)
        return
    rows = [
        (
            one["name"], one["topic"], ",".join(one["brokers"]), "yes" if one["tls"] else "",
            f"{one['user']} ({one['mechanism']})" if one["user"] else "", ", ".join(one["projects"]) or "all",
        )
        for one in found["streams"]
    ]  # fmt: skip
    print_table(("STREAM", "TOPIC", "BROKERS", "TLS", "USER", "PROJECTS"), rows, empty="the settings name no streams")


def metrics(args: argparse.Namespace) -> None:
    """The text that Prometheus reads; with --json a list of samples."""
    answer = Client(args.admin_socket).send("GET", "/metrics")
    if answer.status >= 400:
        raise refusal(answer)
    text = answer.body.decode()
    if args.json:
        print_json({"samples": [_sample(line) for line in text.splitlines() if line and not line.startswith("#")]})
    else:
        sys.stdout.write(text)


def _sample(line: str) -> dict[str, object]:
    name, _, value = line.rpartition(" ")
    return {"name": name, "value": float(value)}


def version(args: argparse.Namespace) -> None:
    """The version of this command."""
    if args.json:
        print_json({"version": package_version("fgd")})
    else:
        print(f"fgd {package_version('fgd')}")
