"""Tells the size of its instance and what tells the instance apart; can hold memory."""

import time
import uuid
from typing import Any

ME = str(uuid.uuid4())
HELD: list[bytearray] = []


def handler(event: dict[str, int], context: Any) -> str:
    HELD.clear()  # before the new blocks come to lie above the old ones, or the heap would not shrink
    HELD.extend(bytearray(1 << 20) for _ in range(event.get("mib", 0)))
    return f"{ME} {context.getMemorySize()}"


def bye() -> None:
    print(f"bye at {time.time():.0f}")
