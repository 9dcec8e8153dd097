"""How long and how large an instance lives: memory by request, heartbeat, pre-stop (user guide, 3.11 and 3.12)."""

from collections.abc import Mapping
from typing import Final

from fgd.control import rules
from fgd.errors import BadParameter
from fgd.model import Function

PRE_STOP_TIMEOUT_S: Final = (1, 90)
#: Seconds a pre-stop handler gets when only the handler is named.
PRE_STOP_DEFAULT_S: Final = 10


class LifecycleFacet:
    """`enable_dynamic_memory`, `heartbeat_handler`, `pre_stop_handler` and `pre_stop_timeout`."""

    wire: tuple[str, ...] = ("enable_dynamic_memory", "heartbeat_handler", "pre_stop_handler", "pre_stop_timeout")
    seen_by_instances: tuple[str, ...] = ("heartbeat_handler", "pre_stop_handler", "pre_stop_timeout_s")

    def parse(self, project_id: str, body: Mapping[str, object], old: Function | None) -> Mapping[str, object]:
        """See `fgd.control.facet.Facet`. "" and 0 take a setting away, as Terraform sends them."""
        values: dict[str, object] = {}
        runtime = old.runtime if old is not None else str(body.get("runtime"))
        wish = body.get("enable_dynamic_memory")
        if wish is not None:
            values["dynamic_memory"] = rules.flag("enable_dynamic_memory", wish)
        heartbeat = body.get("heartbeat_handler")
        if heartbeat is not None:
            values["heartbeat_handler"] = _entry("heartbeat_handler", heartbeat, runtime)
        handler = body.get("pre_stop_handler")
        if handler is not None:
            values["pre_stop_handler"] = handler = _entry("pre_stop_handler", handler, runtime)
            if not handler:
                values["pre_stop_timeout_s"] = 0
        timeout = body.get("pre_stop_timeout")
        if timeout is not None and not (type(timeout) is int and timeout == 0):
            low, high = PRE_STOP_TIMEOUT_S
            values["pre_stop_timeout_s"] = rules.whole("pre_stop_timeout", timeout, low, high, BadParameter, "seconds")
        elif handler and (old is None or not old.pre_stop_timeout_s):
            values["pre_stop_timeout_s"] = PRE_STOP_DEFAULT_S
        return values

    def check(self, function: Function) -> None:
        """See `fgd.control.facet.Facet`."""
        if function.heartbeat_handler:
            here, there = (text.rpartition(".")[0] for text in (function.handler, function.heartbeat_handler))
            if here != there:
                raise BadParameter(
                    f"heartbeat_handler: must be in the handler's file, {here!r}, not in {there!r} "
                    "(user guide, section 3.12)"
                )

    def show(self, function: Function) -> Mapping[str, object]:
        """See `fgd.control.facet.Facet`."""
        return {
            "enable_dynamic_memory": function.dynamic_memory,
            "heartbeat_handler": function.heartbeat_handler or None,
            "pre_stop_handler": function.pre_stop_handler or None,
            "pre_stop_timeout": function.pre_stop_timeout_s or None,
        }


def _entry(field: str, value: object, runtime: str) -> str:
    """A `file.function`, or "" for none."""
    return "" if value == "" else rules.entry(field, value, runtime, BadParameter, 1)
