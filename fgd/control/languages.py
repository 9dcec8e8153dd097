"""What the control plane knows of languages; the runtimes of this host come from `fgd.runtime`."""

from typing import Final

from fgd.errors import BadCodeType, StateError
from fgd.runtime import defaults_for

#: Ids of these begin so; their entries are file.function.
PYTHON: Final = "Python"

#: What an inline Python function without source starts as; `%s` is the handler's function name.
PYTHON_SAMPLE: Final = """\
# -*- coding: utf-8 -*-
import json


def %s(event, context):
    return {
        "statusCode": 200,
        "isBase64Encoded": False,
        "body": json.dumps(event),
        "headers": {"Content-Type": "application/json"},
    }
"""


def defaults(runtime: str) -> tuple[str, int, int]:
    """Handler, timeout (s) and memory (MiB) of a new function of a runtime that is installed.

    Raises:
        StateError: the files of its language are gone from this installation.
    """
    found = defaults_for(runtime)
    if found is None:
        raise StateError(f"runtime: the files of {runtime} are missing from this installation of fgd")
    return found


def inline_name(runtime: str, handler: str) -> str:
    """The file that inline source becomes: the handler's module with the language's suffix.

    Raises:
        BadCodeType: functions of that runtime have no inline code.
    """
    if not runtime.startswith(PYTHON):
        raise BadCodeType(f"code_type: {runtime} has no inline code; send a zip")
    return handler.rpartition(".")[0] + ".py"
