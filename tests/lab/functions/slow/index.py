"""Takes as long as the event says."""

import time


def handler(event: dict[str, int], context: object) -> dict[str, int]:
    time.sleep(event.get("seconds", 0))
    return {"slept": event.get("seconds", 0)}
