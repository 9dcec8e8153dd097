"""Finds plugins, asks their hooks, and remembers by name what became of each.

A plugin is an installed package with an entry point in the group `fgd`, or one of fgd's own modules. One that cannot be
loaded or whose hook fails is left out and listed with its error; it never keeps the daemon from starting.
"""

import logging
from collections import deque
from collections.abc import Collection, Iterable
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
    #: One of fgd's own.
    builtin: bool
    hooks: tuple[str, ...] = ()
    error: str = ""
    #: The installed package, and the file of its module; "" where unknown.
    package: str = ""
    file: str = ""


class PluginManager:
    """All plugins of this daemon."""

    def __init__(
        self,
        builtins: Iterable[ModuleType] = (),
        found: Iterable[EntryPoint] | None = None,
        skipped: Collection[str] = (),
    ) -> None:
        """
        Args:
            builtins: modules of fgd's own with hook implementations.
            found: entry points; None for those of the installed packages. Those of fgd itself come first, so that
                another's of the same name is the one that is left out.
            skipped: names of those that are not to be imported.
        """
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._states: dict[str, PluginState] = {}
        self._reported: dict[str, deque[str]] = {}
        for module in builtins:
            self._register(module, PluginState(module.__name__.removeprefix("fgd.builtin."), "", True))
        for entry in sorted(entry_points(group=GROUP) if found is None else found, key=_order):
            package, version = (entry.dist.name, entry.dist.version) if entry.dist else ("", "")
            state = PluginState(entry.name, version, _own(entry), package=package)
            if entry.name in skipped:
                self._register(None, replace(state, error="left out by the setting skip_plugins"))
                continue
            try:
                plugin = entry.load()
            except BaseException as error:  # whatever a stranger's module does while it is imported, exits included
                self._broken(state, "cannot be loaded", error)
            else:
                self._register(plugin, replace(state, file=str(getattr(plugin, "__file__", None) or "")))

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
            except BaseException as error:  # a stranger's code, which may want to exit too
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
        if state.error:
            self._states[state.name] = state
            return
        try:
            self._pluggy.register(plugin, state.name)
            self._pluggy.check_pending()
        except BaseException as error:  # a stranger's module: pluggy looks at all that it has
            if self._pluggy.has_plugin(state.name):
                self._pluggy.unregister(name=state.name)
            self._broken(state, "does not fit", error)
            return
        hooks = tuple(sorted(caller.name for caller in self._pluggy.get_hookcallers(plugin) or ()))
        if not hooks:
            self._broken(state, "has no effect", ValueError("it implements no hook; decorate with fgd.plugin.hookimpl"))
            return
        self._states[state.name] = replace(state, hooks=hooks)

    def reports(self, name: str) -> list[str]:
        """What went wrong with a plugin, the latest last."""
        return list(self._reported.get(name, ())) or ([self._states[name].error] if self._states[name].error else [])

    def _broken(self, state: PluginState, what: str, error: BaseException) -> None:
        text = f"{what}: {type(error).__name__}: {error}"
        log.error("plugin %s %s", state.name, text, exc_info=error)
        self._states[state.name] = state
        self.report(state.name, text)


def _own(entry: EntryPoint) -> bool:
    return entry.dist is not None and entry.dist.name == "fgd"


def _order(entry: EntryPoint) -> tuple[bool, str]:
    return not _own(entry), entry.name
