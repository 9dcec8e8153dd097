"""Revoking a key, while somebody uses it."""

import time
from pathlib import Path

import pytest
import trio

from fgd.auth.keyring import Keyring
from fgd.control.credentials import Credentials
from fgd.errors import NotFound, StorageFull, Unauthorized
from fgd.store.api import AccessKey, Token
from fgd.store.catalog import SqliteCatalog


class SlowCatalog:
    """The real catalog, where reading the tokens takes long enough for others to come in between."""

    def __init__(self, catalog: SqliteCatalog) -> None:
        self._catalog = catalog
        self.full = False

    async def tokens(self) -> list[Token]:
        found = await self._catalog.tokens()
        await trio.sleep(0.1)
        return found

    async def put_token(self, token: Token) -> None:
        await self._catalog.put_token(token)

    async def put_access_key(self, key: AccessKey) -> None:
        await self._catalog.put_access_key(key)

    async def access_keys(self) -> list[AccessKey]:
        return await self._catalog.access_keys()

    async def delete_access_key(self, access_key: str) -> None:
        if self.full:
            raise StorageFull("no room")
        await self._catalog.delete_access_key(access_key)


async def _revoke_in_use(tmp_path: Path) -> None:
    catalog = await SqliteCatalog.open(tmp_path)
    keyring = Keyring(time.time)
    credentials = Credentials(SlowCatalog(catalog), keyring, time.time, 3600, "p")  # type: ignore[arg-type]  # what it needs
    key, first = await credentials.create()
    texts = [first.text]

    async def log_in_again_and_again() -> None:
        for _ in range(30):
            try:
                texts.append((await credentials.log_in(key.access_key, key.secret_key)).text)
            except Unauthorized:
                return
            await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(log_in_again_and_again)
        await trio.sleep(0.02)
        await credentials.delete(key.access_key)

    for text in texts:
        with pytest.raises(Unauthorized):
            keyring.by_token(text.encode())
    assert await catalog.tokens() == []
    await catalog.aclose()


async def _revoke_twice(tmp_path: Path) -> None:
    catalog = await SqliteCatalog.open(tmp_path)
    slow = SlowCatalog(catalog)
    credentials = Credentials(slow, Keyring(time.time), time.time, 3600, "p")  # type: ignore[arg-type]  # what it needs
    key, _ = await credentials.create()
    slow.full = True
    with pytest.raises(StorageFull):
        await credentials.delete(key.access_key)
    slow.full = False

    await credentials.delete(key.access_key)

    with pytest.raises(NotFound):
        await credentials.delete(key.access_key)
    await catalog.aclose()


def test_no_token_outlives_its_key_however_it_was_asked_for(tmp_path: Path) -> None:
    trio.run(_revoke_in_use, tmp_path)


def test_a_key_that_could_not_be_revoked_can_be_revoked_later(tmp_path: Path) -> None:
    trio.run(_revoke_twice, tmp_path)
