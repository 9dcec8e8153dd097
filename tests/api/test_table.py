"""The table of operations, the routes and the OpenAPI document are the same; every operation of the API is in it."""

import inspect
import re

from huaweicloudsdkfunctiongraph.v2 import FunctionGraphClient

from fgd.api.app import make_app
from fgd.api.operation import Access
from fgd.api.table import OPERATIONS
from tests.api.harness import Api

CLIENT_PLUMBING = {"new_builder", "call_api", "preset_headers"}
ARGUMENTS = {
    "project_id": "{project_id}", "function_urn": "table", "func_urn": "table", "resource_type": "functions",
    "resource_id": "table",
}  # fmt: skip


def test_every_operation_of_the_sdk_is_there() -> None:
    theirs = {
        name.removesuffix("_invoker")
        for name in vars(FunctionGraphClient)
        if name.endswith("_invoker") and not name.startswith("_")
    } - CLIENT_PLUMBING

    assert set() == theirs - {operation.name for operation in OPERATIONS}
    assert 90 < len(theirs)


def test_paths_and_methods_are_those_of_the_sdk() -> None:
    """Asks the SDK for the request that each of its methods would send."""
    ours = {operation.name: (operation.method, operation.path) for operation in OPERATIONS}
    checked = 0
    for name in vars(FunctionGraphClient):
        maker = vars(FunctionGraphClient).get(f"_{name}_http_info")
        if maker is None:
            continue
        source = re.search(r'"method": "(\w+)",\s*"resource_path": "([^"]+)"', inspect.getsource(maker))
        assert source is not None, name
        method, path = source.groups()
        assert re.sub(r"\{\w+\}", "{}", path) == re.sub(r"\{\w+\}", "{}", ours[name][1]), name
        assert method == ours[name][0], name
        checked += 1

    assert 90 < checked


def test_names_are_unique_and_paths_too() -> None:
    assert len(OPERATIONS) == len({operation.name for operation in OPERATIONS})
    assert len(OPERATIONS) == len({(operation.method, operation.path) for operation in OPERATIONS})


def test_the_document_and_the_routes_are_the_same(api: Api) -> None:
    _, document, _ = api.send("GET", "/fgd/v1/openapi.json", headers={})
    documented = {(method.upper(), path) for path, entry in document["paths"].items() for method in entry}
    routed = {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in make_app(api.services).url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert documented == routed
    assert "3.1.0" == document["openapi"]


def test_every_operation_answers_as_documented(api: Api) -> None:
    """With no body: what is not built says 501 and its name, and nothing says 500."""
    api.function("table")
    project = api.keys["project_id"]
    for operation in OPERATIONS:
        if operation.method == "DELETE" and operation.built:
            continue
        path = operation.path
        for name in re.findall(r"\{(\w+)\}", path):
            value = project if name == "project_id" else ARGUMENTS.get(name, "1")
            path = path.replace(f"{{{name}}}", value)
        status, answer, _ = api.send(operation.method, path)
        if not operation.built:
            assert (501, "FSS.0501") == (status, answer["error_code"]), operation.name
            assert answer["error_msg"].startswith(operation.name + ":")
        elif operation.access is Access.ADMIN:
            assert 403 == status, operation.name
        elif operation.name not in ("invoke_function", "async_invoke_function"):
            assert status < 500, (operation.name, answer)
