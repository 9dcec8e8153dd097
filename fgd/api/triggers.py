"""Triggers (rest-api, 2.5)."""

from fgd.api.operation import V2, missing, not_built, nothing_there
from fgd.errors import TriggerNotFound

_OF = V2 + "/triggers/{function_urn}"
_ONE = _OF + "/{trigger_type_code}/{trigger_id}"

OPERATIONS = (
    not_built("create_function_trigger", "POST", _OF, "triggers"),
    nothing_there("list_function_triggers", _OF, "List the triggers of a function", []),
    missing("show_function_trigger", _ONE, "Show a trigger", TriggerNotFound, "trigger_id: there is no such trigger"),
    not_built("update_trigger", "PUT", _ONE, "triggers"),
    not_built("delete_function_trigger", "DELETE", _ONE, "triggers"),
    not_built("batch_delete_function_triggers", "DELETE", _OF, "triggers"),
    nothing_there("list_triggers", V2 + "/triggers", "List all triggers", {"triggers": [], "next_marker": 0}),
)
