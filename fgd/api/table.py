"""All operations of the API, from one list; routes and documentation are made of it."""

from dataclasses import replace
from typing import Final

from fgd.api import (
    agencies,
    apis,
    asyncs,
    cloud,
    code,
    console,
    deliveries,
    dependencies,
    events,
    functions,
    identity,
    invocations,
    logs,
    node,
    plugins,
    reserved,
    statistics,
    tags,
    templates,
    transfer,
    triggers,
    versions,
)
from fgd.api.operation import Operation
from fgd.api.permissions import ACTION_OF

OPERATIONS: Final[tuple[Operation, ...]] = tuple(
    replace(operation, action=ACTION_OF.get(operation.name))
    for noun in (
        functions, code, invocations, versions, triggers, apis, asyncs, reserved, dependencies, tags, events, transfer,
        statistics, logs, deliveries, plugins, templates, cloud, console, agencies, identity, node,
    )
    for operation in noun.OPERATIONS
)  # fmt: skip
