"""Frames between the daemon and a runtime, one stream socket per instance.

Theory of operation: every frame is a fixed header of 16 bytes, then a body. The header (little-endian `<IBBHQ`):
body length, type, flags, zero, call id. The call id is a random number of 64 bits that the daemon draws for each
invocation: a runtime answers by it, so nothing that an earlier invocation left behind can answer a later one.
Call id 0 is the instance itself (INIT, READY, instance log). No I/O happens here.

What comes from a runtime is hostile. Lengths are checked before anything is allocated; a frame out of place is a
`WireError`, upon which the daemon ends the instance.

Bodies:
    INIT    daemon -> runtime   JSON object, see runtimes/python/README.md
    LOADED  runtime -> daemon   empty: the code is loaded, the initializer begins (only where there is one)
    READY   runtime -> daemon   JSON {"load_us", "init_us", "memory_bytes", "ready_s"}; the instance takes invocations
    INVOKE  daemon -> runtime   <36sdI>: request id, deadline (epoch seconds), length of extras; extras JSON; event
    RESULT  runtime -> daemon   <IQI>: code 0, memory in bytes, run time in us; then the result's bytes
    ERROR   runtime -> daemon   <IQI>: code 4001..., memory, run time; then the error JSON. Call id 0: start failed
    LOG     runtime -> daemon   <Bd>: level (0 raw, 10 DEBUG ... 40 ERROR), epoch seconds; UTF-8 text of whole lines
    CANCEL  daemon -> runtime   empty
    HEARTBEAT both ways         empty question; answer one byte 1 or 0, after 0 why (UTF-8)
    SIZE    daemon -> runtime   JSON {"memory_mib", "cpu_mcpu"}: the instance has other limits now; only between calls
    STOP    daemon -> runtime   head and extras as of INVOKE, no event: the runtime calls the pre-stop handler and
                                answers with RESULT or ERROR, after which it is ended
"""

import struct
from typing import Final

HEADER: Final = struct.Struct("<IBBHQ")
HEADER_BYTES: Final = HEADER.size
INVOKE_HEAD: Final = struct.Struct("<36sdI")
_INVOKE_HEAD_BYTES: Final = INVOKE_HEAD.size
#: Header and head of an INVOKE frame at once.
_INVOKE_WHOLE: Final = struct.Struct("<IBBHQ36sdI")
RESULT_HEAD: Final = struct.Struct("<IQI")
LOG_HEAD: Final = struct.Struct("<Bd")

INIT: Final = 1
INVOKE: Final = 2
RESULT: Final = 3
ERROR: Final = 4
LOG: Final = 5
HEARTBEAT: Final = 6
CHUNK: Final = 7
CANCEL: Final = 8
READY: Final = 9
LOADED: Final = 10
SIZE: Final = 11
STOP: Final = 12

#: RESULT flags: the result was a string, sent as it is; without it the body is JSON.
FLAG_TEXT: Final = 1

#: Longest body of any frame: the largest result and its head.
MAX_BODY_BYTES: Final = 6 * 1024 * 1024 + 64 * 1024
#: Longest body of one LOG frame.
MAX_LOG_BYTES: Final = 96 * 1024


class WireError(Exception):
    """A frame that may not be; the instance that sent it is ended."""


def frame(kind: int, call_id: int, body: bytes = b"", flags: int = 0) -> bytes:
    """One frame as bytes."""
    return HEADER.pack(len(body), kind, flags, 0, call_id) + body


def invoke_frame(call_id: int, request_id: str, deadline_s: float, event: bytes, extras: bytes = b"") -> bytes:
    """An INVOKE frame. `deadline_s` in epoch seconds; `extras` is a JSON object or empty."""
    body_bytes = _INVOKE_HEAD_BYTES + len(extras) + len(event)
    head = _INVOKE_WHOLE.pack(body_bytes, INVOKE, 0, 0, call_id, request_id.encode("ascii"), deadline_s, len(extras))
    return head + extras + event if extras else head + event


def stop_frame(call_id: int, request_id: str, deadline_s: float, extras: bytes = b"") -> bytes:
    """A STOP frame. `deadline_s` in epoch seconds; `extras` is a JSON object or empty."""
    return frame(STOP, call_id, INVOKE_HEAD.pack(request_id.encode("ascii"), deadline_s, len(extras)) + extras)


class FrameReader:
    """Cuts a byte stream into frames: feed it what was read, then take frames until there is none.

    Raises:
        WireError: from `feed` on a header with an unknown type or a length over the limit for its type.
    """

    __slots__ = ("_buffer", "_need")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._need = HEADER_BYTES

    def feed(self, data: bytes) -> list[tuple[int, int, int, bytes]]:
        """Takes bytes, gives the complete frames in them as (type, flags, call id, body)."""
        frames: list[tuple[int, int, int, bytes]] = []
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._need:
                return frames
            data = bytes(self._buffer)
            self._buffer.clear()
        at, end = 0, len(data)
        while end - at >= HEADER_BYTES:
            length, kind, flags, zero, call_id = HEADER.unpack_from(data, at)
            if not 1 <= kind <= STOP or zero:
                raise WireError(f"frame of unknown type {kind}")
            if length > (MAX_LOG_BYTES if kind == LOG else MAX_BODY_BYTES):
                raise WireError(f"frame of type {kind} with a body of {length} bytes")
            stop = at + HEADER_BYTES + length
            if stop > end:
                self._need = stop - at
                break
            frames.append((kind, flags, call_id, data[at + HEADER_BYTES : stop]))
            at = stop
        else:
            self._need = HEADER_BYTES
        if at < end:
            self._buffer += data[at:]
        return frames
