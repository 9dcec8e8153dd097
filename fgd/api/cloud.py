"""What belongs to the cloud alone (rest-api, 2.15 to 2.18): snapshots, workflows, applications, networks."""

from fgd.api.operation import FUNCTION, V2, not_built

_SNAPSHOTS = FUNCTION + "/snapshots/{action}"
_FLOWS = V2 + "/workflows"
_FLOW = _FLOWS + "/{workflow_id}"
_RUNS = _FLOW + "/executions"
_RUN = _RUNS + "/{execution_id}"
_APPS = V2 + "/applications"
_APP_TEMPLATES = V2 + "/application/templates"

OPERATIONS = (
    not_built("show_func_snapshot_state", "GET", _SNAPSHOTS, "snapshots"),
    not_built("update_func_snapshot", "POST", _SNAPSHOTS, "snapshots"),
    not_built("create_workflow", "POST", _FLOWS, "workflows"),
    not_built("list_workflow", "GET", _FLOWS, "workflows"),
    not_built("show_work_flow", "GET", _FLOW, "workflows"),
    not_built("update_work_flow", "PUT", _FLOW, "workflows"),
    not_built("batch_delete_workflows", "DELETE", _FLOWS, "workflows"),
    not_built("start_workflow_execution", "POST", _RUNS, "workflows"),
    not_built("start_sync_workflow_execution", "POST", _FLOW + "/sync-executions", "workflows"),
    not_built("list_workflow_executions", "GET", _RUNS, "workflows"),
    not_built("show_workflow_execution_for_page", "GET", _FLOW + "/executions-history", "workflows"),
    not_built("show_workflow_execution", "GET", _RUN, "workflows"),
    not_built("retry_work_flow", "POST", _RUN + "/retry", "workflows"),
    not_built("stop_work_flow", "POST", _RUN + "/terminate", "workflows"),
    not_built("create_callback_workflow", "POST", _FLOW + "/callback", "workflows"),
    not_built("show_tenant_metric", "GET", V2 + "/workflow-statistic", "workflows"),
    not_built("show_work_flow_metric", "GET", V2 + "/workflow-statistic/{workflow_urn}", "workflows"),
    not_built("create_function_app", "POST", _APPS, "application center"),
    not_built("list_function_applications", "GET", _APPS, "application center"),
    not_built("show_function_app", "GET", _APPS + "/{id}", "application center"),
    not_built("delete_function_app", "DELETE", _APPS + "/{id}", "application center"),
    not_built("list_app_templates", "GET", _APP_TEMPLATES, "application center"),
    not_built("show_app_template", "GET", _APP_TEMPLATES + "/{id}", "application center"),
    not_built("create_vpc_endpoint", "POST", V2 + "/vpc-endpoint", "networks of functions"),
    not_built("delete_vpc_endpoint", "DELETE", V2 + "/vpc-endpoint/{vpc_id}/{subnet_id}", "networks of functions"),
    not_built("list_bridge_functions", "GET", FUNCTION + "/servicebridge/relation", "service bridge"),
    not_built("list_bridge_versions", "GET", V2 + "/servicebridge/version", "service bridge"),
)
