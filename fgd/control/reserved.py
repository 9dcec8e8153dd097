"""Reservations: which versions and aliases have instances that are kept, and with which policies.

What they come to at a moment is `fgd.control.planner`'s business, which listens here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Protocol

import trio

from fgd.control.functions import Functions
from fgd.control.reserved_fields import is_nothing, parse_reservation
from fgd.errors import Conflict, TooManyReserved
from fgd.invoke.resolve import Directory
from fgd.model import UNLIMITED, Alias, Function, Reservation
from fgd.urn import FunctionUrn

#: Of the memory that the node may promise, so much in all may be reserved: the rest is for what is made on demand.
SHARE: Final = 0.9


class Store(Protocol):
    """Reservations on disk; the real thing is `fgd.store.reservations.ReservationStore`."""

    async def put(self, reservation: Reservation) -> None: ...
    async def delete(self, func_id: str, qualifier: str) -> None: ...


class Reservations:
    """All reservations, in memory and in the store."""

    def __init__(
        self,
        functions: Functions,
        directory: Directory,
        store: Store,
        now_s: Callable[[], float],
        reservations: Iterable[Reservation],
        *,
        memory_mib: int,
        instances: int,
    ) -> None:
        """
        Args:
            reservations: what the store had at the start.
            memory_mib: that instances of the node may be promised in all.
            instances: that the node may have.
        """
        self._functions = functions
        self._directory = directory
        self._store = store
        self._now_s = now_s
        self.memory_mib = int(memory_mib * SHARE)
        self.instances_max = int(instances * SHARE)
        self._all = {(one.func_id, one.qualifier): one for one in reservations}
        self._listeners: list[Callable[[], None]] = []
        #: One at a time, because what all of them need must fit on the node.
        self._lock = trio.Lock()
        directory.subscribe(self._forget)
        directory.subscribe_aliases(self._forget_alias)

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Has every later change told to `listener`."""
        self._listeners.append(listener)

    def __iter__(self) -> Iterator[Reservation]:
        return iter(list(self._all.values()))

    def of(self, func_id: str, qualifier: str) -> Reservation | None:
        """The reservation of a version, or of an alias (with its leading `!`)."""
        return self._all.get((func_id, qualifier))

    def of_version(self, function: Function) -> Reservation | None:
        """The reservation whose instances are of this version: its own, or that of the alias it is the main version
        of."""
        found = self.of(function.func_id, function.version)
        if found is None:
            for alias in self._directory.aliases(function.func_id):
                if alias.version == function.version:
                    found = found or self.of(function.func_id, f"!{alias.name}")
        return found

    def version(self, reservation: Reservation) -> Function | None:
        """The version that the instances of a reservation are of."""
        name = reservation.qualifier
        if reservation.alias:
            alias = self._directory.alias(reservation.func_id, reservation.alias)
            if alias is None:
                return None
            name = alias.version
        return self._directory.version(reservation.func_id, name)

    def list(self, project_id: str, urn: FunctionUrn | None = None) -> list[Reservation]:
        """Those of a project, or of one function whatever the URN's qualifier, by function and qualifier."""
        functions = [self._directory.resolve(urn)] if urn else self._directory.list(project_id)
        order = {function.func_id: place for place, function in enumerate(functions)}
        found = [one for one in self._all.values() if one.func_id in order]
        return sorted(found, key=lambda one: (order[one.func_id], one.qualifier))

    def reserved(self, project_id: str) -> int:
        """Instances that reservations of a project may come to: what counts against `instances_max` of the node."""
        return sum(max(1, one.most) for one in self.list(project_id))

    async def put(self, urn: FunctionUrn, body: Mapping[str, object]) -> Reservation:
        """Sets what is reserved for the version or alias that the URN names; a count of 0 without policies takes the
        reservation away.

        Args:
            body: the JSON object of the request.

        Raises:
            BadParameter: a field, named.
            TooManyReserved: more than the function or the node may have.
            Conflict: the alias's main version has a reservation, or the version's alias has one.
        """
        async with self._functions.locked(urn.key), self._lock:
            function = self._directory.resolve(urn)
            old = self.of(function.func_id, urn.qualifier)
            new = parse_reservation(body, function.func_id, urn.qualifier, old, self._now_s())
            key = (new.func_id, new.qualifier)
            if is_nothing(new):
                if old is not None:
                    with trio.CancelScope(shield=True):
                        await self._store.delete(*key)
                        self._all.pop(key, None)
                        self._tell()
                return new
            self._check_alone(function, new)
            self._check_room(function, new)
            with trio.CancelScope(shield=True):
                await self._store.put(new)
                self._all[key] = new
                self._tell()
        return new

    def check_move(self, old: Alias, new: Alias) -> None:
        """Whether an alias may change so.

        Raises:
            Conflict: both it and its new main version have reservations.
        """
        if self.of(old.func_id, f"!{old.name}") and self.of(old.func_id, new.version):
            raise Conflict(
                f"version: {new.version} has reserved instances of its own, and so has the alias {old.name}; set the"
                " count of one of them to 0 first"
            )

    def _check_alone(self, function: Function, new: Reservation) -> None:
        if new.alias:
            if self.of(function.func_id, function.version):
                raise Conflict(
                    f"function_urn: version {function.version} has reserved instances, so its alias {new.alias} can"
                    " have none; set the count of the version to 0 first"
                )
            return
        for alias in self._directory.aliases(function.func_id):
            if alias.version == new.qualifier and self.of(function.func_id, f"!{alias.name}"):
                raise Conflict(
                    f"function_urn: the alias {alias.name} of version {new.qualifier} has reserved instances, so the"
                    " version can have none of its own; set the count of the alias to 0 first"
                )

    def _check_room(self, function: Function, new: Reservation) -> None:
        field = "count" if new.count == new.most else "tactics_config"
        if function.max_instances not in (UNLIMITED, 0) and new.most > function.max_instances:
            raise TooManyReserved(
                f"{field}: must be at most the instances that the function may have, {function.max_instances}, not"
                f" {new.most}"
            )
        # What only policies with zeros would need still takes part: each reservation costs something.
        instances, memory_mib = max(1, new.most), max(1, new.most) * function.memory_mib
        for other in self._all.values():
            version = self.version(other)
            if (other.func_id, other.qualifier) != (new.func_id, new.qualifier) and version is not None:
                instances += max(1, other.most)
                memory_mib += max(1, other.most) * version.memory_mib
        if memory_mib > self.memory_mib or instances > self.instances_max:
            raise TooManyReserved(
                f"{field}: with this the node would have {instances} reserved instances of {memory_mib} MB; it may have"
                f" {self.instances_max} of {self.memory_mib} MB in all"
            )

    def _forget(self, old: Function | None, new: Function | None) -> None:
        """A listener of `Directory`; the catalog drops the row with the version."""
        if old is not None and new is None:
            self._all.pop((old.func_id, old.version), None)
        self._tell()

    def _forget_alias(self, old: Alias | None, new: Alias | None) -> None:
        if old is not None and new is None:
            self._all.pop((old.func_id, f"!{old.name}"), None)
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
