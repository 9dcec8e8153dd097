"""A client of object stores of others: signed requests, answers that are bounded, errors that say what to do.

Path style alone (`ENDPOINT/BUCKET/KEY`). The keys are read from their file for each request, so that others can be put
there while fgd runs; the file is TOML: `access_key = "..."`, `secret_key = "..."`.
"""

import hashlib
import ssl
import tomllib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlencode
from xml.etree import ElementTree as ET

import httpx
import msgspec
import trio

from fgd.auth.sigv4 import sign
from fgd.errors import BadParameter, ObjectStoreAway
from fgd.remote_stores import RemoteStore

_PAGE_MAX_BYTES: Final = 16 * 1024 * 1024
_ERROR_MAX_BYTES: Final = 64 * 1024
_WAIT_S: Final = 30.0
_EMPTY: Final = hashlib.sha256(b"").hexdigest()


class RemoteObject(msgspec.Struct, frozen=True):
    """An object in a list."""

    key: str
    etag: str
    modified: str
    size: int


class NotThere(Exception):
    """The store has no such bucket or object."""


class StoreClient:
    """Requests to one store."""

    def __init__(self, about: RemoteStore, now_s: Callable[[], float]) -> None:
        self.about = about
        self._now_s = now_s
        self._http: httpx.AsyncClient | None = None

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def has_bucket(self, bucket: str) -> bool:
        """Whether there is one that the keys may list.

        Raises:
            ObjectStoreAway
        """
        try:
            await self._whole("GET", bucket, "", {"list-type": "2", "max-keys": "1"})
        except NotThere:
            return False
        return True

    async def page(self, bucket: str, prefix: str, token: str) -> tuple[Sequence[RemoteObject], str]:
        """A part of a bucket's list in the order of keys, and the token of the next part, "" at the end.

        Raises:
            ObjectStoreAway, NotThere
        """
        query = {"list-type": "2", "encoding-type": "url", "prefix": prefix}
        if token:
            query["continuation-token"] = token
        root = self._parsed(await self._whole("GET", bucket, "", query))
        fields = _fields(root)
        encoded = fields.get("EncodingType") == "url"
        found = []
        for row in root.iter():
            if _name(row) == "Contents":
                one = _fields(row)
                key = unquote(one.get("Key", "").replace("+", " ")) if encoded else one.get("Key", "")
                size = one.get("Size", "0")
                found.append(
                    RemoteObject(key, one.get("ETag", "").strip('"'), one.get("LastModified", ""),
                                 int(size) if size.isdecimal() else 0)
                )  # fmt: skip
        if fields.get("IsTruncated") == "true" and not fields.get("NextContinuationToken"):
            raise ObjectStoreAway(f"object store {self.about.name}: its list of {bucket} has no continuation")
        return found, fields.get("NextContinuationToken", "") if fields.get("IsTruncated") == "true" else ""

    async def put(self, bucket: str, key: str, data: bytes, content_type: str) -> None:
        """Makes an object.

        Raises:
            ObjectStoreAway, NotThere
        """
        await self._whole("PUT", bucket, key, {}, data, {"content-type": content_type})

    @asynccontextmanager
    async def get(self, bucket: str, key: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of an object, piece by piece.

        Raises:
            ObjectStoreAway, NotThere
        """
        async with self._ask("GET", bucket, key, {}, b"", {}) as answer:
            yield answer.aiter_bytes()

    async def _whole(
        self, method: str, bucket: str, key: str, query: Mapping[str, str], data: bytes = b"",
        headers: Mapping[str, str] = {},
    ) -> bytes:  # fmt: skip
        async with self._ask(method, bucket, key, query, data, headers) as answer:
            return await self._bounded(answer, _PAGE_MAX_BYTES)

    async def _bounded(self, answer: httpx.Response, most: int) -> bytes:
        body = bytearray()
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > most:
                raise ObjectStoreAway(f"object store {self.about.name}: an answer has more than {most} bytes")
        return bytes(body)

    @asynccontextmanager
    async def _ask(
        self, method: str, bucket: str, key: str, query: Mapping[str, str], data: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator[httpx.Response]:
        about = self.about
        access_key, secret_key = await trio.to_thread.run_sync(self._keys)
        path = quote(f"/{bucket}/{key}" if key else f"/{bucket}", safe="/~")
        host = about.endpoint.partition("://")[2]
        signed = sign(
            access_key, secret_key, about.region, method, path.encode(), list(query.items()),
            {"host": host, **headers}, hashlib.sha256(data).hexdigest() if data else _EMPTY, self._now_s(),
        )  # fmt: skip
        url = f"{about.endpoint}{path}" + (f"?{urlencode(query, quote_via=quote, safe='~')}" if query else "")
        if self._http is None:
            # The system's authorities, as for anything else on this host.
            self._http = httpx.AsyncClient(
                verify=ssl.create_default_context(), trust_env=False, follow_redirects=False, timeout=_WAIT_S
            )
        try:
            async with self._http.stream(method, url, content=data, headers={**headers, **signed}) as answer:
                if answer.status_code >= 300:
                    self._refused(method, bucket, answer.status_code, await self._bounded(answer, _ERROR_MAX_BYTES))
                yield answer
        except (httpx.HTTPError, OSError) as error:
            raise ObjectStoreAway(
                f"object store {about.name}: {host} cannot be reached: {error or type(error).__name__}"
            ) from error

    def _refused(self, method: str, bucket: str, status: int, body: bytes) -> None:
        try:
            fields = _fields(self._parsed(body))
        except ObjectStoreAway:
            fields = {}
        code = fields.get("Code", "")
        if status == 404:
            raise NotThere(code)
        why = f"{code} {fields.get('Message', '')}".strip()[:200]
        raise ObjectStoreAway(
            f"object store {self.about.name}: answers {status} to {method} of the bucket {bucket}: {why or 'no reason'}"
        )

    def _parsed(self, body: bytes) -> ET.Element:
        try:
            if b"<!" in body:
                raise ValueError("declarations")
            return ET.fromstring(body)
        except (ET.ParseError, ValueError):
            raise ObjectStoreAway(f"object store {self.about.name}: answers no XML; does it speak S3?") from None

    def _keys(self) -> tuple[str, str]:
        try:
            values = tomllib.loads(Path(self.about.keys).read_text("utf-8"))
            access_key, secret_key = values["access_key"], values["secret_key"]
            if not (isinstance(access_key, str) and isinstance(secret_key, str) and access_key and secret_key):
                raise ValueError("access_key and secret_key must be texts")
        except OSError as error:
            raise ObjectStoreAway(
                f"object store {self.about.name}: its keys cannot be read: {error.strerror}"
            ) from error
        except (ValueError, KeyError) as error:  # not chained: it may hold a piece of the file
            text = f"object store {self.about.name}: the file of its keys must have access_key and secret_key (TOML)"
            raise ObjectStoreAway(f"{text}, {type(error).__name__}") from None
        return access_key, secret_key


class RemoteStores:
    """All of them, for those projects that may use them."""

    def __init__(self, stores: Mapping[str, RemoteStore], project_id: str, now_s: Callable[[], float]) -> None:
        """`project_id`: the daemon's own, which uses stores that name no projects."""
        self._clients = {name: StoreClient(about, now_s) for name, about in stores.items()}
        self._project_id = project_id

    async def aclose(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    def of(self, project_id: str, name: str, field: str) -> StoreClient:
        """One that a project may use.

        Raises:
            BadParameter: begins with the field; there is none for this project.
        """
        client = self._clients.get(name)
        if client is None or project_id not in (client.about.projects or (self._project_id,)):
            raise BadParameter(f"{field}: the project has no object store {name[:32]!r} (setting object_stores)")
        return client

    async def put_bytes(
        self, project_id: str, store: str, bucket: str, key: str, data: bytes, content_type: str
    ) -> None:
        """Makes an object.

        Raises:
            BadParameter: as `of`.
            ObjectStoreAway: there is no such bucket, or the store cannot be reached.
        """
        try:
            await self.of(project_id, store, "store").put(bucket, key, data, content_type)
        except NotThere:
            raise ObjectStoreAway(f"object store {store}: there is no bucket {bucket}") from None

    def by_url(self, project_id: str, url: str, field: str) -> tuple[StoreClient, str, str] | None:
        """Store, bucket and key of a URL `ENDPOINT/BUCKET/KEY`; None where it begins with no store's endpoint.

        Raises:
            BadParameter: as `of`.
        """
        for name, client in self._clients.items():
            if url.startswith(f"{client.about.endpoint}/"):
                bucket, _, key = unquote(url.removeprefix(f"{client.about.endpoint}/")).partition("/")
                return self.of(project_id, name, field), bucket, key
        return None


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _fields(element: ET.Element) -> dict[str, str]:
    return {_name(one): one.text or "" for one in element}
