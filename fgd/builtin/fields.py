"""Reading the JSON object of a target."""

from collections.abc import Mapping
from typing import Any

from fgd.plugin import BadDestination


def only(param: Mapping[str, Any], *names: str) -> None:
    """Refuses fields that a kind does not have: one that is misspelt would be without effect."""
    for name in param:
        if name not in names:
            raise BadDestination(f"{name[:40]}: there is no such field; there are {', '.join(names)}")


def text(param: Mapping[str, Any], name: str, most: int, *, needed: bool = True) -> str:
    """A field that is a string."""
    value = param.get(name)
    if value is None and not needed:
        return ""
    if not isinstance(value, str) or (needed and not value) or len(value) > most:
        low = 1 if needed else 0
        raise BadDestination(f"{name}: must be a string of {low} to {most} characters")
    return value


def whole(param: Mapping[str, Any], name: str, low: int, high: int) -> int:
    """A field that is a whole number; absent means 0."""
    value = param.get(name)
    if value is None:
        return 0
    if type(value) is not int or not low <= value <= high:
        raise BadDestination(f"{name}: must be a whole number from {low} to {high}")
    return value
