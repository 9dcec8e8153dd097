"""Hypercorn under the running trio loop."""

import logging
from typing import Any

import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio import serve
from quart_trio import QuartTrio


async def serve_control(
    app: QuartTrio, bind: str, *, task_status: "trio.TaskStatus[list[str]]" = trio.TASK_STATUS_IGNORED
) -> None:
    """Serves until cancelled; started with the addresses it listens on.

    Args:
        app: from `make_app`.
        bind: the path of a unix socket (absolute; made with mode 0600), or "host:port".
    """
    settings = HypercornConfig()
    settings.bind = [f"unix:{bind}" if bind.startswith("/") else bind]
    settings.umask = 0o177
    settings.include_server_header = False
    settings.accesslog = None
    # Hypercorn says at level info where it listens, and as an error what went wrong inside it.
    errors = logging.getLogger("fgd.api.hypercorn")
    errors.setLevel(logging.WARNING)
    settings.errorlog = errors
    # The gateway keeps its connections; one that is not used for long is its own to close.
    settings.keep_alive_timeout = 300.0
    settings.graceful_timeout = 3.0
    # Longer than the longest request line with a URN in it, percent-encoded.
    settings.h11_max_incomplete_size = 64 * 1024
    application: Any = app
    await serve(application, settings, mode="asgi", task_status=task_status)
