"""`fgd dependency`: packages that functions have beside their code."""

import argparse
import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fgd.cli.archive import MAX_ARCHIVE_BYTES, pack
from fgd.cli.client import Client, refusal
from fgd.cli.report import UsageError, human_bytes, note, print_fields, print_json, print_table

_PAGE = 100


def build(args: argparse.Namespace) -> None:
    """Installs packages into a temporary folder, and uploads what is there; or writes it to a file."""
    from fgd.cli.dependency_build import build_archive

    client = None if args.output else Client(args.admin_socket)
    archive = build_archive(args, client)
    if client is not None:
        _upload(client, args, archive)
        return
    _write(args.output, archive)
    if args.json:
        print_json({"file": str(args.output), "bytes": len(archive)})
    else:
        print(f"wrote {args.output} ({human_bytes(len(archive))})")


def upload(args: argparse.Namespace) -> None:
    """Uploads a ZIP or a folder as the next version."""
    _upload(Client(args.admin_socket), args, pack(args.source))


def _upload(client: Client, args: argparse.Namespace, archive: bytes) -> None:
    if len(archive) > MAX_ARCHIVE_BYTES:
        raise UsageError(
            f"{args.name}: the package has {human_bytes(len(archive))}, at most 50 MiB are possible; "
            "split it into several dependencies, or give it to all projects as a public one (docs/dependencies.md)"
        )
    body = {
        "name": args.name,
        "runtime": args.runtime,
        "depend_type": "zip",
        "depend_file": base64.b64encode(archive).decode(),
        "description": args.description,
    }
    made = client.call("POST", _path(client, "version"), body=body)
    if args.json:
        print_json(made)
    else:
        print(f"stored {made['name']}:{made['version']} ({made['runtime']}, {human_bytes(made['size'])})")


def list_dependencies(args: argparse.Namespace) -> None:
    """One line per dependency, with its newest version."""
    found = _listed(Client(args.admin_socket), "", kind=args.kind)
    if args.json:
        print_json({"dependencies": found})
        return
    head = ("NAME", "NEWEST", "RUNTIME", "SIZE", "OWNER", "MODIFIED", "DESCRIPTION")
    rows = [
        (one["name"], one["version"], one["runtime"], human_bytes(one["size"]), _owner(one), _time(one),
         one["description"])
        for one in found
    ]  # fmt: skip
    print_table(head, rows, empty="no dependencies; make one: fgd dependency build NAME -r FILE --runtime Python3.12")


def versions(args: argparse.Namespace) -> None:
    """One line per version."""
    client = Client(args.admin_socket)
    found = _versions(client, _find(client, args.name))
    if args.json:
        print_json({"dependencies": found})
        return
    rows = [
        (one["version"], one["id"], one["runtime"], human_bytes(one["size"]), _time(one), one["description"])
        for one in found
    ]
    print_table(("VERSION", "ID", "RUNTIME", "SIZE", "MODIFIED", "DESCRIPTION"), rows)


def show(args: argparse.Namespace) -> None:
    """One version."""
    client = Client(args.admin_socket)
    one = find_version(client, args.dependency)
    if args.json:
        print_json(one)
        return
    print_fields(
        [
            ("name", one["name"]),
            ("version", one["version"]),
            ("id", one["id"]),
            ("dependency id", one["dep_id"]),
            ("runtime", one["runtime"]),
            ("description", one["description"]),
            ("owner", _owner(one)),
            ("size", f"{human_bytes(one['size'])}, MD5 {one['etag']}"),
            ("modified", _time(one)),
        ]
    )


def delete(args: argparse.Namespace) -> None:
    """Deletes one version, or the dependency with all of them."""
    client = Client(args.admin_socket)
    name, _, version = args.dependency.partition(":")
    dep_id = quote(_find(client, name)["dep_id"])
    client.call("DELETE", _path(client, f"{dep_id}/version/{quote(version, safe='')}" if version else dep_id))
    if args.json:
        print_json({"deleted": args.dependency})
    else:
        print(f"deleted {args.dependency}")


def download(args: argparse.Namespace) -> None:
    """Writes the ZIP that was uploaded."""
    client = Client(args.admin_socket)
    one = find_version(client, args.dependency)
    answer = client.send("GET", one["download_link"])
    if answer.status != 200:
        raise refusal(answer)
    file: Path = args.output or Path(f"{one['name']}-{one['version']}.zip")
    _write(file, answer.body)
    if args.json:
        print_json({"file": str(file), "bytes": len(answer.body), "etag": one["etag"]})
    else:
        print(f"wrote {file} ({human_bytes(len(answer.body))})")


def dependency_fields(client: Client, args: argparse.Namespace, runtime: str) -> dict[str, list[str]]:
    """`depend_version_list` as the options `--dependency` and `--no-dependencies` want it; empty if none was given."""
    if args.no_dependencies:
        if args.dependency:
            raise UsageError("--no-dependencies: cannot be given together with --dependency")
        return {"depend_version_list": []}
    if not args.dependency:
        return {}
    found = [find_version(client, text, runtime) for text in args.dependency]
    for one in found:
        if one["runtime"] != runtime:
            note(f"--dependency {one['name']}: is for {one['runtime']}, the function runs on {runtime}")
    return {"depend_version_list": [one["id"] for one in found]}


def find_version(client: Client, text: str, runtime: str = "") -> dict[str, Any]:
    """The version that `NAME[:VERSION]` names; the newest without a number.

    Raises:
        UsageError: there is no such dependency, or it has no such version.
    """
    name, colon, version = text.partition(":")
    found = _versions(client, _find(client, name, runtime))
    for one in found:
        if not colon or str(one["version"]) == version:
            return one
    numbers = ", ".join(str(one["version"]) for one in found)
    raise UsageError(f"{text}: {name} has the versions {numbers}")


def _find(client: Client, name: str, runtime: str = "") -> dict[str, Any]:
    """The dependency of a name: the project's own before a public one, that of the runtime before others."""
    found = _listed(client, name) if name else []
    if not found:
        raise UsageError(f"{name or 'NAME'}: there is no such dependency; see what there is: fgd dependency list")
    return min(found, key=lambda one: (one["owner"] == "public", runtime not in ("", one["runtime"])))


def _listed(client: Client, name: str, kind: str = "all") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        query = {"marker": len(found), "maxitems": _PAGE, "name": name, "dependency_type": kind}
        page = client.call("GET", _path(client), query=query)["dependencies"]
        found += page
        if len(page) < _PAGE:
            return found


def _versions(client: Client, dependency: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        query = {"marker": len(found), "maxitems": _PAGE}
        page = client.call("GET", _path(client, f"{dependency['dep_id']}/version"), query=query)["dependencies"]
        found += page
        if len(page) < _PAGE:
            return found


def _path(client: Client, rest: str = "") -> str:
    path = f"/v2/{client.project_id}/fgs/dependencies"
    return f"{path}/{rest}" if rest else path


def _owner(dependency: dict[str, Any]) -> str:
    return "public" if dependency["owner"] == "public" else "private"


def _time(dependency: dict[str, Any]) -> str:
    return datetime.fromtimestamp(dependency["last_modified"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}") from None
