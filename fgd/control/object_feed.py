"""Changes in one bucket of the node's object store, as a trigger sees them (`fgd.trigger.ObjectFeed`)."""

from collections.abc import Iterable

from fgd.store.object_types import ObjectEvent
from fgd.store.objects import ObjectStore
from fgd.trigger import ObjectChange, Place


class StoreFeed:
    """Of a bucket of the trigger's project."""

    def __init__(self, store: ObjectStore, place: Place, bucket: str) -> None:
        self._store = store
        self._place = place
        self._bucket = bucket

    async def ready(self) -> bool:
        return await self._store.has_bucket(self._place.project_id, self._bucket)

    async def begin(self) -> int:
        return await self._store.journal.before(self._place.project_id, self._bucket, self._place.since_s)

    async def follow(self, after_seq: int, most: int) -> list[ObjectChange]:
        project_id, bucket = self._place.project_id, self._bucket
        journal = self._store.journal
        journal.watch(self._place.trigger_id, project_id, bucket, after_seq)
        while True:
            changed = journal.changed(project_id, bucket)
            events = await journal.events(project_id, bucket, after_seq, most)
            if events:
                break
            await changed()
        return changes_of(events)


def changes_of(events: Iterable[ObjectEvent]) -> list[ObjectChange]:
    """Entries of the journal as triggers see them."""
    return [
        ObjectChange(
            one.seq,
            one.name,
            one.key,
            one.etag,
            one.size,
            one.at_s,
            one.principal,
            one.address,
            one.request_id,
            one.chain,
        )
        for one in events
    ]
