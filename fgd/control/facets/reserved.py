"""What answers about a function say of its reserved instances. They are set by an operation of their own."""

from collections.abc import Callable, Mapping

from fgd.control.features import says_nothing
from fgd.errors import BadParameter
from fgd.model import Function, Reservation

_COUNT = "reserved_instance_count"
_IDLE_MODE = "reserved_instance_idle_mode"


class ReservedFacet:
    """See `fgd.control.facet.Facet`."""

    wire: tuple[str, ...] = (_COUNT, _IDLE_MODE)
    seen_by_instances: tuple[str, ...] = ()

    def __init__(self, of_version: Callable[[Function], Reservation | None]) -> None:
        """`of_version`: see `fgd.control.reserved.Reservations.of_version`."""
        self._of_version = of_version

    def parse(self, project_id: str, body: Mapping[str, object], old: Function | None) -> Mapping[str, object]:
        shown = self.show(old) if old is not None else {}
        for name in self.wire:
            value = body.get(name)
            # Who sends a whole answer back changes nothing.
            if not says_nothing(value) and value != shown.get(name):
                raise BadParameter(f"{name}: is set by PUT .../functions/(function_urn)/reservedinstances")
        return {}

    def check(self, function: Function) -> None:
        """Holds of every function."""

    def show(self, function: Function) -> Mapping[str, object]:
        found = self._of_version(function)
        return {_COUNT: found.count if found else 0, _IDLE_MODE: found.idle_mode if found else False}
