"""Changes of documents as the cloud's events have them. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import bson
import msgspec
from bson import json_util

from fgd.plugin import Place

#: An asynchronous event may have 256 KB; the rest is room for what is around the records.
RECORDS_MAX_BYTES: Final = 256 * 1024 - 2048
#: What an event tells of; other changes concern the collection, not its documents.
TOLD: Final = frozenset({"insert", "update", "replace", "delete"})


@dataclass(frozen=True, slots=True)
class Flavour:
    """How the events of one service differ from those of the other."""

    source: str
    #: Whether the name of the change carries quotation marks of its own, and the event the last token as `vernier`.
    quoted: bool


DDS: Final = Flavour("dds", quoted=False)
GAUSS_MONGO: Final = Flavour("gauss_mongo", quoted=True)


@dataclass(frozen=True, slots=True)
class Change:
    """One change: the record's JSON, empty where it is none for functions, and the token to go on after it."""

    record: bytes
    token: Mapping[str, Any]


def record_of(change: Mapping[str, Any], flavour: Flavour, place: Place, instance_id: str) -> bytes:
    """The record's JSON of a document of a change stream; b"" for changes that are not told.

    A deleted document, and one that is gone before it could be looked up, shows its key only.
    """
    name = change["operationType"]
    if name not in TOLD:
        return b""
    document = change.get("fullDocument")
    if document is None:
        document = change.get("documentKey") or {}
    details = {
        "size_bytes": str(len(bson.encode(document))),
        "token": extended(change["_id"]),
        "full_document": extended(document),
        "ns": extended(change.get("ns") or {}),
    }
    return msgspec.json.encode(
        {
            "event_source": flavour.source,
            "event_name": f'"{name}"' if flavour.quoted else name,
            "region": place.region,
            "event_version": "1.0",
            flavour.source: details,
            "event_source_id": instance_id,
        }
    )


def extended(value: Mapping[str, Any]) -> str:
    """Canonical extended JSON, in which no type is lost."""
    return json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS)


def event_of(records: Sequence[bytes], token: Mapping[str, Any], flavour: Flavour) -> bytes:
    """The event of some records; `token` is that of the last."""
    tail = b',"vernier":' + msgspec.json.encode(extended(token)) if flavour.quoted else b""
    return b'{"records":[' + b",".join(records) + b"]" + tail + b"}"


def split(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """Changes in groups of which each fits into one event; one that is too large for any is a group of its own."""
    group: list[Change] = []
    size = 0
    for change in changes:
        own = len(change.record) + 1
        if group and size + own > RECORDS_MAX_BYTES:
            yield group
            group, size = [], 0
        group.append(change)
        size += own
    if group:
        yield group
