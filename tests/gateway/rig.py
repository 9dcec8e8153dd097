"""A gateway in a thread of its own with a fake invoker behind it, and blocking clients in front of it."""

import contextlib
import hashlib
import json
import os
import queue
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import trio

from fgd.auth.keyring import Keyring
from fgd.call import PLAIN, Call, CallOptions, Outcome
from fgd.config import Config
from fgd.control.apis import Apis, default_group
from fgd.errors import FunctionDisabled, FunctionNotFound, Overloaded, VersionNotFound
from fgd.gateway.api import Listener
from fgd.gateway.server import Gateway
from fgd.gateway.tls import Certificate
from fgd.invoke.split import Split
from fgd.linux.reactor import Reactor
from fgd.model import Function
from fgd.route import ApiRoute
from fgd.store.api import AccessKey, Token
from fgd.store.apis import ApiObject, ApiStore
from fgd.store.catalog import SqliteCatalog
from fgd.trigger import Place
from fgd.urn import FunctionUrn

PROJECT = "0123456789abcdef0123456789abcdef"
TOKEN = "token-of-the-project"
URN = f"urn:fss:local:{PROJECT}:function:default:hello:latest"
PATH = f"/v2/{PROJECT}/fgs/functions/{URN}/invocations"
KEY = AccessKey(access_key="AK", secret_key="a secret", project_id=PROJECT, name="", created_s=0.0)


def function(name: str, **changes: object) -> Function:
    fields: dict[str, object] = {
        "func_id": name, "project_id": PROJECT, "package": "default", "name": name, "runtime": "Python3.12",
        "handler": "index.handler", "timeout_s": 3, "memory_mib": 128, "code_type": "zip", "code_digest": "",
        "code_size_bytes": 1, "created_s": 0.0, "last_modified_s": 0.0,
    }  # fmt: skip
    return Function(**(fields | changes))  # type: ignore[arg-type]  # the fields are right, their types unknown here


class FakeDirectory:
    """Functions by name; counts how often it was asked."""

    def __init__(self) -> None:
        self.generation = 1
        self.asked = 0
        self.functions = {
            name: function(name)
            for name in ("hello", "hold", "busy", "fails", "broken", "text", "big", "crash", "bug", "web")
        }
        self.functions["disabled"] = function("disabled", max_instances=0)
        self.functions["dynamic"] = function("dynamic", dynamic_memory=True)

    def resolve(self, urn: FunctionUrn) -> Function:
        self.asked += 1
        found = self.functions.get(urn.name)
        if found is None or urn.package != "default":
            raise FunctionNotFound("Not found the function")
        if urn.qualifier != "latest":
            raise VersionNotFound("Not found the version")
        return found

    def split(self, urn: FunctionUrn) -> Split | None:
        return None


class FakeInvoker:
    """Answers from inside the loop, never from inside `submit`; what it does depends on the function's name."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.held: list[Call] = []
        #: What the function `web` returns.
        self.answer = b'{"statusCode":200,"headers":{"Content-Type":"text/html"},"body":"<p>","isBase64Encoded":false}'
        self._soon: Callable[..., None] | None = None

    def attach(self) -> None:
        self._soon = trio.lowlevel.current_trio_token().run_sync_soon

    def submit(self, call: Call) -> None:
        name = call.function.name
        if name == "busy":
            raise Overloaded
        if name == "bug":
            raise ZeroDivisionError
        if call.function.disabled:
            raise FunctionDisabled("the function is disabled")
        self.calls.append(call)
        if name == "hold":
            self.held.append(call)
            return
        outcome = Outcome(0, call.event, duration_us=1913, memory_bytes=43528192)
        if name == "fails":
            outcome = Outcome(4002, b'{"errorMessage":"no","errorType":"ValueError"}', function_error=True)
        elif name == "broken":
            outcome = Outcome(4201, b'{"errorMessage":"no sandbox"}')
        elif name == "web":
            outcome = Outcome(0, self.answer, duration_us=100)
        elif name == "text":
            outcome = Outcome(0, "grüße".encode(), text=True)
        elif name == "big":
            outcome = Outcome(0, b'"' + b"x" * (6 * 1024 * 1024 - 2) + b'"')
        elif name == "crash":
            outcome = Outcome(0, b"", duration_us="no number")  # type: ignore[arg-type]  # a fault of ours, on purpose
        if call.want_tail:
            outcome.log_tail = b"Start\nprinted\nFinish\n"
        self.finish(call, outcome)

    def finish(self, call: Call, outcome: Outcome) -> None:
        assert self._soon is not None
        if call in self.held:
            self.held.remove(call)
        self._soon(call.done, call, outcome)

    def cancel(self, call: Call) -> None:
        self.finish(call, Outcome(4208, b"{}"))

    async def invoke(self, function: Function, request_id: str, event: bytes, *, async_: bool = False) -> Outcome:
        return Outcome(0, event)


class FakeQueue:
    """Keeps events; `error` is what storing comes to, `hold` whether `done` is left to the test."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, bytes]] = []
        self.error: Exception | None = None
        self.hold = False
        self.waiting: list[Callable[[Exception | None], None]] = []
        self._soon: Callable[..., None] | None = None

    def attach(self) -> None:
        self._soon = trio.lowlevel.current_trio_token().run_sync_soon

    def enqueue_soon(
        self,
        function: Function,
        request_id: str,
        event: bytes,
        done: Callable[[Exception | None], None],
        options: CallOptions = PLAIN,
    ) -> None:
        self.events.append((function.name, request_id, event))
        assert self._soon is not None
        if self.hold:
            self.waiting.append(done)
        else:
            self._soon(done, self.error)


class Answer:
    """A parsed answer; header names in lower case."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error_code"])


class Client:
    """A blocking client that reads answers by their length."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._data = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answer(self, *, head_only: bool = False) -> Answer:
        while b"\r\n\r\n" not in self._data:
            self._more()
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.1 (\d{3}) .*", lines[0])
        assert match, lines[0]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        status = int(match[1])
        if status == 100 or head_only or status == 204:
            return Answer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Answer(status, headers, self._chunks())
        if "content-length" not in headers:
            return Answer(status, headers, self.rest())
        size = int(headers["content-length"])
        while len(self._data) < size:
            self._more()
        body, self._data = self._data[:size], self._data[size:]
        return Answer(status, headers, body)

    def _chunks(self) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in self._data:
                self._more()
            size, _, self._data = self._data.partition(b"\r\n")
            count = int(size, 16)
            while len(self._data) < count + 2:
                self._more()
            body += self._data[:count]
            self._data = self._data[count + 2 :]
            if not count:
                return body

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError("the server closed the connection")
        self._data += data

    def rest(self) -> bytes:
        """Everything until the server closes."""
        with contextlib.suppress(EOFError, ConnectionResetError):
            while True:
                self._more()
        data, self._data = self._data, b""
        return data

    def ask(self, data: bytes) -> Answer:
        self.send(data)
        return self.answer()

    def invoke(self, name: str = "hello", body: bytes = b"{}", *lines: str, async_: bool = False) -> Answer:
        return self.ask(request(name, body, *lines, async_=async_))

    def closed(self) -> bool:
        """Whether the server closes without another byte."""
        return self.rest() == b""


def request(name: str = "hello", body: bytes = b"{}", *lines: str, async_: bool = False) -> bytes:
    """A whole invocation with the project's token."""
    path = PATH.replace("hello", name) + ("-async" if async_ else "")
    head = [f"POST {path} HTTP/1.1", "Host: fgd", f"X-Auth-Token: {TOKEN}", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Rig:
    """All that belongs to one running gateway."""

    def __init__(self, config: Config, control_path: str, folder: Path, tls: Certificate | None = None) -> None:
        self.config = config
        self.apis: Apis
        #: How far the gateway's clock is ahead.
        self.ahead_s = 0.0
        self._folder = folder
        self._certificate = tls
        #: Of a listener with published APIs alone, with TLS where there is a certificate.
        self.api_address = ("127.0.0.1", 0)
        #: Of a listener with everything, with TLS.
        self.secure_address = ("127.0.0.1", 0)
        self.directory = FakeDirectory()
        self.invoker = FakeInvoker()
        self.queue = FakeQueue()
        self.keyring = Keyring(time.time)
        self.records: list[tuple[Call, Outcome, int]] = []
        #: Of the abstract namespace, so that the rights of the test's folder do not matter.
        self.admin_path = f"\0fgd-test-{os.getpid()}-{folder.name}"
        self.address = ("127.0.0.1", 0)
        self.gateway: Gateway
        self._control_path = control_path
        self._started: queue.Queue[BaseException | None] = queue.Queue()
        self._token: trio.lowlevel.TrioToken
        self._scope = trio.CancelScope()
        self._clients: list[socket.socket] = []
        digest = hashlib.sha256(TOKEN.encode()).hexdigest()
        token = Token(digest=digest, project_id=PROJECT, name="tester", expires_s=time.time() + 3600)
        self.keyring.load([KEY], [token])

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self.invoker.attach()
        self.queue.attach()
        reactor = Reactor()
        catalog = await SqliteCatalog.open(self._folder, time.time)
        store = ApiStore(catalog.database, catalog.secrets)
        self.apis = Apis(store, await store.all(), time.time, lambda https: "http://gateway/api/{group}")
        self.gateway = Gateway(
            self.config,
            reactor,
            directory=self.directory,
            keyring=self.keyring,
            invoker=self.invoker,
            queue=self.queue,
            record=lambda call, outcome, write_us: self.records.append((call, outcome, write_us)),
            time_s=lambda: time.time() + self.ahead_s,
            cold_parts=lambda _call: {"instance": 1.5, "code": 0.5, "init": 0.0},
            apis=self.apis,
            certificate=None if self._certificate is None else self._certificate.context,
        )
        tcp = socket.create_server(("127.0.0.1", 0))
        admin = socket.socket(socket.AF_UNIX)
        admin.bind(self.admin_path)
        admin.listen()
        self.address = tcp.getsockname()
        other = socket.create_server(("127.0.0.1", 0))
        self.api_address = other.getsockname()
        secure = socket.create_server(("127.0.0.1", 0))
        self.secure_address = secure.getsockname()
        with tcp, other, secure, admin, self._scope:
            async with trio.open_nursery() as nursery:
                listeners = [Listener(tcp), Listener(admin, admin=True)]
                listeners.append(Listener(other, secure=self._certificate is not None, apis_only=True))
                if self._certificate is not None:
                    listeners.append(Listener(secure, secure=True))
                await nursery.start(self.gateway.serve, listeners, self._control_path)
                self._started.put(None)
        reactor.close()
        await catalog.aclose()

    def _thread(self) -> None:
        try:
            trio.run(self._run)
        except BaseException as error:
            self._started.put(error)
            raise

    @contextlib.contextmanager
    def running(self) -> Iterator["Rig"]:
        thread = threading.Thread(target=self._thread)
        thread.start()
        error = self._started.get(timeout=10)
        if error is not None:
            raise error
        try:
            yield self
        finally:
            for sock in self._clients:
                sock.close()
            self._token.run_sync_soon(self._scope.cancel)
            thread.join(10)
        assert not thread.is_alive()
        assert self.gateway.connections == 0
        # Events of calls that nobody will ever answer are still with the invoker.
        assert self.gateway.body_bytes == sum(len(call.event) for call in self.invoker.held)

    def client(self, *, timeout_s: float = 10.0, apis_only: bool = False) -> Client:
        sock = socket.create_connection(self.api_address if apis_only else self.address)
        sock.settimeout(timeout_s)
        self._clients.append(sock)
        return Client(sock)

    def publish(self, path: str, function: str = "web", **fields: object) -> str:
        """Publishes an API in the project's default group; gives the path at which it is found."""
        name = f"API_{len(self.apis.of_project(PROJECT))}"
        given: dict[str, object] = {
            "name": name, "group": "", "environment": "RELEASE", "method": "ANY", "path": path, "prefix": False,
            "auth": "NONE", "https": False, "async_": False, "timeout_ms": 5000,
        }  # fmt: skip
        route = ApiRoute(**(given | fields))  # type: ignore[arg-type]  # the fields are right, their types unknown here
        urn = f"urn:fss:local:{PROJECT}:function:default:{function}:latest"
        place = Place(f"trigger-{name}", PROJECT, "local", function, "default", "latest", urn)
        self.in_loop(lambda: self.apis.claim(place.trigger_id, place, [route]))
        return f"/api/{default_group(PROJECT).id}{path}"

    def make(self, kind: str, **fields: object) -> ApiObject:
        """A group, an environment, an app or a throttling policy."""

        async def work() -> ApiObject:
            return await self.apis.create(PROJECT, kind, fields, admin=True)

        return self.run(work)

    def run[T](self, work: Callable[[], Awaitable[T]]) -> T:
        """Runs something asynchronous inside the loop."""
        return trio.from_thread.run(work, trio_token=self._token)

    def admin(self) -> Client:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(self.admin_path)
        self._clients.append(sock)
        return Client(sock)

    def in_loop[T](self, work: Callable[[], T]) -> T:
        """Runs something synchronous inside the loop."""
        return trio.from_thread.run_sync(work, trio_token=self._token)

    async def _drain(self, timeout_s: float) -> bool:
        return await self.gateway.drain(timeout_s)

    def drain(self, timeout_s: float) -> bool:
        return trio.from_thread.run(self._drain, timeout_s, trio_token=self._token)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits for something that the other thread is about to do."""
        for _ in range(500):
            if condition():
                return
            time.sleep(0.01)
        raise AssertionError("it did not happen within 5 s")
