"""Client of the API for tests and benches: standard library only, one connection, no retries."""

import base64
import contextlib
import http.client
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


class HarnessError(Exception):
    """The daemon did not do what the harness needs (start, stop, answer); the message carries the end of its log."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What `fgd keys create --json` prints."""

    access_key: str
    secret_key: str
    project_id: str
    token: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")

    @property
    def error_code(self) -> str:
        """The `FSS.nnnn` of an error; "" if the body is something else."""
        with contextlib.suppress(ValueError, AttributeError):
            return str(self.json().get("error_code", ""))
        return ""

    @property
    def log(self) -> str:
        """The tail of the log that came in a header."""
        return base64.b64decode(self.headers.get("x-cff-function-log", "")).decode("utf-8")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """Speaks to a daemon over one connection that it keeps; a new connection after an error. One per thread."""

    def __init__(self, connect: Callable[[], http.client.HTTPConnection], project_id: str, token: str = "") -> None:
        self._connect = connect
        self._connection: http.client.HTTPConnection | None = None
        self.project_id = project_id
        self.token = token

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:  # fmt: skip
        """Sends one request. `body`: bytes as they are, None for none, anything else as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **({"X-Auth-Token": self.token} if self.token else {})}
        given.update(headers or {})
        connection = self._connection or self._connect()
        self._connection = None
        try:
            connection.request(method, path, data, given)
            response = connection.getresponse()
            answer = Answer(
                response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
            )  # fmt: skip
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def functions(self, method: str, rest: str = "", body: Any = None, **headers: str) -> Answer:
        """A request below `/v2/<project>/fgs/functions`; `rest` begins with a slash or a question mark."""
        wire = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request(method, f"/v2/{self.project_id}/fgs/functions{rest}", body, wire)

    def deploy(self, name: str, source: str, **fields: Any) -> str:
        """Creates a function from inline Python source; gives its URN.

        Raises:
            HarnessError: the answer is not 200.
        """
        body = {
            "func_name": name, "package": "default", "runtime": "Python3.12", "timeout": 10, "handler": "index.handler",
            "memory_size": 128, "code_type": "inline",
            "func_code": {"file": base64.b64encode(source.encode()).decode()},
        }  # fmt: skip
        answer = self.functions("POST", body=body | fields)
        if answer.status != 200:
            raise HarnessError(f"creating {name}: {answer.status} {answer.text[:500]}")
        return str(answer.json()["func_urn"])

    def replace_code(self, urn: str, source: str) -> Answer:
        """Puts other inline source in place."""
        code = {"file": base64.b64encode(source.encode()).decode()}
        return self.functions("PUT", f"/{urn}/code", {"code_type": "inline", "func_code": code})

    def configure(self, urn: str, **fields: Any) -> Answer:
        """Changes settings of a function, keeping what it must always send."""
        body = {"runtime": "Python3.12", "timeout": 10, "memory_size": 128, "handler": "index.handler"} | fields
        return self.functions("PUT", f"/{urn}/config", body)

    def invoke(self, urn: str, event: Any = None, **headers: str) -> Answer:
        """A synchronous invocation."""
        return self.functions("POST", f"/{urn}/invocations", {} if event is None else event, **headers)

    def enqueue(self, urn: str, event: Any = None) -> Answer:
        """An asynchronous invocation."""
        return self.functions("POST", f"/{urn}/invocations-async", {} if event is None else event)
