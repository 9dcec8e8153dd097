"""Runs triggers: one task each, watched, restarted with back-off, and never able to harm the daemon.

A trigger's exception, of whatever kind, ends that trigger's task alone. What it does with the loop's time, and what it
leaves behind, `fgd.trigger_watch` sees.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

import trio

from fgd.trigger import TriggerType
from fgd.trigger_watch import CURRENT, Running, Watch, left_threads

log = logging.getLogger(__name__)

_BACKOFF_FIRST_S: Final = 1.0
_BACKOFF_MAX_S: Final = 300.0
#: A trigger that ran for so long begins with the shortest wait again.
_WELL_S: Final = 60.0
#: How long a cancelled trigger may take to end before it is given up.
_END_S: Final = 5.0
#: How long threads that were told to end may take to do it.
_THREADS_END_S: Final = 0.2
_TEXT_MAX: Final = 500


class TriggerHost:
    """The running triggers of a daemon."""

    def __init__(self, now_s: Callable[[], float], report: Callable[[str, str], None]) -> None:
        """
        Args:
            now_s: epoch seconds.
            report: told of what a plugin did wrong: its name and a text.
        """
        self._now_s = now_s
        self._report = report
        self._running: dict[str, Running] = {}
        self._scopes: dict[str, trio.CancelScope] = {}
        self._ended: dict[str, trio.Event] = {}
        #: Those whose task has not ended, also when nobody waits for it any more.
        self._alive: list[Running] = []
        #: There while a trigger is alive: it costs every task of the daemon half a microsecond a step.
        self._watch: Watch | None = None
        self._nursery: trio.Nursery | None = None
        self._waiting: list[tuple[str, str, Callable[[], TriggerType[Any]]]] = []

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs what `start` was told, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for waiting in self._waiting:
                    self.start(*waiting)
                self._waiting.clear()
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def start(self, trigger_id: str, plugin: str, make: Callable[[], TriggerType[Any]]) -> None:
        """Begins to run a trigger; `make` gives a new object for each try, and may raise."""
        if self._nursery is None:
            self._waiting.append((trigger_id, plugin, make))
            return
        if self._watch is None:
            self._watch = Watch(self._blocked)
            trio.lowlevel.add_instrument(self._watch)
            self._watch.look_after()
        running = self._running[trigger_id] = Running(trigger_id, plugin)
        self._alive.append(running)
        scope = self._scopes[trigger_id] = trio.CancelScope()
        ended = self._ended[trigger_id] = trio.Event()
        self._nursery.start_soon(self._keep, running, scope, ended, make)

    async def stop(self, trigger_id: str) -> None:
        """Ends a trigger and waits until it has; nothing happens when it does not run. One that does not end in time is
        given up and reported."""
        self._waiting = [one for one in self._waiting if one[0] != trigger_id]
        scope = self._scopes.pop(trigger_id, None)
        if scope is None:
            return
        running = self._running[trigger_id]
        running.state = "stopping"
        scope.cancel()
        with trio.move_on_after(_END_S) as late:
            await self._ended[trigger_id].wait()
        if late.cancelled_caught:
            running.closed = True
            self._report(running.plugin, f"trigger {trigger_id}: does not end when it is told to; it gets no more in")
        elif running.threads:
            with trio.move_on_after(_THREADS_END_S):
                while left_threads(running.threads):
                    await trio.sleep(_THREADS_END_S / 10)
            self._find_threads(running)
        if self._running.get(trigger_id) is running:
            del self._running[trigger_id]
            del self._ended[trigger_id]

    async def stop_all(self) -> None:
        """Ends every trigger, all at once."""
        async with trio.open_nursery() as nursery:
            for trigger_id in list(self._scopes):
                nursery.start_soon(self.stop, trigger_id)

    def state(self, trigger_id: str) -> Running | None:
        """How a trigger is; None for one that is switched off."""
        return self._running.get(trigger_id)

    def states(self) -> list[Running]:
        """All that are switched on."""
        return list(self._running.values())

    def remaining(self) -> list[str]:
        """Plugins of triggers whose task has not ended."""
        return sorted({running.plugin for running in self._alive})

    async def _keep(
        self, running: Running, scope: trio.CancelScope, ended: trio.Event, make: Callable[[], TriggerType[Any]]
    ) -> None:
        """Runs it again and again. Whatever a stranger's code raises stays in here."""
        CURRENT.set(running)
        wait_s = _BACKOFF_FIRST_S
        try:
            with scope:
                while True:
                    began_s = trio.current_time()
                    running.state = "starting"
                    error = await self._serve_once(running, make)
                    self._find_leaks(running)
                    if trio.current_time() - began_s > _WELL_S:
                        wait_s = _BACKOFF_FIRST_S
                    running.error, running.error_s = error[:_TEXT_MAX], self._now_s()
                    running.state = "waiting"
                    running.restarts += 1
                    log.warning("trigger %s (%s): %s; again in %g s", running.trigger_id, running.plugin, error, wait_s)
                    await trio.sleep(wait_s)
                    self._find_threads(running)
                    wait_s = min(wait_s * 2, _BACKOFF_MAX_S)
        finally:
            running.state = "ended"
            self._find_leaks(running)
            self._alive = [one for one in self._alive if one is not running]
            if not self._alive and self._watch is not None:
                trio.lowlevel.remove_instrument(self._watch)
                self._watch.close()
                self._watch = None
            ended.set()

    async def _serve_once(self, running: Running, make: Callable[[], TriggerType[Any]]) -> str:
        """One life of a trigger; gives why it ended."""
        try:
            trigger = make()
            async with trio.open_nursery() as nursery:
                await nursery.start(trigger.serve)
                running.state = "running"
            return "serve returned, where it should go on until it is cancelled"
        except trio.Cancelled:
            raise
        except BaseException as error:  # a stranger's code: SystemExit and KeyboardInterrupt are its failures too
            own, others = _split(error)
            if own is not None and others is None:
                raise own from None
            if running.state == "stopping":
                return "stopped"
            log.debug("trigger %s failed", running.trigger_id, exc_info=error)
            return "; ".join(dict.fromkeys(f"{type(one).__name__}: {one}" for one in _leaves(others or error)))

    def _blocked(self, running: Running, step_s: float) -> None:
        text = f"trigger {running.trigger_id}: kept the daemon from working for {step_s:.2f} s; it must wait in threads"
        self._report(running.plugin, text)

    def _find_leaks(self, running: Running) -> None:
        """Tasks that the trigger started somewhere else than in its own nursery and left there."""
        left, running.tasks = running.tasks, set()
        if left:
            running.leaked += len(left)
            names = ", ".join(sorted(task.name for task in left)[:3])
            self._report(running.plugin, f"trigger {running.trigger_id}: left {len(left)} tasks behind: {names}")

    def _find_threads(self, running: Running) -> None:
        """The same with threads."""
        left, running.threads = left_threads(running.threads), set()
        if left:
            running.leaked_threads += len(left)
            names = ", ".join(sorted(thread.name for thread in left)[:3])
            self._report(running.plugin, f"trigger {running.trigger_id}: left {len(left)} threads behind: {names}")


def _split(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """What of it is our own cancellation, and what is not."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)
    return None, error


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
