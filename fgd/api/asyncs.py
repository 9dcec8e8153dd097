"""Asynchronous invocations: settings and records (rest-api, 2.6)."""

from datetime import UTC, datetime

from fgd.api.functions import page
from fgd.api.operation import FUNCTION, NOTHING, Answer, Ask, Operation
from fgd.api.permissions import check_target
from fgd.api.services import Services
from fgd.api.shape import async_config_object, page_info
from fgd.control.asyncs import parse_async_config, parse_record_query
from fgd.errors import BadParameter, BadQuery, NotFound
from fgd.store.api import AsyncRecord
from fgd.urn import LATEST

_ACTIVE = ("WAIT", "RUNNING")
_CANCEL_TYPES = ("force", "recursive")
_ACTIVE_REQUESTS_MAX = 10
#: Records of two states are merged in memory, so a page cannot begin anywhere.
_ACTIVE_OFFSET_MAX = 10_000
_CONFIG_PAGE_MAX = 100


async def update_function_async_invoke_config(services: Services, ask: Ask) -> Answer:
    urn = ask.urn()
    values = parse_async_config(ask.optional_json(), services.targets)
    async with services.functions.locked(urn.key):
        function = services.functions.resolve(urn)
        for target in services.targets.functions(function, values).values():
            check_target(ask, services.config.region, target)
        config = await services.async_configs.put(function, values, services.targets)
    return Answer(async_config_object(services, function, config))


async def show_function_async_invoke_config(services: Services, ask: Ask) -> Answer:
    function = services.functions.resolve(ask.urn())
    config = services.async_configs.stored(function)
    if config is None:
        raise NotFound(f"function_urn: {function.name} has no asynchronous settings of its own")
    return Answer(async_config_object(services, function, config))


async def delete_function_async_invoke_config(services: Services, ask: Ask) -> Answer:
    await services.async_configs.delete(services.functions.resolve(ask.urn()))
    return NOTHING


async def list_function_async_invoke_config(services: Services, ask: Ask) -> Answer:
    offset, size = page(ask, _CONFIG_PAGE_MAX, "limit")
    stored = [(version, services.async_configs.stored(version)) for version in services.versions.list(ask.urn())]
    all_items = [async_config_object(services, version, config) for version, config in stored if config is not None]
    items = all_items[offset : offset + size]
    info = page_info(offset, len(items), len(all_items))
    return Answer({"async_invoke_configs": items, "count": len(all_items), "page_info": info})


async def list_async_invocations(services: Services, ask: Ask) -> Answer:
    urn = ask.urn()
    function = services.functions.resolve(urn)
    query = parse_record_query(ask.query, services.now_s())
    found = await services.records.list_records(
        function.func_id,
        version="" if urn.qualifier == LATEST else function.version,
        request_id=query.request_id,
        state=query.state,
        begin_s=query.begin_s,
        end_s=query.end_s,
        offset=query.offset,
        limit=query.limit,
    )
    return _records(found, query.offset)


async def list_active_async_invocations(services: Services, ask: Ask) -> Answer:
    function = services.functions.resolve(ask.urn())
    query = parse_record_query(ask.query, services.now_s())
    states = (query.state,) if query.state else _ACTIVE
    requests = [text for text in ask.query.get("requests", "").split(",") if text] or [""]
    if len(requests) > _ACTIVE_REQUESTS_MAX:
        raise BadParameter(f"requests: must be at most {_ACTIVE_REQUESTS_MAX} request ids, not {len(requests)}")
    if query.offset > _ACTIVE_OFFSET_MAX:
        raise BadQuery(f"marker: must be at most {_ACTIVE_OFFSET_MAX}, not {query.offset}")
    found: list[AsyncRecord] = []
    for state in states:
        for request_id in requests:
            found += await services.records.list_records(
                function.func_id,
                request_id=request_id,
                state=state,
                begin_s=query.begin_s if "query_begin_time" in ask.query else 0.0,
                end_s=query.end_s,
                limit=query.offset + query.limit,
            )
    found.sort(key=lambda record: record.enqueued_s, reverse=True)
    active = [record for record in found if record.state in _ACTIVE]
    return _records(active[query.offset : query.offset + query.limit], query.offset)


async def cancel_async_invocation(services: Services, ask: Ask) -> Answer:
    function = services.functions.resolve(ask.urn())
    body = ask.json()
    request_id, kind = body.get("request_id"), body.get("type")
    if not isinstance(request_id, str) or not request_id:
        raise BadParameter("request_id: must be the id of an asynchronous invocation")
    if kind not in (None, "", *_CANCEL_TYPES):
        raise BadParameter(f"type: must be one of {', '.join(_CANCEL_TYPES)}")
    if not await services.records.list_records(function.func_id, request_id=request_id, limit=1):
        raise NotFound(f"request_id: {function.name} has no asynchronous invocation {request_id[:64]!r}")
    if not await services.records.cancel(request_id):
        raise NotFound(f"request_id: the invocation {request_id[:64]!r} is over already")
    return Answer(None)


def _records(found: list[AsyncRecord], offset: int) -> Answer:
    """A page of records; next_marker is text, because Terraform takes nothing else (rest-api, 1.8)."""
    items = [
        {
            "request_id": record.request_id,
            "status": record.state,
            "error_message": record.error_message,
            "error_code": record.error_code,
            "start_time": _moment(record.start_s or record.enqueued_s),
            "end_time": _moment(record.end_s),
        }
        for record in found
    ]
    return Answer({"invocations": items, "count": len(items), "next_marker": str(offset + len(items))})


def _moment(epoch_s: float) -> str:
    """UTC without a zone, as Terraform reads it; "" for a moment that has not come."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S") if epoch_s else ""


_CONFIG = FUNCTION + "/async-invoke-config"
_TIMES = ("marker", "limit", "status", "query_begin_time", "query_end_time")

OPERATIONS = (
    Operation(
        "update_function_async_invoke_config", "PUT", _CONFIG, "Set how asynchronous invocations are tried",
        update_function_async_invoke_config,
        fields=(
            "max_async_event_age_in_seconds", "max_async_retry_attempts", "enable_async_status_log",
            "destination_config",
        ),
    ),
    Operation(
        "show_function_async_invoke_config", "GET", _CONFIG, "Show asynchronous settings",
        show_function_async_invoke_config,
    ),
    Operation(
        "delete_function_async_invoke_config", "DELETE", _CONFIG, "Go back to the default asynchronous settings",
        delete_function_async_invoke_config, status=204,
    ),
    Operation(
        "list_function_async_invoke_config", "GET", FUNCTION + "/async-invoke-configs",
        "List asynchronous settings of all versions", list_function_async_invoke_config, query=("marker", "limit"),
    ),
    Operation(
        "list_async_invocations", "GET", FUNCTION + "/async-invocations", "Look up asynchronous invocations",
        list_async_invocations, query=("request_id", *_TIMES),
    ),
    Operation(
        "cancel_async_invocation", "POST", FUNCTION + "/cancel", "Stop an asynchronous invocation",
        cancel_async_invocation, fields=("request_id", "type"),
    ),
    Operation(
        "list_active_async_invocations", "GET", FUNCTION + "/active-async-invocations",
        "Asynchronous invocations that wait or run", list_active_async_invocations, query=("requests", *_TIMES),
    ),
)  # fmt: skip
