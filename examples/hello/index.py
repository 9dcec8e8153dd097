"""The smallest function worth running: greets whoever the event names."""

import platform


def handler(event, context):
    name = event.get("name", "world")
    context.getLogger().info(f"greeting {name}")
    return {
        "greeting": f"Hello, {name}!",
        "python": platform.python_version(),
        "request_id": context.getRequestID(),
    }
