"""Trigger types of this daemon: those that plugins bring, checked once, and a guard around what they are asked later.

A class that does not keep to `TriggerType` is left out and reported; so is one whose code another plugin has brought
already. fgd's own come first, then those of other packages in the order of the plugins' names.
"""

import inspect
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from fgd.errors import PlatformError, RequestError
from fgd.route import ApiRoute, route_fault
from fgd.trigger import Place, Sources, TriggerType
from fgd.trigger_watch import BLOCKED_S

_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}\Z")
_ERROR_CODE: Final = re.compile(r"FSS\.\d{4}\Z")


@dataclass(frozen=True, slots=True)
class Kind:
    """A trigger type and the plugin that brought it.

    Its methods are those of the class. What the class itself raises on purpose comes through; anything else, exits
    included, is reported with the plugin and becomes a `PlatformError`.
    """

    plugin: str
    type: type[TriggerType[Any]]
    #: JSON schema of the settings.
    schema: Mapping[str, object]
    report: Callable[[str, str], None]

    def parse(self, event_data: Mapping[str, object], place: Place) -> Any:
        """Settings from `event_data`; see `TriggerType.parse`."""
        return self._ask("parse", lambda: self.type.parse(event_data, place))

    def admit(self, settings: Any, place: Place, sources: Sources) -> None:
        """Rules about what fgd itself has; see `TriggerType.admit`."""
        self._ask("admit", lambda: self.type.admit(settings, place, sources))

    def identity(self, settings: Any) -> str:
        """What two triggers of one function may not share; see `TriggerType.identity`."""
        return self._ask("identity", lambda: str(self.type.identity(settings)))

    def claim(self, settings: Any) -> str:
        """What only one trigger of a project may have; see `TriggerType.claim`."""
        return self._ask("claim", lambda: str(self.type.claim(settings)))

    def shown(self, settings: Any, place: Place) -> dict[str, object]:
        """What answers add to the settings; see `TriggerType.shown`."""

        def ask() -> dict[str, object]:
            added = dict(self.type.shown(settings, place))
            msgspec.json.encode(added)
            return added

        return self._ask("shown", ask)

    def topics(self, settings: Any) -> tuple[str, ...]:
        """The topics that it listens to; see `TriggerType.topics`."""
        return self._ask("topics", lambda: tuple(map(str, self.type.topics(settings))))

    def routes(self, settings: Any, place: Place) -> list[ApiRoute]:
        """The APIs that it publishes; see `TriggerType.routes`."""

        def ask() -> list[ApiRoute]:
            routes = list(self.type.routes(settings, place))
            faults = [fault for route in routes if (fault := route_fault(route))]
            if faults:
                raise ValueError(f"an API cannot be: {faults[0]}")
            return routes

        return self._ask("routes", ask)

    def _ask[T](self, what: str, ask: Callable[[], T]) -> T:
        began_s = time.perf_counter()
        try:
            return ask()
        except RequestError:
            raise
        except BaseException as error:  # a stranger's code
            text = f"{self.type.code}: {what} failed: {type(error).__name__}: {error}"
            self.report(self.plugin, text)
            raise PlatformError(f"the plugin {self.plugin} failed: {text}") from error
        finally:
            lasted_s = time.perf_counter() - began_s
            if lasted_s > BLOCKED_S:
                text = f"{self.type.code}: {what} kept the daemon from working for {lasted_s:.2f} s; it must not wait"
                self.report(self.plugin, text)


def check_kinds(
    given: Iterable[tuple[str, type[Any]]], report: Callable[[str, str], None] = lambda plugin, error: None
) -> dict[str, Kind]:
    """Trigger types by code.

    Args:
        given: (plugin, class), in the order of precedence.
        report: told of what is wrong with a plugin.
    """
    kinds: dict[str, Kind] = {}
    for plugin, kind in given:
        try:
            wrong = _wrong(kind)
            schema = {} if wrong else msgspec.json.schema(kind.settings)
        except BaseException as error:  # a stranger's class
            wrong = f"{type(error).__name__}: {error}"
        if not wrong and kind.code in kinds:
            wrong = f"the plugin {kinds[kind.code].plugin} brings {kind.code}"
        if wrong:
            report(plugin, f"trigger type {kind.__name__} is left out: {wrong}")
        else:
            kinds[kind.code] = Kind(plugin, kind, schema, report)
    return kinds


def _wrong(kind: type[Any]) -> str:
    """What of a class does not keep to `TriggerType`, "" where all does."""
    if not issubclass(kind, TriggerType):
        return "it must be a subclass of fgd.plugin.TriggerType"
    settings = getattr(kind, "settings", None)
    if not isinstance(settings, type) or not issubclass(settings, msgspec.Struct):
        return "settings must be a subclass of msgspec.Struct"
    names = set(settings.__struct_encode_fields__)
    checks = {
        "code must be upper-case letters, digits and _, at most 64": _matches(_CODE, getattr(kind, "code", None)),
        "serve must be written": not inspect.isabstract(kind),
        "serve must not yield": not inspect.isasyncgenfunction(kind.serve),
        "secrets must be a set of names of settings": isinstance(kind.secrets, frozenset) and kind.secrets <= names,
        "starts must be ACTIVE or DISABLED": kind.starts in ("ACTIVE", "DISABLED"),
        "bad_code and exists_code must be like FSS.0400": _matches(_ERROR_CODE, kind.bad_code)
        and _matches(_ERROR_CODE, kind.exists_code),
        "claimed_code must be like FSS.0400": _matches(_ERROR_CODE, kind.claimed_code),
        "may_be_disabled and pulls must be True or False": isinstance(kind.may_be_disabled, bool)
        and isinstance(kind.pulls, bool),
    }
    return next((rule for rule, kept in checks.items() if not kept), "")


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.match(value) is not None
