"""Timers: an event at moments that a fixed rate or a cron expression names (user guide, sections 5.2 and 5.11)."""

from fgd.plugin import TriggerType, hookimpl
from fgd_timer.timer import Timer, TimerSettings


@hookimpl
def fgd_trigger_types() -> list[type[TriggerType[TimerSettings]]]:
    return [Timer]
