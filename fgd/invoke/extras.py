"""What goes to a function with every invocation beside the event: the extras of the INVOKE frame, as JSON text.

The hot path asks for each request, so what is the same for many requests is made once.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache

import msgspec

from fgd.call import CallOptions
from fgd.model import Function

type ExtrasOf = Callable[[Function, CallOptions, bool], bytes]
"""(function, options, asynchronous) -> extras; b"" where there is nothing to tell."""


def extras_of(function: Function, options: CallOptions, async_: bool) -> bytes:
    """Alias and kind of invocation."""
    return _plain(options.alias, async_)


def encoded(alias: str, async_: bool, credentials: Mapping[str, str]) -> bytes:
    """Alias, kind of invocation and credentials (by the names in `runtimes/python/README.md`) as the frame has them."""
    values = dict(credentials)
    if alias:
        values["alias"] = alias
    if async_:
        values["invoke_type"] = "async"
    elif values:
        values["invoke_type"] = "sync"
    return msgspec.json.encode(values) if values else b""


@lru_cache(maxsize=1024)
def _plain(alias: str, async_: bool) -> bytes:
    return encoded(alias, async_, {})
