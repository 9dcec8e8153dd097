"""`fgd plugins new`: a package with a plugin that works. It needs no daemon."""

import argparse
import re
from string import Template
from typing import Final

from fgd.cli import plugin_skeleton
from fgd.cli.report import UsageError, print_json
from fgd.control.triggers import KNOWN_CODES

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
_NAME_MAX: Final = 40


def new(args: argparse.Namespace) -> None:
    """Writes the folder `fgd-NAME`.

    Raises:
        UsageError: the name cannot be, or the folder is there or cannot be made.
    """
    name: str = args.name
    if len(name) > _NAME_MAX or not _NAME.match(name):
        raise UsageError(
            f"NAME: must be at most {_NAME_MAX} lower-case letters, digits and single hyphens, the first a letter, "
            f"not {name!r}"
        )
    code = name.replace("-", "_").upper()
    if code in KNOWN_CODES:
        raise UsageError(f"NAME: {code} is a trigger type of fgd's own; choose another name")
    module = f"fgd_{name.replace('-', '_')}"
    words = {"name": name, "module": module, "code": code, "kind": name.title().replace("-", "")}
    files = {
        "pyproject.toml": plugin_skeleton.PYPROJECT,
        "README.md": plugin_skeleton.README,
        f"{module}.py": plugin_skeleton.MODULE,
        f"test_{module}.py": plugin_skeleton.TEST,
    }
    folder = args.dir / f"fgd-{name}"
    try:
        folder.mkdir()
        for file, text in files.items():
            (folder / file).write_text(Template(text).substitute(words), "utf-8")
    except FileExistsError:
        raise UsageError(f"{folder} is there already; choose another NAME or --dir") from None
    except OSError as error:
        raise UsageError(f"--dir: {folder}: {error.strerror}") from None
    if args.json:
        print_json({"folder": str(folder), "files": sorted(files)})
        return
    print(f"made {folder} with {', '.join(sorted(files))}")
    print(f"README.md says how to test and install it; the trigger type is {code}")
