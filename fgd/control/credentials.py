"""Access keys and tokens: made, listed, revoked; stored first, then known to the keyring."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
import trio

from fgd.control.rules import shown
from fgd.errors import BadParameter, NotFound, Unauthorized
from fgd.store.api import AccessKey, Catalog, Token

_PROJECT = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_ACCESS_KEY_CHARS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_SECRET_KEY_CHARS: Final = _ACCESS_KEY_CHARS + "abcdefghijklmnopqrstuvwxyz"
NAME_MAX_CHARS: Final = 64


class Keys(Protocol):
    """What is asked of the keyring; the real thing is `fgd.auth.keyring.Keyring`."""

    def add_access_key(self, key: AccessKey) -> None: ...
    def remove_access_key(self, access_key: str) -> None: ...
    def access_key(self, access_key: str) -> AccessKey | None: ...
    def add_token(self, token: Token) -> None: ...
    def remove_token(self, digest: str) -> None: ...


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token as its owner gets it, once."""

    text: str
    project_id: str
    access_key: str
    issued_s: float
    expires_s: float


class Credentials:
    """Operations on access keys and tokens."""

    def __init__(
        self, catalog: Catalog, keyring: Keys, now_s: Callable[[], float], token_ttl_s: int, project_id: str
    ) -> None:
        """`project_id`: the project of keys that are made without naming one."""
        self._catalog = catalog
        self._keyring = keyring
        self._now_s = now_s
        self._token_ttl_s = token_ttl_s
        self._project_id = project_id

    async def create(self, name: object = None, project_id: object = None) -> tuple[AccessKey, IssuedToken]:
        """A new pair of keys and a first token.

        Raises:
            BadParameter: a name or project id that cannot be.
        """
        name = "" if name is None else name
        if not isinstance(name, str) or len(name) > NAME_MAX_CHARS or not name.isprintable():
            raise BadParameter(f"name: must be at most {NAME_MAX_CHARS} printable characters, not {shown(name)}")
        project = self._project_id if project_id in (None, "") else project_id
        if not isinstance(project, str) or not _PROJECT.match(project):
            raise BadParameter(f"project_id: must be 1 to 64 letters, digits, - and _, not {shown(project)}")
        access_key = "".join(secrets.choice(_ACCESS_KEY_CHARS) for _ in range(20))
        key = AccessKey(
            access_key=access_key,
            secret_key="".join(secrets.choice(_SECRET_KEY_CHARS) for _ in range(40)),
            project_id=project,
            name=name or access_key,
            created_s=self._now_s(),
        )
        with trio.CancelScope(shield=True):
            await self._catalog.put_access_key(key)
            self._keyring.add_access_key(key)
        return key, await self.issue(key)

    async def list(self) -> "list[AccessKey]":
        """All keys, oldest first; the caller shows no secret."""
        return sorted(await self._catalog.access_keys(), key=lambda key: key.created_s)

    async def delete(self, access_key: str) -> None:
        """Revokes a key and every token that was issued for it.

        Raises:
            NotFound: no such key.
        """
        key = self._keyring.access_key(access_key)
        if key is None:
            raise NotFound("access_key: there is no such access key")
        with trio.CancelScope(shield=True):
            # First of all, so that no token can be issued for it between the look at its tokens and its end.
            self._keyring.remove_access_key(access_key)
            try:
                tokens = [token for token in await self._catalog.tokens() if token.name == access_key]
                for token in tokens:
                    self._keyring.remove_token(token.digest)
                    await self._catalog.put_token(msgspec.structs.replace(token, expires_s=0.0))
                await self._catalog.delete_access_key(access_key)
            except BaseException:
                self._keyring.add_access_key(key)  # it is still stored: let it be revoked again
                raise

    async def log_in(self, access_key: str, secret_key: str) -> IssuedToken:
        """A token for the owner of a pair of keys.

        Raises:
            Unauthorized: unknown or wrong; the message does not tell which.
        """
        key = self._keyring.access_key(access_key)
        wanted = key.secret_key if key else secrets.token_hex(20)
        if not hmac.compare_digest(wanted.encode(), secret_key.encode()) or key is None:
            raise Unauthorized("identity: the access key or the secret key is wrong")
        return await self.issue(key)

    async def issue(self, key: AccessKey) -> IssuedToken:
        """A token of a key's project; only its digest is stored."""
        text = secrets.token_urlsafe(48)
        now_s = self._now_s()
        token = Token(
            digest=hashlib.sha256(text.encode()).hexdigest(),
            project_id=key.project_id,
            # The key's id, so that the tokens of a revoked key can be found.
            name=key.access_key,
            expires_s=now_s + self._token_ttl_s,
        )
        with trio.CancelScope(shield=True):
            await self._catalog.put_token(token)
            if self._keyring.access_key(key.access_key) is None:
                # Revoked while its token was being stored.
                await self._catalog.put_token(msgspec.structs.replace(token, expires_s=0.0))
                raise Unauthorized("identity: the access key or the secret key is wrong")
            self._keyring.add_token(token)
        return IssuedToken(text, key.project_id, key.access_key, now_s, token.expires_s)
