"""All operations of the API, from one list; routes and documentation are made of it."""

from typing import Final

from fgd.api import (
    asyncs,
    cloud,
    code,
    console,
    dependencies,
    events,
    functions,
    identity,
    invocations,
    logs,
    node,
    reserved,
    statistics,
    tags,
    templates,
    transfer,
    triggers,
    versions,
)
from fgd.api.operation import Operation

OPERATIONS: Final[tuple[Operation, ...]] = tuple(
    operation
    for noun in (
        functions, code, invocations, versions, triggers, asyncs, reserved, dependencies, tags, events, transfer,
        statistics, logs, templates, cloud, console, identity, node,
    )
    for operation in noun.OPERATIONS
)  # fmt: skip
