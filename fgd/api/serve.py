"""Hypercorn under the running trio loop."""

import logging
import ssl
from collections.abc import Callable
from typing import Any

import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio import serve

type App = Callable[..., Any]


async def serve_control(
    app: App, bind: str, *, task_status: "trio.TaskStatus[list[str]]" = trio.TASK_STATUS_IGNORED
) -> None:
    """Serves until cancelled; started with the addresses it listens on.

    Args:
        app: from `make_app`.
        bind: the path of a unix socket (absolute; made with mode 0600), or "host:port".
    """
    # The gateway keeps its connections; one that is not used for long is its own to close.
    await _serve(app, f"unix:{bind}" if bind.startswith("/") else bind, 300.0, task_status, HypercornConfig())


async def serve_objects(
    app: App, bind: str, context: Callable[[], ssl.SSLContext] | None, *,
    task_status: "trio.TaskStatus[list[str]]" = trio.TASK_STATUS_IGNORED,
) -> None:  # fmt: skip
    """The same for the object store, at "host:port", whose clients come by themselves.

    Args:
        context: gives the TLS settings for the next client; None: plain HTTP.
    """
    await _serve(app, bind, 60.0, task_status, HypercornConfig() if context is None else _Secure(context))


class _Secure(HypercornConfig):
    """With a certificate that may change while it runs."""

    def __init__(self, context: Callable[[], ssl.SSLContext]) -> None:
        super().__init__()
        self._context = context

    @property
    def ssl_enabled(self) -> bool:
        return True

    def create_ssl_context(self) -> ssl.SSLContext:
        # Hypercorn asks once. The callback runs for each client, also for one that names no server.
        outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        outer.minimum_version = ssl.TLSVersion.TLSv1_2
        outer.set_alpn_protocols(["http/1.1"])
        outer.sni_callback = self._swap
        return outer

    def _swap(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, outer: ssl.SSLContext) -> None:
        connection.context = self._context()


async def _serve(
    app: App, bind: str, keep_alive_s: float, task_status: "trio.TaskStatus[list[str]]", settings: HypercornConfig
) -> None:
    settings.bind = [bind]
    settings.umask = 0o177
    settings.include_server_header = False
    settings.accesslog = None
    # Hypercorn says at level info where it listens, and as an error what went wrong inside it.
    errors = logging.getLogger("fgd.api.hypercorn")
    errors.setLevel(logging.WARNING)
    settings.errorlog = errors
    settings.keep_alive_timeout = keep_alive_s
    settings.graceful_timeout = 3.0
    # Longer than the longest request line with a URN in it, percent-encoded.
    settings.h11_max_incomplete_size = 64 * 1024
    application: Any = app
    await serve(application, settings, mode="asgi", task_status=task_status)
