"""fgd's own operations, for its command line and for monitoring."""

import msgspec

from fgd.api.operation import NOTHING, Access, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.clock import iso_utc
from fgd.control.asyncs import number
from fgd.errors import BadQuery

_V1 = "/fgd/v1"
_KEYS = _V1 + "/keys"
_FUNCTION = _V1 + "/functions/{function_urn}"
_LINES_MAX = 10_000
_RECORDS_MAX = 1000


async def show_health(services: Services, ask: Ask) -> Answer:
    return Answer({"status": "ok"})


async def show_metrics(services: Services, ask: Ask) -> Answer:
    # Names and traffic of other projects are none of a client's business.
    project_id = "" if ask.principal.admin else ask.project_id
    return Answer(services.metrics(project_id), content_type="text/plain; version=0.0.4; charset=utf-8")


async def show_status(services: Services, ask: Ask) -> Answer:
    return Answer({"project_id": services.project_id, **services.status()})


async def show_runtimes(services: Services, ask: Ask) -> Answer:
    shown = services.runtimes()
    if not ask.principal.admin:
        # Where things lie on the host is for its operator.
        shown = {name: {k: v for k, v in one.items() if k != "interpreter"} for name, one in shown.items()}
    return Answer({"runtimes": shown})


async def list_networks(services: Services, ask: Ask) -> Answer:
    shown = services.networks()
    if not ask.principal.admin:
        # What the host's own networks are like is for its operator.
        shown = [{key: one[key] for key in ("name", "default", "hosts", "public")} for one in shown]
    return Answer({"networks": shown})


async def list_streams(services: Services, ask: Ask) -> Answer:
    streams = services.config.streams.values()
    if not ask.principal.admin:
        # Where the brokers are is for the operator.
        return Answer({"streams": [{"name": one.name} for one in streams if one.open_to(ask.project_id)]})
    shown = [
        {
            "name": one.name, "brokers": list(one.brokers), "topic": one.topic, "tls": one.tls,
            "user": one.user or None, "mechanism": one.mechanism if one.user else None, "projects": list(one.projects),
        }
        for one in streams
    ]  # fmt: skip
    return Answer({"streams": shown})


async def show_doctor(services: Services, ask: Ask) -> Answer:
    return Answer(await services.doctor())


async def create_key(services: Services, ask: Ask) -> Answer:
    body = ask.optional_json()
    key, token = await services.credentials.create(body.get("name"), body.get("project_id"))
    return Answer(
        {
            "access_key": key.access_key,
            "secret_key": key.secret_key,
            "project_id": key.project_id,
            "token": token.text,
            "name": key.name,
            "token_expires_at": iso_utc(token.expires_s),
        }
    )


async def list_keys(services: Services, ask: Ask) -> Answer:
    keys = [
        {
            "access_key": key.access_key,
            "name": key.name,
            "project_id": key.project_id,
            "created_at": iso_utc(key.created_s),
        }
        for key in await services.credentials.list()
    ]
    return Answer({"keys": keys})


async def delete_key(services: Services, ask: Ask) -> Answer:
    await services.credentials.delete(ask.path["access_key"])
    return NOTHING


async def list_log_lines(services: Services, ask: Ask) -> Answer:
    """Lines in order of time; `cursor` given as `after` goes on behind them, without `after` the newest come."""
    function = services.functions.resolve(ask.urn())
    await services.logs.flush()
    lines, cursor = await services.logs.query(
        function.func_id,
        request_id=ask.query.get("request_id", ""),
        after=number(ask.query, "after", 0, 2**53),
        limit=_limit(ask, _LINES_MAX, 1000),
        newest="after" not in ask.query,
        match=ask.query.get("match", ""),
    )
    return Answer({"lines": lines, "cursor": cursor})


async def list_invocations(services: Services, ask: Ask) -> Answer:
    """Newest invocations with where their time went, and the newest cold starts (performance.md's names)."""
    function = services.functions.resolve(ask.urn())
    await services.logs.flush()
    limit = _limit(ask, _RECORDS_MAX, 100)
    request_id = ask.query.get("request_id", "")
    invocations = await services.logs.invocations(function.func_id, request_id=request_id, limit=limit)
    starts = await services.logs.starts(function.func_id, limit=limit)
    if request_id:
        instances = {record.instance_id for record in invocations if record.cold}
        starts = [record for record in starts if record.instance_id in instances]
    return Answer(
        {
            "invocations": [msgspec.structs.asdict(record) for record in invocations],
            "starts": [msgspec.structs.asdict(record) for record in starts],
        }
    )


def _limit(ask: Ask, most: int, default: int) -> int:
    limit = number(ask.query, "limit", default)
    if not 0 < limit <= most:
        raise BadQuery(f"limit: must be 1 to {most}, not {limit}")
    return limit


async def list_mounts(services: Services, ask: Ask) -> Answer:
    """Mounts of all functions. With `check=true` each is tried first, which takes up to `mount_timeout_s` for one that
    fails."""
    wanted = ask.query.get("check", "false")
    if wanted not in ("true", "false"):
        raise BadQuery(f"check: must be true or false, not {wanted[:20]!r}")
    if wanted == "true":
        await services.disks.try_all()
    region = services.config.region
    return Answer(
        {
            "mounts": [
                {
                    "func_urn": row.function.urn.text(region),
                    "func_name": row.function.name,
                    "version": row.function.version,
                    "local_mount_path": row.mount.path,
                    "mount_type": row.mount.kind,
                    "mount_resource": row.mount.resource,
                    "mount_share_path": row.mount.share_path or None,
                    "read_only": row.mount.read_only,
                    "status": row.status,
                }
                for row in services.disks.rows()
            ]
        }
    )


OPERATIONS = (
    Operation("show_health", "GET", "/healthz", "Whether the control plane answers", show_health, access=Access.PUBLIC),
    Operation("show_metrics", "GET", "/metrics", "Metrics as Prometheus text", show_metrics, access=Access.ANY),
    Operation("show_status", "GET", _V1 + "/status", "State of the node", show_status, access=Access.ADMIN),
    Operation(
        "list_mounts", "GET", _V1 + "/mounts", "Mounts of all functions and how they are", list_mounts,
        access=Access.ADMIN, query=("check",),
    ),
    Operation("show_runtimes", "GET", _V1 + "/runtimes", "Interpreters found", show_runtimes, access=Access.ANY),
    Operation("list_networks", "GET", _V1 + "/networks", "Networks of functions", list_networks, access=Access.ANY),
    Operation("list_streams", "GET", _V1 + "/streams", "Streams of brokers", list_streams, access=Access.ANY),
    Operation("show_doctor", "GET", _V1 + "/doctor", "What this host lacks", show_doctor, access=Access.ADMIN),
    Operation(
        "create_key", "POST", _KEYS, "Make a pair of keys and a token", create_key,
        access=Access.ADMIN, fields=("name", "project_id"),
    ),
    Operation("list_keys", "GET", _KEYS, "List access keys", list_keys, access=Access.ADMIN),
    Operation(
        "delete_key", "DELETE", _KEYS + "/{access_key}", "Revoke a pair of keys and its tokens", delete_key,
        status=204, access=Access.ADMIN,
    ),
    Operation(
        "list_log_lines", "GET", _FUNCTION + "/logs", "Log lines of a function", list_log_lines, access=Access.ANY,
        query=("request_id", "after", "limit", "match"),
    ),
    Operation(
        "list_invocations", "GET", _FUNCTION + "/invocations", "Where the time of invocations went", list_invocations,
        access=Access.ANY, query=("request_id", "limit"),
    ),
)  # fmt: skip
