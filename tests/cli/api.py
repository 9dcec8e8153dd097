"""A small API on a unix socket for tests of the command: answers that a test laid out, and the requests that came."""

import json
import socketserver
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

PROJECT = "p1"


@dataclass(slots=True)
class Request:
    """What came: the path is decoded, the query apart from it."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Api:
    """As a context manager it serves. `answers` maps "METHOD path" to (status, headers, body); the rest is 404."""

    path: Path
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def answer(self, route: str, value: Any, status: int = 200, **headers: str) -> None:
        """Lays out an answer; bytes as they are, everything else as JSON."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.answers[route] = (status, {name.replace("_", "-"): text for name, text in headers.items()}, body)

    def sent(self, route: str) -> list[Request]:
        """The requests that came for a route."""
        return [one for one in self.requests if f"{one.method} {one.path}" == route]

    def __enter__(self) -> Self:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_any(self) -> None:
                target, _, query = self.path.partition("?")
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, unquote(target), query, headers, body)
                api.requests.append(request)
                missing: tuple[int, dict[str, str], bytes] = (
                    404,
                    {},
                    b'{"error_code": "FSS.1051", "error_msg": "Not found the function"}',
                )
                status, extra, content = api.answers.get(f"{request.method} {request.path}", missing)
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_any  # noqa: N815 - named by the base class

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
                pass

        self._server = socketserver.ThreadingUnixStreamServer(str(self.path), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.answer("GET /fgd/v1/status", {"project_id": PROJECT, "version": "0.1.0"})
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
