"""Finds plugins, asks their hooks, and remembers by name what became of each.

A plugin is an installed package with an entry point in the group `fgd`, or one of fgd's own modules. One that cannot be
loaded or whose hook fails is left out and listed with its error; it never keeps the daemon from starting.
"""

import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, Final

import pluggy

from fgd import hookspecs

log = logging.getLogger(__name__)

GROUP: Final = "fgd"
#: Different things that went wrong with one plugin, the latest ones.
_REPORTS_KEPT: Final = 3


@dataclass(frozen=True, slots=True)
class PluginState:
    """What `fgd plugins` shows of one. `error` is "" while nothing went wrong."""

    name: str
    version: str
    builtin: bool
    hooks: tuple[str, ...] = ()
    error: str = ""


class PluginManager:
    """All plugins of this daemon."""

    def __init__(self, builtins: Iterable[ModuleType] = (), found: Iterable[EntryPoint] | None = None) -> None:
        """
        Args:
            builtins: modules of fgd's own with hook implementations.
            found: entry points; None for those of the installed packages.
        """
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._states: dict[str, PluginState] = {}
        self._reported: dict[str, deque[str]] = {}
        for module in builtins:
            self._register(module, PluginState(module.__name__.removeprefix("fgd.builtin."), "", True))
        for entry in sorted(entry_points(group=GROUP) if found is None else found, key=lambda one: one.name):
            state = PluginState(entry.name, entry.dist.version if entry.dist else "", False)
            try:
                plugin = entry.load()
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # whatever a stranger's module does while it is imported, exits included
                self._broken(state, "cannot be loaded", error)
            else:
                self._register(plugin, state)

    def states(self) -> list[PluginState]:
        """Every plugin that was found, by name."""
        return [self._states[name] for name in sorted(self._states)]

    def builtin(self, name: str) -> bool:
        """Whether a plugin is a module of fgd's own."""
        return self._states[name].builtin

    def classes(self, hook: str) -> list[tuple[str, type[Any]]]:
        """What all plugins give for a hook: (name of the plugin, class), fgd's own first."""
        given: list[tuple[str, type[Any]]] = []
        for implementation in getattr(self._pluggy.hook, hook).get_hookimpls():
            name = implementation.plugin_name
            try:
                answers = list(implementation.function())
                wrong = [one for one in answers if not isinstance(one, type)]
                if wrong:
                    raise TypeError(f"{hook} must give classes, not {wrong[0]!r}")
            except Exception as error:  # a stranger's code
                self._broken(self._states[name], f"{hook} failed", error)
                continue
            given += [(name, answer) for answer in answers]
        given.sort(key=lambda one: not self._states[one[0]].builtin)
        return given

    def report(self, name: str, error: str) -> None:
        """Notes what went wrong with a plugin later, beside what it was told before."""
        before = self._reported.setdefault(name, deque(maxlen=_REPORTS_KEPT))
        if error not in before:
            before.append(error)
        self._states[name] = replace(self._states[name], error="; ".join(before))

    def _register(self, plugin: Any, state: PluginState) -> None:
        if state.name in self._states:
            other = f"{state.name} (2)"
            self._broken(replace(state, name=other), "is left out", ValueError(f"another plugin is named {state.name}"))
            return
        try:
            self._pluggy.register(plugin, state.name)
            self._pluggy.check_pending()
        except Exception as error:  # a stranger's module
            if self._pluggy.has_plugin(state.name):
                self._pluggy.unregister(name=state.name)
            self._broken(state, "does not fit", error)
            return
        hooks = tuple(sorted(caller.name for caller in self._pluggy.get_hookcallers(plugin) or ()))
        if not hooks:
            self._broken(state, "has no effect", ValueError("it implements no hook; decorate with fgd.plugin.hookimpl"))
            return
        self._states[state.name] = replace(state, hooks=hooks)

    def _broken(self, state: PluginState, what: str, error: BaseException) -> None:
        text = f"{what}: {type(error).__name__}: {error}"
        log.error("plugin %s %s", state.name, text, exc_info=error)
        self._states[state.name] = state
        self.report(state.name, text)
