"""Logs and tracing as the cloud's log service names them (rest-api, 2.13).

Every function's output goes to fgd's own log database, where its stream is the function, and to the stream of its
`log_config`. To read lines, see `GET /fgd/v1/functions/{function_urn}/logs` and `fgd.api.lts`.
"""

from fgd.api.operation import FUNCTION, NOTHING, V2, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.control.facets.logs import log_details
from fgd.control.log_streams import DEFAULT_PREFIX
from fgd.errors import LogsEnabled, NotBuilt


async def show_lts_log_details(services: Services, ask: Ask) -> Answer:
    function = services.functions.resolve(ask.urn())
    return Answer(log_details(services.log_streams, function))


async def enable_lts_logs(services: Services, ask: Ask) -> Answer:
    raise LogsEnabled("lts log has been enabled: fgd keeps the log of every function")


async def enable_async_status_log(services: Services, ask: Ask) -> Answer:
    """Records are kept from the start, unless a function's asynchronous settings switch them off."""
    return NOTHING


async def show_project_async_status_log_info(services: Services, ask: Ask) -> Answer:
    return Answer(
        {
            "group_name": DEFAULT_PREFIX + ask.project_id[:8],
            "group_id": ask.project_id,
            "stream_name": "async-status",
            "stream_id": "async-status",
        }
    )


async def show_tracing(services: Services, ask: Ask) -> Answer:
    services.functions.resolve(ask.urn())
    return Answer({"tracing_ak": "", "tracing_sk": ""})


async def update_tracing(services: Services, ask: Ask) -> Answer:
    services.functions.resolve(ask.urn())
    body = ask.optional_json()
    if body.get("tracing_ak") or body.get("tracing_sk"):
        raise NotBuilt("tracing_ak: this version of fgd has no tracing; empty values switch it off")
    return NOTHING


_STATUS_DETAIL = V2 + "/functions/async-status-log-detail"
_TRACING = FUNCTION + "/tracing"

OPERATIONS = (
    Operation("show_lts_log_details", "GET", FUNCTION + "/lts-log-detail", "Where logs go", show_lts_log_details),
    Operation("enable_lts_logs", "POST", V2 + "/functions/enable-lts-logs", "Logs are always kept", enable_lts_logs),
    Operation(
        "enable_async_status_log", "POST", V2 + "/functions/enable-async-status-logs",
        "Records of asynchronous invocations are always kept", enable_async_status_log,
    ),
    Operation(
        "show_project_async_status_log_info", "GET", _STATUS_DETAIL, "Where records of asynchronous invocations go",
        show_project_async_status_log_info,
    ),
    Operation("show_tracing", "GET", _TRACING, "Show tracing", show_tracing),
    Operation(
        "update_tracing", "PUT", _TRACING, "Switch tracing off", update_tracing, fields=("tracing_ak", "tracing_sk")
    ),
)  # fmt: skip
