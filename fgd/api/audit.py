"""The audit log: what was done in the last seven days (user guide, 14.2), in the cloud's form and fgd's own."""

from typing import Final

import msgspec

from fgd.api.operation import Answer, Ask, Operation
from fgd.api.services import Services
from fgd.control.asyncs import number
from fgd.errors import BadQuery, Forbidden
from fgd.store.audit import TraceFilter

_FILTERS: Final = ("trace_name", "resource_type", "resource_name", "resource_id", "user", "trace_id")
_STATUSES: Final = ("normal", "warning", "incident")
PAGE_MAX: Final = 1000
_MOMENT_MAX: Final = 2**53
_QUERY: Final = (*_FILTERS, "trace_status", "trace_rating", "from", "to", "limit", "next")


async def list_traces(services: Services, ask: Ask) -> Answer:
    """Newest first; `next`, the marker of the answer before, goes on behind it. Times are epoch milliseconds."""
    query = {name: ask.query.get(name, "") for name in _FILTERS}
    status = ask.query.get("trace_status") or ask.query.get("trace_rating") or ""
    if status not in ("", *_STATUSES):
        raise BadQuery(f"trace_status: must be normal, warning or incident, not {status[:32]!r}")
    limit = number(ask.query, "limit", 10)
    if not 0 < limit <= PAGE_MAX:
        raise BadQuery(f"limit: must be 1 to {PAGE_MAX}, not {limit}")
    every = ask.query.get("all_projects") == "true"
    if every and not ask.principal.admin:
        raise Forbidden("all_projects: only administrators on the admin socket see all projects")
    wanted = TraceFilter(
        project_id="" if every else ask.project_id,
        name=query["trace_name"],
        resource_type=query["resource_type"],
        resource_name=query["resource_name"],
        resource_id=query["resource_id"],
        user=query["user"],
        trace_id=query["trace_id"],
        status=status,
        from_ms=number(ask.query, "from", 0, _MOMENT_MAX),
        to_ms=number(ask.query, "to", 0, _MOMENT_MAX),
        before=number(ask.query, "next", 0, _MOMENT_MAX),
    )
    found = await services.audit.find(wanted, limit)
    marker = str(found[-1][0]) if len(found) == limit else ""
    return Answer(
        {
            "traces": [msgspec.Raw(body) for _, body in found],
            "meta_data": {"count": len(found), "marker": marker or None},
        }
    )


OPERATIONS = (
    Operation("list_traces", "GET", "/v3/{project_id}/traces", "The audit log", list_traces, query=_QUERY),
    Operation(
        "list_audit", "GET", "/fgd/v1/projects/{project_id}/audit", "The audit log", list_traces,
        query=(*_QUERY, "all_projects"),
    ),
)  # fmt: skip
