"""The actions that policies speak of, and the policies that come with fgd.

Names of the user guide and of the cloud's API reference where they give one; the others follow the same scheme, verb
and noun after the type. `get...` and `list...` only read.
"""

from collections.abc import Mapping
from typing import Final, TypedDict


class Rule(TypedDict):
    """A statement about all resources."""

    Effect: str
    Action: list[str]


class Document(TypedDict):
    """A policy document."""

    Version: str
    Statement: list[Rule]


INVOKE: Final = "functiongraph:function:invoke"
INVOKE_ASYNC: Final = "functiongraph:function:invokeAsync"

#: Action -> what it allows.
ACTIONS: Final[Mapping[str, str]] = {
    "functiongraph:function:create": "create functions",
    "functiongraph:function:list": "list functions",
    "functiongraph:function:delete": "delete functions and versions",
    "functiongraph:function:getConfig": "see a function's settings",
    "functiongraph:function:updateConfig": "change settings, limit instances, disable and enable",
    "functiongraph:function:getCode": "download the code",
    "functiongraph:function:updateCode": "replace the code",
    INVOKE: "invoke and wait",
    INVOKE_ASYNC: "invoke asynchronously",
    "functiongraph:function:createVersion": "publish versions",
    "functiongraph:function:listVersion": "list versions",
    "functiongraph:function:createAlias": "create aliases",
    "functiongraph:function:getAlias": "see an alias",
    "functiongraph:function:listAlias": "list aliases",
    "functiongraph:function:updateAlias": "move aliases",
    "functiongraph:function:deleteAlias": "delete aliases",
    "functiongraph:function:getAsyncInvokeConfig": "see how asynchronous events are tried",
    "functiongraph:function:listAsyncInvokeConfig": "list those settings",
    "functiongraph:function:updateAsyncInvokeConfig": "change those settings",
    "functiongraph:function:deleteAsyncInvokeConfig": "return to their defaults",
    "functiongraph:function:listAsyncInvocation": "look up asynchronous invocations",
    "functiongraph:function:cancelAsyncInvocation": "end asynchronous invocations",
    "functiongraph:function:listReservedInstance": "list reserved instances",
    "functiongraph:function:updateReservedInstanceCount": "change reserved instances",
    "functiongraph:function:listTag": "list tags",
    "functiongraph:function:createTag": "set tags",
    "functiongraph:function:deleteTag": "remove tags",
    "functiongraph:function:getEvent": "see a test event",
    "functiongraph:function:listEvent": "list test events",
    "functiongraph:function:createEvent": "create test events",
    "functiongraph:function:updateEvent": "change test events",
    "functiongraph:function:deleteEvent": "delete test events",
    "functiongraph:function:export": "export functions",
    "functiongraph:function:import": "import functions",
    "functiongraph:function:getLog": "read logs and timings",
    "functiongraph:function:enableLog": "switch logs on",
    "functiongraph:function:getTracing": "see tracing",
    "functiongraph:function:updateTracing": "change tracing",
    "functiongraph:function:listStatistics": "read metrics and statistics",
    "functiongraph:function:listQuota": "see quotas",
    "functiongraph:function:getTemplate": "see a template",
    "functiongraph:function:listTemplate": "list templates",
    "functiongraph:trigger:get": "see a trigger",
    "functiongraph:trigger:list": "list triggers",
    "functiongraph:trigger:create": "create triggers",
    "functiongraph:trigger:update": "change triggers",
    "functiongraph:trigger:delete": "delete triggers",
    "functiongraph:dependency:get": "see a dependency",
    "functiongraph:dependency:list": "list dependencies",
    "functiongraph:dependency:create": "create dependencies and versions of them",
    "functiongraph:dependency:update": "change dependencies",
    "functiongraph:dependency:delete": "delete dependencies",
    "lts:groups:list": "list log groups",
    "lts:groups:create": "create log groups",
    "lts:groups:put": "change how long log groups keep lines",
    "lts:groups:delete": "delete log groups",
    "lts:topics:list": "list log streams",
    "lts:topics:create": "create log streams",
    "lts:topics:delete": "delete log streams",
    "lts:topics:put": "write lines into log streams",
    "lts:topics:get": "read log streams, functions' own too",
    "cts:traces:list": "read the audit log",
    "smn:topic:create": "create topics",
    "smn:topic:list": "see topics and message templates",
    "smn:topic:update": "change topics",
    "smn:topic:delete": "delete topics",
    "smn:topic:publish": "publish messages, see and repeat those that did not arrive",
    "smn:topic:subscribe": "add, change and cancel subscriptions",
    "smn:topic:listSubscriptions": "list subscriptions",
    "smn:template:create": "create message templates",
    "smn:template:update": "change message templates",
    "smn:template:delete": "delete message templates",
    "obs:bucket:ListAllMyBuckets": "list buckets",
    "obs:bucket:CreateBucket": "create buckets",
    "obs:bucket:DeleteBucket": "delete buckets",
    "obs:bucket:HeadBucket": "see whether a bucket is there",
    "obs:bucket:GetBucketLocation": "see where a bucket is",
    "obs:bucket:GetBucketVersioning": "see that a bucket keeps no versions",
    "obs:bucket:ListBucket": "list objects",
    "obs:bucket:ListBucketMultipartUploads": "list uploads that are not completed",
    "obs:object:GetObject": "read objects, copy from them",
    "obs:object:PutObject": "store objects, also in parts",
    "obs:object:DeleteObject": "delete objects",
    "obs:object:ListMultipartUploadParts": "list parts of an upload",
    "obs:object:AbortMultipartUpload": "give an upload up",
    "iam:agencies:get": "see an agency",
    "iam:agencies:list": "list agencies",
    "iam:agencies:pass": "give an agency to a function",
}


def _document(*actions: str) -> Document:
    return {"Version": "1.1", "Statement": [{"Effect": "Allow", "Action": list(actions)}]}


_READ: Final = ("functiongraph:*:get*", "functiongraph:*:list*")
_INVOKE: Final = (*_READ, "functiongraph:function:invoke*")

#: Policies that are there by name. Those whose name the cloud has allow what they do there.
BUILTIN: Final[Mapping[str, Document]] = {
    "FunctionGraph FullAccess": _document("functiongraph:*:*", "iam:agencies:*"),
    "FunctionGraph Administrator": _document("functiongraph:*:*", "iam:agencies:*"),
    "FunctionGraph User": _document("functiongraph:*:*"),
    "FunctionGraph CommonOperations": _document(*_INVOKE),
    "FunctionGraph Invoker": _document(*_INVOKE),
    "FunctionGraph ReadOnlyAccess": _document(*_READ),
    "LTS FullAccess": _document("lts:*:*"),
    "LTS ReadOnlyAccess": _document("lts:*:list", "lts:*:get"),
    "CTS ReadOnlyAccess": _document("cts:*:list"),
    "OBS Administrator": _document("obs:*:*"),
    "OBS OperateAccess": _document("obs:bucket:list*", "obs:bucket:head*", "obs:bucket:get*", "obs:object:*"),
    "OBS ReadOnlyAccess": _document("obs:bucket:list*", "obs:bucket:head*", "obs:bucket:get*", "obs:object:get*"),
    "SMN Administrator": _document("smn:*:*"),
}
