"""Looks at the heads of HTTP/2 frames before anything else does, and says how fast a client may send them.

Theory of operation: frames are cheap to send and dear to read, in Python 20 to 40 us each, so what is to cost a client
something is counted here, where one costs 0.3 us. Each frame takes one from an allowance that grows with time; bytes of
bodies and answered requests give back more than they need. A client that overdraws it (PING, SETTINGS, WINDOW_UPDATE
and PRIORITY floods, bodies in single bytes) is not cut off but read more slowly, so nobody honest is ever hurt. What
nobody honest sends ends the connection: frames over the agreed length, which `h2` would collect before it refuses
them, endless header blocks, SETTINGS by the dozen or with more entries than there are settings.

Source: RFC 9113, sections 4.1, 6 and 10.5. No I/O happens here.
"""

from typing import Final

#: Largest payload of a frame, the smallest that may be agreed on.
FRAME_MAX_BYTES: Final = 16384
#: All frames of one header block together, still compressed.
BLOCK_MAX_BYTES: Final = 65536
SETTINGS_FRAMES_MAX: Final = 32
_SETTINGS_MAX_BYTES: Final = 20 * 6
_PREFACE_BYTES: Final = 24
_HEAD_BYTES: Final = 9
_DATA, _HEADERS, _SETTINGS, _CONTINUATION = 0x0, 0x1, 0x4, 0x9
_ACK: Final = 0x1
FRAME_SIZE_ERROR: Final = 0x6
ENHANCE_YOUR_CALM: Final = 0xB

#: Frames that a client may send at once, and per second, that bring nothing.
_FRAMES: Final = 1000
_FRAMES_PER_S: Final = 500
#: So many bytes of a body make up for a frame, and so many of headers cost one more: to unpack 26 KB takes 15 ms.
_BODY_SHIFT: Final = 8
_HEADERS_SHIFT: Final = 9


class BadFrame(Exception):
    """A frame that ends the connection, with this error code."""

    def __init__(self, error_code: int, message: str) -> None:
        super().__init__(message)
        self.error_code = error_code


class FrameScan:
    """Feed it everything that a client sends, from its preface on."""

    __slots__ = ("_block_bytes", "_head", "_settings", "_skip")

    def __init__(self) -> None:
        self._skip = _PREFACE_BYTES
        self._head = b""
        self._block_bytes = 0
        self._settings = 0

    def feed(self, data: bytes) -> int:
        """What they cost of the allowance; negative where bytes of bodies make up for more.

        Raises:
            BadFrame: the connection is to be ended.
        """
        if self._head:
            data = self._head + data
            self._head = b""
        at, size, count = self._skip, len(data), 0
        while at + _HEAD_BYTES <= size:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            if length > FRAME_MAX_BYTES:
                raise BadFrame(FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            kind = data[at + 3]
            count += 1
            if kind == _DATA:
                count -= length >> _BODY_SHIFT
            else:
                if kind in (_HEADERS, _CONTINUATION):
                    count += length >> _HEADERS_SHIFT
                self._check(kind, data[at + 4], length)
            at += _HEAD_BYTES + length
        if at < size:
            self._head = data[at:]
            self._skip = 0
        else:
            self._skip = at - size
        return count

    def _check(self, kind: int, flags: int, length: int) -> None:
        if kind == _HEADERS:
            self._block_bytes = length
        elif kind == _CONTINUATION:
            self._block_bytes += _HEAD_BYTES + length
            if self._block_bytes > BLOCK_MAX_BYTES:
                raise BadFrame(ENHANCE_YOUR_CALM, "an endless header block")
        elif kind == _SETTINGS and not flags & _ACK:
            self._settings += 1
            if self._settings > SETTINGS_FRAMES_MAX or length > _SETTINGS_MAX_BYTES:
                raise BadFrame(ENHANCE_YOUR_CALM, "too many SETTINGS")


class Allowance:
    """Frames that a client may send; at a moment, in seconds of any clock."""

    __slots__ = ("_left", "_then_s")

    def __init__(self, now_s: float) -> None:
        self._left = float(_FRAMES)
        self._then_s = now_s

    def take(self, count: int, now_s: float) -> float:
        """Takes so many; for how many seconds the client is not to be read now."""
        grown = self._left + (now_s - self._then_s) * _FRAMES_PER_S
        self._left = min(grown, float(_FRAMES)) - count
        self._then_s = now_s
        return max(-self._left / _FRAMES_PER_S, 0.0)

    def earn(self, count: int) -> None:
        self._left += count
