"""The trigger type OBS: an event for each change of an object in a bucket of the node's object store.

Theory of operation: the store keeps its changes on disk in one order. The trigger remembers the last one that it is
done with, so that an object that was put while nobody was here has its event too; after a crash up to one batch of
events may come twice, which their `sequencer` tells. A slow function fills the queue, the trigger waits, and the
changes stay where they are.
"""

from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import quote

import msgspec
import trio

from fgd.plugin import (
    BadEvent,
    BadTriggerConfig,
    FunctionOff,
    ObjectChange,
    Place,
    Sources,
    TriggerType,
    bucket_fault,
)

_BATCH: Final = 50
_OFF_FIRST_S: Final = 1.0
_OFF_MAX_S: Final = 30.0
_BUCKET_S: Final = 2.0
#: The short names of the guide.
GROUPS: Final = {
    "ObjectCreated": ("Put", "Post", "Copy", "CompleteMultipartUpload"),
    "ObjectRemoved": ("Delete", "DeleteMarkerCreated"),
}


#: What the list of another store tells.
_POLLED: Final = frozenset({"ObjectCreated:Put", "ObjectRemoved:Delete"})


class ObsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which changes of which objects are events."""

    bucket: Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="Bucket of the project.")]
    events: Annotated[
        list[str],
        msgspec.Meta(
            min_length=1,
            max_length=8,
            description="Changes: `ObjectCreated` or single `Put`, `Post`, `Copy`, `CompleteMultipartUpload`;"
            " `ObjectRemoved` or single `Delete`, `DeleteMarkerCreated`; or in the long form, `s3:ObjectCreated:*`,"
            " `s3:ObjectCreated:Put`.",
        ),
    ]
    prefix: Annotated[str, msgspec.Meta(max_length=1024, description="How the keys of the objects begin.")] = ""
    suffix: Annotated[str, msgspec.Meta(max_length=1024, description="How they end.")] = ""
    store: Annotated[
        str,
        msgspec.Meta(
            max_length=32,
            description="One of the setting `object_stores`, whose list is looked at again and again: `Put` for what"
            " is new or other, `Delete` for what is gone. The node's own if absent.",
        ),
    ] = ""
    name: Annotated[str, msgspec.Meta(max_length=256, description="Name, for people.")] = ""


class _Memory(msgspec.Struct, frozen=True):
    """Up to which change of which source the trigger is done."""

    source: str
    seq: int


class Obs(TriggerType[ObsSettings]):
    """An event for each change of an object in a bucket."""

    code = "OBS"
    settings = ObsSettings
    may_be_disabled = False
    pulls = False
    bad_code = "FSS.1106"
    exists_code = "FSS.1145"
    claimed_code = "FSS.1108"

    @classmethod
    def check(cls, settings: ObsSettings, place: Place) -> None:
        if fault := bucket_fault(settings.bucket):
            raise BadTriggerConfig("bucket", fault)
        wanted = wanted_names(settings.events)
        if settings.store and not wanted & _POLLED:
            raise BadTriggerConfig("events", "must have Put or Delete; a list of another store tells no more")

    @classmethod
    def admit(cls, settings: ObsSettings, place: Place, sources: Sources) -> None:
        sources.objects(settings.bucket, settings.store, settings.prefix)

    @classmethod
    def identity(cls, settings: ObsSettings) -> str:
        return settings.name

    @classmethod
    def claim(cls, settings: ObsSettings) -> str:
        store = f"object store {settings.store}, " if settings.store else ""
        return f"{store}bucket {settings.bucket}, prefix {settings.prefix!r}, suffix {settings.suffix!r}"

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        bucket, store, prefix = self.config.bucket, self.config.store, self.config.prefix
        feed = self.door.sources.objects(bucket, store, prefix)
        source = f"{store}/{bucket}/{prefix}" if store else bucket
        if not await feed.ready():
            self.door.note(f"there is no bucket {bucket} yet")
            while not await feed.ready():
                await trio.sleep(_BUCKET_S)
        remembered = self.door.recall()
        done = msgspec.json.decode(remembered, type=_Memory) if remembered else _Memory("", 0)
        if done.source != source:
            done = _Memory(source, await feed.begin())
            await self.door.remember(msgspec.json.encode(done))
        self.door.note(f"follows the bucket {bucket}")
        wanted = wanted_names(self.config.events)
        while True:
            changes = await feed.follow(done.seq, _BATCH)
            for change in changes:
                if change.name in wanted and self._named(change.key):
                    await self._hand_over(change)
            done = _Memory(source, changes[-1].seq)
            await self.door.remember(msgspec.json.encode(done))

    def _named(self, key: str) -> bool:
        prefix, suffix = self.config.prefix, self.config.suffix
        return key.startswith(prefix) and key.endswith(suffix)

    async def _hand_over(self, change: ObjectChange) -> None:
        wait_s = _OFF_FIRST_S
        while True:
            try:
                await self.door.enqueue(event_of(change, self.config.bucket, self.door.place), chain=change.chain)
            except FunctionOff as error:
                self.door.note(f"waits: {error}")
                await trio.sleep(wait_s)
                wait_s = min(wait_s * 2, _OFF_MAX_S)
            except BadEvent as error:
                self.door.count("skipped")
                self.door.note(f"skipped an event: {error}")
                return
            else:
                if wait_s > _OFF_FIRST_S:
                    self.door.note(f"follows the bucket {self.config.bucket}")
                return


def wanted_names(events: list[str]) -> frozenset[str]:
    """Names of the changes that a list of events stands for, as changes have them.

    Raises:
        BadTriggerConfig: an unknown one, one twice, or a general one together with one that it includes.
    """
    found: set[str] = set()
    for text in events:
        if not (names := _named(text)):
            raise BadTriggerConfig("events", f"{text[:60]!r} is no event; see {', '.join(GROUPS)} and their kinds")
        if names & found:
            raise BadTriggerConfig("events", f"{text} is in the list twice, or included in a general event of it")
        found |= names
    return frozenset(found)


def _named(text: str) -> set[str]:
    for group, kinds in GROUPS.items():
        if text in (group, f"s3:{group}:*", f"{group}:*"):
            return {f"{group}:{kind}" for kind in kinds}
        for kind in kinds:
            if text in (kind, f"s3:{group}:{kind}", f"{group}:{kind}"):
                return {f"{group}:{kind}"}
    return set()


def event_of(change: ObjectChange, bucket: str, place: Place) -> dict[str, object]:
    """The event of a change: one record, its key URL-encoded with its slashes."""
    at = datetime.fromtimestamp(change.at_s, UTC)
    subject: dict[str, object] = {
        "key": quote(change.key, safe=""),
        "eTag": change.etag,
        "size": change.size_bytes,
        "versionId": "null",
        "sequencer": f"{change.seq:032X}",
    }
    record = {
        "eventVersion": "2.0",
        "eventSource": "aws:s3",
        "awsRegion": place.region,
        "eventTime": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z",
        "eventName": change.name,
        "userIdentity": {"principalId": change.principal},
        "requestParameters": {"sourceIPAddress": change.address},
        "responseElements": {"x-amz-request-id": change.request_id, "x-amz-id-2": ""},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": place.trigger_id,
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"PrincipalId": place.project_id},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": subject,
        },
    }
    return {"Records": [record]}
