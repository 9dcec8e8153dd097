"""The hot path: from a parsed request to a `Call`, without a task, a wait or a look at the disk.

Order of the checks: size (before this), credentials, project, function, event. A project that is not the caller's is
403 whether the function exists or not.
"""

import logging
from functools import partial
from typing import Final

import msgspec

from fgd.auth.actions import INVOKE, INVOKE_ASYNC
from fgd.auth.keyring import Keyring
from fgd.auth.policy import function_resource
from fgd.call import PLAIN, Call, CallOptions
from fgd.clock import new_request_id
from fgd.errors import (
    ActionDenied,
    EventTooLarge,
    FgdError,
    Forbidden,
    FunctionDisabled,
    GatewayTimeout,
    NotAcceptable,
    PlatformError,
)
from fgd.gateway.answers import accepted_answer
from fgd.gateway.api import AsyncQueue, Directory
from fgd.gateway.apis import ApiRouter, Hit
from fgd.gateway.entry import Entry
from fgd.gateway.head import Head, path_segments
from fgd.gateway.http import Connection
from fgd.invoke.api import Invoker
from fgd.invoke.extras import ExtrasOf, extras_of
from fgd.invoke.split import Split
from fgd.model import Function, Principal, Rights
from fgd.units import ASYNC_PAYLOAD_MAX_BYTES, MEMORY_SIZES_MIB, SYNC_PAYLOAD_MAX_BYTES
from fgd.urn import FunctionUrn, parse_urn

_LOG = logging.getLogger("fgd.gateway")
_ROUTES_MAX: Final = 10000
_NO_EVENT: Final = b"{}"
_SIZES: Final = {str(size).encode("ascii"): size for size in MEMORY_SIZES_MIB}
_EVENT = msgspec.json.Decoder(msgspec.Raw)


class Route:
    """Where a target leads. `function` is right as long as `generation` is the directory's."""

    __slots__ = (
        "async_", "function", "generation", "limit_bytes", "options", "plain", "project_id", "sizes", "split", "urn",
        "urn_text",
    )  # fmt: skip

    def __init__(self, project_id: str, urn_text: str, *, async_: bool) -> None:
        self.project_id = project_id
        self.urn_text = urn_text
        self.async_ = async_
        self.limit_bytes = ASYNC_PAYLOAD_MAX_BYTES if async_ else SYNC_PAYLOAD_MAX_BYTES
        self.urn: FunctionUrn | None = None
        self.function: Function | None = None
        self.generation = -1
        #: Whether nothing in a request or its client changes which version runs it, or how; as nearly always.
        self.plain = False
        #: Set where the URN names an alias.
        self.split: Split | None = None
        self.options = PLAIN
        #: Options of requests that choose their memory, by the header's value.
        self.sizes: dict[bytes, CallOptions] = {}


class InvocationRouter:
    """Routes invocations to the invoker and the queue; everything else is none of its business."""

    def __init__(
        self,
        directory: Directory,
        keyring: Keyring,
        invoker: Invoker,
        queue: AsyncQueue,
        extras: ExtrasOf = extras_of,
        region: str = "",
        entry: Entry | None = None,
        apis: ApiRouter | None = None,
        sync_timeout_s: float = 90.0,
    ) -> None:
        """
        Args:
            region: as resources of policies name it.
            entry: who may invoke functions that not everybody may.
            apis: requests to published APIs.
            sync_timeout_s: after how long `late` is asked.
        """
        self._apis = apis
        self._sync_timeout_s = sync_timeout_s
        self._directory = directory
        self._keyring = keyring
        self._submit = invoker.submit
        self._queue = queue
        self._extras = extras
        self._region = region
        self._entry = entry or Entry({})
        #: raw target -> route, only of requests that were let in.
        self._routes: dict[bytes, Route] = {}

    def classify(self, head: Head) -> int | None:
        if head.method == "POST":
            route = self._routes.get(head.target) or _parse_route(head.target)
            if route is not None:
                head.route = route
                return route.limit_bytes
        return self._apis.find(head) if self._apis is not None else None

    def anonymous(self, head: Head) -> bool:
        return self._apis is not None and self._apis.anonymous(head)

    def late(self, head: Head, waiting: Call | str | None) -> FgdError:
        if self._apis is not None and isinstance(head.route, Hit):
            return self._apis.late(head, waiting)
        if isinstance(waiting, Call):
            return GatewayTimeout(f"no answer within {self._sync_timeout_s:g} s; the function runs on")
        return GatewayTimeout(f"the event was not stored within {self._sync_timeout_s:g} s; it may still run")

    def too_large(self, head: Head) -> FgdError:
        route = head.route
        if self._apis is not None and isinstance(route, Hit):
            return self._apis.too_large(head)
        assert isinstance(route, Route)
        kind = "asynchronous" if route.async_ else "synchronous"
        return EventTooLarge(f"event: must not be larger than {route.limit_bytes} bytes in an {kind} invocation")

    def precheck(self, head: Head) -> None:
        if self._apis is not None and isinstance(head.route, Hit):
            self._apis.precheck(head)
            return
        self._keyring.precheck(head.headers)

    def invoke(self, connection: Connection, head: Head, body: bytes) -> None:
        """Checks a complete request and starts it; every way out answers exactly once."""
        route = head.route
        if not isinstance(route, Route):
            assert self._apis is not None
            self._apis.invoke(connection, head, body)
            return
        try:
            principal = connection.peer
            if principal is None:
                if head.token is not None:
                    principal = self._keyring.by_token(head.token)
                else:
                    principal = self._keyring.authenticate(head.method, head.target, head.headers, body)
            if not (principal.admin or principal.project_id == route.project_id):
                raise Forbidden("project_id: these credentials do not reach this project")
            if principal.rights is not None:
                self._check_rights(principal.rights, principal.name, route)
            function = route.function
            if function is None or route.generation != self._directory.generation:
                function = self._resolve(route, principal, head.target)
            options = route.options
            if not route.plain:
                function, options = self._chosen(route, function, connection, head)
            if not body:
                body = _NO_EVENT
            else:
                _check_event(body)
            request_id = new_request_id()
            if route.async_:
                self._enqueue(connection, function, request_id, body, options)
                return
            call = Call(
                function,
                request_id,
                body,
                connection.done,
                received_s=connection.received_s,
                want_tail=head.log_tail,
                extras=self._extras(function, options, False),
                options=options,
            )
            connection.wait_for(call)
            self._submit(call)
            connection.hold(len(body))
        except FgdError as error:
            if isinstance(error, PlatformError):
                _LOG.warning("invocation refused: %s", error, extra={"target": head.target.decode("ascii")})
            connection.fail(error)
        except Exception:  # a fault of ours: the client gets an answer, the log the reason
            _LOG.exception("invocation failed inside of fgd")
            connection.fail(PlatformError("internal error"))

    def _check_rights(self, rights: Rights, name: str, route: Route) -> None:
        """Before the look-up: what may not be invoked may not be found out either."""
        if route.urn is None:
            route.urn = parse_urn(route.urn_text, route.project_id)
        urn = route.urn
        action = INVOKE_ASYNC if route.async_ else INVOKE
        if not rights.says(action, function_resource(self._region, urn.project_id, urn.package, urn.name)):
            raise ActionDenied(
                f"function_urn: the policies of the {name} do not allow {action} on {urn.package}/{urn.name}"
            )

    def _chosen(
        self, route: Route, function: Function, connection: Connection, head: Head
    ) -> tuple[Function, CallOptions]:
        """Which version runs the request, and how, where that depends on the request and who sends it."""
        if route.split is not None:
            function = route.split.pick(head.headers)
        if function.entry_networks and connection.peer is None:
            self._entry.check(function, connection.address)
        return function, _with_memory(route, head) if function.dynamic_memory else route.options

    def _resolve(self, route: Route, principal: Principal, target: bytes) -> Function:
        if route.urn is None:
            route.urn = parse_urn(route.urn_text, route.project_id)
        if route.urn.project_id != route.project_id:
            raise Forbidden("function_urn: names another project than the path")
        generation = self._directory.generation
        route.function = function = self._directory.resolve(route.urn)
        route.split = split = self._directory.split(route.urn)
        if split is not None and not route.options.alias:
            route.options = CallOptions(alias=split.alias.name)
            route.sizes.clear()
        route.plain = split is None and not function.entry_networks and not function.dynamic_memory
        route.generation = generation
        if target not in self._routes:
            if len(self._routes) >= _ROUTES_MAX:
                self._routes.clear()
            self._routes[target] = route
        return function

    def _enqueue(
        self, connection: Connection, function: Function, request_id: str, event: bytes, options: CallOptions
    ) -> None:
        if function.disabled:
            raise FunctionDisabled("the function is disabled")
        connection.wait_for(request_id)
        done = partial(_enqueued, connection, request_id, len(event))
        self._queue.enqueue_soon(function, request_id, event, done, options)
        connection.hold(len(event))


def _enqueued(connection: Connection, request_id: str, event_bytes: int, error: Exception | None) -> None:
    """The event is on disk, or it could not be put there. Only the first is a 202."""
    connection.let_go(event_bytes)
    if not connection.is_waiting_for(request_id):
        return
    if error is None:
        connection.respond(lambda lines, keep: accepted_answer(request_id, lines))
    elif isinstance(error, FgdError):
        connection.fail(error, request_id=request_id)
    else:
        _LOG.error("event %s was not stored", request_id, exc_info=error)
        connection.fail(PlatformError("the event could not be stored"), request_id=request_id)


def _parse_route(target: bytes) -> Route | None:
    """`/v2/{project}/fgs/functions/{urn}/invocations[-async]`, else None."""
    if b"/invocations" not in target and b"%" not in target:
        return None
    segments = path_segments(target)
    if len(segments) != 6 or segments[0] != b"v2" or segments[2] != b"fgs" or segments[3] != b"functions":
        return None
    if segments[5] not in (b"invocations", b"invocations-async"):
        return None
    try:
        return Route(segments[1].decode("ascii"), segments[4].decode("ascii"), async_=segments[5] != b"invocations")
    except UnicodeDecodeError:
        return None


def _check_event(body: bytes) -> None:
    """One pass over the bytes that builds nothing.

    Raises:
        NotAcceptable: not well-formed JSON in UTF-8.
    """
    try:
        _EVENT.decode(body)
        if not body.isascii():
            body.decode("utf-8")
    except msgspec.DecodeError as error:
        raise NotAcceptable(f"event: must be well-formed JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise NotAcceptable(f"event: must be UTF-8: byte {error.start}") from error
    except RecursionError as error:
        raise NotAcceptable("event: is nested too deeply") from error


def _with_memory(route: Route, head: Head) -> CallOptions:
    """The options of a request to a function with dynamic memory (user guide, section 3.11).

    Raises:
        NotAcceptable: X-Cff-Instance-Memory names a size that is not in the list, or comes more than once.
    """
    wishes = [value.strip() for name, value in head.headers if name == b"x-cff-instance-memory"]
    if not wishes:
        return route.options
    options = route.sizes.get(wishes[0])
    if options is None or len(wishes) > 1:
        if len(wishes) > 1 or wishes[0] not in _SIZES:
            raise NotAcceptable(
                f"X-Cff-Instance-Memory: must be one of {', '.join(map(str, MEMORY_SIZES_MIB))}, "
                f"not {b', '.join(wishes)[:40].decode('latin-1')!r}"
            )
        options = route.sizes[wishes[0]] = CallOptions(alias=route.options.alias, memory_mib=_SIZES[wishes[0]])
    return options
