"""The OpenAPI 3.1 document, made from the table of operations."""

import re
from collections.abc import Iterable

from fgd.api.operation import Access, Operation

_PARAMETER = re.compile(r"\{(\w+)\}")
_ERROR = {"$ref": "#/components/responses/Error"}


def openapi_document(operations: Iterable[Operation], version: str) -> dict[str, object]:
    """The document as a JSON value; one entry per operation, `operationId` its name."""
    paths: dict[str, dict[str, object]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _entry(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fgd",
            "version": version,
            "description": "FunctionGraph v2 API of one node, and fgd's own operations under /fgd/v1.",
        },
        "paths": paths,
        "security": [{"token": []}, {"signature": []}],
        "components": {
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "SDK-HMAC-SHA256 Access=..., SignedHeaders=..., Signature=...",
                },
            },
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error_code", "error_msg"],
                    "properties": {"error_code": {"type": "string"}, "error_msg": {"type": "string"}},
                }
            },
            "responses": {
                "Error": {
                    "description": "What went wrong",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                }
            },
        },
    }


def _entry(operation: Operation) -> dict[str, object]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(operation.path)
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}} for name in operation.query
    ]
    responses: dict[str, object] = {"default": _ERROR}
    responses[str(operation.status if operation.built else 501)] = {"description": operation.summary}
    entry: dict[str, object] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"For {operation.access.value}.",
        "parameters": parameters,
        "responses": responses,
    }
    if operation.access is Access.PUBLIC:
        entry["security"] = []
    if operation.fields:
        schema = {"type": "object", "properties": {name: {} for name in operation.fields}}
        entry["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return entry
