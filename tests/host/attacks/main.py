"""The handler of all attacks: the event names one and its arguments; the answer is what the attacker saw."""

import importlib
from typing import Any


def handler(event: dict[str, Any], context: object) -> Any:
    """Event: {"attack": "file.function", "arguments": {...}}."""
    file, _, function = event["attack"].partition(".")
    return getattr(importlib.import_module(file), function)(**event.get("arguments", {}))
