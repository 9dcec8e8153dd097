"""`fgd functions export` and `fgd functions import`: functions as files."""

import argparse
import base64
import re
from pathlib import Path

from fgd.cli.client import Client, refusal
from fgd.cli.report import UsageError, human_bytes, note, print_json
from fgd.cli.settings import variables

#: How the daemon names an exported file: the function, and the MD5 of its code.
_NAMED = re.compile(r"(?P<name>.+?)(?:_[0-9a-f]{32})?\.zip\Z")


def export(args: argparse.Namespace) -> None:
    """Writes the file."""
    client = Client(args.admin_socket)
    query = {"config": str(not args.code_only).lower(), "code": str(not args.config_only).lower()}
    answer = client.send("GET", client.functions_path(args.function, "export"), query=query)
    if answer.status >= 400:
        raise refusal(answer)
    # The daemon's own word, but a path it must not become.
    named = answer.headers.get("content-disposition", "").partition('filename="')[2].rstrip('"')
    file: Path = args.output or Path(Path(named).name or "function.zip")
    try:
        file.write_bytes(answer.body)
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}") from None
    if args.json:
        print_json({"file": str(file), "bytes": len(answer.body)})
    else:
        print(f"wrote {file} ({human_bytes(len(answer.body))})")


def load(args: argparse.Namespace) -> None:
    """Makes a function of a file."""
    file: Path = args.file
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from None
    match = _NAMED.match(file.name)
    name = args.name or (match["name"] if match else "")
    if not name:
        raise UsageError(f"{file}: name the function: --name NAME")
    body = {
        "func_name": name,
        "package": args.package or "default",
        "file_name": file.name,
        "file_type": "zip",
        "file_code": base64.b64encode(data).decode(),
    }
    if args.secret_env:
        body["encrypted_user_data"] = variables(args.secret_env, "--secret-env")
    client = Client(args.admin_socket)
    function = client.call("POST", client.functions_path("import"), body=body)
    if args.json:
        print_json(function)
    else:
        print(f"imported {function['func_urn']} ({function['runtime']}, {human_bytes(function['code_size'])})")
    if missing := function["missing_secrets"]:
        # An update sets all of them anew, so those that were given go along.
        keys = [*(item.partition("=")[0] for item in args.secret_env), *missing]
        options = " ".join(f"--secret-env {key}=..." for key in keys)
        address = f"{args.package}:{name}" if args.package else name
        note(
            f"fgd: the file does not hold its secret variables {', '.join(missing)}; set them: "
            f"fgd functions update {address} {options}"
        )
