"""Looking up asynchronous invocations."""

from typing import Any

from fgd.testing.client import Client
from fgd.testing.host import eventually

OVER = ("SUCCESS", "FAIL", "DISCARD")


def record(client: Client, urn: str, request_id: str) -> dict[str, Any]:
    """The record of one invocation; {} when there is none."""
    found = client.functions("GET", f"/{urn}/async-invocations?request_id={request_id}").json()["invocations"]
    return dict(found[0]) if found else {}


def finished(client: Client, urn: str, request_id: str, timeout_s: float = 15.0) -> dict[str, Any]:
    """The record once the invocation is over."""
    assert eventually(lambda: record(client, urn, request_id).get("status") in OVER, timeout_s, 0.05), (
        f"not over: {record(client, urn, request_id)}"
    )
    return record(client, urn, request_id)


def enqueued(client: Client, urn: str, event: Any = None) -> str:
    """Enqueues an event; gives its request id."""
    answer = client.enqueue(urn, event)
    assert answer.status == 202, answer.text
    return str(answer.json()["request_id"])
