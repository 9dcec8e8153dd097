"""Requests to published APIs: from a parsed head to a `Call`, and from its outcome to the answer.

Theory of operation: an API is found by its group, its environment and its path; the group by the host name, or by
`/api/GROUP` in front of the path. What is found, and all of the event that follows from the head, stays with the head,
and a connection keeps the head of its last request: a client that sends the same head again is not looked up again.
Order of the checks: API, protocol, credentials, throttling, function.

Who may have a body read into memory: callers of APIs with authentication once their credentials look right, all others
as long as bodies take less than half of what bodies may take, so that they cannot lock out those who show credentials.
"""

import hashlib
import logging
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Final

from fgd.auth.actions import INVOKE, INVOKE_ASYNC
from fgd.auth.keyring import Keyring
from fgd.auth.policy import function_resource
from fgd.auth.signature import parse_authorization, verify
from fgd.call import Call, CallOptions, Outcome
from fgd.clock import new_request_id
from fgd.control.api_table import Published
from fgd.control.apis import Apis, Grant
from fgd.errors import ApiRefused, FgdError, FunctionDisabled, PlatformError, Unauthorized
from fgd.gateway.answers import plain_answer
from fgd.gateway.api import AsyncQueue, Directory
from fgd.gateway.api_event import (
    BODY_MAX_BYTES,
    Answers,
    BadAnswer,
    Pieces,
    event_bytes,
    event_headers,
    event_pieces,
)
from fgd.gateway.entry import Entry
from fgd.gateway.head import Head, path_segments
from fgd.gateway.http import Connection
from fgd.invoke.api import Invoker
from fgd.invoke.extras import ExtrasOf
from fgd.model import Function
from fgd.route import RELEASE, SEGMENTS_MAX
from fgd.units import ASYNC_PAYLOAD_MAX_BYTES

_LOG = logging.getLogger("fgd.gateway")
_PREFIX: Final = b"/api/"
_SEGMENTS_MAX: Final = 4 * SEGMENTS_MAX
_PREFLIGHT_AGE_S: Final = 600


def host_suffix(url: str) -> str:
    """What host names of groups end with, by the setting `apig_url`; "" where the group is not in the host name."""
    host = url.partition("://")[2].partition("/")[0].partition(":")[0].lower()
    return host.removeprefix("{group}") if host.startswith("{group}.") else ""


class Hit:
    """What a head asks for. `api` is None where nothing is published there."""

    __slots__ = (
        "api", "app_code", "authorization", "fault", "generation", "group_id", "path", "pieces", "pieces_of",
        "preflight", "query", "segments", "stage",
    )  # fmt: skip

    def __init__(self, group_id: str, stage: str, path: str, segments: list[str], query: bytes) -> None:
        self.group_id = group_id
        self.stage = stage
        self.path = path
        self.segments = segments
        self.query = query
        self.api: Published | None = None
        self.fault: FgdError | None = None
        self.preflight = False
        self.generation = -1
        self.authorization: bytes | None = None
        self.app_code: bytes | None = None
        self.pieces: Pieces | None = None
        #: Address, port and protocol that the pieces are of.
        self.pieces_of: tuple[str, int, bool] = ("", 0, False)


class ApiRouter:
    """Finds and calls APIs. It is also a `Router` of its own, for listeners where there is nothing else."""

    def __init__(
        self,
        apis: Apis,
        directory: Directory,
        keyring: Keyring,
        invoker: Invoker,
        queue: AsyncQueue,
        extras: ExtrasOf,
        region: str,
        entry: Entry,
        record: Callable[[Call, Outcome, int], object],
        time_s: Callable[[], float],
        suffix: str = "",
        https: bool = False,
    ) -> None:
        """
        Args:
            time_s: epoch seconds.
            suffix: of host names that begin with the id of a group, such as `.apig.example.com`; "" for none.
            https: whether clients can reach this node by TLS.
        """
        self._apis = apis
        self._table = apis.table
        self._directory = directory
        self._keyring = keyring
        self._submit = invoker.submit
        self._queue = queue
        self._extras = extras
        self._region = region
        self._entry = entry
        self._record = record
        self._time_s = time_s
        self._suffix = suffix
        self._https = https
        self._answers = Answers()

    # Router

    def find(self, head: Head) -> int | None:
        """Largest body of a request to an API; None when it is none."""
        hit = self._hit(head)
        if hit is None:
            return None
        self._look_up(hit, head)
        head.route = hit
        api = hit.api
        return ASYNC_PAYLOAD_MAX_BYTES if api is not None and api.route.async_ else BODY_MAX_BYTES

    def classify(self, head: Head) -> int | None:
        limit = self.find(head)
        if limit is None:
            head.route = hit = Hit("", "", "", [], b"")
            hit.generation = self._table.generation
            return BODY_MAX_BYTES
        return limit

    def precheck(self, head: Head) -> None:
        hit = head.route
        assert isinstance(hit, Hit)
        if hit.fault is not None:
            raise hit.fault
        api = self._published(hit, head)
        if api.route.auth == "IAM":
            self._keyring.precheck(head.headers)
        elif api.route.auth == "APP":
            self._grant(hit, api)

    def anonymous(self, head: Head) -> bool:
        """Whether a request shows no credentials, and is let in all the same."""
        hit = head.route
        return isinstance(hit, Hit) and hit.api is not None and hit.api.route.auth == "NONE"

    def too_large(self, head: Head) -> FgdError:
        hit = head.route
        assert isinstance(hit, Hit)
        api = hit.api
        limit = ASYNC_PAYLOAD_MAX_BYTES if api is not None and api.route.async_ else BODY_MAX_BYTES
        return ApiRefused(413, "APIG.0201", f"body: must not be larger than {limit} bytes")

    def late(self, head: Head, waiting: Call | str | None) -> FgdError:
        hit = head.route
        assert isinstance(hit, Hit)
        if hit.api is None or hit.api.route.async_:
            return ApiRefused(504, "APIG.0201", "the event was not stored in time; it may still run")
        return ApiRefused(504, "APIG.0201", f"Backend timeout: no answer within {hit.api.route.timeout_ms} ms")

    def invoke(self, connection: Connection, head: Head, body: bytes) -> None:
        """Checks a complete request and starts it; every way out answers exactly once."""
        try:
            self._invoke(connection, head, body)
        except FgdError as error:
            if isinstance(error, PlatformError):
                _LOG.warning("API request refused: %s", error, extra={"target": head.target.decode("ascii")})
            connection.fail(error)
        except Exception:  # a fault of ours: the client gets an answer, the log the reason
            _LOG.exception("API request failed inside of fgd")
            connection.fail(PlatformError("internal error"))

    # A request

    def _invoke(self, connection: Connection, head: Head, body: bytes) -> None:
        hit = head.route
        assert isinstance(hit, Hit)
        if hit.generation != self._table.generation:
            self._look_up(hit, head)
        if hit.fault is not None:
            raise hit.fault
        api = self._published(hit, head)
        if hit.preflight:
            lines = _preflight_lines(api, head)
            connection.respond(lambda fixed, keep: b"HTTP/1.1 204 No Content\r\n%b%b\r\n" % (fixed, lines))
            return
        route = api.route
        if route.https and self._https and not connection.secure and connection.peer is None:
            raise ApiRefused(403, "APIG.0110", "this API can be called by HTTPS only")
        user, app = "", ""
        if route.auth == "IAM":
            user = self._check_user(connection, head, body, api)
        elif route.auth == "APP":
            app = self._check_app(hit, head, body, api)
        limits = self._apis.limits.get(api.trigger_id)
        if limits:
            now_s = self._time_s()
            for limit in limits:
                if not limit.take(now_s, user, app, connection.address):
                    policy = limit.policy
                    raise ApiRefused(
                        429, "APIG.0308",
                        f"The throttling threshold has been reached: policy {policy.name}, per {policy.interval}"
                        f" {policy.unit.lower()}",
                    )  # fmt: skip
        function = api.function
        if function is None or api.generation != self._directory.generation:
            function = self._resolve(api)
        if api.split is not None:
            function = api.split.pick(head.headers)
        if function.entry_networks and connection.peer is None:
            self._entry.check(function, connection.address)
        client = (connection.address, connection.port, connection.secure)
        pieces = hit.pieces
        if pieces is None or hit.pieces_of != client:
            pieces = self._pieces(hit, api, head, client)
        request_id = new_request_id()
        event = event_bytes(pieces, request_id.encode("ascii"), body, route.base64)
        if route.async_:
            self._enqueue(connection, head, function, request_id, event, api.options)
            return
        call = Call(
            function,
            request_id,
            event,
            partial(self._on_done, connection, api),
            received_s=connection.received_s,
            extras=self._extras(function, api.options, False),
            options=api.options,
        )
        connection.wait_for(call)
        self._submit(call)
        connection.hold(len(event))
        connection.deadline_s = connection.received_s + api.timeout_s

    def _hit(self, head: Head) -> Hit | None:
        """Group, environment and path of a request; None where it is for no group."""
        target = head.target
        stage = RELEASE
        rest = target
        group_id = self._group_at(head) if self._suffix or self._apis.hosts else ""
        if not group_id:
            if not target.startswith(_PREFIX):
                return None
            group_id = target[5:37].decode("ascii", "replace")
            rest = target[37:]
            if rest[:1] not in (b"", b"/", b"?"):
                return None
        raw, _, query = rest.partition(b"?")
        for name, value in head.headers:
            if name == b"x-stage":
                stage = value.strip().decode("latin-1")
        segments = [one.decode("utf-8", "replace") for one in path_segments(raw or b"/")]
        hit = Hit(group_id, stage, (raw or b"/").decode("ascii"), segments, query)
        if "." in segments or ".." in segments or len(segments) > _SEGMENTS_MAX:
            hit.fault = ApiRefused(400, "APIG.0106", "path: must not hold . or .. as a segment, nor very many segments")
        for name, value in head.headers:
            if name == b"authorization":
                if hit.authorization is not None:
                    hit.fault = ApiRefused(401, "APIG.0305", "Authorization: must not be sent twice")
                hit.authorization = value.strip()
            elif name == b"x-apig-appcode":
                if hit.app_code is not None:
                    hit.fault = ApiRefused(401, "APIG.0305", "X-Apig-AppCode: must not be sent twice")
                hit.app_code = value.strip()
        return hit

    def _group_at(self, head: Head) -> str:
        for name, value in head.headers:
            if name == b"host":
                host = value.strip().decode("ascii").lower().partition(":")[0].rstrip(".")
                if self._suffix and host.endswith(self._suffix):
                    return host.removesuffix(self._suffix)
                return self._apis.hosts.get(host, "")
        return ""

    def _look_up(self, hit: Hit, head: Head) -> None:
        hit.generation = self._table.generation
        hit.pieces = None
        hit.preflight = False
        hit.api = self._table.find(hit.group_id, hit.stage, head.method, hit.segments)
        if head.method == "OPTIONS" and (hit.api is None or hit.api.route.method != "OPTIONS"):
            wanted = [value for name, value in head.headers if name == b"access-control-request-method"]
            if len(wanted) == 1:
                api = self._table.find(hit.group_id, hit.stage, wanted[0].strip().decode("latin-1"), hit.segments)
                if api is not None and api.route.origins:
                    hit.api, hit.preflight = api, True

    def _published(self, hit: Hit, head: Head) -> Published:
        if hit.api is None:
            raise ApiRefused(
                404, "APIG.0101",
                f"The API does not exist or has not been published in the environment: {head.method}"
                f" {hit.path or head.target.decode('ascii')}"[:300],
            )  # fmt: skip
        return hit.api

    def _pieces(self, hit: Hit, api: Published, head: Head, client: tuple[str, int, bool]) -> Pieces:
        address, port, secure = client
        if not address or "@" in address:
            address = "unknown"  # the admin socket and the doors of sandboxes have none
        headers = event_headers(head, address, port, secure, authenticated=api.route.auth != "NONE")
        hit.pieces = event_pieces(head, api, hit.path, api.path_parameters(hit.segments), hit.query, headers)
        hit.pieces_of = client
        return hit.pieces

    def _resolve(self, api: Published) -> Function:
        generation = self._directory.generation
        api.function = function = self._directory.resolve(api.urn)
        api.split = split = self._directory.split(api.urn)
        api.options = CallOptions(alias=split.alias.name) if split is not None else CallOptions()
        api.generation = generation
        return function

    # Who asks

    def _check_user(self, connection: Connection, head: Head, body: bytes, api: Published) -> str:
        principal = connection.peer
        if principal is None:
            try:
                if head.token is not None:
                    principal = self._keyring.by_token(head.token)
                else:
                    principal = self._keyring.authenticate(head.method, head.target, head.headers, body)
            except Unauthorized as error:
                raise ApiRefused(401, "APIG.0301", f"Incorrect IAM authentication information: {error}") from error
        if not (principal.admin or principal.project_id == api.project_id):
            raise ApiRefused(403, "APIG.0302", "The IAM user is not authorized to access the API.")
        rights = principal.rights
        if rights is not None:
            action = INVOKE_ASYNC if api.route.async_ else INVOKE
            urn = api.urn
            if not rights.says(action, function_resource(self._region, urn.project_id, urn.package, urn.name)):
                raise ApiRefused(403, "APIG.0302", f"the policies of the {principal.name} do not allow {action}")
        return principal.name

    def _grant(self, hit: Hit, api: Published) -> Grant:
        """The app whose key or code a request names, if it may call the API; a signature is not checked yet."""
        grant: Grant | None = None
        if hit.app_code is not None:
            grant = self._apis.by_code.get(hashlib.sha256(hit.app_code).digest())
            if grant is None:
                raise ApiRefused(401, "APIG.0303", "Incorrect app authentication information: no such AppCode")
        elif hit.authorization is not None:
            access = hit.authorization.partition(b"Access=")[2].partition(b",")[0].strip()
            grant = self._apis.by_key.get(access.decode("latin-1"))
            if grant is None:
                raise ApiRefused(401, "APIG.0303", "Incorrect app authentication information: no such AppKey")
        else:
            raise ApiRefused(
                401, "APIG.0303",
                "Incorrect app authentication information: sign the request with AppKey and AppSecret, or send"
                " X-Apig-AppCode",
            )  # fmt: skip
        if grant.app.project_id != api.project_id or api.trigger_id not in grant.apis:
            raise ApiRefused(403, "APIG.0304", "The app is not authorized to access the API.")
        return grant

    def _check_app(self, hit: Hit, head: Head, body: bytes, api: Published) -> str:
        grant = self._grant(hit, api)
        if hit.app_code is None:
            assert hit.authorization is not None
            now_s = self._time_s()
            try:
                signed = parse_authorization(hit.authorization, head.headers, now_s)
                verify(signed, grant.app.secret, head.method, head.target, head.headers, body)
                grant.guard.check(head.method, signed.signature, signed.date_s, now_s)
            except Unauthorized as error:
                raise ApiRefused(401, "APIG.0303", f"Incorrect app authentication information: {error}") from error
        return grant.app.id

    # Answers

    def _enqueue(
        self, connection: Connection, head: Head, function: Function, request_id: str, event: bytes,
        options: CallOptions,
    ) -> None:  # fmt: skip
        if function.disabled:
            raise FunctionDisabled("the function is disabled")
        if len(event) > ASYNC_PAYLOAD_MAX_BYTES:
            raise ApiRefused(413, "FSS.1201", f"body: makes an event of more than {ASYNC_PAYLOAD_MAX_BYTES} bytes")
        connection.wait_for(request_id)
        done = partial(_enqueued, connection, request_id, len(event), head.method == "HEAD")
        self._queue.enqueue_soon(function, request_id, event, done, options)
        connection.hold(len(event))

    def _on_done(self, connection: Connection, api: Published, call: Call, outcome: Outcome) -> None:
        connection.let_go(len(call.event))
        try:
            self._answer(connection, api, call, outcome)
        except Exception:  # the invoker must not suffer from what happens here
            _LOG.exception("answer of %s was not written", call.request_id)
            connection.close()

    def _answer(self, connection: Connection, api: Published, call: Call, outcome: Outcome) -> None:
        if not connection.is_waiting_for(call):  # answered with 504 meanwhile, or the client is gone
            self._record(call, outcome, 0)
            return
        began_s = perf_counter()
        head = connection.head
        assert head is not None
        if began_s > connection.deadline_s:
            connection.on_deadline()
            self._record(call, outcome, 0)
            return
        try:
            if outcome.code:
                raise BadAnswer(f"the function ended with the error {outcome.code}")
            origin = _origin_lines(api, head) if api.route.origins else b""
            identity = call.request_id.encode("ascii")
            make = self._answers.answer
            connection.respond(lambda fixed, keep: make(outcome.body, identity, fixed, origin, head.method == "HEAD"))
        except BadAnswer as error:
            _LOG.info("API %s: %s", api.route.name, error, extra={"request_id": call.request_id})
            # To strangers no more than that; the log of the function has the rest.
            code = "FSS.1202" if outcome.function_error or not outcome.code else f"FSS.{outcome.code}"
            text = "the function gave no valid answer: " + (str(error) if not outcome.code else "it failed")
            connection.fail(_Failed(code, text), request_id=call.request_id)
        self._record(call, outcome, int((perf_counter() - began_s) * 1e6))


class _Failed(ApiRefused):
    """500."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(500, code, message)


def _enqueued(
    connection: Connection, request_id: str, event_bytes: int, head_only: bool, error: Exception | None
) -> None:
    """The event is on disk, or it could not be put there. Only the first is a 202."""
    connection.let_go(event_bytes)
    if not connection.is_waiting_for(request_id):
        return
    if error is None:
        identity = request_id.encode("ascii")
        lines = b"X-Request-Id: %b\r\nX-Cff-Request-Id: %b\r\n" % (identity, identity)
        body = b'{"request_id":"%b"}' % identity
        connection.respond(lambda fixed, keep: plain_answer(202, body, headers=fixed + lines, head_only=head_only))
    elif isinstance(error, FgdError):
        connection.fail(error, request_id=request_id)
    else:
        _LOG.error("event %s was not stored", request_id, exc_info=error)
        connection.fail(PlatformError("the event could not be stored"), request_id=request_id)


def _origin_lines(api: Published, head: Head) -> bytes:
    """What lets the script that asks read the answer; b"" for one that may not."""
    origins = api.route.origins
    if "*" in origins:
        return b"Access-Control-Allow-Origin: *\r\n"
    sent = [value.strip() for name, value in head.headers if name == b"origin"]
    if len(sent) == 1 and sent[0].decode("latin-1") in origins:
        return b"Access-Control-Allow-Origin: %b\r\nVary: Origin\r\n" % sent[0]
    return b"Vary: Origin\r\n"


def _preflight_lines(api: Published, head: Head) -> bytes:
    method = "GET, POST, PUT, DELETE, HEAD, PATCH" if api.route.method == "ANY" else api.route.method
    asked = [value.strip() for name, value in head.headers if name == b"access-control-request-headers"]
    lines = _origin_lines(api, head) + b"Access-Control-Allow-Methods: %b\r\n" % method.encode("ascii")
    if asked:
        lines += b"Access-Control-Allow-Headers: %b\r\n" % b", ".join(asked)
    return lines + b"Access-Control-Max-Age: %d\r\n" % _PREFLIGHT_AGE_S
