"""fgd's own operations on outcomes that are on their way to a destination, or did not arrive."""

from fgd.api.operation import Access, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.clock import iso_utc
from fgd.control.asyncs import number
from fgd.control.deliveries import parse_choice, parse_delivery_query
from fgd.errors import NotFound
from fgd.store.deliveries import STATES, StoredDelivery
from fgd.urn import LATEST

_ALL = "/fgd/v1/functions/{function_urn}/async-deliveries"


async def list_deliveries(services: Services, ask: Ask) -> Answer:
    """Of all versions, unless the URN names one."""
    urn = ask.urn()
    function = services.functions.resolve(urn)
    query = parse_delivery_query(ask.query)
    found = await services.deliveries.list(
        function.func_id,
        version="" if urn.qualifier == LATEST else function.version,
        state=query.state,
        request_id=query.request_id,
        offset=query.offset,
        limit=query.limit,
    )
    return Answer({"deliveries": [_shown(one) for one in found], "next_marker": query.offset + len(found)})


async def show_delivery(services: Services, ask: Ask) -> Answer:
    function = services.functions.resolve(ask.urn())
    given = number({"delivery_id": ask.path["delivery_id"]}, "delivery_id", 0, 2**53)
    found = await services.deliveries.get(function.func_id, given)
    if found is None:
        raise NotFound(f"delivery_id: {function.name} has no delivery {given} that is not over")
    return Answer({**_shown(found), "document": found.document.decode("utf-8", "replace")})


async def retry_deliveries(services: Services, ask: Ask) -> Answer:
    urn = ask.urn()
    function = services.functions.resolve(urn)
    version = "" if urn.qualifier == LATEST else function.version
    return Answer({"count": await services.deliveries.again(function.func_id, version, parse_choice(ask.json()))})


async def drop_deliveries(services: Services, ask: Ask) -> Answer:
    urn = ask.urn()
    function = services.functions.resolve(urn)
    version = "" if urn.qualifier == LATEST else function.version
    return Answer({"count": await services.deliveries.drop(function.func_id, version, parse_choice(ask.json()))})


def _shown(one: StoredDelivery) -> dict[str, object]:
    return {
        "id": one.id,
        "request_id": one.request_id,
        "func_urn": one.function_urn,
        "outcome": "success" if one.success else "failure",
        "destination": one.kind,
        "param": one.param,
        "status": STATES[one.state],
        "tries": one.tries,
        "error": one.error,
        "created_time": iso_utc(one.created_s),
        # null once it has been given up
        "next_try": None if one.end_s else iso_utc(one.due_s),
        "failed_time": iso_utc(one.end_s) if one.end_s else None,
    }


OPERATIONS = (
    Operation(
        "list_deliveries", "GET", _ALL, "Outcomes on their way to a destination, and those that did not arrive",
        list_deliveries, access=Access.ANY, query=("status", "request_id", "marker", "limit"),
    ),
    Operation(
        "show_delivery", "GET", _ALL + "/{delivery_id}", "One of them with the document", show_delivery,
        access=Access.ANY,
    ),
    Operation(
        "retry_deliveries", "POST", _ALL + "/retry", "Try failed ones again", retry_deliveries, access=Access.ANY,
        fields=("ids", "all"),
    ),
    Operation(
        "drop_deliveries", "POST", _ALL + "/drop", "Forget failed ones", drop_deliveries, access=Access.ANY,
        fields=("ids", "all"),
    ),
)  # fmt: skip
