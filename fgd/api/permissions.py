"""What a caller with policies needs for each operation: one table, one check.

Callers without policies (`Principal.rights` is None) have all of their project; callers with policies have what those
allow, and nothing where this table has no row.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from fgd.api.operation import Access, Ask, Operation
from fgd.auth.actions import INVOKE_ASYNC
from fgd.auth.policy import EVERY, SERVICE, function_resource
from fgd.errors import ActionDenied, AgencyDenied
from fgd.model import Function, Resource, Rights
from fgd.urn import DEFAULT_PACKAGE, parse_urn

#: Whoever has credentials may: it tells no more than who the caller is and what kinds of things there are.
FREE: Final = ""
_FUNCTION: Final = "functiongraph:function:"
_TRIGGER: Final = "functiongraph:trigger:"
_DEPENDENCY: Final = "functiongraph:dependency:"
_LTS: Final = "lts:"
_TOPIC: Final = "smn:topic:"

#: Operation -> action. What administrators alone may do is not here.
ACTION_OF: Final[Mapping[str, str]] = {
    "create_function": _FUNCTION + "create",
    "list_functions": _FUNCTION + "list",
    "delete_function": _FUNCTION + "delete",
    "show_function_config": _FUNCTION + "getConfig",
    "update_function_config": _FUNCTION + "updateConfig",
    "update_function_max_instance_config": _FUNCTION + "updateConfig",
    "update_function_collect_state": _FUNCTION + "updateConfig",
    "show_function_code": _FUNCTION + "getCode",
    "update_function_code": _FUNCTION + "updateCode",
    "invoke_function": _FUNCTION + "invoke",
    "async_invoke_function": _FUNCTION + "invokeAsync",
    "create_function_version": _FUNCTION + "createVersion",
    "list_function_versions": _FUNCTION + "listVersion",
    "create_version_alias": _FUNCTION + "createAlias",
    "list_version_aliases": _FUNCTION + "listAlias",
    "show_version_alias": _FUNCTION + "getAlias",
    "update_version_alias": _FUNCTION + "updateAlias",
    "delete_version_alias": _FUNCTION + "deleteAlias",
    "create_function_trigger": _TRIGGER + "create",
    "list_function_triggers": _TRIGGER + "list",
    "show_function_trigger": _TRIGGER + "get",
    "show_trigger_state": _TRIGGER + "get",
    "update_trigger": _TRIGGER + "update",
    "delete_function_trigger": _TRIGGER + "delete",
    "batch_delete_function_triggers": _TRIGGER + "delete",
    "list_triggers": _TRIGGER + "list",
    "create_api_group": _TRIGGER + "create",
    "show_api_group": _TRIGGER + "get",
    "update_api_group": _TRIGGER + "update",
    "delete_api_group": _TRIGGER + "delete",
    "list_api_groups": _TRIGGER + "list",
    "create_api_environment": _TRIGGER + "create",
    "show_api_environment": _TRIGGER + "get",
    "update_api_environment": _TRIGGER + "update",
    "delete_api_environment": _TRIGGER + "delete",
    "list_api_environments": _TRIGGER + "list",
    "create_api_app": _TRIGGER + "create",
    "show_api_app": _TRIGGER + "update",
    "update_api_app": _TRIGGER + "update",
    "delete_api_app": _TRIGGER + "delete",
    "list_api_apps": _TRIGGER + "list",
    "create_api_throttle": _TRIGGER + "create",
    "show_api_throttle": _TRIGGER + "get",
    "update_api_throttle": _TRIGGER + "update",
    "delete_api_throttle": _TRIGGER + "delete",
    "list_api_throttles": _TRIGGER + "list",
    "create_app_code": _TRIGGER + "update",
    "delete_app_code": _TRIGGER + "update",
    "list_published_apis": _TRIGGER + "list",
    "update_function_async_invoke_config": _FUNCTION + "updateAsyncInvokeConfig",
    "show_function_async_invoke_config": _FUNCTION + "getAsyncInvokeConfig",
    "delete_function_async_invoke_config": _FUNCTION + "deleteAsyncInvokeConfig",
    "list_function_async_invoke_config": _FUNCTION + "listAsyncInvokeConfig",
    "list_async_invocations": _FUNCTION + "listAsyncInvocation",
    "list_active_async_invocations": _FUNCTION + "listAsyncInvocation",
    "cancel_async_invocation": _FUNCTION + "cancelAsyncInvocation",
    "list_deliveries": _FUNCTION + "listAsyncInvocation",
    # The document has what the function was given and what it returned.
    "show_delivery": _FUNCTION + "getLog",
    "retry_deliveries": _FUNCTION + "updateAsyncInvokeConfig",
    "drop_deliveries": _FUNCTION + "updateAsyncInvokeConfig",
    "update_function_reserved_instances_count": _FUNCTION + "updateReservedInstanceCount",
    "show_reserved_forecast": _FUNCTION + "listReservedInstance",
    "list_function_reserved_instances": _FUNCTION + "listReservedInstance",
    "list_reserved_instance_configs": _FUNCTION + "listReservedInstance",
    "create_dependency_version": _DEPENDENCY + "create",
    "list_dependency_version": _DEPENDENCY + "list",
    "show_dependency_version": _DEPENDENCY + "get",
    "show_dependency_archive": _DEPENDENCY + "get",
    "delete_dependency_version": _DEPENDENCY + "delete",
    "list_dependencies": _DEPENDENCY + "list",
    "create_dependency": _DEPENDENCY + "create",
    "show_dependency": _DEPENDENCY + "get",
    "update_dependency": _DEPENDENCY + "update",
    "delete_dependency": _DEPENDENCY + "delete",
    "create_tags": _FUNCTION + "createTag",
    "delete_tags": _FUNCTION + "deleteTag",
    "list_function_tags": _FUNCTION + "listTag",
    "show_project_tags_list": _FUNCTION + "listTag",
    "show_res_instance_info": _FUNCTION + "list",
    "list_event_templates": FREE,
    "show_event_template": FREE,
    "test_function": _FUNCTION + "invoke",
    "create_event": _FUNCTION + "createEvent",
    "list_events": _FUNCTION + "listEvent",
    "show_event": _FUNCTION + "getEvent",
    "update_event": _FUNCTION + "updateEvent",
    "delete_event": _FUNCTION + "deleteEvent",
    "export_function": _FUNCTION + "export",
    "import_function": _FUNCTION + "import",
    "list_function_statistics": _FUNCTION + "listStatistics",
    "show_function_metrics": _FUNCTION + "listStatistics",
    "list_statistics": _FUNCTION + "listStatistics",
    "list_function_as_metric": _FUNCTION + "listStatistics",
    "show_func_reserved_instance_metrics": _FUNCTION + "listStatistics",
    "show_metrics": _FUNCTION + "listStatistics",
    "list_quotas": _FUNCTION + "listQuota",
    "show_lts_log_details": _FUNCTION + "getLog",
    "enable_lts_logs": _FUNCTION + "enableLog",
    "enable_async_status_log": _FUNCTION + "enableLog",
    "show_project_async_status_log_info": _FUNCTION + "getLog",
    "list_log_lines": _FUNCTION + "getLog",
    "list_invocations": _FUNCTION + "getLog",
    "list_log_groups": _LTS + "groups:list",
    "create_log_group": _LTS + "groups:create",
    "update_log_group": _LTS + "groups:put",
    "delete_log_group": _LTS + "groups:delete",
    "list_log_streams": _LTS + "topics:list",
    "create_log_stream": _LTS + "topics:create",
    "delete_log_stream": _LTS + "topics:delete",
    "put_log_contents": _LTS + "topics:put",
    "put_log_lines": _LTS + "topics:put",
    "list_lines_of_stream": _LTS + "topics:get",
    "list_traces": "cts:traces:list",
    "list_audit": "cts:traces:list",
    "show_tracing": _FUNCTION + "getTracing",
    "update_tracing": _FUNCTION + "updateTracing",
    "list_function_template": _FUNCTION + "listTemplate",
    "show_function_template": _FUNCTION + "getTemplate",
    "list_agencies": "iam:agencies:list",
    "show_agency": "iam:agencies:get",
    "list_trusted_agencies": "iam:agencies:list",
    "create_topic": _TOPIC + "create",
    "list_topics": _TOPIC + "list",
    "list_topic_details": _TOPIC + "list",
    "update_topic": _TOPIC + "update",
    "delete_topic": _TOPIC + "delete",
    "list_topic_attributes": _TOPIC + "list",
    "update_topic_attribute": _TOPIC + "update",
    "delete_topic_attribute_by_name": _TOPIC + "update",
    "delete_topic_attributes": _TOPIC + "update",
    "publish_message": _TOPIC + "publish",
    "list_topic_deliveries": _TOPIC + "publish",
    "retry_topic_deliveries": _TOPIC + "publish",
    "drop_topic_deliveries": _TOPIC + "publish",
    "add_subscription": _TOPIC + "subscribe",
    "update_subscription": _TOPIC + "subscribe",
    "cancel_subscription": _TOPIC + "subscribe",
    "list_subscriptions": _TOPIC + "listSubscriptions",
    "list_subscriptions_by_topic": _TOPIC + "listSubscriptions",
    "create_message_template": "smn:template:create",
    "list_message_templates": _TOPIC + "list",
    "list_message_template_details": _TOPIC + "list",
    "update_message_template": "smn:template:update",
    "delete_message_template": "smn:template:delete",
    "list_runtime_types": FREE,
    "list_trigger_types": FREE,
    "list_trigger_codes": FREE,
    "show_trigger_type": FREE,
    "show_features": FREE,
    "show_runtimes": FREE,
    "list_networks": FREE,
    "list_streams": FREE,
    "list_policies": FREE,
    "list_projects": FREE,
    "list_domains": FREE,
}

#: What the API calls a function, in paths and in queries.
_IN_PATH: Final = ("function_urn", "func_urn", "resource_id")
_IN_QUERY: Final = ("function_urn", "urn")
PASS: Final = "iam:agencies:pass"


class _Named(msgspec.Struct):
    """What a body names that needs a permission; everything else in it is passed over."""

    func_name: object = None
    package: object = None
    xrole: object = None
    app_xrole: object = None


def check(operation: Operation, ask: Ask, region: str) -> None:
    """Refuses what the caller's policies do not allow, before anything is looked up.

    Raises:
        ActionDenied: names the action and the resource.
        AgencyDenied: the request would give an agency to a function.
    """
    rights = ask.principal.rights
    if rights is None or operation.access is Access.PUBLIC:
        return
    action = operation.action
    if action is None:
        raise ActionDenied(f"{operation.name}: no policy can allow this")
    if action == FREE:
        return
    body = _named(ask.body)
    about = _resources(operation, action, ask, body, region)
    verdicts = {rights.says(action, one) for one in about}
    if False in verdicts or True not in verdicts:
        resource = about[0]
        raise ActionDenied(
            f"{operation.name}: the policies of the {ask.principal.name} do not allow {action} on {_path(resource)}"
        )
    if operation.name == "import_function":
        _check_pass(rights, ask, region, EVERY)
    for agency in (body.xrole, body.app_xrole):
        if isinstance(agency, str) and agency:
            _check_pass(rights, ask, region, agency)


def check_target(ask: Ask, region: str, function: Function) -> None:
    """Refuses to hand outcomes on to a function that the caller may not invoke.

    Raises:
        ActionDenied: names the action and the function.
    """
    rights = ask.principal.rights
    resource = function_resource(region, function.project_id, function.package, function.name)
    if rights is not None and not rights.says(INVOKE_ASYNC, resource):
        raise ActionDenied(
            f"destination_config: the policies of the {ask.principal.name} do not allow {INVOKE_ASYNC} on"
            f" {_path(resource)}"
        )


def _check_pass(rights: Rights, ask: Ask, region: str, agency: str) -> None:
    resource = Resource("iam", region, ask.project_id, "agency", agency)
    if not rights.says(PASS, resource):
        raise AgencyDenied(f"xrole: the policies of the {ask.principal.name} do not allow {PASS} on {_path(resource)}")


def _resources(operation: Operation, action: str, ask: Ask, body: _Named, region: str) -> list[Resource]:
    """What the request is about: a trigger is one thing and the function that it starts another, and a statement may
    speak of either."""
    service, kind, _ = action.split(":")
    if service == "iam":
        return [Resource(service, region, ask.project_id, "agency", ask.path.get("agency_name", EVERY))]
    if service == "smn":
        urn = ask.path.get("topic_urn") or ask.path.get("subscription_urn", "")
        return [Resource(service, region, ask.project_id, "topic", urn.split(":")[4] if urn.count(":") > 3 else EVERY)]
    if service != SERVICE:
        path = ask.path.get("log_stream_id") or ask.path.get("log_group_id") or EVERY
        return [Resource(service, region, ask.project_id, kind, path)]
    function = _function(operation, ask, body, region)
    if kind == "trigger":
        trigger = Resource(SERVICE, region, ask.project_id, kind, ask.path.get("trigger_id", EVERY))
        return [trigger] if function is None else [trigger, function]
    return [function or Resource(SERVICE, region, ask.project_id, kind, ask.path.get("depend_id", EVERY))]


def _function(operation: Operation, ask: Ask, body: _Named, region: str) -> Resource | None:
    """The one function that the request is about."""
    if any(name in ask.path for name in _IN_PATH):
        urn = ask.urn()
        return function_resource(region, urn.project_id, urn.package, urn.name)
    # Only where the operation itself goes by it: else any list could be had by naming one function.
    text = next((ask.query[name] for name in _IN_QUERY if name in operation.query and ask.query.get(name)), "")
    if text:
        urn = parse_urn(text, ask.project_id)
        return function_resource(region, urn.project_id, urn.package, urn.name)
    if operation.name in ("create_function", "import_function") and isinstance(body.func_name, str) and body.func_name:
        package = body.package if isinstance(body.package, str) and body.package else DEFAULT_PACKAGE
        return function_resource(region, ask.project_id, package, body.func_name)
    return None


def _named(body: bytes) -> _Named:
    """The fields of a JSON object; of anything else none, and the operation says what is wrong with it."""
    if not body:
        return _Named()
    try:
        return msgspec.json.decode(body, type=_Named)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return _Named()


def _path(resource: Resource) -> str:
    return f"{resource.service.upper()}:*:*:{resource.kind}:{resource.path}"
