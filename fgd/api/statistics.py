"""Statistics and quotas (rest-api, 2.12)."""

from fgd.api.operation import V2, Answer, Ask, Operation, not_built
from fgd.api.services import Services
from fgd.control.quotas import quotas

_OF = V2 + "/functions/{func_urn}"


async def list_quotas(services: Services, ask: Ask) -> Answer:
    resources = [
        # `setting` is fgd's own: what moves the limit
        {"type": one.type, "quota": one.total, "used": one.used, "unit": one.unit, "setting": one.setting}
        for one in quotas(
            services.config, services.functions, services.reservations, ask.project_id, services.instances()
        )
    ]
    return Answer({"quotas": {"resources": resources}})


OPERATIONS = (
    not_built("list_function_statistics", "GET", _OF + "/statistics/{period}", "statistics; see GET /metrics"),
    not_built("show_function_metrics", "GET", _OF + "/slareports/{period}", "statistics; see GET /metrics"),
    not_built("list_statistics", "GET", V2 + "/functions/statistics", "statistics; see GET /metrics"),
    not_built("list_function_as_metric", "GET", V2 + "/function/report", "statistics; see GET /metrics"),
    Operation("list_quotas", "GET", V2 + "/quotas", "Quotas and what is used of them", list_quotas),
)
