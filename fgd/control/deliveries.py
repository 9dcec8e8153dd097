"""Outcomes of asynchronous invocations that are on their way or did not arrive: what is asked about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from fgd.control import rules
from fgd.control.asyncs import LIMIT_DEFAULT, LIMIT_MAX, number
from fgd.errors import BadParameter, BadQuery
from fgd.store.deliveries import STATES, StoredDelivery

_IDS_MAX: Final = 1000
_ID_MAX: Final = 2**53


class Deliveries(Protocol):
    """What is asked of `fgd.invoke.deliverer.Deliverer`."""

    async def list(
        self, func_id: str, *, version: str = "", state: str = "", request_id: str = "", offset: int = 0, limit: int
    ) -> list[StoredDelivery]:  # fmt: skip
        """Newest first; "" means any."""

    async def get(self, func_id: str, number: int) -> StoredDelivery | None:
        """One with its document."""

    async def again(self, func_id: str, version: str, ids: Sequence[int] | None) -> int:
        """Tries failed ones once more (None: all); how many."""

    async def drop(self, func_id: str, version: str, ids: Sequence[int] | None) -> int:
        """Forgets failed ones; how many."""


@dataclass(frozen=True, slots=True)
class DeliveryQuery:
    """Which deliveries; see `parse_delivery_query`."""

    state: str
    request_id: str
    offset: int
    limit: int


def parse_delivery_query(query: Mapping[str, str]) -> DeliveryQuery:
    """The query parameters of a list of deliveries.

    Raises:
        BadQuery: names the parameter.
    """
    state = query.get("status", "").upper()
    if state and state not in STATES:
        raise BadQuery(f"status: must be one of {', '.join(STATES)}, not {rules.shown(query['status'])}")
    limit = number(query, "limit", LIMIT_DEFAULT, LIMIT_MAX) or LIMIT_DEFAULT
    return DeliveryQuery(state, query.get("request_id", ""), number(query, "marker", 0), limit)


def parse_choice(body: Mapping[str, object]) -> list[int] | None:
    """Which failed deliveries a request is about: `ids`, or None for all when it says `all`.

    Raises:
        BadParameter: it says neither, or both.
    """
    everything = body.get("all")
    if everything is not None:
        rules.flag("all", everything)
    ids = body.get("ids")
    if everything:
        if ids is not None:
            raise BadParameter("ids: must not be there beside all")
        return None
    if not isinstance(ids, list) or not 0 < len(ids) <= _IDS_MAX:
        raise BadParameter(f"ids: must be a list of 1 to {_IDS_MAX} numbers of deliveries; or say all: true")
    return [rules.whole("ids", one, 1, _ID_MAX, BadParameter) for one in ids]
