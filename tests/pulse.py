"""A trigger type for tests: an event every so often, and whatever misbehaviour its settings ask for."""

import sys
import threading
import time
from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec
import trio

from fgd.plugin import BadTriggerConfig, Place, TriggerType, hookimpl


class PulseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A pulse."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=8, description="What it is called.")]
    every_s: Annotated[float, msgspec.Meta(gt=0, description="Seconds between events.")] = 1.0
    password: str = ""
    #: What it does wrong: "", raise, exit, block, hang, leak, thread, worker, stay.
    fault: str = ""


class Pulse(TriggerType[PulseSettings]):
    """An event every so often."""

    code = "PULSE"
    settings = PulseSettings
    secrets: ClassVar[frozenset[str]] = frozenset({"password"})
    bad_code = "FSS.1109"
    exists_code = "FSS.1148"

    @classmethod
    def check(cls, settings: PulseSettings, place: Place) -> None:
        if settings.name == "bad":
            raise BadTriggerConfig("name", "must be another than 'bad'")

    @classmethod
    def identity(cls, settings: PulseSettings) -> str:
        return settings.name

    @classmethod
    def shown(cls, settings: PulseSettings, place: Place) -> Mapping[str, object]:
        return {"target": place.function_name}

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        beat = int(self.door.recall() or b"0")
        await self._misbehave()
        while True:
            await trio.sleep(self.config.every_s)
            beat += 1
            await self.door.enqueue({"beat": beat, "password": self.config.password})
            await self.door.remember(b"%d" % beat)
            self.door.count("beats")

    async def _misbehave(self) -> None:
        match self.config.fault:
            case "raise":
                raise ValueError("the source is broken")
            case "exit":
                sys.exit("out")
            case "block":
                time.sleep(0.15)
            case "hang":
                time.sleep(3.2)
            case "thread":
                threading.Thread(target=time.sleep, args=(2,), name="pulse-thread", daemon=True).start()
            case "worker":
                await trio.to_thread.run_sync(time.sleep, 0)
            case "leak":
                trio.lowlevel.spawn_system_task(trio.sleep, 5)
                raise ValueError("left a task")
            case "stay":
                with trio.CancelScope(shield=True):
                    await trio.sleep(60)


class Fixed(Pulse):
    """A source that cannot be switched off and does not count."""

    code = "FIXED"
    may_be_disabled = False
    pulls = False


@hookimpl
def fgd_trigger_types() -> list[type[TriggerType[PulseSettings]]]:
    return [Pulse, Fixed]
