"""Packages from object stores: `code_url` of functions, `depend_link` of dependencies.

A URL never leads anywhere but into the buckets of the caller's project, or to a store that the operator named.

    obs://BUCKET/KEY, s3://BUCKET/KEY
    https://BUCKET.obs.REGION.HOST/KEY, as the cloud shows it; http as well
    ENDPOINT/BUCKET/KEY of a store of the setting `object_stores`
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import trio

from fgd.control.rules import shown
from fgd.errors import BadCode, BadCodeUrl, BadFileType, ObjectStoreAway, PackageNotFound, PackageTooLarge
from fgd.remote.client import NotThere, RemoteStores, StoreClient
from fgd.store.object_types import ObjectError, check_bucket, check_key
from fgd.store.objects import ObjectStore
from fgd.units import MIB

PACKAGE_MAX_BYTES: Final = 300 * MIB
_TOO_LARGE: Final = f"the package must be at most {PACKAGE_MAX_BYTES // MIB} MB"
_FETCH_S: Final = 600.0
_URL_MAX_CHARS: Final = 2048
_CLOUD_HOST: Final = re.compile(r"([a-z0-9.-]{3,63}?)\.obs(?:[.-][a-z0-9.-]+)?\Z")
_ZIP_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")


def parse_url(field: str, url: object) -> tuple[str, str]:
    """Bucket and key that a URL names.

    Raises:
        BadCodeUrl: names the field.
    """
    rule = f"{field}: must be obs://BUCKET/KEY or https://BUCKET.obs.REGION.HOST/KEY"
    if not isinstance(url, str) or not url or len(url) > _URL_MAX_CHARS:
        raise BadCodeUrl(f"{rule}, not {shown(url)}")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port
    except ValueError:
        raise BadCodeUrl(f"{rule}, not {shown(url)}") from None
    if parts.username is not None or parts.password is not None or parts.fragment or "\n" in url or "\r" in url:
        raise BadCodeUrl(f"{rule}, without user, password or fragment")
    if parts.scheme in ("obs", "s3") and port is None and not parts.query:
        bucket, key = host, unquote(parts.path.removeprefix("/"))
    elif parts.scheme in ("https", "http") and (match := _CLOUD_HOST.fullmatch(host)):
        bucket, key = match.group(1), unquote(parts.path.removeprefix("/"))
    else:
        raise BadCodeUrl(f"{rule}, not {shown(url)}")
    return _checked(field, bucket, key)


def _checked(field: str, bucket: str, key: str) -> tuple[str, str]:
    try:
        return check_bucket(bucket), check_key(key)
    except ObjectError as error:
        raise BadCodeUrl(f"{field}: {error}") from error


class ObjectSource:
    """Takes packages out of the object store."""

    def __init__(self, store: ObjectStore, remote: RemoteStores) -> None:
        self._store = store
        self._remote = remote

    @asynccontextmanager
    async def package(self, field: str, project_id: str, url: object) -> AsyncIterator[Path]:
        """A file with the package, which stays the same whatever becomes of the object; gone after the block.

        Raises:
            BadCodeUrl, PackageNotFound, PackageTooLarge, BadFileType, BadCode: begins with `field`.
        """
        remote = self._remote.by_url(project_id, url, field) if isinstance(url, str) else None
        bucket, key = parse_url(field, url) if remote is None else _checked(field, *remote[1:])
        if not key.endswith(".zip"):
            raise BadFileType(f"{field}: must name an object that ends with .zip")
        try:
            if remote is None:
                size, path = await self._held(project_id, bucket, key)
            else:
                size, path = await self._fetched(field, remote[0], bucket, key)
        except (ObjectError, NotThere):
            raise PackageNotFound(f"{field}: there is no object {key!r:.200} in a bucket {bucket!r}") from None
        try:
            if size > PACKAGE_MAX_BYTES:
                raise PackageTooLarge(f"{field}: {_TOO_LARGE}, not {size} bytes")
            magic = await trio.to_thread.run_sync(_magic, path)
            if magic not in _ZIP_MAGIC:
                raise BadCode(f"{field}: must be a ZIP archive; it begins with {magic!r}")
            yield path
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(lambda: path.unlink(missing_ok=True))

    async def _held(self, project_id: str, bucket: str, key: str) -> tuple[int, Path]:
        found, path = await self._store.hold(project_id, bucket, key)
        return found.size, path

    async def _fetched(self, field: str, client: StoreClient, bucket: str, key: str) -> tuple[int, Path]:
        writer = await self._store.in_thread(self._store.blobs.create)
        try:
            with trio.move_on_after(_FETCH_S) as limit:
                async with client.get(bucket, key) as pieces:
                    async for piece in pieces:
                        await self._store.in_thread(writer.write, piece)
                        if writer.size > PACKAGE_MAX_BYTES:
                            raise PackageTooLarge(f"{field}: {_TOO_LARGE}")
            if limit.cancelled_caught:
                raise ObjectStoreAway(f"{field}: object store {client.about.name} took more than {_FETCH_S:g} s")
            await self._store.in_thread(writer.sync)
        except BaseException:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(writer.drop)
            raise
        return writer.size, writer.path

    @asynccontextmanager
    async def of_code(self, project_id: str, body: Mapping[str, object]) -> AsyncIterator[Path | None]:
        """The package of a function's `code_url`; None where its code does not come from here."""
        if body.get("code_type") != "obs" or not body.get("code_url"):
            yield None
            return
        async with self.package("code_url", project_id, body["code_url"]) as path:
            yield path

    @asynccontextmanager
    async def of_dependency(self, project_id: str, body: Mapping[str, object]) -> AsyncIterator[Path | None]:
        """The package of a dependency's `depend_link`; None where it does not come from here."""
        if body.get("depend_type") != "obs" or not body.get("depend_link"):
            yield None
            return
        async with self.package("depend_link", project_id, body["depend_link"]) as path:
            yield path


def _magic(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)
