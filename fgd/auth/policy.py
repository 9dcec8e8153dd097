"""Policy documents: what they look like, and whether they allow an action on a resource.

A document of version 1.1, as the cloud's identity service has them:

    {"Version": "1.1", "Statement": [{"Effect": "Allow", "Action": ["functiongraph:function:invoke"],
                                      "Resource": ["FUNCTIONGRAPH:*:*:function:default/*"]}]}

Theory of operation: a request is one action on one resource. A statement speaks of it if one of its actions and one of
its resources match; without `Resource` it speaks of every resource. One statement with Deny refuses, whatever others
say; else one with Allow allows; else it is refused. `*` stands for any text, also none, and for nothing else is there
a special sign. Actions, the service and the kind of a resource are compared without case, names with it, except that
the app `Default` of the user guide's examples is the package `default`.

What a document says of other services is kept and has no effect here; what it says wrongly of this one is refused,
because an action that is misspelt in a Deny would allow what its author wanted to refuse.

Source: user guide 1.2.2 and 1.2.3; features M05.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from fgd.errors import BadParameter
from fgd.model import Resource

VERSION: Final = "1.1"
SERVICE: Final = "functiongraph"
#: Kinds of resources by service; the path of one is `<app>/<name>`, an id, or the agency's name.
KINDS: Final = {
    SERVICE: ("function", "trigger", "dependency"),
    "iam": ("agency",),
    "smn": ("topic",),
    "lts": ("groups", "topics"),
    "cts": ("traces",),
    "obs": ("bucket", "object"),
}
#: A request about no single resource, such as a list: only statements about all resources speak of it.
EVERY: Final = "*/*"
DOCUMENT_MAX_BYTES: Final = 6144
_LIST_MAX: Final = 100
_DECIDED_MAX: Final = 4096

_ACTION: Final = re.compile(r"[a-z0-9*_-]{1,64}:[a-z0-9*_-]{1,64}:[a-z0-9*_-]{1,64}\Z")
_FIELD: Final = re.compile(r"[^\s:]{1,128}\Z")
_DOCUMENT_FIELDS: Final = ("Version", "Statement")
_STATEMENT_FIELDS: Final = ("Effect", "Action", "Resource")
_EFFECTS: Final = ("Allow", "Deny")


def function_resource(region: str, project_id: str, package: str, name: str) -> Resource:
    """A function with all its versions and aliases."""
    return Resource(SERVICE, region, project_id, "function", f"{package}/{name}")


@dataclass(frozen=True, slots=True)
class Glob:
    """A text with `*` for any text."""

    parts: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> "Glob":
        return cls(tuple(text.split("*")))

    def matches(self, text: str) -> bool:
        """Takes time in proportion to the text for each `*`: a regular expression could take for ever."""
        first, *rest = self.parts
        if not rest:
            return text == first
        last = rest.pop()
        end = len(text) - len(last)
        if not text.startswith(first) or not text.endswith(last) or end < len(first):
            return False
        at = len(first)
        for part in rest:
            found = text.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True


@dataclass(frozen=True, slots=True)
class Statement:
    """One rule. No resources: it speaks of all."""

    allow: bool
    actions: tuple[Glob, ...]
    #: Service, region, project, kind and path of each.
    resources: tuple[tuple[Glob, ...], ...]

    def speaks_of(self, action: str, resource: Resource) -> bool:
        """Whether an action (in lower case) on a resource is what this statement is about."""
        if not any(glob.matches(action) for glob in self.actions):
            return False
        return not self.resources or any(
            all(glob.matches(text) for glob, text in zip(globs, resource, strict=True)) for globs in self.resources
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed document."""

    statements: tuple[Statement, ...]
    #: Actions and resources of other services, as written: they have no effect.
    ignored: tuple[str, ...] = ()


class Rights:
    """What all policies of somebody together allow. Never changes; asking twice is cheap."""

    __slots__ = ("_decided", "_statements")

    def __init__(self, policies: Iterable[Policy]) -> None:
        self._statements = tuple(statement for policy in policies for statement in policy.statements)
        self._decided: dict[tuple[str, Resource], bool | None] = {}

    def allows(self, action: str, resource: Resource) -> bool:
        """Whether this action on this resource is allowed; what no statement speaks of is not."""
        return self.says(action, resource) is True

    def says(self, action: str, resource: Resource) -> bool | None:
        """True where it is allowed, False where a statement refuses it, None where none speaks of it."""
        key = (action, resource)
        if key in self._decided:
            return self._decided[key]
        if len(self._decided) >= _DECIDED_MAX:
            self._decided.clear()
        decided = self._decided[key] = self._decide(action.lower(), resource)
        return decided

    def _decide(self, action: str, resource: Resource) -> bool | None:
        allowed = None
        for statement in self._statements:
            if statement.speaks_of(action, resource):
                if not statement.allow:
                    return False
                allowed = True
        return allowed


def parse_policy(document: object, where: str, actions: Collection[str]) -> Policy:
    """Checks a document.

    Args:
        document: the JSON value.
        where: what to call it in messages, such as "policies[0]".
        actions: all actions that this service has, as `service:type:action`.

    Raises:
        BadParameter: begins with the path of the field, such as "policies[0].Statement[1].Effect".
    """
    fields = _object(document, where, _DOCUMENT_FIELDS)
    size = len(msgspec.json.encode(document))
    if size > DOCUMENT_MAX_BYTES:
        raise BadParameter(f"{where}: must be at most {DOCUMENT_MAX_BYTES} bytes of JSON, not {size}")
    if fields.get("Version") != VERSION:
        raise BadParameter(f'{where}.Version: must be "{VERSION}", not {_shown(fields.get("Version"))}')
    known = {action.lower(): action for action in actions}
    ignored: list[str] = []
    statements = tuple(
        _statement(value, f"{where}.Statement[{number}]", known, ignored)
        for number, value in enumerate(_list(fields.get("Statement"), f"{where}.Statement"))
    )
    return Policy(statements, tuple(ignored))


def _statement(value: object, where: str, known: dict[str, str], ignored: list[str]) -> Statement:
    fields = _object(value, where, _STATEMENT_FIELDS)
    effect = fields.get("Effect")
    if effect not in _EFFECTS:
        raise BadParameter(f"{where}.Effect: must be Allow or Deny, not {_shown(effect)}")
    actions = tuple(
        _action(text, f"{where}.Action[{number}]", known, ignored)
        for number, text in enumerate(_list(fields.get("Action"), f"{where}.Action"))
    )
    resources: tuple[tuple[Glob, ...], ...] = ()
    if "Resource" in fields:
        resources = tuple(
            globs
            for number, text in enumerate(_list(fields["Resource"], f"{where}.Resource"))
            for globs in _resource(text, f"{where}.Resource[{number}]", ignored)
        )
    return Statement(effect == "Allow", actions, resources)


def _action(value: object, where: str, known: dict[str, str], ignored: list[str]) -> Glob:
    text = value.lower() if isinstance(value, str) else ""
    if not _ACTION.match(text):
        raise BadParameter(
            f"{where}: must be <service>:<type>:<action>, such as {SERVICE}:function:invoke, with * for any text, "
            f"not {_shown(value)}"
        )
    glob = Glob.of(text)
    if not any(glob.matches(action) for action in known):
        if Glob.of(text.partition(":")[0]).matches(SERVICE):
            near = difflib.get_close_matches(text, known, 1, cutoff=0.9)
            hint = f"; did you mean {known[near[0]]}?" if near else "; fgd agencies policies lists them"
            raise BadParameter(f"{where}: {SERVICE} has no action {_shown(value)}{hint}")
        ignored.append(str(value))
    return glob


def _resource(value: object, where: str, ignored: list[str]) -> Iterator[tuple[Glob, ...]]:
    if value == "*":
        value = "*:*:*:*:*"
    fields = value.split(":") if isinstance(value, str) else []
    if len(fields) != len(Resource._fields) or not all(map(_FIELD.match, fields)):
        raise BadParameter(
            f"{where}: must be FUNCTIONGRAPH:<region>:<project>:<kind>:<path>, such as "
            f"FUNCTIONGRAPH:*:*:function:default/*, not {_shown(value)}"
        )
    service, region, project_id, kind, path = fields
    service, kind = service.lower(), kind.lower()
    kinds = [one for name, of_it in KINDS.items() if Glob.of(service).matches(name) for one in of_it]
    if not any(Glob.of(kind).matches(one) for one in kinds):
        if Glob.of(service).matches(SERVICE):
            raise BadParameter(f"{where}: the kind must be {' or '.join(KINDS[SERVICE])}, not {kind[:40]!r}")
        ignored.append(str(value))
    app, slash, name = path.partition("/")
    for spelling in {path, f"default/{name}"} if slash and app == "Default" else {path}:
        yield tuple(map(Glob.of, (service, region, project_id, kind, spelling)))


def _object(value: object, where: str, names: tuple[str, ...]) -> dict[str, object]:
    if not isinstance(value, dict):
        raise BadParameter(f"{where}: must be an object with {', '.join(names)}")
    for name in value:
        if name not in names:
            raise BadParameter(f"{where}.{str(name)[:40]}: there is no such field here; there are {', '.join(names)}")
    return value


def _list(value: object, where: str) -> list[object]:
    if not isinstance(value, list) or not 0 < len(value) <= _LIST_MAX:
        raise BadParameter(f"{where}: must be a list of 1 to {_LIST_MAX} entries")
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
