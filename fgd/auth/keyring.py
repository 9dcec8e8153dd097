"""Access keys and tokens in memory, and the one question about them: who sent this request?"""

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Final

from fgd.auth.replay import ReplayGuard
from fgd.auth.signature import Headers, SignedRequest, parse_authorization, verify
from fgd.auth.temporary import TemporaryKeys
from fgd.errors import Unauthorized
from fgd.model import Principal, Rights
from fgd.store.api import AccessKey, AgencyKey, Token

#: Raw tokens remembered with their principal, so that a request costs one look-up instead of a hash.
_TOKEN_CACHE_MAX: Final = 4096
#: A request to the object store, which looks at the signature itself.
_OF_S3: Final = re.compile(rb"AWS4-HMAC-SHA256\s+Credential=([^\s,/]{1,128})/")
_NOBODY = "no credentials: send a token in X-Auth-Token, or sign the request (Authorization: SDK-HMAC-SHA256 ...)"


class Keyring:
    """All credentials of this node. The daemon loads it from the catalog and keeps it up to date."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        """`now_s` gives epoch seconds (`Clock.time_s`)."""
        self._now_s = now_s
        self._keys: dict[str, tuple[AccessKey, Principal, ReplayGuard]] = {}
        self._tokens: dict[str, Token] = {}
        self._temporary = TemporaryKeys()
        #: raw token -> (principal, expiry in epoch seconds)
        self._raw: dict[bytes, tuple[Principal, float]] = {}

    def load(self, access_keys: Iterable[AccessKey], tokens: Iterable[Token]) -> None:
        """Adds what the catalog holds."""
        for key in access_keys:
            self.add_access_key(key)
        for token in tokens:
            self.add_token(token)

    def add_access_key(self, key: AccessKey) -> None:
        principal = Principal(name=key.name or key.access_key, project_id=key.project_id)
        known = self._keys.get(key.access_key)
        self._keys[key.access_key] = (key, principal, known[2] if known else ReplayGuard())

    def remove_access_key(self, access_key: str) -> None:
        """Forgets a key; unknown ones are fine."""
        self._keys.pop(access_key, None)

    def access_key(self, access_key: str) -> AccessKey | None:
        """The key of that id, for `POST /v3/auth/tokens`."""
        entry = self._keys.get(access_key)
        return entry[0] if entry else None

    def of_s3(self, access_key: str, headers: Headers) -> tuple[str, Principal] | None:
        """Secret key and owner of the key that a request to the object store is signed with; None for an unknown one.

        Raises:
            Unauthorized: expired, or a temporary one without its security token.
        """
        entry = self._keys.get(access_key)
        if entry is not None:
            return entry[0].secret_key, entry[1]
        renamed = [(b"x-security-token", value) for name, value in headers if name == b"x-amz-security-token"]
        found = self._temporary.by_access_key(access_key, renamed, self._now_s())
        return None if found is None else (found[0].secret_key, found[1])

    def add_token(self, token: Token) -> None:
        if len(self._tokens) >= 2 * _TOKEN_CACHE_MAX:
            now_s = self._now_s()
            self._tokens = {digest: one for digest, one in self._tokens.items() if one.expires_s > now_s}
        self._tokens[token.digest] = token

    def remove_token(self, digest: str) -> None:
        """Forgets a token by the SHA-256 (hex) of its text; unknown ones are fine."""
        self._tokens.pop(digest, None)
        self._raw.clear()

    def put_agency(self, project_id: str, name: str, rights: Rights) -> None:
        """Makes an agency known, or changes its rights; from now on for all credentials that it ever handed out."""
        self._temporary.put_agency(project_id, name, rights)
        self._raw.clear()

    def remove_agency(self, project_id: str, name: str) -> None:
        """Forgets an agency with all its credentials; an unknown one is fine."""
        self._temporary.remove_agency(project_id, name)
        self._raw.clear()

    def add_agency_key(self, key: AgencyKey) -> None:
        """Adds temporary credentials of an agency."""
        self._temporary.add(key, self._now_s())

    def by_token(self, raw: bytes) -> Principal:
        """Whose token that is.

        Raises:
            Unauthorized: unknown or expired.
        """
        known = self._raw.get(raw)
        if known is not None and known[1] > self._now_s():
            return known[0]
        return self._look_up(raw)

    def _look_up(self, raw: bytes) -> Principal:
        digest = hashlib.sha256(raw).hexdigest()
        token = self._tokens.get(digest)
        if token is None:
            found = self._temporary.by_digest(digest, self._now_s())
            if found is None:
                raise Unauthorized("X-Auth-Token: no such token")
            principal, expires_s = found
        elif token.expires_s <= self._now_s():
            self.remove_token(token.digest)
            raise Unauthorized("X-Auth-Token: the token has expired; get another one")
        else:
            principal, expires_s = Principal(name=token.name, project_id=token.project_id), token.expires_s
        if len(self._raw) >= _TOKEN_CACHE_MAX:
            self._raw.clear()
        self._raw[bytes(raw)] = (principal, expires_s)
        return principal

    def precheck(self, headers: Headers) -> None:
        """All that can be told before the body is there; what passes may still fail `authenticate`.

        Raises:
            Unauthorized: no credentials, unknown ones, or a date outside of the window.
        """
        raw, authorization = _credentials(headers)
        if raw is not None:
            self.by_token(raw)
        elif authorization is not None and (match := _OF_S3.match(authorization)):
            if self.of_s3(match.group(1).decode("latin-1"), headers) is None:
                raise Unauthorized("Authorization: no such access key")
        elif authorization is not None:
            self._signed(authorization, headers)
        else:
            raise Unauthorized(_NOBODY)

    def authenticate(self, method: str, target: bytes, headers: Headers, body: bytes) -> Principal:
        """Who sent this request; a token goes before a signature.

        Args:
            method: as sent, such as "POST".
            target: raw request target: path and query as they were on the wire.
            headers: (name in lower case, value) in the order of arrival.
            body: all of it, decoded from any transfer coding.

        Raises:
            Unauthorized: no credentials, wrong, expired or replayed ones.
        """
        raw, authorization = _credentials(headers)
        if raw is not None:
            return self.by_token(raw)
        if authorization is None:
            raise Unauthorized(_NOBODY)
        signed, key, principal, guard = self._signed(authorization, headers)
        verify(signed, key.secret_key, method, target, headers, body)
        guard.check(method, signed.signature, signed.date_s, self._now_s())
        return principal

    def _signed(
        self, authorization: bytes, headers: Headers
    ) -> tuple[SignedRequest, AccessKey | AgencyKey, Principal, ReplayGuard]:
        now_s = self._now_s()
        signed = parse_authorization(authorization, headers, now_s)
        entry = self._keys.get(signed.access_key) or self._temporary.by_access_key(signed.access_key, headers, now_s)
        if entry is None:
            raise Unauthorized("Authorization: no such access key")
        return (signed, *entry)


def _credentials(headers: Headers) -> tuple[bytes | None, bytes | None]:
    """The token and the Authorization header.

    Raises:
        Unauthorized: either was sent twice.
    """
    raw = authorization = None
    for name, value in headers:
        if name == b"x-auth-token":
            if raw is not None:
                raise Unauthorized("X-Auth-Token: must not be sent twice")
            raw = value.strip()
        elif name == b"authorization":
            if authorization is not None:
                raise Unauthorized("Authorization: must not be sent twice")
            authorization = value.strip()
    return raw, authorization
