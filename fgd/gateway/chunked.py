"""Decodes a body that comes in chunks, strictly: a size of hex digits, CR LF, the bytes, CR LF. No I/O happens here.

Line ends are checked byte by byte, for request smuggling lives on readers that skip two bytes there without looking.
Extensions are accepted and ignored, trailers are accepted and dropped, both in small amounts.
"""

import re
from typing import Final

from fgd.gateway.head import BadHttp

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t\x20-\x7e]*)?")
_TRAILER_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")
_LINE_MAX: Final = 256
_TRAILERS_MAX_BYTES: Final = 4096
_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


class ChunkedReader:
    """Feed it what was read; it gives the decoded bytes. `done` once the last chunk and the trailers are over.

    `rest` then holds what came behind the body: the start of the next request.
    """

    __slots__ = ("_buffer", "_left", "_state", "_trailer_bytes", "done", "rest")

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._state = _SIZE
        self._trailer_bytes = 0
        self.done = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Takes bytes, gives the decoded part of them, which may be empty.

        Raises:
            BadHttp: not a valid chunked body; nothing may be fed after that.
        """
        data = self._buffer + data if self._buffer else data
        self._buffer = b""
        out: list[bytes] = []
        at = 0
        while self._state != _DONE:
            if self._state == _DATA:
                piece = data[at : at + self._left]
                out.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._state = _DATA_END
            elif self._state == _DATA_END:
                if len(data) - at < 2:
                    if data[at:] not in (b"", b"\r"):
                        raise BadHttp(400, "a chunk must end with CR LF")
                    break
                if data[at : at + 2] != b"\r\n":
                    raise BadHttp(400, "a chunk must end with CR LF")
                at += 2
                self._state = _SIZE
            else:
                end = self._line_end(data, at)
                if end < 0:
                    break
                self._line(data[at:end])
                at = end + 2
        if self._state == _DONE:
            self.done = True
            self.rest = data[at:]
        else:
            self._buffer = data[at:]
        return b"".join(out)

    def _line_end(self, data: bytes, at: int) -> int:
        """Where the line that starts there ends, -1 when that has not come yet."""
        end = data.find(b"\n", at, at + _LINE_MAX + 2)
        if end < 0:
            if len(data) - at > _LINE_MAX:
                raise BadHttp(400, "a line of the chunked body is too long")
            line = data[at:]
            if b"\0" in line or b"\r" in line[:-1]:
                raise BadHttp(400, "malformed line in the chunked body")
            return -1
        if end == at or data[end - 1] != 0x0D:
            raise BadHttp(400, "lines of the chunked body must end with CR LF")
        return end - 1

    def _line(self, line: bytes) -> None:
        if self._state == _SIZE:
            match = _SIZE_LINE.fullmatch(line)
            if match is None:
                raise BadHttp(400, "a chunk's size must be 1 to 8 hex digits")
            self._left = int(match[1], 16)
            self._state = _DATA if self._left else _TRAILERS
        elif not line:
            self._state = _DONE
        else:
            self._trailer_bytes += len(line)
            if not _TRAILER_LINE.fullmatch(line) or self._trailer_bytes > _TRAILERS_MAX_BYTES:
                raise BadHttp(400, "malformed or too many trailers behind the chunked body")
