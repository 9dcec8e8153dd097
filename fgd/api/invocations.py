"""Invocations (rest-api, 2.2): documented here, answered by the gateway."""

from fgd.api.operation import FUNCTION, Answer, Ask, Operation
from fgd.api.services import Services
from fgd.errors import Unavailable


async def elsewhere(services: Services, ask: Ask) -> Answer:
    """The gateway takes these requests before they get here; on this socket there is nothing that runs functions."""
    raise Unavailable("invocations are answered by the gateway, not on the control plane's own socket")


OPERATIONS = (
    Operation("invoke_function", "POST", FUNCTION + "/invocations", "Invoke a function and wait", elsewhere),
    Operation(
        "async_invoke_function", "POST", FUNCTION + "/invocations-async", "Invoke a function later", elsewhere,
        status=202,
    ),
)  # fmt: skip
