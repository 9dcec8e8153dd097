"""What `fgd plugins` shows: what was found, what each plugin brings, and what it does."""

from collections.abc import Sequence

from fgd.control.disks import Disks
from fgd.control.triggers import Triggers
from fgd.invoke.destinations import Destinations
from fgd.plugin_manager import PluginManager, PluginState
from fgd.trigger_host import TriggerHost
from fgd.trigger_watch import Running


class PluginList:
    """The plugins of a daemon as JSON values."""

    def __init__(
        self, manager: PluginManager, destinations: Destinations, disks: Disks, triggers: Triggers, host: TriggerHost
    ) -> None:
        self._manager = manager
        self._destinations = destinations
        self._disks = disks
        self._triggers = triggers
        self._host = host

    def shown(self) -> Sequence[dict[str, object]]:
        """All, by name."""
        running: dict[str, list[Running]] = {}
        for one in self._host.states():
            running.setdefault(one.plugin, []).append(one)
        return [self._one(state, running.get(state.name, [])) for state in self._manager.states()]

    def _one(self, state: PluginState, running: list[Running]) -> dict[str, object]:
        return {
            "name": state.name,
            "version": state.version,
            "builtin": state.builtin,
            "package": state.package,
            "file": state.file,
            "hooks": list(state.hooks),
            "trigger_types": sorted(code for code, kind in self._triggers.kinds.items() if kind.plugin == state.name),
            "destinations": self._destinations.of_plugin(state.name),
            "disk_drivers": self._disks.of_plugin(state.name),
            "error": state.error,
            "problems": self._manager.reports(state.name),
            "figures": {
                "triggers": len(running),
                "waiting": sum(one.state == "waiting" for one in running),
                "restarts": sum(one.restarts for one in running),
                "events": sum(one.events for one in running),
                "blocked": sum(one.blocked for one in running),
                "longest_step_ms": round(max((one.longest_step_s for one in running), default=0.0) * 1000, 3),
                "leaked_tasks": sum(one.leaked for one in running),
                "leaked_threads": sum(one.leaked_threads for one in running),
            },
        }
