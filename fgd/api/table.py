"""All operations of the API, from one list; routes and documentation are made of it."""

from dataclasses import replace
from typing import Final

from fgd.api import (
    agencies,
    apis,
    asyncs,
    audit,
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
    lts,
    node,
    plugins,
    reserved,
    statistics,
    subscriptions,
    tags,
    templates,
    topics,
    transfer,
    triggers,
    versions,
)
from fgd.api.operation import Operation
from fgd.api.permissions import ACTION_OF
from fgd.api.traced import audited

OPERATIONS: Final[tuple[Operation, ...]] = tuple(
    replace(operation, action=ACTION_OF.get(operation.name), audit=audited(operation))
    for noun in (
        functions, code, invocations, versions, triggers, apis, asyncs, reserved, dependencies, tags, events, transfer,
        statistics, logs, lts, audit, deliveries, plugins, templates, topics, subscriptions, cloud, console,
        agencies, identity, node,
    )
    for operation in noun.OPERATIONS
)  # fmt: skip
