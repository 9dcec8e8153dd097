"""Which operations the audit log has, by which names (user guide, table 14-1), and what a trace says of a request.

Every operation that is no GET is recorded, but for those of `UNCHANGING`: those without a row here under their own
name, so that none is forgotten.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from fgd.api.operation import Answer, Ask, Audited, Operation
from fgd.api.services import Headers
from fgd.control.audit import Deed
from fgd.errors import FgdError, RequestError
from fgd.urn import DEFAULT_PACKAGE, LATEST, FunctionUrn

CLIENT_HEADER: Final = b"x-fgd-client"
PEER_HEADER: Final = b"x-fgd-peer"
#: The client went away before it had its answer.
CLIENT_GONE: Final = 499

#: Operations that are no GET and change nothing that anyone has configured.
UNCHANGING: Final = frozenset(
    {
        "invoke_function", "async_invoke_function", "test_function", "show_res_instance_info", "create_token",
        "enable_lts_logs", "enable_async_status_log", "put_log_lines", "put_log_contents", "list_log_contents",
        "publish_message", "put_records", "send_records",
    }
)  # fmt: skip

FUNCTIONS: Final = "Functions"
VERSIONS: Final = "FunctionVersions"
ALIASES: Final = "FunctionVersionAliases"
TRIGGERS: Final = "Triggers"

_NAMES: Final[Mapping[str, Audited]] = {
    "create_function": Audited("createFunction", FUNCTIONS),
    "import_function": Audited("importFunction", FUNCTIONS),
    "delete_function": Audited("deleteFunction", FUNCTIONS),
    "update_function_config": Audited("updateFunctionConfig", FUNCTIONS),
    "update_function_max_instance_config": Audited("updateFunctionConfig", FUNCTIONS),
    "update_function_collect_state": Audited("updateFunctionConfig", FUNCTIONS),
    "update_tracing": Audited("updateFunctionConfig", FUNCTIONS),
    "update_function_code": Audited("updateFunctionCode", FUNCTIONS),
    "update_function_async_invoke_config": Audited("updateAsyncInvokeConfig", FUNCTIONS),
    "delete_function_async_invoke_config": Audited("deleteAsyncInvokeConfig", FUNCTIONS),
    "cancel_async_invocation": Audited("cancelAsyncInvocation", FUNCTIONS),
    "retry_deliveries": Audited("retryDeliveries", FUNCTIONS),
    "drop_deliveries": Audited("dropDeliveries", FUNCTIONS),
    "update_function_reserved_instances_count": Audited("updateReservedInstanceCount", FUNCTIONS),
    "create_function_version": Audited("publishFunctionVersion", VERSIONS),
    "create_version_alias": Audited("createVersionAlias", ALIASES),
    "update_version_alias": Audited("updateVersionAlias", ALIASES),
    "delete_version_alias": Audited("deleteVersionAlias", ALIASES),
    "create_function_trigger": Audited("createTrigger", TRIGGERS),
    "update_trigger": Audited("updateTrigger", TRIGGERS),
    "delete_function_trigger": Audited("deleteTrigger", TRIGGERS),
    "batch_delete_function_triggers": Audited("deleteTrigger", TRIGGERS),
    "create_dependency_version": Audited("createDependency", "Dependencies"),
    "create_dependency": Audited("createDependency", "Dependencies"),
    "update_dependency": Audited("updateDependency", "Dependencies"),
    "delete_dependency_version": Audited("deleteDependency", "Dependencies"),
    "delete_dependency": Audited("deleteDependency", "Dependencies"),
    "create_tags": Audited("createTags", FUNCTIONS),
    "delete_tags": Audited("deleteTags", FUNCTIONS),
    "create_event": Audited("createEvent", "TestEvents"),
    "update_event": Audited("updateEvent", "TestEvents"),
    "delete_event": Audited("deleteEvent", "TestEvents"),
    "create_agency": Audited("createAgency", "Agencies"),
    "update_agency": Audited("updateAgency", "Agencies"),
    "delete_agency": Audited("deleteAgency", "Agencies"),
    "create_key": Audited("createKey", "Keys"),
    "delete_key": Audited("deleteKey", "Keys"),
    "create_log_group": Audited("createLogGroup", "Groups", "LTS"),
    "update_log_group": Audited("updateLogGroup", "Groups", "LTS"),
    "delete_log_group": Audited("deleteLogGroup", "Groups", "LTS"),
    "create_log_stream": Audited("createLogStream", "Streams", "LTS"),
    "delete_log_stream": Audited("deleteLogStream", "Streams", "LTS"),
}
#: What a name depends on: an operation that is several of table 14-1.
DEPENDING: Final = (
    Audited("deleteFunctionVersion", VERSIONS),
    Audited("enableTrigger", TRIGGERS),
    Audited("disableTrigger", TRIGGERS),
)
#: (service, type of resource, name) of every operation with a name of its own.
RECORDED: Final = frozenset((one.service, one.resource_type, one.name) for one in (*_NAMES.values(), *DEPENDING))
#: Where a trace's resource has its name and its id: fields of the path, the request, the answer; the first one found.
_NAME_FIELDS: Final = (
    "alias_name", "agency_name", "access_key", "log_group_name", "log_stream_name", "func_name", "name",
)  # fmt: skip
_ID_FIELDS: Final = (
    "trigger_id", "event_id", "depend_id", "log_stream_id", "log_group_id", "alias_urn", "func_urn", "dep_id", "id",
)  # fmt: skip


def audited(operation: Operation) -> Audited | None:
    """By which name the audit log has an operation; None for those that change nothing."""
    if operation.method == "GET" or not operation.built or operation.name in UNCHANGING:
        return None
    default = re.sub(r"_(\w)", lambda found: found[1].upper(), operation.name)
    return _NAMES.get(operation.name, Audited(default, "Others"))


def deed(
    operation: Operation,
    ask: Ask,
    headers: Headers,
    result: Answer | BaseException,
    request_id: str,
    target: str,
    region: str,
) -> Deed:
    """What a trace says of a request that is over.

    Args:
        result: the answer, or what was raised instead of one.
        target: path and query as they were on the wire.
    """
    kind = operation.audit
    assert kind is not None
    known = {name.lower(): value.decode("latin-1") for name, value in headers if name.lower().startswith(b"x-fgd-")}
    request = _json(ask.body)
    if isinstance(result, Answer):
        code, response = operation.status, result.value if isinstance(result.value, dict | list) else {}
    elif isinstance(result, FgdError):
        code, response = result.status_hint, {"error_code": result.code, "error_msg": str(result)}
    elif isinstance(result, Exception):
        code, response = 500, {"error_code": FgdError.code, "error_msg": "fgd failed inside"}
    else:
        code, response = CLIENT_GONE, {"error_msg": "the client went away before it had its answer"}
    urn = _urn(operation, ask, request)
    kind = _kind(kind, operation, urn, request, result)
    name, resource_id = _resource(kind, ask, urn, request, response, region)
    if "code" in ask.path:  # of an app: a secret, however it is encoded
        target = operation.path
    verb = re.sub(r"([A-Z])", lambda found: " " + found[1].lower(), kind.name)
    return Deed(
        project_id=ask.project_id,
        name=kind.name,
        resource_type=kind.resource_type,
        resource_name=name,
        resource_id=resource_id,
        user=ask.principal.name,
        local=PEER_HEADER in known,
        source_ip=known.get(CLIENT_HEADER, ""),
        request=request,
        response=response,
        code=code,
        operation=operation.name,
        request_id=request_id,
        message=f"{operation.method} {target}, {verb}[{name}]",
        service=kind.service,
    )


def _json(body: bytes) -> dict[str, object]:
    if not body:
        return {}
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _urn(operation: Operation, ask: Ask, request: Mapping[str, object]) -> FunctionUrn | None:
    try:
        return ask.urn()
    except StopIteration:
        pass
    except RequestError:
        return None
    name, package = request.get("func_name"), request.get("package")
    if operation.name not in ("create_function", "import_function") or not isinstance(name, str):
        return None
    return FunctionUrn(ask.project_id, package if isinstance(package, str) and package else DEFAULT_PACKAGE, name)


def _kind(
    kind: Audited,
    operation: Operation,
    urn: FunctionUrn | None,
    request: Mapping[str, object],
    result: Answer | BaseException,
) -> Audited:
    if operation.name == "delete_function" and urn is not None and urn.qualifier != LATEST:
        return DEPENDING[0]
    if operation.name == "update_trigger":
        switched = result.trace if isinstance(result, Answer) else str(request.get("trigger_status") or "")
        return {"ACTIVE": DEPENDING[1], "DISABLED": DEPENDING[2]}.get(switched, kind)
    return kind


def _resource(
    kind: Audited,
    ask: Ask,
    urn: FunctionUrn | None,
    request: Mapping[str, object],
    response: object,
    region: str,
) -> tuple[str, str]:
    """Name and id of what a request is about; "" where it has none, or has not come to be."""
    answered: Mapping[str, object] = response if isinstance(response, dict) else {}
    if kind.resource_type == FUNCTIONS and urn is not None:
        made = "error_code" not in answered or "func_name" not in request
        return urn.name, urn.text(region).removesuffix(f":{urn.qualifier}") if made else ""
    settings = request.get("event_data")
    shown = answered.get("event_data")
    places: list[Mapping[str, object]] = [
        ask.path, request, settings if isinstance(settings, dict) else {}, answered,
        shown if isinstance(shown, dict) else {},
    ]  # fmt: skip
    if kind.resource_type == VERSIONS:
        version = urn.qualifier if urn is not None and urn.qualifier != LATEST else answered.get("version")
        name = str(version or request.get("version") or "")
        return name, f"{urn.text(region).removesuffix(':' + urn.qualifier)}:{name}" if urn is not None and name else ""
    name = _first(places, _NAME_FIELDS)
    resource_id = _first([ask.path, answered], _ID_FIELDS)
    if kind.resource_type == ALIASES and urn is not None and not resource_id:
        resource_id = f"{urn.text(region).removesuffix(':' + urn.qualifier)}:!{name}"
    return name or (urn.name if urn is not None else ""), resource_id


def _first(places: list[Mapping[str, object]], names: tuple[str, ...]) -> str:
    for place in places:
        for name in names:
            value = place.get(name)
            if isinstance(value, str) and value:
                return value
    return ""
