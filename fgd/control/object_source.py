"""Packages from the node's object store: `code_url` of functions, `depend_link` of dependencies.

An URL never leads anywhere but into the buckets of the caller's project: nothing is fetched over a network.

    obs://BUCKET/KEY, s3://BUCKET/KEY
    https://BUCKET.obs.REGION.HOST/KEY, as the cloud shows it; http as well
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import trio

from fgd.control.rules import shown
from fgd.errors import BadCode, BadCodeUrl, BadFileType, PackageNotFound, PackageTooLarge
from fgd.store.object_types import ObjectError, check_bucket, check_key
from fgd.store.objects import ObjectStore
from fgd.units import MIB

PACKAGE_MAX_BYTES: Final = 300 * MIB
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
    try:
        return check_bucket(bucket), check_key(key)
    except ObjectError as error:
        raise BadCodeUrl(f"{field}: {error}") from error


class ObjectSource:
    """Takes packages out of the object store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @asynccontextmanager
    async def package(self, field: str, project_id: str, url: object) -> AsyncIterator[Path]:
        """A file with the package, which stays the same whatever becomes of the object; gone after the block.

        Raises:
            BadCodeUrl, PackageNotFound, PackageTooLarge, BadFileType, BadCode: begins with `field`.
        """
        bucket, key = parse_url(field, url)
        if not key.endswith(".zip"):
            raise BadFileType(f"{field}: must name an object that ends with .zip")
        try:
            found, path = await self._store.hold(project_id, bucket, key)
        except ObjectError:
            raise PackageNotFound(f"{field}: there is no object {key!r:.200} in a bucket {bucket!r}") from None
        try:
            if found.size > PACKAGE_MAX_BYTES:
                raise PackageTooLarge(
                    f"{field}: the package must be at most {PACKAGE_MAX_BYTES // MIB} MB, not {found.size} bytes"
                )
            magic = await trio.to_thread.run_sync(_magic, path)
            if magic not in _ZIP_MAGIC:
                raise BadCode(f"{field}: must be a ZIP archive; it begins with {magic!r}")
            yield path
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(lambda: path.unlink(missing_ok=True))

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
