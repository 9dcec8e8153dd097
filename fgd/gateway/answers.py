"""The bytes of answers. Pure functions: what goes out is joined once and sent with one write."""

import base64
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import msgspec

from fgd.call import Call, Outcome
from fgd.units import LOG_TAIL_BYTES, MIB

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_JSON = b"application/json"
_TEXT = b"text/plain; charset=utf-8"
_BILLING_STEP_US = 1000

_OK = (
    b"HTTP/1.1 200 OK\r\n%b"
    b"Content-Type: %b\r\n"
    b"Content-Length: %d\r\n"
    b"X-Cff-Request-Id: %b\r\n"
    b'X-Cff-Invoke-Summary: {"duration":%d.%03d,"billingDuration":%d,"memorySize":%d,"memoryUsed":%.3f}\r\n'
    b"X-CFF-Billing-Duration: %d\r\n"
    b"X-Cff-Response-Version: %b\r\n"
    b"X-Func-Err-Code: %d\r\n"
    b"X-Is-Func-Err: %b\r\n"
    b"%b\r\n%b"
)


def plain_answer(
    status: int, body: bytes, *, headers: bytes = b"", keep_alive: bool = True, head_only: bool = False
) -> bytes:
    """Any answer with a JSON body; `headers` are whole lines."""
    return b"HTTP/1.1 %d %b\r\n%bContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n%b" % (
        status,
        _REASONS.get(status, "Error").encode("ascii"),
        headers,
        len(body),
        b"" if keep_alive else b"Connection: close\r\n",
        b"" if head_only else body,
    )


def error_answer(
    status: int,
    code: str,
    message: str,
    request_id: str,
    *,
    keep_alive: bool = True,
    head_only: bool = False,
    headers: bytes = b"",
) -> bytes:
    """`{"error_code", "error_msg"}` as every client of the API reads it (rest-api 1.3)."""
    fields = {"error_code": code, "error_msg": message}
    if code.startswith("APIG."):
        fields["request_id"] = request_id
    body = msgspec.json.encode(fields)
    identity = request_id.encode("ascii")
    return plain_answer(
        status,
        body,
        headers=b"%bX-Request-Id: %b\r\nX-Cff-Request-Id: %b\r\n" % (headers, identity, identity),
        keep_alive=keep_alive,
        head_only=head_only,
    )


def accepted_answer(request_id: str, headers: bytes) -> bytes:
    """202 of an asynchronous invocation."""
    identity = request_id.encode("ascii")
    return plain_answer(
        202, b'{"request_id":"%b"}' % identity, headers=b"%bX-Cff-Request-Id: %b\r\n" % (headers, identity)
    )


def invocation_answer(call: Call, outcome: Outcome, headers: bytes, version1: bool, extra: bytes) -> bytes:
    """The answer of a synchronous invocation, whether the function failed or not (errors-and-limits 3).

    Args:
        headers: whole lines that every answer carries, such as Date.
        extra: whole lines for this answer, such as Connection and X-Fgd-Timing.
    """
    if outcome.code and not outcome.function_error:
        return platform_answer(call, outcome, headers + extra)
    duration_us = outcome.duration_us
    milliseconds, microseconds = divmod(duration_us, 1000)
    billed_ms = -(-duration_us // _BILLING_STEP_US)
    body = outcome.body
    kind = _TEXT if outcome.text else _JSON
    if version1:
        body, kind = _version1_body(call, outcome), _JSON
    if call.want_tail and outcome.log_tail:
        extra += b"X-Cff-Function-Log: %b\r\n" % base64.b64encode(outcome.log_tail[-LOG_TAIL_BYTES:])
    return _OK % (
        headers,
        kind,
        len(body),
        call.request_id.encode("ascii"),
        milliseconds,
        microseconds,
        billed_ms,
        call.function.memory_mib,
        outcome.memory_bytes / MIB,
        billed_ms,
        b"v1" if version1 else b"v0",
        outcome.code,
        b"true" if outcome.code else b"false",
        extra,
        body,
    )


def _version1_body(call: Call, outcome: Outcome) -> bytes:
    """The result as a string inside of JSON; `error_code` only when there is one."""
    fields: dict[str, object] = {
        "request_id": call.request_id,
        "result": outcome.body.decode("utf-8", "replace"),
        "log": outcome.log_tail[-LOG_TAIL_BYTES:].decode("utf-8", "replace"),
        "status": 500 if outcome.code else 200,
    }
    if outcome.code:
        fields["error_code"] = f"FSS.{outcome.code}"
    return msgspec.json.encode(fields)


def platform_answer(call: Call, outcome: Outcome, headers: bytes) -> bytes:
    """An invocation that failed by no fault of the user's code: a usual error body with status 500."""
    try:
        fields = msgspec.json.decode(outcome.body, type=dict[str, object])
        message = str(fields.get("errorMessage") or fields.get("error_msg") or "the invocation failed")
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = outcome.body[:500].decode("utf-8", "replace") or "the invocation failed"
    return error_answer(
        500,
        f"FSS.{outcome.code}",
        message,
        call.request_id,
        headers=b"%bX-Func-Err-Code: %d\r\nX-Is-Func-Err: false\r\n" % (headers, outcome.code),
    )


def timing_header(call: Call, outcome: Outcome, cold_parts: Callable[[Call], dict[str, float]] | None) -> bytes:
    """`X-Fgd-Timing`: lengths in milliseconds by the names of the parts, `cold`, and the parts of a cold start."""
    parts: dict[str, float | bool] = {
        "frontend": outcome.frontend_us / 1000,
        "queue": outcome.queue_us / 1000,
        "dispatch": outcome.dispatch_us / 1000,
        "runtime": outcome.duration_us / 1000,
        "cold": call.cold,
    }
    if call.cold and cold_parts is not None:
        parts.update(cold_parts(call))
    return b"X-Fgd-Timing: %b\r\n" % msgspec.json.encode(parts)
