"""Commands about dependencies."""

import argparse
from pathlib import Path

from fgd.cli.parser_records import Commands


def add_dependencies(commands: Commands) -> None:
    """`fgd dependency`."""
    group = commands.group("dependency", "packages that functions have beside their code")

    def new(name: str, run: str, text: str) -> argparse.ArgumentParser:
        parser = group.add(name, f"dependencies:{run}", text)
        parser.add_argument("name", metavar="NAME", help="a name that is there gets another version")
        parser.add_argument("--runtime", required=True, help="what it is for, such as Python3.12 or Node.js20.15")
        parser.add_argument("--description", default="", metavar="TEXT", help="at most 512 characters")
        return parser

    build = new("build", "build", "install packages by pip or npm and upload them as a version")
    build.add_argument("--requirements", "-r", type=Path, metavar="FILE", help="requirements file for pip")
    build.add_argument("--package-json", type=Path, metavar="FILE", help="package.json for npm")
    build.add_argument("-p", dest="packages", action="append", default=[], metavar="PACKAGE",
                       help="a package, such as requests==2.32.3 or lodash@4; may be repeated")  # fmt: skip
    build.add_argument("--allow-source", action="store_true",
                       help="also packages without a wheel, whose own programs are then run")  # fmt: skip
    build.add_argument("--compile", action="store_true",
                       help="add bytecode: what is imported loads faster, the package is larger")  # fmt: skip
    build.add_argument("--output", "-o", type=Path, metavar="FILE", help="write the ZIP there and upload nothing")
    upload = new("upload", "upload", "upload a ZIP or a folder as a version")
    upload.add_argument("source", type=Path, metavar="ZIP|DIR", help="a ZIP, or a folder to be packed")
    listing = group.add("list", "dependencies:list_dependencies", "show all dependencies")
    listing.add_argument("--kind", choices=["all", "private", "public"], default="all", help="whose (default all)")

    def one(name: str, run: str, text: str) -> argparse.ArgumentParser:
        parser = group.add(name, f"dependencies:{run}", text)
        parser.add_argument("dependency", metavar="NAME[:VERSION]", help="the newest version without a number")
        return parser

    versions = group.add("versions", "dependencies:versions", "show the versions of a dependency")
    versions.add_argument("name", metavar="NAME")
    one("show", "show", "show a version")
    one("download", "download", "download the package of a version").add_argument(
        "--output", "-o", type=Path, metavar="FILE", help="where to write the ZIP (default NAME-VERSION.zip)"
    )
    delete = group.add("delete", "dependencies:delete", "delete a version that no function has")
    delete.add_argument("dependency", metavar="NAME[:VERSION]", help="all versions without a number")
