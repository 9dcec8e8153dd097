"""Temporary credentials of agencies: made ahead, handed to functions, made anew when half of their time is over.

Theory of operation: each agency has one set at a time that is handed out, so an invocation costs no more than a look
into a dictionary. What a function gets is good for at least half of the lifetime (12 of 24 hours). An older set is
accepted until it expires, over restarts too: secret keys are stored encrypted, tokens as digests. Nobody can read
those again, so every start hands out a new set.

What a set is good for is not part of it: the keyring asks for the rights of its agency at each use.
"""

import hashlib
import logging
import secrets
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

import msgspec
import trio

from fgd.call import CallOptions
from fgd.errors import StorageFull
from fgd.invoke.extras import encoded, extras_of
from fgd.model import Agency, Function
from fgd.store.agencies import AgencyStore
from fgd.store.api import AgencyKey

log = logging.getLogger(__name__)

_ACCESS_KEY_CHARS: Final = string.ascii_uppercase + string.digits
_SECRET_KEY_CHARS: Final = string.ascii_letters + string.digits
_EXTRAS_MAX: Final = 4096
_LOOK_S: Final = 60.0
_NOTHING: Final[Mapping[str, str]] = {}


class Keys(Protocol):
    """What is asked of the keyring; the real thing is `fgd.auth.keyring.Keyring`."""

    def add_agency_key(self, key: AgencyKey) -> None: ...


class _Set(msgspec.Struct, frozen=True):
    """What is handed out now: by the names of the extras. Never shown."""

    values: Mapping[str, str]
    #: When another set takes its place, epoch seconds.
    renew_s: float

    def __repr__(self) -> str:
        return "_Set(...)"


class Handout:
    """Makes credentials and tells what goes to a function with an invocation: an `ExtrasOf`, and the same for INIT."""

    def __init__(self, store: AgencyStore, keyring: Keys, now_s: Callable[[], float], ttl_s: float) -> None:
        self._store = store
        self._keyring = keyring
        self._now_s = now_s
        self._ttl_s = ttl_s
        self._agencies: dict[tuple[str, str], Agency] = {}
        self._sets: dict[tuple[str, str], _Set] = {}
        #: (project, agency, alias, asynchronous) -> extras.
        self._extras: dict[tuple[str, str, str, bool], bytes] = {}

    async def open(self, agencies: Iterable[Agency]) -> None:
        """Takes the valid credentials of earlier runs into the keyring, which knows the agencies already, and makes
        new ones for every agency."""
        for key in await self._store.keys(self._now_s()):
            self._keyring.add_agency_key(key)
        self._agencies = {(one.project_id, one.name): one for one in agencies}
        await self.renew()

    async def run(self) -> None:
        """Makes credentials anew before they expire; runs until it is cancelled."""
        while True:
            await trio.sleep(min(_LOOK_S, self._ttl_s / 10))
            await self.renew()

    async def renew(self) -> None:
        """Makes new sets for the agencies whose time it is. On a full disk the old ones stay, and it is tried again."""
        now_s = self._now_s()
        due = [name for name in self._agencies if name not in self._sets or self._sets[name].renew_s <= now_s]
        made = [self.make(self._agencies[name]) for name in due]
        if not made:
            return
        try:
            await self._store.add_keys([key for key, _ in made], now_s)
        except StorageFull as error:
            log.warning("credentials of %d agencies were not renewed: %s", len(due), error)
            return
        for key, values in made:
            if (key.project_id, key.agency) in self._agencies:
                self.put(self._agencies[key.project_id, key.agency], key, values)

    def make(self, agency: Agency) -> tuple[AgencyKey, Mapping[str, str]]:
        """A set that nobody knows yet: what is stored of it, and what is handed out."""
        access_key = "".join(secrets.choice(_ACCESS_KEY_CHARS) for _ in range(20))
        secret_key = "".join(secrets.choice(_SECRET_KEY_CHARS) for _ in range(40))
        security_token, auth_token = secrets.token_urlsafe(48), secrets.token_urlsafe(48)
        key = AgencyKey(
            access_key=access_key,
            secret_key=secret_key,
            project_id=agency.project_id,
            agency=agency.name,
            security_digest=_digest(security_token),
            token_digest=_digest(auth_token),
            expires_s=self._now_s() + self._ttl_s,
        )
        return key, {
            "access_key": access_key,
            "secret_key": secret_key,
            "security_access_key": access_key,
            "security_secret_key": secret_key,
            "security_token": security_token,
            "auth_token": auth_token,
        }

    def put(self, agency: Agency, key: AgencyKey, values: Mapping[str, str]) -> None:
        """Hands out a set that is stored; the keyring must know its agency."""
        name = (agency.project_id, agency.name)
        self._agencies[name] = agency
        self._keyring.add_agency_key(key)
        self._sets[name] = _Set(values, key.expires_s - self._ttl_s / 2)
        self._extras.clear()

    def forget(self, agency: Agency) -> None:
        """Hands out nothing of an agency any more."""
        self._agencies.pop((agency.project_id, agency.name), None)
        self._sets.pop((agency.project_id, agency.name), None)
        self._extras.clear()

    def extras(self, function: Function, options: CallOptions, async_: bool) -> bytes:
        """See `fgd.invoke.extras.ExtrasOf`."""
        agency = function.app_xrole or function.xrole
        if not agency:
            # What nearly all calls are, told without another step.
            return extras_of(function, options, async_) if async_ or options.alias else b""
        key = (function.project_id, agency, options.alias, async_)
        found = self._extras.get(key)
        if found is None:
            if len(self._extras) >= _EXTRAS_MAX:
                self._extras.clear()
            found = self._extras[key] = encoded(options.alias, async_, self.credentials(function))
        return found

    def credentials(self, function: Function) -> Mapping[str, str]:
        """What a function gets now, by the names of the extras; empty without an agency."""
        known = self._sets.get((function.project_id, function.agency))
        return _NOTHING if known is None else known.values


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("ascii")).hexdigest()
