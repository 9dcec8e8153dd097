"""Targets of asynchronous settings: what a request says, checked against the kinds that there are; loops refused."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from fgd.control import rules
from fgd.control.features import says_nothing
from fgd.destination import BadDestination
from fgd.errors import BadParameter, Forbidden, NotAcceptable, NotBuilt, RequestError
from fgd.invoke.destinations import Destinations
from fgd.invoke.resolve import Directory
from fgd.model import Function, Target
from fgd.urn import parse_urn

FIELDS: Final = ("on_success", "on_failure")
_PARAM_MAX_CHARS: Final = 4096
#: Kinds of the cloud; those that plugins bring may be missing here.
_KNOWN_KINDS: Final = ("FunctionGraph", "OBS", "SMN", "DIS")

#: The functions that a function's outcomes go to, by URN text: (func_id) -> all targets of all its versions.
type TargetsOf = Callable[[str], Iterable[Target]]


class Targets:
    """Reads and checks targets. Synchronous throughout."""

    def __init__(self, destinations: Destinations, directory: Directory) -> None:
        self._destinations = destinations
        self._directory = directory

    def parse(self, value: object) -> dict[str, Target | None]:
        """`destination_config` as the fields `on_success` and `on_failure` of `AsyncConfig`.

        Raises:
            BadParameter: names the field and the rule.
            NotAcceptable: `param` is text that is no JSON.
            NotBuilt: a kind of the cloud that this node does not have.
        """
        if value is None:
            return dict.fromkeys(FIELDS)
        if not isinstance(value, dict):
            raise BadParameter(f"destination_config: must be an object, not {rules.shown(value)}")
        return {field: self._target(f"destination_config.{field}", value.get(field)) for field in FIELDS}

    def functions(self, owner: Function, fields: Mapping[str, object]) -> dict[str, Function]:
        """The functions among targets, by field.

        Args:
            owner: whose settings these become.
            fields: what `parse` gave.

        Raises:
            FunctionNotFound, VersionNotFound, AliasNotFound, BadUrn: there is no such function.
            Forbidden: of another project.
        """
        found: dict[str, Function] = {}
        for field in FIELDS:
            target = fields.get(field)
            if isinstance(target, Target):
                try:
                    function = self._function(owner.project_id, target, strict=True)
                except RequestError as error:
                    raise type(error)(f"destination_config.{field}.param: {_after_field(error)}") from error
                if function is not None:
                    found[field] = function
        return found

    def check(self, owner: Function, fields: Mapping[str, object], targets_of: TargetsOf) -> None:
        """Refuses targets by which an outcome would come back to where it comes from.

        Args:
            targets_of: of the other functions, as they are.

        Raises:
            BadParameter: it would be a loop; others as `functions`.
        """
        for field, function in self.functions(owner, fields).items():
            path = self._path(function, owner.func_id, targets_of)
            if path:
                names = " -> ".join((owner.name, *path))
                raise BadParameter(
                    f"destination_config.{field}.param: would make a loop, {names}; a function's outcome must not come"
                    " back to it"
                )

    def _target(self, field: str, value: object) -> Target | None:
        if says_nothing(value):
            return None
        if not isinstance(value, dict):
            raise BadParameter(f"{field}: must be an object, not {rules.shown(value)}")
        kind = value.get("destination")
        if not isinstance(kind, str) or kind not in self._destinations.kinds:
            kinds = ", ".join(self._destinations.kinds)
            if isinstance(kind, str) and kind in _KNOWN_KINDS:
                raise NotBuilt(f"{field}.destination: no plugin here brings {kind}; there are {kinds}")
            raise BadParameter(f"{field}.destination: must be one of {kinds}, not {rules.shown(kind)}")
        text, param = _param(f"{field}.param", value.get("param"))
        try:
            self._destinations.parse(kind, param)
        except BadDestination as error:
            raise BadParameter(f"{field}.param: {error}") from error
        return Target(kind, text)

    def _function(self, project_id: str, target: Target, *, strict: bool) -> Function | None:
        """The function that a target invokes; None for other targets, and if not `strict` for what is not there."""
        try:
            settings = self._destinations.parse(target.kind, msgspec.json.decode(target.param, type=dict))
            text = self._destinations.function_urn(target.kind, settings)
            if text is None:
                return None
            urn = parse_urn(text, project_id)
            if urn.project_id != project_id:
                raise Forbidden("func_urn: names a function of another project")
            return self._directory.resolve(urn)
        except (RequestError, KeyError):
            if strict:
                raise
            return None

    def _path(self, start: Function, goal: str, targets_of: TargetsOf) -> list[str]:
        """Names of the functions from one to another along targets, both included; empty when there is no way."""
        ways = {start.func_id: [start.name]}
        waiting = [start]
        while waiting:
            function = waiting.pop()
            if function.func_id == goal:
                return ways[goal]
            for target in targets_of(function.func_id):
                following = self._function(function.project_id, target, strict=False)
                if following is not None and following.func_id not in ways:
                    ways[following.func_id] = [*ways[function.func_id], following.name]
                    waiting.append(following)
        return []


def _param(field: str, value: object) -> tuple[str, dict[str, Any]]:
    """The text of a JSON object and the object; a client may send either."""
    if isinstance(value, dict):
        text = msgspec.json.encode(value).decode()
    elif isinstance(value, str):
        text = value
    else:
        raise BadParameter(f"{field}: must be a string that holds a JSON object, not {rules.shown(value)}")
    if len(text) > _PARAM_MAX_CHARS:
        raise BadParameter(f"{field}: must be at most {_PARAM_MAX_CHARS} characters, not {len(text)}")
    try:
        decoded = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise NotAcceptable(f"{field}: is not valid JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise BadParameter(f"{field}: must be a JSON object, not {rules.shown(decoded)}")
    return text, decoded


def _after_field(error: RequestError) -> str:
    """Messages of URNs call their field `function_urn`; here it is another."""
    return str(error).removeprefix("function_urn: ")
