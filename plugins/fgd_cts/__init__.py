"""Triggers of the type CTS: operations that the audit log has become events (user guide, sections 5.7 and 14.1).

    {"cts": {"trace_name": "createFunction", "resource_type": "Functions", ...}}

`operations` says which: `service:resource;resource:operation;operation`, such as
`FunctionGraph:Functions:createFunction;deleteFunction`; `*` stands for all. Case, spaces and a plural's ending make no
difference. A trace is behind the trigger when its event is on disk: none is left out, one may come twice after a crash,
with the same `trace_id`.
"""

import re
from collections.abc import Collection
from typing import Annotated, Final, NamedTuple

import msgspec
import trio

from fgd.plugin import BadEvent, BadTriggerConfig, FunctionOff, Place, Sources, TriggerType, hookimpl

NAME_MAX_CHARS: Final = 64
OPERATIONS_MAX: Final = 100
ALL: Final = "*"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")
_READ: Final = 200
_OFF_S: Final = 5.0

_NO_NAME: Final = "FSS.1312"
_LONG_NAME: Final = "FSS.1317"
_BAD_NAME: Final = "FSS.1319"
_NONE: Final = "FSS.1314"
_MANY: Final = "FSS.1313"
_TWICE: Final = "FSS.1316"
_MALFORMED: Final = "FSS.1318"
_UNKNOWN: Final = "FSS.1308"


class CtsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which operations."""

    name: Annotated[str, msgspec.Meta(description="What the notification is called.")] = ""
    operations: Annotated[
        tuple[str, ...], msgspec.Meta(description="`service:resource;resource:operation;operation` each; `*` for all.")
    ] = ()


class Wanted(NamedTuple):
    """Operations in the form in which they are compared."""

    service: str
    resources: frozenset[str]
    operations: frozenset[str]

    def has(self, service: str, resource: str, operation: str) -> bool:
        """Whether an operation is one of these."""
        return (
            self.service in (ALL, plain(service))
            and bool(self.resources & {ALL, plain(resource)})
            and bool(self.operations & {ALL, plain(operation)})
        )


class _Trace(msgspec.Struct):
    service_type: str
    resource_type: str
    trace_name: str


class CtsTrigger(TriggerType[CtsSettings]):
    """Operations that the audit log has."""

    code = "CTS"
    settings = CtsSettings
    may_be_disabled = False
    pulls = False
    bad_code = "FSS.1305"
    exists_code = "FSS.1307"

    @classmethod
    def check(cls, settings: CtsSettings, place: Place) -> None:
        if not settings.name:
            raise BadTriggerConfig("name", "is needed", _NO_NAME)
        if len(settings.name) > NAME_MAX_CHARS:
            raise BadTriggerConfig("name", f"must be at most {NAME_MAX_CHARS} characters", _LONG_NAME)
        if not _NAME.match(settings.name):
            raise BadTriggerConfig("name", "must be letters, digits, - and _, a letter first", _BAD_NAME)
        if not settings.operations:
            raise BadTriggerConfig("operations", "must name an operation at least", _NONE)
        seen: set[tuple[str, str, str]] = set()
        for number, text in enumerate(settings.operations):
            wanted = parse(text, f"operations[{number}]")
            for resource in wanted.resources:
                for operation in wanted.operations:
                    one = (wanted.service, resource, operation)
                    if one in seen:
                        raise BadTriggerConfig(f"operations[{number}]", f"names {operation} a second time", _TWICE)
                    seen.add(one)
        if len(seen) > OPERATIONS_MAX:
            raise BadTriggerConfig("operations", f"must be at most {OPERATIONS_MAX}, not {len(seen)}", _MANY)

    @classmethod
    def identity(cls, settings: CtsSettings) -> str:
        return settings.name

    @classmethod
    def admit(cls, settings: CtsSettings, place: Place, sources: Sources) -> None:
        known = sources.audit().operations
        for number, text in enumerate(settings.operations):
            field = f"operations[{number}]"
            _check_known(parse(text, field), field, known)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        wanted = [parse(text, "operations") for text in self.config.operations]
        feed = self.door.sources.audit()
        if not self.door.recall():
            await self.door.remember(str(feed.begin).encode())
        position = remembered = int(self.door.recall())
        task_status.started()
        while True:
            records = await feed.read(position, _READ)
            for number, record in records:
                trace = msgspec.json.decode(record, type=_Trace)
                if any(one.has(trace.service_type, trace.resource_type, trace.trace_name) for one in wanted):
                    await self._send(record)
                    await self.door.remember(str(number).encode())
                    remembered = number
                position = number
            if records:
                continue
            if position != remembered:
                await self.door.remember(str(position).encode())
                remembered = position
            await feed.wait()

    async def _send(self, record: bytes) -> None:
        while True:
            try:
                await self.door.enqueue(b'{"cts":' + record + b"}")
            except FunctionOff as error:
                self.door.note(f"waiting: {error}")
                await trio.sleep(_OFF_S)
                continue
            except BadEvent as error:
                self.door.count("too_large")
                self.door.note(f"left out: {error}")
            else:
                self.door.count("traces")
                self.door.note("")
            return


def parse(text: str, field: str) -> Wanted:
    """One of `operations`.

    Raises:
        BadTriggerConfig: it has not the form.
    """
    parts = [[plain(name) for name in part.split(";")] for part in text.split(":")]
    if len(parts) != 3 or len(parts[0]) != 1 or not all(name for part in parts for name in part):
        raise BadTriggerConfig(field, "must be service:resource;resource:operation;operation", _MALFORMED)
    [service], resources, operations = parts
    for names in (resources, operations):
        if len(set(names)) < len(names):
            raise BadTriggerConfig(field, "names something twice", _TWICE)
    return Wanted(service, frozenset(resources), frozenset(operations))


def plain(name: str) -> str:
    """A name as it is compared: `Function version`, `FunctionVersions` and `functionversion` are one."""
    text = re.sub(r"[\s_]", "", name).lower()
    for ending, other in (("aliases", "alias"), ("ies", "y")):
        if text.endswith(ending):
            return text.removesuffix(ending) + other
    return text if text.endswith("alias") else text.removesuffix("s")


def _check_known(wanted: Wanted, field: str, known: Collection[tuple[str, str, str]]) -> None:
    services = {service for service, _, _ in known}
    mine = [one for one in known if wanted.service in (ALL, plain(one[0]))]
    if not mine:
        raise BadTriggerConfig(field, f"the service must be one of {', '.join(sorted(services))}", _UNKNOWN)
    resources = {plain(resource): resource for _, resource, _ in mine}
    for resource in wanted.resources - {ALL}:
        if resource not in resources:
            text = ", ".join(sorted(resources.values()))
            raise BadTriggerConfig(field, f"there is no resource {resource!r}; there are {text}", _UNKNOWN)
    names = {plain(name): name for _, resource, name in mine if wanted.resources & {ALL, plain(resource)}}
    for operation in wanted.operations - {ALL}:
        if operation not in names:
            text = ", ".join(sorted(names.values()))
            raise BadTriggerConfig(field, f"there is no operation {operation!r}; there are {text}", _UNKNOWN)


@hookimpl
def fgd_trigger_types() -> list[type[CtsTrigger]]:
    return [CtsTrigger]
