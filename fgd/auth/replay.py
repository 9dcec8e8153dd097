"""Refuses a signed request that comes again.

`X-Sdk-Date` counts whole seconds and there is no nonce, so two honest requests that are equal and signed in the same
second carry the same signature: a cache that refuses every second sight of a signature breaks a client that sends the
same event twice in a row. But an honest client sends what it signed at once, and a retry is signed anew. So a
signature is good for `BURST_S` after it was first seen; later than that it can only be a recording.

Requests that change nothing (GET, HEAD, OPTIONS) are not remembered: to repeat one harms nobody within its 15 minutes.
"""

from collections import OrderedDict
from typing import Final

from fgd.auth.signature import MAX_SKEW_S
from fgd.errors import Unauthorized

#: Seconds after its first sight in which the same signature may come again.
BURST_S: Final = 2.0
#: Signatures remembered per access key; beyond it the oldest are forgotten. About 250 bytes each.
REMEMBERED_MAX: Final = 65536
_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))


class ReplayGuard:
    """Signatures seen with one access key, oldest first. A key's own traffic can only push out its own entries."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        #: signature -> (first seen, end of its validity), epoch seconds.
        self._seen: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def check(self, method: str, signature: bytes, date_s: float, now_s: float) -> None:
        """Remembers a signature that was found right.

        Raises:
            Unauthorized: it was first seen longer ago than honest repetition explains.
        """
        if method.upper() in _SAFE_METHODS:
            return
        seen = self._seen
        key = bytes.fromhex(signature.decode("ascii"))
        known = seen.get(key)
        if known is not None:
            if now_s - known[0] > BURST_S:
                raise Unauthorized(
                    "Authorization: this signature was used before; sign every request anew (X-Sdk-Date, signature)"
                )
            return
        while seen and (len(seen) >= REMEMBERED_MAX or next(iter(seen.values()))[1] < now_s):
            seen.popitem(last=False)
        seen[key] = (now_s, date_s + MAX_SKEW_S)

    def __len__(self) -> int:
        return len(self._seen)
