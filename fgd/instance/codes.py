"""Invocation error codes and the outcomes that the platform itself makes (errors-and-limits, section 2)."""

import json
from typing import Final

from fgd.call import Outcome

HEARTBEAT: Final = 4006
TIMED_OUT: Final = 4010
INIT_FAILED: Final = 4201
INIT_TIMED_OUT: Final = 4211
OUT_OF_MEMORY: Final = 4205
EXITED: Final = 4206
CANCELLED: Final = 4208
PROTOCOL: Final = 4014

#: What a runtime may say of a call (runtimes/python/README.md, and what runtimes of other languages need). Each code is
#: a series of the metrics, so a hostile one must not be able to make up more.
RUNTIME_CODES: Final = frozenset((4001, 4002, 4003, 4004, 4005, HEARTBEAT, 4007, 4009, CANCELLED))

#: Codes that the user's code answers for, as opposed to the platform.
_LAST_FUNCTION_CODE: Final = 4299


def is_function_error(code: int) -> bool:
    """Whether a code blames the function: what it threw, returned, used up or printed."""
    return 4000 <= code <= _LAST_FUNCTION_CODE and code != PROTOCOL


def platform_outcome(code: int, message: str, error_type: str) -> Outcome:
    """An outcome with an error JSON in the shape of the runtimes."""
    body = json.dumps({"errorMessage": message, "errorType": error_type}, indent=4).encode()
    return Outcome(code, body, function_error=is_function_error(code))
