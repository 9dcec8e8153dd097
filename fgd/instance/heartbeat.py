"""The heartbeat of an instance: asked every five seconds while it may use its CPU (user guide, section 3.12).

An answer of `true` within three seconds is well. No answer in time is a miss, and six misses in a row end the instance;
so does one answer of `false`, at once. The runtime asks the user's function in a thread of its own, so an instance that
is merely busy answers.
"""

from collections.abc import Callable
from typing import Final

EVERY_S: Final = 5.0
TIMEOUT_S: Final = 3.0
MISSES_MAX: Final = 6
_REASON_MAX_BYTES: Final = 500
#: Questions that may still be answered.
_REMEMBERED: Final = 16


class Heartbeat:
    """What one instance was asked and has answered. Times are seconds of the run's clock."""

    __slots__ = ("_asked", "_asked_s", "_draw_id", "_next_s", "misses")

    def __init__(self, draw_id: Callable[[], int], now: float) -> None:
        """
        Args:
            draw_id: gives random ids of questions, as those of calls.
            now: when the instance became ready; the first question comes one interval later.
        """
        self._draw_id = draw_id
        #: Ids of questions without an answer, oldest first.
        self._asked: list[int] = []
        #: When the last question was asked; 0.0: it is answered or counts as missed already.
        self._asked_s = 0.0
        self._next_s = now + EVERY_S
        #: Questions in a row that were not answered in time.
        self.misses = 0

    @property
    def open(self) -> bool:
        """Whether an answer may still come in time."""
        return self._asked_s > 0.0

    def due(self, now: float) -> int:
        """The id of a question to be asked now, or 0. Look at `overdue` first."""
        if self._asked_s or now < self._next_s:
            return 0
        self._next_s = now + EVERY_S
        self._asked_s = now
        question = self._draw_id()
        self._asked.append(question)
        del self._asked[:-_REMEMBERED]
        return question

    def overdue(self, now: float) -> str:
        """Counts a question whose time is up; gives why the instance shall end, or ""."""
        if not self._asked_s or now - self._asked_s <= TIMEOUT_S:
            return ""
        self._asked_s = 0.0
        self.misses += 1
        if self.misses < MISSES_MAX:
            return ""
        return f"its heartbeat function did not answer within {TIMEOUT_S:g} s, {MISSES_MAX} times in a row"

    def forget(self) -> None:
        """The instance stops using its CPU: what was asked counts neither way."""
        self._asked_s = 0.0

    def answered(self, question: int, body: bytes) -> str | None:
        """Takes an answer; gives why the instance shall end, "" if it is well, None for one that was not asked for.

        A late `true` does not count; a late `false` does.
        """
        if question not in self._asked or body[:1] not in (b"\0", b"\1"):
            return None
        in_time = self._asked_s > 0.0 and question == self._asked[-1]
        # The runtime answers the newest question it has read for all before it.
        del self._asked[: self._asked.index(question) + 1]
        if body[0] == 0:
            why = body[1 : 1 + _REASON_MAX_BYTES].decode("utf-8", "replace")
            return f"its heartbeat function {why or 'returned false'}"
        if in_time:
            self._asked_s = 0.0
            self.misses = 0
        return ""
