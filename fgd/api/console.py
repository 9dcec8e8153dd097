"""Small reads that Terraform and consoles make (rest-api, 2.19)."""

from fgd.api.operation import V2, Answer, Ask, Operation, nothing_there
from fgd.api.services import Services


async def list_runtime_types(services: Services, ask: Ask) -> Answer:
    return Answer([{"type": runtime, "display_name": runtime} for runtime in sorted(services.runtimes())])


OPERATIONS = (
    Operation("list_runtime_types", "GET", V2 + "/runtimetypes", "Runtimes that this node runs", list_runtime_types),
    nothing_there("show_features", V2 + "/feature", "Switches of features", {}),
)
