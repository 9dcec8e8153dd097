"""What each request to the object store does, and its answer; nothing here knows of signatures or sockets."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Final
from urllib.parse import unquote

from fgd.api import object_xml as xml
from fgd.api.object_body import Body
from fgd.api.object_heads import conditions, date_s, metadata
from fgd.api.object_rights import needed
from fgd.model import Resource, Rights
from fgd.store.blobs import BlobWriter
from fgd.store.object_types import (
    LIST_MAX,
    Actor,
    Conditions,
    ObjectError,
    StoredObject,
    check_key,
)
from fgd.store.object_uploads import Uploads
from fgd.store.objects import ObjectStore

_XML_MAX_BYTES: Final = 1024 * 1024
_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)\Z")
#: Parts of S3 that are not here; a request that names one must not be taken for another.
_ABSENT: Final = frozenset(
    {
        "accelerate", "acl", "analytics", "attributes", "cors", "encryption", "intelligent-tiering", "inventory",
        "legal-hold", "lifecycle", "logging", "metrics", "notification", "object-lock", "ownershipControls",
        "policy", "policyStatus", "publicAccessBlock", "replication", "requestPayment", "restore", "retention",
        "select", "tagging", "torrent", "versions", "website",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ask:
    """A request. Header names in lower case; `bucket` and `key` decoded, "" where there is none."""

    store: ObjectStore
    uploads: Uploads
    project_id: str
    method: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Body
    actor: Actor
    #: None: all that the project has.
    rights: Rights | None
    region: str

    def permit(self, action: str, kind: str, path: str) -> None:
        """Raises ObjectError (403) where policies do not allow it."""
        resource = Resource("obs", self.region, self.project_id, kind, path)
        if self.rights is not None and self.rights.says(action, resource) is not True:
            raise ObjectError("AccessDenied", 403, f"policies do not allow {action} on {path[:200]}")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: `body`, or `size` bytes of `file` from `offset`."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    file: BinaryIO | None = None
    offset: int = 0
    size: int = 0


async def answer(ask: Ask) -> Reply:
    """Does what is asked.

    Raises:
        ObjectError, Unauthorized, StorageFull
    """
    absent = _ABSENT & set(ask.query)
    if absent:
        raise ObjectError("NotImplemented", 501, f"{sorted(absent)[0]}: the object store of fgd does not have it")
    if (need := needed(ask.method, ask.bucket, ask.key, ask.query)) is not None:
        ask.permit(*need)
    if not ask.bucket:
        if ask.method == "GET":
            return await _list_buckets(ask)
    elif not ask.key:
        if ask.method in _OF_BUCKET:
            return await _OF_BUCKET[ask.method](ask)
    elif ask.method in _OF_OBJECT:
        return await _OF_OBJECT[ask.method](ask)
    raise ObjectError("MethodNotAllowed", 405, f"{ask.method}: is not possible here")


async def _list_buckets(ask: Ask) -> Reply:
    buckets = await ask.store.buckets(ask.project_id)
    rows: list[xml.Node] = [
        ("Bucket", [("Name", one.name), ("CreationDate", xml.iso(one.created_s))]) for one in buckets
    ]
    owner: xml.Node = ("Owner", [("ID", ask.project_id), ("DisplayName", ask.project_id)])
    return _xml(xml.document("ListAllMyBucketsResult", owner, ("Buckets", rows)))


# Buckets


async def _put_bucket(ask: Ask) -> Reply:
    await ask.body.whole(_XML_MAX_BYTES)  # a region, which is this node whatever it says
    await ask.store.create_bucket(ask.project_id, ask.bucket)
    return _empty(200, Location=f"/{ask.bucket}")


async def _delete_bucket(ask: Ask) -> Reply:
    await ask.store.delete_bucket(ask.project_id, ask.bucket)
    return _empty(204)


async def _head_bucket(ask: Ask) -> Reply:
    await _need_bucket(ask)
    return _empty(200)


async def _get_bucket(ask: Ask) -> Reply:
    if "location" in ask.query:
        await _need_bucket(ask)
        return _xml(xml.document("LocationConstraint"))
    if "versioning" in ask.query:
        await _need_bucket(ask)
        return _xml(xml.document("VersioningConfiguration"))
    if "uploads" in ask.query:
        rows: list[xml.Node] = [
            ("Upload", [("Key", one.key), ("UploadId", one.id), ("Initiated", xml.iso(one.started_s))])
            for one in await ask.uploads.open_ones(ask.project_id, ask.bucket)
        ]
        return _xml(xml.document("ListMultipartUploadsResult", ("Bucket", ask.bucket), ("IsTruncated", "false"), *rows))
    return await _list_objects(ask)


async def _list_objects(ask: Ask) -> Reply:
    query = ask.query
    prefix, delimiter, encoding = query.get("prefix", ""), query.get("delimiter", ""), query.get("encoding-type", "")
    second = query.get("list-type") == "2"
    most_text = query.get("max-keys", str(LIST_MAX))
    if not most_text.isdecimal() or encoding not in ("", "url"):
        raise ObjectError("InvalidArgument", 400, "max-keys, encoding-type: must be a number, and url or nothing")
    most = min(int(most_text[:9]), LIST_MAX)
    start = query.get("start-after", "") if second else query.get("marker", "")
    token = query.get("continuation-token", "") if second else ""
    for text in (prefix, delimiter, start, token):
        if any(0xD800 <= ord(letter) < 0xE000 for letter in text):
            raise ObjectError("InvalidArgument", 400, "prefix, delimiter, marker: must be text in UTF-8")
    page = await ask.store.page(
        ask.project_id, ask.bucket, prefix=prefix, after=token or start, delimiter=delimiter, most=most
    )
    rows: list[xml.Node] = [("Name", ask.bucket), ("Prefix", xml.encoded(prefix, encoding))]
    rows += [("MaxKeys", str(most)), ("IsTruncated", str(page.truncated).lower())]
    if delimiter:
        rows.append(("Delimiter", xml.encoded(delimiter, encoding)))
    if encoding:
        rows.append(("EncodingType", encoding))
    if second:
        rows.append(("KeyCount", str(len(page.objects) + len(page.prefixes))))
        if token:
            rows.append(("ContinuationToken", token))
        if page.truncated:
            rows.append(("NextContinuationToken", page.last))
    else:
        rows.append(("Marker", xml.encoded(start, encoding)))
        if page.truncated:
            rows.append(("NextMarker", xml.encoded(page.last, encoding)))
    rows += [
        ("Contents", [
            ("Key", xml.encoded(one.key, encoding)), ("LastModified", xml.iso(one.modified_s)),
            ("ETag", f'"{one.etag}"'), ("Size", str(one.size)), ("StorageClass", "STANDARD"),
        ])
        for one in page.objects
    ]  # fmt: skip
    rows += [("CommonPrefixes", [("Prefix", xml.encoded(one, encoding))]) for one in page.prefixes]
    return _xml(xml.document("ListBucketResult", *rows))


async def _post_bucket(ask: Ask) -> Reply:
    if "delete" not in ask.query:
        raise ObjectError("NotImplemented", 501, "POST: forms are not taken; use PUT")
    root = xml.parse(await ask.body.whole(_XML_MAX_BYTES))
    wanted = [(xml.field(one, "Key"), xml.field(one, "VersionId")) for one in xml.children(root, "Object")]
    if not 1 <= len(wanted) <= LIST_MAX:
        raise ObjectError("MalformedXML", 400, f"Object: must be 1 to {LIST_MAX} of them")
    quiet = xml.field(root, "Quiet").lower() == "true"
    rows: list[xml.Node] = []
    for key, version in wanted:
        try:
            ask.permit("obs:object:DeleteObject", "object", f"{ask.bucket}/{key}")
            await ask.store.delete(ask.project_id, ask.bucket, key, version, ask.actor)
            if not quiet:
                rows.append(("Deleted", [("Key", key)]))
        except ObjectError as error:
            if error.name == "NoSuchBucket":
                raise
            rows.append(("Error", [("Key", key), ("Code", error.name), ("Message", str(error))]))
    return _xml(xml.document("DeleteResult", *rows))


# Objects


async def _get_object(ask: Ask) -> Reply:
    if "uploadId" in ask.query:
        return await _list_parts(ask)
    _check_version(ask)
    found, file = await ask.store.open_blob(ask.project_id, ask.bucket, ask.key)
    try:
        return _object_reply(ask, found, file)
    except BaseException:
        file.close()
        raise


async def _head_object(ask: Ask) -> Reply:
    _check_version(ask)
    found = await ask.store.head(ask.project_id, ask.bucket, ask.key)
    return _object_reply(ask, found, None)


def _object_reply(ask: Ask, found: StoredObject, file: BinaryIO | None) -> Reply:
    asked = conditions(ask.headers)
    headers = {
        "ETag": f'"{found.etag}"',
        "Last-Modified": xml.http_date(found.modified_s),
        "Accept-Ranges": "bytes",
        "Content-Type": found.content_type,
        **found.meta,
    }
    if asked.match is not None:
        Conditions(match=asked.match).check(found.etag)
    elif (since := date_s(ask.headers, "if-unmodified-since")) is not None and int(found.modified_s) > since:
        raise ObjectError("PreconditionFailed", 412, "If-Unmodified-Since: it was changed")
    unchanged = False
    if asked.none_match is not None:
        unchanged = bool({"*", found.etag} & set(asked.none_match))
    elif (since := date_s(ask.headers, "if-modified-since")) is not None:
        unchanged = int(found.modified_s) <= since
    if unchanged:
        if file is not None:
            file.close()
        return Reply(304, headers)
    offset, size, status = 0, found.size, 200
    match = _RANGE.match(ask.headers.get("range", ""))
    if match is not None and match.group(0) != "bytes=-":
        first, last = match.groups()
        if first:
            offset = int(first[:18])
            size = min(int(last[:18]) if last else found.size - 1, found.size - 1) - offset + 1
        else:
            size = min(int(last[:18]), found.size)
            offset = found.size - size
        if size <= 0 or offset >= found.size:
            raise ObjectError("InvalidRange", 416, f"Range: the object has {found.size} bytes")
        status = 206
        headers["Content-Range"] = f"bytes {offset}-{offset + size - 1}/{found.size}"
    headers["Content-Length"] = str(size)
    return Reply(status, headers, file=file, offset=offset, size=size)


async def _put_object(ask: Ask) -> Reply:
    check_key(ask.key)
    part = "partNumber" in ask.query or "uploadId" in ask.query
    number = ask.query.get("partNumber", "0")
    if part and not number.isdecimal():
        raise ObjectError("InvalidArgument", 400, "partNumber: must be a number")
    upload_id = ask.query.get("uploadId", "")
    if part:
        await ask.uploads.find(ask.project_id, ask.bucket, ask.key, upload_id)
    else:
        await _need_bucket(ask)
    source = ask.headers.get("x-amz-copy-source")
    copied = await _source(ask, source) if source is not None else None
    async with _written(ask, copied) as writer:
        if part:
            etag = await ask.uploads.put_part(
                ask.project_id, ask.bucket, ask.key, upload_id, int(number[:6]), writer
            )  # fmt: skip
            if copied is not None:
                return _xml(xml.document("CopyPartResult", ("ETag", f'"{etag}"')))
            return _empty(200, ETag=f'"{etag}"')
        content_type, meta = ask.headers.get("content-type", ""), metadata(ask.headers)
        if copied is not None and ask.headers.get("x-amz-metadata-directive", "COPY").upper() != "REPLACE":
            content_type, meta = copied.found.content_type, copied.found.meta
        made = await ask.store.put(
            ask.project_id, ask.bucket, ask.key, writer, ask.actor, how="Put" if copied is None else "Copy",
            content_type=content_type, meta=meta, conditions=conditions(ask.headers),
        )  # fmt: skip
    if copied is not None:
        rows: list[xml.Node] = [("LastModified", xml.iso(made.modified_s)), ("ETag", f'"{made.etag}"')]
        return _xml(xml.document("CopyObjectResult", *rows))
    return _empty(200, ETag=f'"{made.etag}"')


@dataclass(frozen=True, slots=True)
class _Source:
    bucket: str
    found: StoredObject
    offset: int
    size: int


async def _source(ask: Ask, text: str) -> _Source:
    """What is to be copied."""
    path, _, version = text.partition("?versionId=")
    bucket, _, key = unquote(path).removeprefix("/").partition("/")
    if version not in ("", "null"):
        raise ObjectError("NoSuchVersion", 404, "x-amz-copy-source: objects have the version null only")
    ask.permit("obs:object:GetObject", "object", f"{bucket}/{key}")
    found = await ask.store.head(ask.project_id, bucket, key)
    headers = {
        name.removeprefix("x-amz-copy-source-"): value
        for name, value in ask.headers.items()
        if name.startswith("x-amz-copy-source-if-")
    }
    conditions(headers).check(found.etag)
    match = _RANGE.match(ask.headers.get("x-amz-copy-source-range", ""))
    if match is None:
        return _Source(bucket, found, 0, found.size)
    first, last = (int(one[:18] or -1) for one in match.groups())
    if not 0 <= first <= last < found.size:
        raise ObjectError("InvalidRange", 416, f"x-amz-copy-source-range: the object has {found.size} bytes")
    return _Source(bucket, found, first, last - first + 1)


@asynccontextmanager
async def _written(ask: Ask, copied: _Source | None) -> AsyncIterator[BlobWriter]:
    """The bytes of a new object or part, on disk."""
    async with ask.store.incoming(ask.project_id) as incoming:
        if copied is not None:
            await ask.body.whole(0)
            await incoming.copy_from(ask.project_id, copied.bucket, copied.found, copied.offset, copied.size)
        else:
            async for piece in ask.body.pieces():
                await incoming.write(piece)
        writer = await incoming.finish()
        wanted = ask.headers.get("content-md5")
        if copied is None and wanted and wanted != writer.md5_base64:
            raise ObjectError("BadDigest", 400, "Content-MD5: is not that of the body")
        yield writer


async def _delete_object(ask: Ask) -> Reply:
    if "uploadId" in ask.query:
        await ask.uploads.abort(ask.project_id, ask.bucket, ask.key, ask.query["uploadId"])
    else:
        version = ask.query.get("versionId", "")
        await ask.store.delete(
            ask.project_id, ask.bucket, ask.key, version, ask.actor, conditions(ask.headers)
        )  # fmt: skip
    return _empty(204)


async def _post_object(ask: Ask) -> Reply:
    if "uploads" in ask.query:
        await ask.body.whole(0)
        upload_id = await ask.uploads.start(
            ask.project_id, ask.bucket, ask.key, ask.headers.get("content-type", ""), metadata(ask.headers)
        )
        rows: list[xml.Node] = [("Bucket", ask.bucket), ("Key", ask.key), ("UploadId", upload_id)]
        return _xml(xml.document("InitiateMultipartUploadResult", *rows))
    if "uploadId" not in ask.query:
        raise ObjectError("MethodNotAllowed", 405, "POST: is for uploads in parts")
    root = xml.parse(await ask.body.whole(_XML_MAX_BYTES))
    wanted = []
    for one in xml.children(root, "Part"):
        number = xml.field(one, "PartNumber").strip()
        if not number.isdecimal():
            raise ObjectError("MalformedXML", 400, "PartNumber: must be a number")
        wanted.append((int(number[:6]), xml.field(one, "ETag").strip().strip('"')))
    made = await ask.uploads.complete(
        ask.project_id, ask.bucket, ask.key, ask.query["uploadId"], wanted, ask.actor, conditions(ask.headers)
    )
    rows = [("Bucket", ask.bucket), ("Key", ask.key), ("ETag", f'"{made.etag}"')]
    return _xml(xml.document("CompleteMultipartUploadResult", *rows))


async def _list_parts(ask: Ask) -> Reply:
    parts = await ask.uploads.parts(ask.project_id, ask.bucket, ask.key, ask.query["uploadId"])
    rows: list[xml.Node] = [("Bucket", ask.bucket), ("Key", ask.key), ("UploadId", ask.query["uploadId"])]
    rows.append(("IsTruncated", "false"))
    rows += [
        ("Part", [
            ("PartNumber", str(one.number)), ("LastModified", xml.iso(one.modified_s)), ("ETag", f'"{one.etag}"'),
            ("Size", str(one.size)),
        ])
        for one in parts
    ]  # fmt: skip
    return _xml(xml.document("ListPartsResult", *rows))


def _check_version(ask: Ask) -> None:
    if ask.query.get("versionId", "") not in ("", "null"):
        raise ObjectError("NoSuchVersion", 404, "versionId: objects have the version null only")


async def _need_bucket(ask: Ask) -> None:
    if not await ask.store.has_bucket(ask.project_id, ask.bucket):
        raise ObjectError("NoSuchBucket", 404, f"bucket: there is no bucket {ask.bucket[:63]!r}")


def _xml(body: bytes) -> Reply:
    return Reply(200, {"Content-Type": "application/xml", "Content-Length": str(len(body))}, body)


def _empty(status: int, **headers: str) -> Reply:
    return Reply(status, {**headers, **({} if status == 204 else {"Content-Length": "0"})})


_OF_BUCKET: Final = {
    "PUT": _put_bucket,
    "DELETE": _delete_bucket,
    "HEAD": _head_bucket,
    "GET": _get_bucket,
    "POST": _post_bucket,
}
_OF_OBJECT: Final = {
    "GET": _get_object,
    "HEAD": _head_object,
    "PUT": _put_object,
    "DELETE": _delete_object,
    "POST": _post_object,
}
