"""What only one trigger of a project may have (`TriggerType.claim`), and who has it."""

from typing import Any

from fgd.control.kinds import Kind
from fgd.errors import RequestError
from fgd.trigger import Place


class Claimed(RequestError):
    """Another trigger has it; with the code of the trigger's type."""

    status_hint = 403

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # each trigger type has its own


class Claims:
    """Those of all projects."""

    def __init__(self) -> None:
        #: (project, code, claim) -> place of the trigger.
        self._held: dict[tuple[str, str, str], Place] = {}
        self._of: dict[str, tuple[str, str, str]] = {}

    def take(self, kind: Kind, settings: Any, place: Place) -> None:
        """The trigger of that place has what its settings claim, and no longer what it had.

        Raises:
            Claimed: another one has it; nothing has changed.
        """
        claim = kind.claim(settings)
        mine = (place.project_id, kind.type.code, claim)
        other = self._held.get(mine) if claim else None
        if other is not None and other.trigger_id != place.trigger_id:
            raise Claimed(
                kind.type.claimed_code,
                f"event_data: the {kind.type.code} trigger {other.trigger_id} of {other.function_name} has {claim}"
                " already",
            )
        self.leave(place.trigger_id)
        if claim:
            self._held[mine] = place
            self._of[place.trigger_id] = mine

    def leave(self, trigger_id: str) -> None:
        """A trigger has nothing any more; nothing happens where it had nothing."""
        key = self._of.pop(trigger_id, None)
        if key is not None:
            del self._held[key]
