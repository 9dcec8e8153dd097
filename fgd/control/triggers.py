"""Triggers of functions: create, list, change, switch on and off, delete (user guide, section 5.1).

A trigger belongs to `latest`, to a version, or to an alias. It is stored first, then it runs; one that goes is stopped
first. Its secret settings are stored encrypted and shown to nobody.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

import msgspec
import trio

from fgd.clock import new_request_id
from fgd.control import rules
from fgd.control.apis import Apis
from fgd.control.claims import Claims
from fgd.control.functions import Functions, Secrets
from fgd.control.kinds import Kind, check_kinds
from fgd.control.variables import MASK
from fgd.errors import (
    AliasHasTriggers,
    BadParameter,
    BadTriggerType,
    FgdError,
    NotBuilt,
    PlatformError,
    RequestError,
    TooManyTriggers,
    TriggerNotFound,
)
from fgd.invoke.resolve import Directory
from fgd.model import Alias, Function
from fgd.store.triggers import Trigger, TriggerStore
from fgd.trigger import Door, Place, Sources, TriggerType
from fgd.urn import LATEST, FunctionUrn

log = logging.getLogger(__name__)

PULLS_MAX: Final = 10
#: Types of the cloud for which there is no plugin here.
KNOWN_CODES: Final = (
    "TIMER", "APIG", "DEDICATEDGATEWAY", "APIC", "CTS", "DDS", "GAUSSMONGO", "DMS", "DIS", "LTS", "OBS", "SMN", "KAFKA",
    "OPENSOURCEKAFKA", "RABBITMQ", "ROCKETMQ", "EVENTGRID", "IOTDA",
)  # fmt: skip
#: The setting that names a log stream, in all types that read one.
STREAM_FIELD: Final = "log_topic_id"
_EVENT_DATA_MAX_BYTES: Final = 64 * 1024
_SWEEP_S: Final = 0.2
#: After a disk that failed.
_AGAIN_S: Final = 1.0


class Host(Protocol):
    """Runs triggers; the real thing is `fgd.trigger_host.TriggerHost`."""

    def start(self, trigger_id: str, plugin: str, make: Callable[[], TriggerType[Any]]) -> None: ...
    async def stop(self, trigger_id: str) -> None: ...


class Doors(Protocol):
    """Makes the door of a trigger."""

    def open(self, trigger: Trigger, place: Place) -> Door: ...
    def forget(self, trigger_id: str) -> None: ...
    def sources(self, place: Place) -> Sources: ...


class Listeners(Protocol):
    """Knows which triggers listen to which topics; the real thing is `fgd.control.topics.Topics`."""

    def check_topics(self, project_id: str, urns: Sequence[str]) -> None:
        """Raises TopicNotFound for one that is not there, Forbidden for one of another project."""

    def missing(self, urns: Sequence[str]) -> frozenset[str]:
        """Those that are not there."""

    def listens(self, trigger_id: str, place: Place | None, urns: Sequence[str]) -> None:
        """From now on the trigger listens to these, and to nothing where there is no place."""


class Triggers:
    """The operations on triggers."""

    def __init__(
        self,
        functions: Functions,
        directory: Directory,
        store: TriggerStore,
        secrets: Secrets,
        kinds: Iterable[tuple[str, type[TriggerType[Any]]]],
        host: Host,
        doors: Doors,
        region: str,
        now_s: Callable[[], float],
        apis: Apis,
        topics: Listeners,
        time_zone: str = "UTC",
        report: Callable[[str, str], None] = lambda plugin, error: None,
    ) -> None:
        """
        Args:
            kinds: (plugin, class), those that have precedence first.
            report: told of what is wrong with a plugin.
        """
        self._topics = topics
        self._functions = functions
        self._directory = directory
        self._store = store
        self._secrets = secrets
        self._host = host
        self._doors = doors
        self._region = region
        self._now_s = now_s
        self._apis = apis
        self._claims = Claims()
        self._time_zone = time_zone
        self.kinds = check_kinds(kinds, report)
        self._all: dict[str, Trigger] = {}
        #: The same by function and id: a node has tens of thousands of triggers, a function has ten.
        self._by_function: dict[str, dict[str, Trigger]] = {}
        directory.subscribe(self._function_changed)
        directory.subscribe_aliases(self._alias_changed)
        self._gone: list[Trigger] = []

    async def load(self) -> None:
        """Reads the stored triggers and starts those that are switched on."""
        for trigger in await self._store.all():
            self._keep(trigger)
            try:
                self._publish(trigger)
            except FgdError as error:
                # Stored by another version of the plugin; the trigger's own start says what is wrong with it.
                log.error("trigger %s: its API is not there: %s", trigger.trigger_id, error)
            self._start(trigger)

    def of(self, urn: FunctionUrn) -> list[Trigger]:
        """Triggers of exactly the version or alias that the URN names."""
        function = self._directory.resolve(urn)
        return self._of(function.func_id, urn.qualifier)

    def listeners(self, stream_id: str) -> set[str]:
        """Ids of functions that have a trigger on a log stream, switched on or off."""
        return {one.func_id for one in self._all.values() if one.event_data.get(STREAM_FIELD) == stream_id}

    @property
    def secret_names(self) -> set[str]:
        """Secret settings of all types."""
        return {name for kind in self.kinds.values() for name in kind.type.secrets}

    def of_project(self, project_id: str) -> list[Trigger]:
        """All triggers of a project, oldest first; none of a function that is gone, whose triggers end in a moment."""
        owners = ((trigger, self._directory.by_id(trigger.func_id)) for trigger in self._all.values())
        mine = [trigger for trigger, owner in owners if owner is not None and owner.project_id == project_id]
        return sorted(mine, key=lambda trigger: (trigger.created_s, trigger.trigger_id))

    def show(self, urn: FunctionUrn, code: str, trigger_id: str) -> Trigger:
        """One trigger.

        Raises:
            TriggerNotFound: the function has none of that type and id.
        """
        function = self._directory.resolve(urn)
        trigger = self._all.get(trigger_id)
        if trigger is None or trigger.func_id != function.func_id or trigger.code != code.upper():
            kind = self.kinds.get(code.upper())
            raise _Missing(
                TriggerNotFound.code if kind is None else kind.type.missing_code,
                f"trigger_id: the function {function.name!r} has no {code[:32]} trigger {trigger_id[:64]!r}",
            )
        return trigger

    async def create(self, urn: FunctionUrn, body: Mapping[str, object]) -> Trigger:
        """Makes a trigger; it runs when this returns, if it is switched on.

        Raises:
            BadTriggerType, BadTriggerConfig, TooManyTriggers: see the messages; another trigger with the same identity
                is an error with the type's own code.
        """
        kind = self._kind(body.get("trigger_type_code"))
        async with self._functions.locked(urn.key):
            function = self._directory.resolve(urn)
            trigger_id = new_request_id()
            data = _object(body.get("event_data"))
            status = _status(kind.type, body.get("trigger_status")) or kind.type.starts
            now_s = self._now_s()
            place = self._place(trigger_id, function, urn.qualifier, now_s)
            settings = kind.parse(data, place)
            kind.admit(settings, place, self._doors.sources(place))
            neighbours = self._of(function.func_id, urn.qualifier)
            self._check_neighbours(kind, settings, neighbours, place)
            self._topics.check_topics(place.project_id, kind.topics(settings))
            trigger = self._sealed(
                kind.type,
                Trigger(
                    trigger_id=trigger_id, func_id=function.func_id, qualifier=urn.qualifier, code=kind.type.code,
                    status=status, event_data=data, created_s=now_s, updated_s=now_s,
                ),
            )  # fmt: skip
            with trio.CancelScope(shield=True):
                try:
                    self._take(kind, settings, place)
                    await self._store.put(trigger)
                except BaseException:
                    self._leave(trigger_id)
                    raise
                self._keep(trigger)
                self._start(trigger)
        return trigger

    async def update(self, urn: FunctionUrn, code: str, trigger_id: str, body: Mapping[str, object]) -> Trigger:
        """Changes settings, state, or both; what is absent stays. A running trigger starts anew with the new ones.

        Raises:
            as `create`, and TriggerNotFound.
        """
        async with self._functions.locked(urn.key):
            old = self.show(urn, code, trigger_id)
            kind = self._kind(old.code)
            status = _status(kind.type, body.get("trigger_status")) or old.status
            data = _changed_data(self._opened(old), body.get("event_data"), kind.type.secrets)
            place = self.place_of(old)
            settings = kind.parse(data, place)
            kind.admit(settings, place, self._doors.sources(place))
            others = [one for one in self._of(old.func_id, old.qualifier) if one.trigger_id != trigger_id]
            self._check_neighbours(kind, settings, others, place, counts=False)
            if kind.topics(settings) != kind.topics(kind.parse(self._opened(old), place)):
                self._topics.check_topics(place.project_id, kind.topics(settings))
            new = self._sealed(
                kind.type, msgspec.structs.replace(old, status=status, event_data=data, updated_s=self._now_s())
            )
            with trio.CancelScope(shield=True):
                try:
                    self._take(kind, settings, place)
                    await self._store.put(new)
                except BaseException:
                    self._publish(old)
                    raise
                self._keep(new)
                await self._host.stop(trigger_id)
                self._start(new)
        return new

    async def delete(self, urn: FunctionUrn, code: str, trigger_id: str) -> None:
        """Ends and deletes one.

        Raises:
            TriggerNotFound
        """
        async with self._functions.locked(urn.key):
            await self._delete([self.show(urn, code, trigger_id)])

    async def delete_all(self, urn: FunctionUrn) -> None:
        """Ends and deletes all of a version or alias; without one, or with `latest`, all of the function."""
        async with self._functions.locked(urn.key):
            function = self._directory.resolve(urn)
            await self._delete(self._of(function.func_id, "" if urn.qualifier == LATEST else urn.qualifier))

    def check_alias_free(self, alias: Alias) -> None:
        """Raises AliasHasTriggers for an alias that has triggers."""
        if self._of(alias.func_id, f"!{alias.name}"):
            raise AliasHasTriggers(f"alias_name: the alias {alias.name!r} has triggers; delete them first")

    def shown(self, trigger: Trigger) -> dict[str, object]:
        """`event_data` as answers carry it: as it was sent, secrets masked, with what the type adds."""
        kind = self.kinds.get(trigger.code)
        data = dict(trigger.event_data)
        if kind is None:
            return data
        if trigger.sealed:
            data |= dict.fromkeys(sorted(self._secret(trigger)), MASK)
        place = self.place_of(trigger)
        # What another version of the plugin stored is shown as it is; its start says what is wrong with it.
        with contextlib.suppress(FgdError):
            settings = kind.parse(self._opened(trigger), place)
            missing = self._topics.missing(kind.topics(settings))
            data |= kind.shown(settings, replace(place, missing_topics=missing))
        return data | self._apis.shown(trigger.trigger_id)

    async def sweep(self) -> None:
        """Ends what lost its function, version or alias; runs until cancelled."""
        while True:
            if self._gone:
                gone, self._gone = self._gone, []
                try:
                    await self._delete(gone)
                except PlatformError as error:
                    log.error("triggers of what is deleted stay for now: %s", error)
                    self._gone += gone
                    await trio.sleep(_AGAIN_S)
            await trio.sleep(_SWEEP_S)

    def _of(self, func_id: str, qualifier: str = "") -> list[Trigger]:
        of_function = self._by_function.get(func_id, {}).values()
        found = [one for one in of_function if qualifier in ("", one.qualifier)]
        return sorted(found, key=lambda trigger: (trigger.created_s, trigger.trigger_id))

    def _keep(self, trigger: Trigger) -> None:
        self._all[trigger.trigger_id] = trigger
        self._by_function.setdefault(trigger.func_id, {})[trigger.trigger_id] = trigger
        self._listens(trigger)

    def _drop(self, trigger: Trigger) -> None:
        self._topics.listens(trigger.trigger_id, None, ())
        self._all.pop(trigger.trigger_id, None)
        of_function = self._by_function.get(trigger.func_id, {})
        of_function.pop(trigger.trigger_id, None)
        if not of_function:
            self._by_function.pop(trigger.func_id, None)

    async def _delete(self, triggers: list[Trigger]) -> None:
        with trio.CancelScope(shield=True):
            for trigger in triggers:
                self._leave(trigger.trigger_id)
                await self._host.stop(trigger.trigger_id)
            await self._store.delete(triggers)
            for trigger in triggers:
                self._drop(trigger)
                self._doors.forget(trigger.trigger_id)

    def _kind(self, code: object) -> Kind:
        kind = self.kinds.get(code.upper()) if isinstance(code, str) else None
        if kind is not None:
            return kind
        have = ", ".join(sorted(self.kinds)) or "none"
        if isinstance(code, str) and code.upper() in KNOWN_CODES:
            raise NotBuilt(f"trigger_type_code: no plugin here brings {code.upper()}; there are {have}")
        raise BadTriggerType(f"trigger_type_code: must be one of {have}, not {rules.shown(code)}")

    def _start(self, trigger: Trigger) -> None:
        kind = self.kinds.get(trigger.code)
        if trigger.status != "ACTIVE" or kind is None:
            return

        def make() -> TriggerType[Any]:
            place = self.place_of(trigger)
            settings = kind.type.parse(self._opened(trigger), place)
            return kind.type(settings, self._doors.open(trigger, place))

        self._host.start(trigger.trigger_id, kind.plugin, make)

    def _publish(self, trigger: Trigger) -> None:
        kind = self.kinds.get(trigger.code)
        if kind is not None:
            place = self.place_of(trigger)
            settings = kind.parse(self._opened(trigger), place)
            self._take(kind, settings, place)

    def _take(self, kind: Kind, settings: Any, place: Place) -> None:
        """What is the trigger's alone from now on; raises where another one has it."""
        self._claims.take(kind, settings, place)
        self._apis.claim(place.trigger_id, place, kind.routes(settings, place))

    def _leave(self, trigger_id: str) -> None:
        self._claims.leave(trigger_id)
        self._apis.withdraw(trigger_id)

    def _listens(self, trigger: Trigger) -> None:
        """Tells which topics it listens to, if its settings can be read."""
        kind = self.kinds.get(trigger.code)
        if kind is None or self._directory.by_id(trigger.func_id) is None:
            return
        place = self.place_of(trigger)
        with contextlib.suppress(FgdError):
            urns = kind.topics(kind.parse(self._opened(trigger), place))
            self._topics.listens(trigger.trigger_id, place, urns)

    def _check_neighbours(
        self,
        kind: Kind,
        settings: Any,
        neighbours: list[Trigger],
        place: Place,
        *,
        counts: bool = True,
    ) -> None:
        pulls = [one for one in neighbours if one.code in self.kinds and self.kinds[one.code].type.pulls]
        if counts and kind.type.pulls and len(pulls) >= PULLS_MAX:
            raise TooManyTriggers(
                f"trigger_type_code: {place.function_name} {place.qualifier} has {PULLS_MAX} triggers of types that"
                " count; delete one first"
            )
        identity = kind.identity(settings)
        for other in neighbours:
            if identity and other.code == kind.type.code:
                known = kind.identity(kind.parse(self._opened(other), place))
                if known == identity:
                    raise _Taken(
                        kind.type.exists_code,
                        f"event_data: the function has a {kind.type.code} trigger {identity!r} already",
                    )

    def _place(self, trigger_id: str, function: Function, qualifier: str, since_s: float) -> Place:
        urn = FunctionUrn(function.project_id, function.package, function.name, qualifier)
        return Place(
            trigger_id,
            function.project_id,
            self._region,
            function.name,
            function.package,
            qualifier,
            urn.text(self._region),
            since_s,
            self._time_zone,
        )

    def place_of(self, trigger: Trigger) -> Place:
        """Where a trigger is."""
        return self._place(trigger.trigger_id, self._owner(trigger), trigger.qualifier, trigger.updated_s)

    def _owner(self, trigger: Trigger) -> Function:
        return self._functions.by_id(trigger.func_id)

    def _sealed(self, kind: type[TriggerType[Any]], trigger: Trigger) -> Trigger:
        """Moves the secret settings out of `event_data` into the ciphertext."""
        secret = {name: value for name, value in trigger.event_data.items() if name in kind.secrets}
        plain = {name: value for name, value in trigger.event_data.items() if name not in kind.secrets}
        text = msgspec.json.encode(secret).decode()
        sealed = self._secrets.encrypt(text, f"trigger {trigger.trigger_id}") if secret else ""
        return msgspec.structs.replace(trigger, event_data=plain, sealed=sealed)

    def _secret(self, trigger: Trigger) -> dict[str, object]:
        if not trigger.sealed:
            return {}
        text = self._secrets.decrypt(trigger.sealed, f"trigger {trigger.trigger_id}")
        return msgspec.json.decode(text, type=dict[str, object])

    def _opened(self, trigger: Trigger) -> dict[str, object]:
        return {**trigger.event_data, **self._secret(trigger)}

    def _function_changed(self, old: Function | None, new: Function | None) -> None:
        if old is not None and new is None:
            qualifier = "" if old.version == LATEST else old.version
            self._gone += self._of(old.func_id, qualifier)

    def _alias_changed(self, old: Alias | None, new: Alias | None) -> None:
        if old is not None and new is None:
            self._gone += self._of(old.func_id, f"!{old.name}")


class _Taken(RequestError):
    """409, with the code of the trigger's type."""

    status_hint = 409

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # each trigger type has its own


class _Missing(TriggerNotFound):
    """404, with the code of the trigger's type."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # each trigger type has its own


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise BadParameter(f"event_data: must be an object, not {rules.shown(value)}")
    if len(msgspec.json.encode(value)) > _EVENT_DATA_MAX_BYTES:
        raise BadParameter(f"event_data: must be at most {_EVENT_DATA_MAX_BYTES} bytes of JSON")
    return value


def _status(kind: type[TriggerType[Any]], value: object) -> Any:
    if value in (None, ""):
        return None
    if value not in ("ACTIVE", "DISABLED"):
        raise BadParameter(f"trigger_status: must be ACTIVE or DISABLED, not {rules.shown(value)}")
    if value == "DISABLED" and not kind.may_be_disabled:
        raise BadParameter(f"trigger_status: a trigger of type {kind.code} cannot be disabled, only deleted")
    return value


def _changed_data(old: Mapping[str, object], value: object, secrets: frozenset[str]) -> dict[str, object]:
    """The settings after an update. Terraform sends the whole object, the SDK a list with what changes."""
    if value is None or value == []:
        return dict(old)
    if isinstance(value, list):
        if len(value) != 1 or not isinstance(value[0], dict):
            raise BadParameter("event_data: must be an object, or a list of one object")
        return {**old, **{name: one for name, one in value[0].items() if one is not None}}
    sent = _object(value)
    kept = {name: one for name, one in old.items() if name in secrets and sent.get(name) in (None, "", MASK)}
    return {**sent, **kept}
