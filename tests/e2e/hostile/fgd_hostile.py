"""A plugin that does everything a plugin must not."""

import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import msgspec
import trio

from fgd.plugin import BadEvent, Place, TriggerType, hookimpl

_HUGE = 100 * 1024 * 1024


class HostileSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What it shall do wrong."""

    fault: str


class Hostile(TriggerType[HostileSettings]):
    """Does what its setting says."""

    code = "HOSTILE"
    settings = HostileSettings

    @classmethod
    def check(cls, settings: HostileSettings, place: Place) -> None:
        if settings.fault == "check":
            sys.exit("out of check")

    @classmethod
    def shown(cls, settings: HostileSettings, place: Place) -> Mapping[str, object]:
        if settings.fault == "shown":
            raise SystemExit("out of shown")
        return {}

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        match self.config.fault:
            case "raise":
                raise ValueError("the source is broken")
            case "exit":
                sys.exit("out of serve")
            case "block":
                time.sleep(1)
            case "tasks":
                trio.lowlevel.spawn_system_task(trio.sleep, 3600)
                raise ValueError("left a task")
            case "threads":  # Python waits for such a thread at its end
                threading.Thread(target=time.sleep, args=(3600,), name="hostile-thread", daemon=False).start()
                raise ValueError("left a thread")
            case "stay":
                await self._stay()
            case "flood":
                while True:
                    await self.door.enqueue({"n": 1})
            case "huge":
                await self._offer(b'"' + b"x" * _HUGE + b'"')
                await self._offer({"event": object()})
        await trio.sleep_forever()

    async def _stay(self) -> None:
        """Never ends, and goes on with what it does."""
        with trio.CancelScope(shield=True):
            while True:
                try:
                    await self.door.enqueue({"n": 1})
                except Exception as error:  # nothing moves it
                    self.door.note(str(error))
                await trio.sleep(0.2)

    async def _offer(self, event: Any) -> None:
        try:
            await self.door.enqueue(event)
        except BadEvent as error:
            self.door.count("refused")
            self.door.note(str(error))


class Copy(Hostile):
    """Calls itself what fgd's own is called."""

    code = "TIMER"


class Nonsense:
    """No trigger type at all."""

    code = "NONSENSE"


@hookimpl
def fgd_trigger_types() -> list[type[Any]]:
    return [Copy, Nonsense, Hostile]
