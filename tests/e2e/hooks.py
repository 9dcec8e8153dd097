"""A web server that takes notifications, as an outside service would."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Hooks:
    """As a context manager it serves. `status` is what it answers; `gate` holds answers back while it is not set."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.status = 200
        self.headers: dict[str, str] = {}
        self.gate = threading.Event()
        self.gate.set()
        #: (path, headers with names in lower case, decoded body) of what came.
        self.got: list[tuple[str, dict[str, str], Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/fgd"

    def of(self, request_id: str) -> list[Any]:
        """The documents of one invocation."""
        return [body for _, headers, body in self.got if headers.get("x-cff-request-id") == request_id]

    def __enter__(self) -> Self:
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hooks.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, json.loads(body)))
                hooks.gate.wait(20)
                try:
                    self.send_response(hooks.status)
                    for name, value in hooks.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                except OSError:
                    pass  # the client gave up, or was killed

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
