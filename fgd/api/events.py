"""Test events (rest-api, 2.10)."""

from fgd.api.operation import FUNCTION, missing, not_built, nothing_there
from fgd.errors import TestEventNotFound

_ALL = FUNCTION + "/events"
_ONE = _ALL + "/{event_id}"

OPERATIONS = (
    not_built("create_event", "POST", _ALL, "test events"),
    nothing_there("list_events", _ALL, "List test events", {"events": [], "count": 0, "next_marker": 0}),
    missing("show_event", _ONE, "Show a test event", TestEventNotFound, "event_id: there is no such test event"),
    not_built("update_event", "PUT", _ONE, "test events"),
    not_built("delete_event", "DELETE", _ONE, "test events"),
)
