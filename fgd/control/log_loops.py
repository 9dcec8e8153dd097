"""Finds functions that their own log would invoke: by a trigger on a stream that they write to, also by way of others.

Every function writes to its own stream, and to the one that its `log_config` names; a trigger on a stream invokes its
function. A way from a function back to itself would go on for ever, since each invocation writes two lines at least.
"""

from collections.abc import Callable, Iterable

from fgd.invoke.resolve import Directory
from fgd.model import Function


def log_targets(directory: Directory, func_id: str) -> set[str]:
    """The streams that a function's versions write to, its own among them."""
    return {func_id} | {one.log_stream_id for one in directory.versions(func_id) if one.log_stream_id}


def leads_to(directory: Directory, listeners: Callable[[str], Iterable[str]], func_id: str, stream_id: str) -> bool:
    """Whether what a function writes ends up in a stream, if its triggers and those of others do what they are for.

    Args:
        listeners: ids of functions that have a trigger on a stream.
    """
    seen: set[str] = set()
    waiting = [func_id]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        targets = log_targets(directory, one)
        if stream_id in targets:
            return True
        waiting += [listener for target in targets for listener in listeners(target)]
    return False


def loops_by(
    directory: Directory, listeners: Callable[[str], Iterable[str]], function: Function, stream_id: str
) -> bool:
    """Whether a function that writes to a stream would be invoked by that."""
    return any(
        one == function.func_id or function.func_id in _reached(directory, listeners, one)
        for one in listeners(stream_id)
    )


def _reached(directory: Directory, listeners: Callable[[str], Iterable[str]], func_id: str) -> set[str]:
    """Functions that the log of a function invokes."""
    seen: set[str] = set()
    waiting = [func_id]
    while waiting:
        one = waiting.pop()
        for target in log_targets(directory, one):
            for listener in listeners(target):
                if listener not in seen:
                    seen.add(listener)
                    waiting.append(listener)
    return seen
