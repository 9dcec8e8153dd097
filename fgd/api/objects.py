"""The object store by HTTP, as S3 clients speak it: path style, streamed both ways.

Theory of operation: a small ASGI application beside the control plane's, because objects do not fit into its requests,
which are whole in memory. It is served twice: at the address of the setting `obs_listen`, and below `/obs` behind
the gateway, for the admin socket and for functions. Requests are checked before their bodies are read.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

import trio

from fgd.api import object_xml as xml
from fgd.api.object_body import Body
from fgd.api.object_requests import Ask, Reply, answer
from fgd.auth.keyring import Keyring
from fgd.auth.sigv4 import SIGNED_CHUNKS, UNSIGNED, ChunkSignatures, parse, verify
from fgd.clock import new_request_id
from fgd.errors import FgdError, StorageFull, Unauthorized
from fgd.model import Rights
from fgd.store.object_types import Actor, ObjectError
from fgd.store.object_uploads import Uploads
from fgd.store.objects import ObjectStore, read_at

log = logging.getLogger(__name__)

_REQUESTS_AT_ONCE: Final = 256
_PIECE_BYTES: Final = 256 * 1024
PREFIX: Final = "/obs"

type Scope = Mapping[str, Any]
type Receive = Callable[[], Awaitable[Any]]
type Send = Callable[[Any], Awaitable[None]]
type App = Callable[[Scope, Receive, Send], Awaitable[None]]


class _Caller(NamedTuple):
    project_id: str
    name: str
    payload: str
    chunks: ChunkSignatures | None
    #: None: all that the project has.
    rights: Rights | None = None


class ObjectApp:
    """The application."""

    def __init__(
        self, store: ObjectStore, uploads: Uploads, keyring: Keyring, project_id: str, region: str, *,
        behind_gateway: bool,
    ) -> None:  # fmt: skip
        """
        Args:
            project_id: of callers from the admin socket.
            behind_gateway: whether the headers X-Fgd-Peer and X-Fgd-Client can be believed.
        """
        self._region = region
        self._store = store
        self._uploads = uploads
        self._keyring = keyring
        self._project_id = project_id
        self._behind_gateway = behind_gateway
        self._limit = trio.CapacityLimiter(_REQUESTS_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            return
        request_id = new_request_id()
        begun = False

        async def begin(reply: Reply) -> None:
            nonlocal begun
            begun = True
            headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in reply.headers.items()]
            headers.append((b"x-amz-request-id", request_id.encode()))
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})

        try:
            if self._limit.available_tokens < 1:
                raise ObjectError("SlowDown", 503, "too many requests at once; try again")
            async with self._limit:
                reply = await self._reply(scope, receive, request_id)
                try:
                    await begin(reply)
                    await self._send_body(scope, reply, send)
                finally:
                    if reply.file is not None:
                        reply.file.close()
        except Exception as error:  # an answer is owed whatever it is; what is not ours is logged
            if begun:
                raise
            await self._fail(error, scope, begin, send)

    async def _reply(self, scope: Scope, receive: Receive, request_id: str) -> Reply:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        raw_query = scope["query_string"].decode("ascii", "replace")
        query = parse_qsl(raw_query, keep_blank_values=True, encoding="utf-8", errors="surrogateescape")
        path = bytes(scope["raw_path"]).partition(b"?")[0]
        caller = self._caller(scope["method"], path, query, scope["headers"])
        address = headers.get("x-fgd-client", "") if self._behind_gateway else ""
        client = scope.get("client")
        if not address and client:
            address = str(client[0])
        inner = path.removeprefix(PREFIX.encode()) if self._behind_gateway else path
        try:
            bucket, _, key = unquote_to_bytes(inner).removeprefix(b"/").decode("utf-8").partition("/")
        except UnicodeDecodeError:
            raise ObjectError("InvalidURI", 400, "key: must be text in UTF-8") from None
        length = headers.get("content-length", "")
        body = Body(receive, caller.payload, caller.chunks, int(length) if length.isdecimal() else None)
        actor = Actor(principal=caller.name, address=address.strip("[]"), request_id=request_id)
        ask = Ask(self._store, self._uploads, caller.project_id, scope["method"], bucket, key, dict(query), headers,
                  body, actor, caller.rights, self._region)  # fmt: skip
        return await answer(ask)

    def _caller(self, method: str, path: bytes, query: list[tuple[str, str]], headers: Any) -> _Caller:
        if self._behind_gateway:
            peer = next((value for name, value in headers if name == b"x-fgd-peer"), None)
            if peer is not None:
                return _Caller(self._project_id, peer.decode("latin-1"), UNSIGNED, None)
        tokens = [value for name, value in headers if name == b"x-auth-token"]
        if tokens:
            if len(tokens) > 1:
                raise Unauthorized("X-Auth-Token: must not be sent twice")
            principal = self._keyring.by_token(tokens[0])
            return _Caller(principal.project_id, principal.name, UNSIGNED, None, principal.rights)
        signed = parse(headers, query, self._store.now_s())
        found = self._keyring.of_s3(signed.access_key, headers)
        if found is None:
            raise ObjectError("InvalidAccessKeyId", 403, "Authorization: no such access key")
        secret_key, principal = found
        verify(signed, secret_key, method, path, query, headers)
        chunks = ChunkSignatures(signed, secret_key) if signed.payload in SIGNED_CHUNKS else None
        return _Caller(principal.project_id, principal.name, signed.payload, chunks, principal.rights)

    async def _send_body(self, scope: Scope, reply: Reply, send: Send) -> None:
        left = 0 if scope["method"] == "HEAD" else reply.size
        at = reply.offset
        while reply.file is not None and left:
            piece = await trio.to_thread.run_sync(read_at, reply.file, at, min(left, _PIECE_BYTES))
            if not piece:
                raise OSError("an object's file is shorter than it was")
            at += len(piece)
            left -= len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        body = b"" if reply.file is not None or scope["method"] == "HEAD" else reply.body
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _fail(
        self, error: Exception, scope: Scope, begin: Callable[[Reply], Awaitable[None]], send: Send
    ) -> None:
        if isinstance(error, ObjectError):
            name, status = error.name, error.status
        elif isinstance(error, Unauthorized):
            name, status = ("SignatureDoesNotMatch" if "does not match" in str(error) else "AccessDenied"), 403
        elif isinstance(error, StorageFull):
            name, status = "ServiceUnavailable", 503
        else:
            if not isinstance(error, FgdError):
                log.error("object store: %s failed", scope["method"], exc_info=error)
            name, status = "InternalError", 500
        text = str(error) if isinstance(error, FgdError) else "fgd failed inside; the daemon's log tells more"
        content = b""
        if scope["method"] != "HEAD" and status != 304:
            content = xml.document("Error", ("Code", name), ("Message", text), ("Resource", scope["path"]))
        headers = {"Content-Type": "application/xml", "Content-Length": str(len(content))}
        if scope["method"] in ("PUT", "POST"):
            headers["Connection"] = "close"  # what is left of the body is not read
        await begin(Reply(status, headers))
        await send({"type": "http.response.body", "body": content, "more_body": False})


def beside(control: Any, objects: ObjectApp) -> App:
    """The control plane's application with the object store below `/obs`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope.get("raw_path", b"")
        mine = scope["type"] == "http" and (raw == PREFIX.encode() or raw.startswith(PREFIX.encode() + b"/"))
        await (objects if mine else control)(scope, receive, send)

    return app


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
