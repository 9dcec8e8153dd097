"""The control plane's HTTP side: Quart-Trio, with one view made for every row of the table of operations.

The socket it listens on is private to the daemon; the gateway is its only client. `X-Fgd-Peer` names a caller who came
in by the admin socket; the gateway takes that header out of everything that comes from a network.
"""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from importlib.metadata import version
from typing import Final
from urllib.parse import parse_qsl

import msgspec
import trio
from hypercorn.typing import ASGISendCallable
from quart import Response, g, request
from quart.typing import ResponseTypes
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.exceptions import MethodNotAllowed as WrongMethod
from werkzeug.exceptions import RequestTimeout as SlowBody

from fgd.api import permissions, traced
from fgd.api.openapi import openapi_document
from fgd.api.operation import BODY_MAX_BYTES, UPLOAD, Access, Answer, Ask, Operation
from fgd.api.services import Headers, Services
from fgd.api.table import OPERATIONS
from fgd.clock import new_request_id
from fgd.errors import (
    BadParameter,
    BodyTooLarge,
    FgdError,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    PlatformError,
    RequestError,
    RequestTimeout,
)
from fgd.model import Principal
from fgd.units import MIB

log = logging.getLogger(__name__)

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_PROJECT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_NOBODY: Final = Principal(name="", project_id="")
_UPLOADS_AT_ONCE: Final = 2
_SLOWEST_S_PER_MIB: Final = 10.0
_TARGET_MAX_BYTES: Final = 512


class _Connection(TrioASGIHTTPConnection):
    """One request."""

    async def _send_response(self, send: ASGISendCallable, response: ResponseTypes) -> None:
        # At the answer's end Hypercorn tells the application "http.disconnect", and Quart-Trio takes it for a client
        # that went away: it cancels the very task in which Hypercorn is about to close the connection.
        with trio.CancelScope(shield=True):
            await super()._send_response(send, response)


def make_app(services: Services, operations: Iterable[Operation] = OPERATIONS) -> QuartTrio:
    """The application; `operations` other than all are for tests."""
    app = QuartTrio("fgd.api", static_folder=None)
    app.asgi_http_class = _Connection
    app.config["MAX_CONTENT_LENGTH"] = services.config.upload_max_mib * MIB
    # The gateway cuts off who sends too slowly; this is longer than any upload that it lets pass.
    app.config["BODY_TIMEOUT"] = services.config.body_timeout_s + services.config.upload_max_mib * _SLOWEST_S_PER_MIB
    app.config["RESPONSE_TIMEOUT"] = None
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    # No redirects: a path is right or it is not found.
    app.url_map.strict_slashes = True
    app.url_map.redirect_defaults = False
    app.url_map.merge_slashes = False
    uploads = trio.CapacityLimiter(_UPLOADS_AT_ONCE)
    rows = (*operations, _documentation(operations))
    for operation in rows:
        rule = _PARAMETER.sub(r"<\1>", operation.path)
        app.add_url_rule(rule, operation.name, _view(services, operation, uploads), methods=[operation.method])
    app.register_error_handler(Exception, _on_error)
    return app


def _documentation(operations: Iterable[Operation]) -> Operation:
    """The operation that serves the OpenAPI document, itself included."""

    async def show_openapi(services: Services, ask: Ask) -> Answer:
        return Answer(openapi_document((*operations, row), version("fgd")))

    row = Operation("show_openapi", "GET", "/fgd/v1/openapi.json", "This document", show_openapi, access=Access.PUBLIC)
    return row


def _view(
    services: Services, operation: Operation, uploads: trio.CapacityLimiter
) -> Callable[..., Awaitable[Response]]:
    limit = services.config.upload_max_mib * MIB if operation.body_max_bytes == UPLOAD else operation.body_max_bytes

    async def handled(ask: Ask) -> Answer:
        permissions.check(operation, ask, services.config.region)
        if len(ask.body) > BODY_MAX_BYTES:
            # Each decoded upload takes four times its size for a moment.
            async with uploads:
                return await operation.handler(services, ask)
        return await operation.handler(services, ask)

    async def view(**segments: str) -> Response:
        began_s = time.perf_counter()
        headers: Headers = list(request.scope["headers"])
        principal = _peer(headers)
        if principal is None and operation.access is not Access.PUBLIC:
            # Before the body: nobody without credentials makes us take 72 MB.
            services.keyring.precheck(headers)
        body = await _body(limit)
        if principal is None:
            principal = _NOBODY
            if operation.access is not Access.PUBLIC:
                principal = services.keyring.authenticate(request.method, _target(), headers, body)
        _authorise(operation, principal, segments)
        query = dict(parse_qsl(request.scope["query_string"].decode("utf-8", "replace"), keep_blank_values=True))
        ask = Ask(principal, segments, query, body, services.project_id)
        if operation.audit is None:
            answer = await handled(ask)
        else:
            answer = await _audited(services, operation, ask, headers, handled)
        response = _response(answer, operation.status)
        log.info(
            "%s %d %.1fms", operation.name, operation.status, (time.perf_counter() - began_s) * 1000,
            extra={"principal": principal.name, "request_id": response.headers["X-Request-Id"]},
        )  # fmt: skip
        return response

    return view


async def _audited(
    services: Services, operation: Operation, ask: Ask, headers: Headers, handled: Callable[[Ask], Awaitable[Answer]]
) -> Answer:
    """Does what is asked; before its answer goes out, or its error, it is in the audit log."""
    g.request_id = new_request_id()
    result: Answer | BaseException
    try:
        result = await handled(ask)
        return result
    except BaseException as error:
        result = error
        raise
    finally:
        target = _target()[:_TARGET_MAX_BYTES].decode("ascii", "replace")
        done = traced.deed(operation, ask, headers, result, g.request_id, target, services.config.region)
        with trio.CancelScope(shield=True):
            await services.audit.record(done)


def _peer(headers: Headers) -> Principal | None:
    for name, value in headers:
        if name.lower() == traced.PEER_HEADER:
            return Principal(name=value.decode("latin-1"), project_id="*", admin=True)
    return None


def _target() -> bytes:
    """The request target as it was on the wire: the signature is over these bytes' meaning."""
    path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    return path + b"?" + query if query else path


async def _body(limit: int) -> bytes:
    length = request.content_length
    if length is not None and length > limit:
        raise _too_large(limit)
    try:
        body = await request.get_data(cache=False, as_text=False, parse_form_data=False)
    except RequestEntityTooLarge:
        raise _too_large(limit) from None
    except SlowBody:
        raise RequestTimeout("body: was not sent in time") from None
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"body: must be at most {limit} bytes")


def _authorise(operation: Operation, principal: Principal, segments: dict[str, str]) -> None:
    """Raises Forbidden for a project that is not the caller's, before anything of it is looked up."""
    if operation.access is Access.ADMIN and not principal.admin:
        raise Forbidden(f"{operation.name}: only for administrators, on the admin socket")
    project_id = segments.get("project_id")
    if project_id is None:
        return
    if not _PROJECT.match(project_id):
        raise BadParameter("project_id: must be 1 to 64 letters, digits, - and _")
    if not principal.may_use(project_id):
        raise Forbidden(f"project_id: these credentials are not for the project {project_id}")


def _response(answer: Answer, status: int) -> Response:
    body: bytes = b""
    if isinstance(answer.value, bytes):
        body = answer.value
    elif answer.content_type:
        body = msgspec.json.encode(answer.value)
    response = Response(body, status, dict(answer.headers), content_type=answer.content_type or None)
    if not answer.content_type:
        response.headers.pop("Content-Type", None)
    response.headers["X-Request-Id"] = g.pop("request_id", None) or new_request_id()
    return response


async def _on_error(error: Exception) -> Response:
    """Every error as `{"error_code", "error_msg"}`; what is not one of ours is logged and answered with 500."""
    headers: dict[str, str] = {}
    known: FgdError
    if isinstance(error, FgdError):
        known = error
    elif isinstance(error, WrongMethod):
        allowed = sorted(set(error.valid_methods or ()) - {"HEAD", "OPTIONS"})
        headers["Allow"] = ", ".join(allowed)
        known = MethodNotAllowed(f"{request.method}: this path takes {headers['Allow']}")
    elif isinstance(error, HTTPException) and error.code is not None and error.code < 500:
        known = NotFound("path: there is no such operation") if error.code == 404 else RequestError(str(error))
    else:
        log.error("%s %s failed", request.method, _target()[:200].decode("ascii", "replace"), exc_info=error)
        known = PlatformError("fgd failed inside; the daemon's log tells more")
    value = {"error_code": known.code, "error_msg": str(known)}
    response = _response(Answer(value, headers), known.status_hint)
    log.info(
        # As it was on the wire: decoded, it could hold a line end and so write lines of its own into the log.
        "%s %s %d %s", request.method, _target()[:200].decode("ascii", "replace"), known.status_hint, known.code,
        extra={"request_id": response.headers["X-Request-Id"]},
    )  # fmt: skip
    return response
