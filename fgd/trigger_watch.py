"""What a running trigger is like, and who keeps the loop from working or leaves something behind.

Theory of operation: every task of a trigger carries the trigger's state in a context variable, which tasks that it
starts inherit. An instrument of trio measures each step of such tasks, so that one that blocks the loop is known by
name, and notes what tasks and threads begin in it, wherever they belong; those that are there after the trigger has
ended leaked. A step that does not end at all cannot be seen from the loop: a thread looks at the clock beside it, and
writes into the log who it is and where. Nothing can stop such a step; a plugin is code that the operator trusts.
"""

import contextvars
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

import trio

from fgd.clock import iso_utc

log = logging.getLogger(__name__)

#: Whoever keeps the loop to himself for longer is reported: requests wait meanwhile.
BLOCKED_S: Final = 0.1
#: A step that has not ended after so long is written into the log with its place.
_STUCK_S: Final = 2.0

type State = Literal["starting", "running", "waiting", "stopping", "ended"]
"""`waiting`: it failed and starts again after a while."""


@dataclass(slots=True, eq=False)
class Running:
    """A trigger that is switched on, as users see it."""

    trigger_id: str
    plugin: str
    state: State = "starting"
    #: What it said last of its source.
    note: str = ""
    error: str = ""
    #: Epoch seconds of that error, 0.0 without one.
    error_s: float = 0.0
    restarts: int = 0
    events: int = 0
    counters: dict[str, float] = field(default_factory=dict)
    #: Longest step that it took of the loop's time, and how often such a step was over `BLOCKED_S`.
    longest_step_s: float = 0.0
    blocked: int = 0
    leaked: int = 0
    leaked_threads: int = 0
    #: It was given up because it did not end; its door lets nothing in any more.
    closed: bool = False
    #: Tasks that its tasks have started and that have not ended.
    tasks: set[trio.lowlevel.Task] = field(default_factory=set)
    #: Threads that began in a step of it.
    threads: set[threading.Thread] = field(default_factory=set)

    def shown(self) -> dict[str, object]:
        """What users see of it."""
        return {
            "state": self.state,
            "note": self.note,
            "error": self.error,
            "error_time": iso_utc(self.error_s) if self.error else None,
            "restarts": self.restarts,
            "events": self.events,
            "figures": dict(self.counters),
            "longest_step_ms": round(self.longest_step_s * 1000, 3),
            "blocked": self.blocked,
            "leaked_tasks": self.leaked,
            "leaked_threads": self.leaked_threads,
        }


#: The trigger that a task belongs to.
CURRENT: Final[contextvars.ContextVar[Running | None]] = contextvars.ContextVar("fgd_trigger", default=None)


def left_threads(threads: Iterable[threading.Thread]) -> set[threading.Thread]:
    """Those that run and are the plugin's own. trio keeps its workers, named so, for others to use."""
    return {
        thread
        for thread in threads
        if thread.is_alive() and not thread.name.startswith("Trio thread") and " from " not in thread.name
    }


class Watch(trio.abc.Instrument):
    """Measures the steps of tasks that belong to a trigger."""

    def __init__(self, told: Callable[[Running, float], None]) -> None:
        """`told` is called after a step that was too long, with its seconds."""
        self._told = told
        self._owner: Running | None = None
        self._owners: dict[trio.lowlevel.Task, Running] = {}
        self._since_s = 0.0
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        owner = task.context.get(CURRENT)
        if owner is not None:
            self._threads = threading.enumerate()
            self._since_s = time.perf_counter()
            self._owner = owner

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        if self._owner is not None:
            self._owner.tasks.add(task)
            self._owners[task] = self._owner

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        owner = self._owners.pop(task, None)
        if owner is not None:
            owner.tasks.discard(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        owner = self._owner
        if owner is None:
            return
        self._owner = None
        step_s = time.perf_counter() - self._since_s
        if step_s > owner.longest_step_s:
            owner.longest_step_s = step_s
        if step_s > BLOCKED_S:
            owner.blocked += 1
            self._told(owner, step_s)
        if threading.active_count() > len(self._threads):
            begun = set(threading.enumerate()).difference(self._threads)
            owner.threads = begun | {thread for thread in owner.threads if thread.is_alive()}

    def look_after(self) -> None:
        """Looks at the clock beside the loop of this thread, until `close`."""
        arguments = (threading.get_ident(),)
        threading.Thread(target=self._look, args=arguments, name="fgd trigger watch", daemon=True).start()

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()

    def _look(self, loop_thread: int) -> None:
        told_of_s = 0.0
        while not self._closed.wait(_STUCK_S / 2):
            owner, since_s = self._owner, self._since_s
            stuck_s = time.perf_counter() - since_s
            if owner is None or stuck_s < _STUCK_S or since_s == told_of_s:
                continue
            told_of_s = since_s
            frame = sys._current_frames().get(loop_thread)
            place = "".join(traceback.format_stack(frame)[-3:]) if frame is not None else ""
            log.error(
                "plugin %s: trigger %s keeps the daemon from working for %.0f s now, here:\n%s",
                owner.plugin, owner.trigger_id, stuck_s, place,
            )  # fmt: skip
