"""The body of a request to the object store as it comes: checked against its hash, its chunks decoded."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import trio

from fgd.auth.sigv4 import PLAIN_CHUNKS, SIGNED_CHUNKS, UNSIGNED, ChunkSignatures
from fgd.store.object_types import ObjectError

_SILENT_S: Final = 60.0
_LINE_MAX: Final = 4096
_CHUNK_MAX_BYTES: Final = 64 * 1024 * 1024

type Receive = Callable[[], Awaitable[Any]]


class Body:
    """Pieces of a body; `payload` is what the signature says of it, UNSIGNED for a trusted caller."""

    def __init__(self, receive: Receive, payload: str, chunks: ChunkSignatures | None, length: int | None) -> None:
        self._receive = receive
        self._payload = payload
        self._chunks = chunks
        self._length = length

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes of the object.

        Raises:
            ObjectError: the client is silent for too long, went away, or sent other bytes than it signed.
            Unauthorized: the signature of a chunk is wrong.
        """
        if self._payload == PLAIN_CHUNKS or self._payload in SIGNED_CHUNKS:
            async for piece in self._decoded():
                yield piece
            return
        sha256 = hashlib.sha256()
        size = 0
        async for piece in self._raw():
            sha256.update(piece)
            size += len(piece)
            yield piece
        if self._length is not None and size != self._length:
            raise ObjectError("IncompleteBody", 400, f"body: has {size} bytes, not {self._length}")
        if self._payload != UNSIGNED and sha256.hexdigest() != self._payload:
            raise ObjectError("XAmzContentSHA256Mismatch", 400, "x-amz-content-sha256: is not that of the body")

    async def whole(self, most: int) -> bytes:
        """All of a small one.

        Raises:
            ObjectError: over `most` bytes; and as `pieces`.
        """
        data = bytearray()
        async for piece in self.pieces():
            data += piece
            if len(data) > most:
                raise ObjectError("EntityTooLarge", 400, f"body: must be at most {most} bytes")
        return bytes(data)

    async def _raw(self) -> AsyncIterator[bytes]:
        while True:
            with trio.move_on_after(_SILENT_S) as scope:
                message = await self._receive()
            if scope.cancelled_caught:
                raise ObjectError("RequestTimeout", 400, f"body: nothing came for {_SILENT_S:g} s")
            if message["type"] != "http.request":
                raise ObjectError("IncompleteBody", 400, "body: the client went away")
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                return

    async def _decoded(self) -> AsyncIterator[bytes]:
        """aws-chunked: `<hex size>[;chunk-signature=<hex>]`, the bytes, and after the last (of 0) trailers."""
        buffer = bytearray()
        source = self._raw()

        async def fill(ready: Callable[[], bool]) -> None:
            while not ready():
                try:
                    buffer.extend(await anext(source))
                except StopAsyncIteration:
                    raise ObjectError("IncompleteBody", 400, "body: ends within a chunk") from None

        while True:
            await fill(lambda: b"\r\n" in buffer[:_LINE_MAX] or len(buffer) >= _LINE_MAX)
            line, found, rest = bytes(buffer).partition(b"\r\n")
            size_text, _, extension = line.partition(b";")
            try:
                left = int(size_text, 16) if found and len(size_text) <= 8 else -1
            except ValueError:
                left = -1
            if not 0 <= left <= _CHUNK_MAX_BYTES:
                raise ObjectError("InvalidRequest", 400, "body: is not in the form aws-chunked")
            buffer[:] = rest
            last = not left
            sha256 = hashlib.sha256()
            while left:
                await fill(lambda: bool(buffer))
                piece = bytes(buffer[:left])
                del buffer[: len(piece)]
                left -= len(piece)
                sha256.update(piece)
                yield piece
            if self._chunks is not None:
                self._chunks.check(extension.decode("latin-1").removeprefix("chunk-signature="), sha256.hexdigest())
            if last:
                async for _ in source:  # trailers: checksums, which the signature or the sender's TLS makes needless
                    continue
                return
            await fill(lambda: len(buffer) >= 2)
            del buffer[:2]
