"""The notification of an asynchronous invocation that is over (user guide, table 3-9)."""

from datetime import UTC, datetime
from typing import Final

import msgspec

#: A return value over this is not sent on; null stands for it (user guide, section 3.7).
PAYLOAD_MAX_BYTES: Final = 256 * 1024

SUCCEEDED: Final = ""
#: The function failed at its last try.
FUNCTION_FAILED: Final = "UnhandledInvocationError"
#: Its validity period was over before it could run.
TOO_OLD: Final = "EventAgeExceeded"
#: fgd could not run it within its validity period.
PLATFORM_FAILED: Final = "SystemError"


def notification(
    *,
    request_id: str,
    function_urn: str,
    began_s: float,
    runs: int,
    condition: str,
    error: str,
    event: bytes,
    result: bytes | None,
) -> bytes:
    """The JSON object that a destination gets.

    Args:
        began_s: epoch seconds at which the first run began, or at which the event was taken when it never ran.
        runs: how often it ran; over 1 it was tried again.
        condition: SUCCEEDED, or one of the other words.
        error: what went wrong, in a sentence; "" on success.
        result: what the function returned, or the error object; None when there is neither.
    """
    return msgspec.json.encode(
        {
            "timestamp": datetime.fromtimestamp(began_s, UTC).isoformat(timespec="milliseconds"),
            "request_context": {
                "request_id": request_id,
                "function_urn": function_urn,
                "condition": condition,
                "approximate_invoke_count": runs,
            },
            "request_payload": _text(event),
            "response_context": {"status_code": 500 if condition else 200, "function_error": error},
            "response_payload": None if result is None else _text(result),
        }
    )


def _text(payload: bytes) -> str | None:
    """A payload as text. The request of a client is never over the limit; that of a notification may be."""
    return payload.decode("utf-8", "replace") if len(payload) <= PAYLOAD_MAX_BYTES else None
