"""Changes in a bucket of another object store, as a trigger sees them (`fgd.trigger.ObjectFeed`).

The bucket's list is looked at again and again, and compared with what was seen before (`fgd.store.object_mirror`); the
changes go into the same journal that the node's own buckets have. Nobody looks while there are changes that the trigger
has not taken, so a slow function leaves further ones where they are.
"""

from collections.abc import AsyncIterator, Sequence

import trio

from fgd.control.object_feed import changes_of
from fgd.errors import ObjectStoreAway
from fgd.remote.client import NotThere, StoreClient
from fgd.store.object_looks import Looks
from fgd.store.object_mirror import Seen
from fgd.store.objects import ObjectStore
from fgd.trigger import ObjectChange, Place


class RemoteFeed:
    """Of one bucket, below a prefix."""

    def __init__(self, store: ObjectStore, client: StoreClient, place: Place, bucket: str, prefix: str) -> None:
        self._journal = store.journal
        self._client = client
        self._place = place
        self._bucket = bucket
        self._prefix = prefix
        # One trigger's alone, so nobody else looks at the same time. No bucket's name has a slash.
        self._stream = f"{client.about.name}/{bucket}/{place.trigger_id}/{prefix}"
        self._looks = Looks(store, place.project_id, self._stream, bucket)

    async def ready(self) -> bool:
        self._journal.hold(self._place.trigger_id, self._place.project_id, self._stream)
        return await self._client.has_bucket(self._bucket)

    async def begin(self) -> int:
        await self._looks.begin(self._place.since_s)
        await self._looks.look(self._pages())
        return 0

    async def follow(self, after_seq: int, most: int) -> list[ObjectChange]:
        project_id = self._place.project_id
        self._journal.watch(self._place.trigger_id, project_id, self._stream, after_seq)
        while True:
            events = await self._journal.events(project_id, self._stream, after_seq, most)
            if events:
                return changes_of(events)
            await trio.sleep(self._client.about.poll_s)
            await self._looks.look(self._pages())

    async def _pages(self) -> AsyncIterator[tuple[Sequence[Seen], bool]]:
        token = ""
        while True:
            try:
                found, token = await self._client.page(self._bucket, self._prefix, token)
            except NotThere:
                raise ObjectStoreAway(
                    f"object store {self._client.about.name}: there is no bucket {self._bucket} any more"
                ) from None
            yield [Seen(one.key, one.etag, one.modified, one.size) for one in found], not token
            if not token:
                return
