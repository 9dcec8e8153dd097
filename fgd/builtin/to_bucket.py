"""The kind `OBS`: the notification becomes an object in a bucket of the node's object store.

    {"bucket": "results", "prefix": "failed/", "expires": 30}
    {"bucket": "results", "store": "minio"}

The bucket is made with the first object, called `<prefix><time>-<request id>-<success or failure>.json`; a repeated
delivery makes the same object again. `expires` are days, 0 for ever. `store` is one of the setting `object_stores`,
where the bucket must be there and objects expire by the store's own rules.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from fgd.builtin import fields
from fgd.plugin import BadDestination, Delivery, Node, bucket_fault

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
#: What is left of the 1,024 bytes of a key beside the name that fgd gives.
_PREFIX_MAX_BYTES: Final = 900
_EXPIRES_MAX_DAYS: Final = 365
_DAY_S: Final = 86400


@dataclass(frozen=True, slots=True)
class Target:
    """Where objects go; `prefix`: how their keys begin."""

    bucket: str
    prefix: str
    expires_days: int
    store: str = ""


class BucketDestination:
    """Makes objects."""

    kind = "OBS"

    def __init__(self, node: Node) -> None:
        self._node = node

    def parse(self, param: Mapping[str, Any]) -> Target:
        fields.only(param, "bucket", "prefix", "expires", "store")
        bucket = fields.text(param, "bucket", 63)
        if fault := bucket_fault(bucket):
            raise BadDestination(f"bucket: {fault}")
        prefix = fields.text(param, "prefix", _PREFIX_MAX_BYTES, needed=False)
        if _CONTROLS.search(prefix) or len(prefix.encode()) > _PREFIX_MAX_BYTES:
            raise BadDestination(f"prefix: must be at most {_PREFIX_MAX_BYTES} bytes without control characters")
        if any(part in (".", "..") for part in prefix.split("/")):
            raise BadDestination("prefix: none of its parts between slashes may be . or ..")
        expires = fields.whole(param, "expires", 0, _EXPIRES_MAX_DAYS)
        store = fields.text(param, "store", 32, needed=False)
        if store and store not in [line.split(maxsplit=1)[0] for line in self._node.config.object_stores]:
            raise BadDestination(f"store: there is no object store {store!r} (setting object_stores)")
        if store and expires:
            raise BadDestination("expires: must be 0 with a store, whose own rules remove objects")
        return Target(bucket, prefix, expires, store)

    async def deliver(self, delivery: Delivery, settings: Target) -> None:
        ended = datetime.fromtimestamp(delivery.created_s, UTC)
        outcome = "success" if delivery.success else "failure"
        key = f"{settings.prefix}{ended:%Y%m%dT%H%M%SZ}-{delivery.request_id}-{outcome}.json"
        expires_s = self._node.now_s() + settings.expires_days * _DAY_S if settings.expires_days else 0.0
        await self._node.put_object(
            delivery.project_id, settings.bucket, key, delivery.document,
            content_type="application/json", expires_s=expires_s, store=settings.store,
            chain=delivery.chain,
        )  # fmt: skip
