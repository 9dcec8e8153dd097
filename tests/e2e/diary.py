"""A function that says which events it got, and when; and what it said."""

import json

from fgd.testing.client import Client

DIARY = "import json, time\ndef handler(event, context):\n    print('got', json.dumps([time.time(), event]))\n"


def entries(api: Client, urn: str) -> list[tuple[float, dict[str, str]]]:
    """What a diary got: epoch seconds and events, oldest first."""
    answer = api.request("GET", f"/fgd/v1/functions/{urn}/logs")
    assert 200 == answer.status, answer.text
    found = [json.loads(line.removeprefix("got ")) for line in answer.json()["lines"] if line.startswith("got ")]
    return [(moment_s, event) for moment_s, event in found]
