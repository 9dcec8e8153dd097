"""Agencies: named permissions that functions are given; made, changed and deleted by administrators."""

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
import trio

from fgd.auth.actions import ACTIONS, BUILTIN
from fgd.auth.policy import Policy, Rights, parse_policy
from fgd.control.handout import Handout
from fgd.control.rules import shown, text_of
from fgd.errors import AgencyInUse, BadParameter, Conflict, NotFound
from fgd.invoke.resolve import Directory
from fgd.model import Agency
from fgd.store.agencies import AgencyStore

log = logging.getLogger(__name__)

POLICIES_MAX: Final = 20
DESCRIPTION_MAX_CHARS: Final = 255
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\Z")
_FIELDS: Final = ("name", "description", "policies", "project_id")
_SHOWN_USERS: Final = 5


class Owners(Protocol):
    """What is asked of the keyring; the real thing is `fgd.auth.keyring.Keyring`."""

    def put_agency(self, project_id: str, name: str, rights: Rights) -> None: ...
    def remove_agency(self, project_id: str, name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Known:
    """An agency with what its policies come to."""

    agency: Agency
    rights: Rights
    #: What its documents say of other services: it has no effect.
    without_effect: tuple[str, ...]


class Roster:
    """All agencies in memory. The store is changed first, then this."""

    def __init__(self, agencies: Iterable[Agency] = ()) -> None:
        self._known: dict[tuple[str, str], Known] = {}
        for agency in agencies:
            try:
                self.put(known(agency))
            except BadParameter as error:
                # Stored by a version that knew more: whoever has it may do nothing, rather than too much.
                log.error("the agency %s of project %s allows nothing: %s", agency.name, agency.project_id, error)
                self.put(Known(agency, Rights(()), ()))

    def get(self, project_id: str, name: str) -> Known | None:
        return self._known.get((project_id, name))

    def has(self, project_id: str, name: str) -> bool:
        """Whether a function of the project may be given that agency."""
        return (project_id, name) in self._known

    def list(self, project_id: str = "") -> list[Known]:
        """Those of a project by name; of all projects for ""."""
        return [one for key, one in sorted(self._known.items()) if project_id in ("", key[0])]

    def put(self, one: Known) -> None:
        self._known[one.agency.project_id, one.agency.name] = one

    def remove(self, one: Known) -> None:
        self._known.pop((one.agency.project_id, one.agency.name), None)


class Agencies:
    """The operations on agencies, one at a time."""

    def __init__(
        self,
        roster: Roster,
        store: AgencyStore,
        owners: Owners,
        handout: Handout,
        directory: Directory,
        settled: Callable[[], Awaitable[None]],
        now_s: Callable[[], float],
    ) -> None:
        """`settled` returns when all changes of functions that are under way are over."""
        self._roster = roster
        self._store = store
        self._owners = owners
        self._handout = handout
        self._directory = directory
        self._settled = settled
        self._now_s = now_s
        self._lock = trio.Lock()

    async def open(self) -> None:
        """Makes the agencies of the roster known to the keyring, then their credentials."""
        for one in self._roster.list():
            self._owners.put_agency(one.agency.project_id, one.agency.name, one.rights)
        await self._handout.open([one.agency for one in self._roster.list()])

    def show(self, project_id: str, name: str) -> Known:
        """One agency.

        Raises:
            NotFound: there is none of that name.
        """
        one = self._roster.get(project_id, name)
        if one is None:
            raise NotFound(f"agency_name: the project has no agency {name[:64]!r}")
        return one

    def users(self, agency: Agency) -> list[str]:
        """The functions that have it, in any version: `package:name`, sorted."""
        return sorted(
            {
                f"{version.package}:{version.name}"
                for version in self._directory.all_versions()
                if version.project_id == agency.project_id and agency.name in (version.xrole, version.app_xrole)
            }
        )

    def list(self, project_id: str) -> list[Known]:
        """The agencies of a project, by name."""
        return self._roster.list(project_id)

    async def create(self, project_id: str, body: Mapping[str, object]) -> Known:
        """A new agency with its first credentials.

        Raises:
            BadParameter: begins with the field.
            Conflict: the project has one of that name.
        """
        _refuse_unknown(body)
        name = body.get("name")
        if not isinstance(name, str) or not _NAME.match(name):
            raise BadParameter(
                f"name: must be 1 to 64 letters, digits, - _ and ., the first a letter, digit or _, not {shown(name)}"
            )
        now_s = self._now_s()
        agency = Agency(project_id=project_id, name=name, created_s=now_s)
        one = known(msgspec.structs.replace(agency, last_modified_s=now_s, **_parse(body)))
        async with self._lock:
            if self._roster.has(project_id, name):
                raise Conflict(f"name: the project has an agency {name!r} already")
            key, values = self._handout.make(one.agency)
            with trio.CancelScope(shield=True):
                await self._store.put(one.agency, key)
                self._owners.put_agency(project_id, name, one.rights)
                self._handout.put(one.agency, key, values)
                self._roster.put(one)
        return one

    async def update(self, project_id: str, name: str, body: Mapping[str, object]) -> Known:
        """Changes description or policies; what is not given stays. New policies hold for all that was handed out.

        Raises:
            NotFound: there is none.
            BadParameter: begins with the field.
        """
        _refuse_unknown(body)
        if body.get("name") not in (None, name):
            raise BadParameter("name: an agency cannot be renamed")
        values = _parse(body)
        async with self._lock:
            old = self.show(project_id, name).agency
            now_s = max(self._now_s(), old.last_modified_s)
            one = known(msgspec.structs.replace(old, last_modified_s=now_s, **values))
            with trio.CancelScope(shield=True):
                await self._store.put(one.agency)
                self._owners.put_agency(project_id, name, one.rights)
                self._roster.put(one)
        return one

    async def delete(self, project_id: str, name: str) -> None:
        """Deletes an agency; its credentials end with it.

        Raises:
            NotFound: there is none.
            AgencyInUse: a function has it.
        """
        async with self._lock:
            one = self.show(project_id, name)
            self._refuse_use(one.agency)
            # From here on no function can be given it; one that was just allowed to have it is waited for.
            self._roster.remove(one)
            try:
                await self._settled()
                self._refuse_use(one.agency)
                with trio.CancelScope(shield=True):
                    await self._store.delete(one.agency)
            except BaseException:
                self._roster.put(one)
                raise
            self._owners.remove_agency(project_id, name)
            self._handout.forget(one.agency)

    def _refuse_use(self, agency: Agency) -> None:
        users = self.users(agency)
        if users:
            more = f" and {len(users) - _SHOWN_USERS} more" if len(users) > _SHOWN_USERS else ""
            raise AgencyInUse(f"agency_name: {agency.name} is in use by {', '.join(users[:_SHOWN_USERS])}{more}")


def known(agency: Agency) -> Known:
    """An agency with its policies parsed.

    Raises:
        BadParameter: begins with the path of the field.
    """
    policies = [_policy(value, f"policies[{number}]") for number, value in enumerate(agency.policies)]
    ignored = tuple(text for policy in policies for text in policy.ignored)
    return Known(agency, Rights(policies), ignored)


def _policy(value: str | dict[str, object], where: str) -> Policy:
    if isinstance(value, str):
        if value not in BUILTIN:
            raise BadParameter(f"{where}: there is no policy {value[:60]!r}; there are {', '.join(sorted(BUILTIN))}")
        return parse_policy(BUILTIN[value], where, ACTIONS)
    return parse_policy(value, where, ACTIONS)


def _parse(body: Mapping[str, object]) -> dict[str, object]:
    """The fields of `Agency` that a request sets."""
    values: dict[str, object] = {}
    description = body.get("description")
    if description is not None:
        text = text_of("description", description)
        if len(text) > DESCRIPTION_MAX_CHARS:
            raise BadParameter(f"description: must be at most {DESCRIPTION_MAX_CHARS} characters, not {len(text)}")
        values["description"] = text
    policies = body.get("policies")
    if policies is not None:
        if not isinstance(policies, list) or len(policies) > POLICIES_MAX:
            raise BadParameter(f"policies: must be a list of at most {POLICIES_MAX} names and documents")
        for number, policy in enumerate(policies):
            if not isinstance(policy, str | dict):
                raise BadParameter(f"policies[{number}]: must be the name of a built-in policy or a document")
        values["policies"] = tuple(policies)
    return values


def _refuse_unknown(body: Mapping[str, object]) -> None:
    for name in body:
        if name not in _FIELDS:
            raise BadParameter(f"{name[:40]}: there is no such field; there are {', '.join(_FIELDS)}")
