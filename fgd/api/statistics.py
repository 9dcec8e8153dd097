"""Statistics and quotas (rest-api, 2.12)."""

from fgd.api.operation import V2, Answer, Ask, Operation, not_built
from fgd.api.services import Services
from fgd.units import MIB

_OF = V2 + "/functions/{func_urn}"


async def list_quotas(services: Services, ask: Ask) -> Answer:
    usage = services.functions.usage(ask.project_id)
    config = services.config
    resources = [
        {"type": "fgs_func_num", "quota": config.functions_max, "used": usage.functions, "unit": ""},
        {
            "type": "fgs_func_code_size",
            "quota": config.code_quota_mib,
            "used": -(-usage.code_bytes // MIB),
            "unit": "MB",
        },
        {"type": "fgs_func_scale_down_timeout", "quota": int(config.keep_alive_s), "used": 0, "unit": "s"},
        {"type": "fgs_workflow_num", "quota": 0, "used": 0, "unit": ""},
    ]
    return Answer({"quotas": {"resources": resources}})


OPERATIONS = (
    not_built("list_function_statistics", "GET", _OF + "/statistics/{period}", "statistics; see GET /metrics"),
    not_built("show_function_metrics", "GET", _OF + "/slareports/{period}", "statistics; see GET /metrics"),
    not_built("list_statistics", "GET", V2 + "/functions/statistics", "statistics; see GET /metrics"),
    not_built("list_function_as_metric", "GET", V2 + "/function/report", "statistics; see GET /metrics"),
    not_built("show_func_reserved_instance_metrics", "GET", _OF + "/instancereports", "reserved instances"),
    Operation("list_quotas", "GET", V2 + "/quotas", "Quotas and what is used of them", list_quotas),
)
