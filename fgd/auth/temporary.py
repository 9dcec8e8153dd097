"""Temporary credentials in memory: whose they are is asked at every use, so that an agency's end is theirs too."""

import hashlib
import hmac
import math
from typing import Final

from fgd.auth.replay import ReplayGuard
from fgd.auth.signature import Headers
from fgd.errors import Unauthorized
from fgd.model import Principal, Rights
from fgd.store.api import AgencyKey

_SECURITY_TOKEN: Final = b"x-security-token"


class TemporaryKeys:
    """The credentials of all agencies. Those of an agency that is not here (any more) are good for nothing."""

    def __init__(self) -> None:
        #: (project, agency) -> who its credentials stand for.
        self._agencies: dict[tuple[str, str], Principal] = {}
        self._by_access_key: dict[str, tuple[AgencyKey, ReplayGuard]] = {}
        self._by_digest: dict[str, AgencyKey] = {}
        #: When the first of them expires, epoch seconds; before that there is none to look for.
        self._first_end_s = math.inf

    def put_agency(self, project_id: str, name: str, rights: Rights) -> None:
        """Makes an agency known, or changes its rights for all that was handed out."""
        self._agencies[project_id, name] = Principal(name=f"agency {name}", project_id=project_id, rights=rights)

    def remove_agency(self, project_id: str, name: str) -> None:
        """Forgets an agency with its credentials."""
        self._agencies.pop((project_id, name), None)
        self._forget(
            [key for key, _ in self._by_access_key.values() if (key.project_id, key.agency) == (project_id, name)]
        )

    def add(self, key: AgencyKey, now_s: float) -> None:
        """Makes credentials of a known agency known; those that have expired go at the same time.

        Those of an agency that was deleted meanwhile are left out: a later one of its name must not get them.
        """
        if self._first_end_s <= now_s:
            self._forget([one for one, _ in self._by_access_key.values() if one.expires_s <= now_s])
            self._first_end_s = min((one.expires_s for one, _ in self._by_access_key.values()), default=math.inf)
        if (key.project_id, key.agency) not in self._agencies:
            return
        self._by_access_key[key.access_key] = (key, ReplayGuard())
        self._by_digest[key.token_digest] = key
        self._first_end_s = min(self._first_end_s, key.expires_s)

    def by_digest(self, digest: str, now_s: float) -> tuple[Principal, float] | None:
        """Whose token that is (by its SHA-256) and until when (epoch seconds); None for one that is none of these.

        Raises:
            Unauthorized: expired.
        """
        key = self._by_digest.get(digest)
        if key is None:
            return None
        return self._owner(key, now_s, "X-Auth-Token"), key.expires_s

    def by_access_key(
        self, access_key: str, headers: Headers, now_s: float
    ) -> tuple[AgencyKey, Principal, ReplayGuard] | None:
        """The credentials with that access key, whose they are, and their guard; None where there are none.

        Raises:
            Unauthorized: expired, or their security token is not among the headers.
        """
        entry = self._by_access_key.get(access_key)
        if entry is None:
            return None
        key, guard = entry
        principal = self._owner(key, now_s, "Authorization")
        sent = [value.strip() for name, value in headers if name == _SECURITY_TOKEN]
        if len(sent) != 1:
            raise Unauthorized("X-Security-Token: must be sent once with a temporary access key")
        if not hmac.compare_digest(hashlib.sha256(sent[0]).hexdigest(), key.security_digest):
            raise Unauthorized("X-Security-Token: does not belong to this access key")
        return key, principal, guard

    def _owner(self, key: AgencyKey, now_s: float, header: str) -> Principal:
        principal = self._agencies.get((key.project_id, key.agency))
        if principal is None or key.expires_s <= now_s:
            raise Unauthorized(f"{header}: the temporary credentials have expired; take new ones from the context")
        return principal

    def _forget(self, keys: list[AgencyKey]) -> None:
        for key in keys:
            del self._by_access_key[key.access_key]
            del self._by_digest[key.token_digest]
