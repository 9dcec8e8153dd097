"""`fgd buckets`, `fgd objects`: the object store, by its own API below `/obs` of the admin socket."""

import argparse
import contextlib
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote
from xml.etree import ElementTree as ET

from fgd.cli.client import Answer, Client
from fgd.cli.report import Refused, UsageError, print_json, print_table

_PART_BYTES: Final = 16 * 1024 * 1024


def _path(bucket: str, key: str = "") -> str:
    path = f"/obs/{quote(bucket, safe='')}"
    return f"{path}/{quote(key, safe='/')}" if key else path


def _named(text: str) -> tuple[str, str]:
    bucket, slash, key = text.partition("/")
    if not bucket or not slash or not key:
        raise UsageError(f"{text}: must be BUCKET/KEY")
    return bucket, key


def _ask(client: Client, method: str, path: str, **kwargs: Any) -> Answer:
    answer = client.send(method, path, **kwargs)
    if answer.status >= 400:
        raise _refusal(answer.status, answer.body)
    return answer


def _refusal(status: int, body: bytes) -> Refused:
    try:
        fields = _fields(ET.fromstring(body))
        return Refused(status, fields["Code"], fields["Message"])
    except (ET.ParseError, KeyError):
        return Refused(status, "", body[:200].decode("utf-8", "replace") or "refused without a reason")


def _fields(element: ET.Element) -> dict[str, str]:
    return {one.tag.rpartition("}")[2]: one.text or "" for one in element}


def _all(element: ET.Element, name: str) -> Iterator[dict[str, str]]:
    return (_fields(one) for one in element.iter() if one.tag.rpartition("}")[2] == name)


def _done(args: argparse.Namespace, answer: Mapping[str, object], text: str) -> None:
    if args.json:
        print_json(answer)
    else:
        print(text)


# --- buckets -------------------------------------------------------------------------------------------------


def list_buckets(args: argparse.Namespace) -> None:
    """All buckets of the project."""
    answer = _ask(Client(args.admin_socket), "GET", "/obs/")
    found = [
        {"name": one["Name"], "created": one["CreationDate"]} for one in _all(ET.fromstring(answer.body), "Bucket")
    ]
    if args.json:
        print_json({"buckets": found})
    else:
        print_table(("NAME", "CREATED"), [(one["name"], one["created"]) for one in found], empty="no buckets")


def create_bucket(args: argparse.Namespace) -> None:
    """Makes a bucket."""
    _ask(Client(args.admin_socket), "PUT", _path(args.bucket))
    _done(args, {"name": args.bucket}, f"created the bucket {args.bucket}")


def delete_bucket(args: argparse.Namespace) -> None:
    """Deletes an empty bucket."""
    _ask(Client(args.admin_socket), "DELETE", _path(args.bucket))
    _done(args, {"name": args.bucket}, f"deleted the bucket {args.bucket}")


# --- objects -------------------------------------------------------------------------------------------------


def list_objects(args: argparse.Namespace) -> None:
    """Objects of a bucket, in the order of their keys."""
    client, token = Client(args.admin_socket), ""
    found: list[dict[str, object]] = []
    while True:
        query = {"list-type": "2", "prefix": args.prefix, "continuation-token": token}
        page = ET.fromstring(_ask(client, "GET", _path(args.bucket), query=query).body)
        found += [
            {
                "key": one["Key"],
                "size": int(one["Size"]),
                "etag": one["ETag"].strip('"'),
                "modified": one["LastModified"],
            }
            for one in _all(page, "Contents")
        ]
        token = _fields(page).get("NextContinuationToken", "")
        if not token:
            break
    if args.json:
        print_json({"objects": found})
    else:
        rows = [(one["key"], one["size"], one["modified"]) for one in found]
        print_table(("KEY", "SIZE", "MODIFIED"), rows, empty="no objects")


def put_object(args: argparse.Namespace) -> None:
    """Stores a file, or standard input, as an object; a large one in parts, so that no request is larger."""
    bucket, key = _named(args.object)
    client, path = Client(args.admin_socket), _path(bucket, key)
    headers = {"Content-Type": args.content_type}
    with _source(args.file) as file:
        piece = _read(file, args.file)
        if len(piece) < _PART_BYTES:
            etag = _ask(client, "PUT", path, raw=piece, headers=headers).headers.get("etag", "").strip('"')
        else:
            etag = _put_parts(client, path, headers, piece, file, args.file)
    _done(args, {"bucket": bucket, "key": key, "etag": etag}, f"stored {bucket}/{key}")


def _put_parts(client: Client, path: str, headers: Mapping[str, str], piece: bytes, file: IO[bytes], name: str) -> str:
    begun = _ask(client, "POST", path, query={"uploads": "1"}, headers=headers)
    upload = {"uploadId": _fields(ET.fromstring(begun.body))["UploadId"]}
    try:
        parts: list[str] = []
        while piece:
            query = {**upload, "partNumber": len(parts) + 1}
            etag = _ask(client, "PUT", path, query=query, raw=piece).headers.get("etag", "")
            parts.append(f"<Part><PartNumber>{len(parts) + 1}</PartNumber><ETag>{etag}</ETag></Part>")
            piece = _read(file, name)
        body = f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>".encode()
        done = _ask(client, "POST", path, query=upload, raw=body)
    except BaseException:
        with contextlib.suppress(Exception):  # what went wrong before matters
            client.send("DELETE", path, query=upload)
        raise
    return _fields(ET.fromstring(done.body))["ETag"].strip('"')


def _read(file: IO[bytes], name: str) -> bytes:
    try:
        return file.read(_PART_BYTES)
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def _source(name: str) -> Iterator[IO[bytes]]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from error
    with file:
        yield file


def get_object(args: argparse.Namespace) -> None:
    """Writes an object into a file, whole or not at all, or to standard output."""
    bucket, key = _named(args.object)
    client = Client(args.admin_socket)
    if args.file == "-":
        client.fetch(_path(bucket, key), sys.stdout.buffer.write, _refusal)
        sys.stdout.buffer.flush()
        return
    target = Path(args.file or key.rpartition("/")[2] or "object")
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            size = client.fetch(_path(bucket, key), file.write, _refusal)
        part.rename(target)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    _done(args, {"bucket": bucket, "key": key, "file": str(target), "size": size}, f"{target}: {size} bytes")


def delete_object(args: argparse.Namespace) -> None:
    """Deletes an object; one that is not there is fine."""
    bucket, key = _named(args.object)
    _ask(Client(args.admin_socket), "DELETE", _path(bucket, key))
    _done(args, {"bucket": bucket, "key": key}, f"deleted {bucket}/{key}")
