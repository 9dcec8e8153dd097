"""HTTP over the admin socket: the same REST API that network clients use, with the peer's uid as the credential."""

import http.client
import json
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from fgd.cli.report import Refused, Unreachable

DEFAULT_SOCKET = "/run/fgd/fgd.sock"
_PIECE_BYTES = 1 << 20


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float | None) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as a JSON value; None when there is no body.

        Raises:
            Refused: the body is not JSON, so that is no fgd on the other side.
        """
        if not self.body:
            return None
        try:
            return json.loads(self.body)
        except ValueError:
            raise Refused(self.status, "", "the answer is not JSON; is that socket fgd's?") from None


class Client:
    """Requests to one daemon. Opens a connection when the first request needs it and keeps it."""

    def __init__(self, socket_path: str, *, timeout_s: float | None = 120.0) -> None:
        self.socket_path = socket_path
        self._connection = _UnixConnection(socket_path, timeout_s)
        self._project_id = ""

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request, whatever the answer's status.

        Args:
            query: values of None or "" are left out.
            body: sent as JSON unless None; `raw` is sent as it is instead.

        Raises:
            Unreachable: nobody listens there, no permission, or the connection broke.
        """
        pairs = {key: value for key, value in (query or {}).items() if value is not None and value != ""}
        target = f"{path}?{urlencode(pairs)}" if pairs else path
        data = raw if raw is not None else (None if body is None else json.dumps(body).encode())
        try:
            self._connection.request(
                method, target, body=data, headers={"Content-Type": "application/json", **(headers or {})}
            )
            response = self._connection.getresponse()
            content = response.read()
        except TimeoutError as error:
            self._connection.close()
            raise Unreachable(f"{self.socket_path}: no answer in time to {method} {path}") from error
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unreachable(_why(self.socket_path, error)) from error
        return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, content)

    def fetch(self, path: str, write: Callable[[bytes], object], refusal: Callable[[int, bytes], Refused]) -> int:
        """A GET whose answer is handed on piece by piece; gives its size.

        Raises:
            Refused: what `refusal` makes of the status and body of an error.
            Unreachable: as `send`, or the answer ended before its time.
        """
        try:
            self._connection.request("GET", path)
            response = self._connection.getresponse()
            if response.status >= 400:
                raise refusal(response.status, response.read())
            size = 0
            while piece := response.read(_PIECE_BYTES):
                size += len(piece)
                write(piece)
            if response.length:
                raise http.client.IncompleteRead(b"", response.length)
        except (http.client.HTTPException, ConnectionError, TimeoutError, FileNotFoundError, PermissionError) as error:
            self._connection.close()
            raise Unreachable(_why(self.socket_path, error)) from error
        return size

    def call(self, method: str, path: str, **kwargs: Any) -> Any:
        """One request; gives the JSON of the answer.

        Raises:
            Refused: the answer is an error.
            Unreachable: as `send`.
        """
        answer = self.send(method, path, **kwargs)
        if answer.status >= 400:
            raise refusal(answer)
        return answer.json()

    @property
    def project_id(self) -> str:
        """The daemon's default project, asked for once."""
        if not self._project_id:
            self._project_id = str(self.call("GET", "/fgd/v1/status")["project_id"])
        return self._project_id

    def functions_path(self, function: str = "", rest: str = "") -> str:
        """`/v2/<project>/fgs/functions[/<function>[/<rest>]]`; the function's name or URN is percent-encoded."""
        path = f"/v2/{self.project_id}/fgs/functions"
        if function:
            path += f"/{quote(self.urn(function), safe='')}"
        return f"{path}/{rest}" if rest else path

    def urn(self, function: str) -> str:
        """A function as people write it (`name@v1`, `name@!alias`) as the API takes it."""
        base, at, qualifier = function.partition("@")
        if not at:
            return function
        fields = base.split(":")
        if len(fields) == 1:
            fields = ["default", *fields]
        if len(fields) == 2:
            fields = [self.project_id, *fields]
        return ":".join([*fields, qualifier])

    def close(self) -> None:
        self._connection.close()


def refusal(answer: Answer) -> Refused:
    """The error that an answer of 400 or above stands for."""
    try:
        value = json.loads(answer.body)
        return Refused(answer.status, str(value["error_code"]), str(value["error_msg"]))
    except (ValueError, KeyError, TypeError):
        return Refused(answer.status, "", answer.body[:200].decode("utf-8", "replace") or "refused without a reason")


def _why(path: str, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"{path}: this user may not use it; be root or a member of the group fgd"
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return (
            f"no daemon listens at {path}; start one (systemctl start fgd, or make serve), "
            "or name its socket with --admin-socket or FGD_ADMIN_SOCKET"
        )
    return f"{path}: the connection broke: {error or type(error).__name__}"


def default_socket() -> str:
    """FGD_ADMIN_SOCKET, or where the service has it."""
    return os.environ.get("FGD_ADMIN_SOCKET") or DEFAULT_SOCKET
