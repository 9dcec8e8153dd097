"""The official SDK works unchanged: signed requests, its own encoding of paths, its models."""

import base64
import json
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkfunctiongraph.v2 import (
    AsyncInvokeFunctionRequest,
    CreateFunctionRequest,
    CreateFunctionRequestBody,
    DeleteFunctionRequest,
    FuncCode,
    FunctionGraphClient,
    InvokeFunctionRequest,
    ListAsyncInvocationsRequest,
    ListFunctionsRequest,
    ShowFunctionConfigRequest,
    UpdateFunctionCodeRequest,
    UpdateFunctionCodeRequestBody,
    UpdateFunctionConfigRequest,
    UpdateFunctionConfigRequestBody,
    UpdateFunctionMaxInstanceConfigRequest,
    UpdateFunctionMaxInstanceConfigRequestBody,
)

from fgd.testing.client import Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually

SOURCE = "def handler(event, context):\n    return {'got': event, 'colour': context.getUserData('colour')}\n"


def encoded(source: str) -> str:
    return base64.b64encode(source.encode()).decode()


@pytest.fixture
def sdk(daemon: DaemonProcess, keys: Keys) -> Any:
    """The client as its documentation makes it."""
    credentials = BasicCredentials(keys.access_key, keys.secret_key, keys.project_id)
    builder = FunctionGraphClient.new_builder().with_credentials(credentials)
    return builder.with_endpoint(f"http://127.0.0.1:{daemon.port}").build()


def create(sdk: Any, name: str) -> str:
    body = CreateFunctionRequestBody(
        func_name=name, package="default", runtime="Python3.12", timeout=5, handler="index.handler", memory_size=128,
        code_type="inline", func_code=FuncCode(file=encoded(SOURCE)), user_data=json.dumps({"colour": "blue"}),
    )  # fmt: skip
    return str(sdk.create_function(CreateFunctionRequest(body=body)).func_urn)


def test_life_of_a_function(sdk: Any, name: str) -> None:
    urn = create(sdk, name)
    answer = sdk.invoke_function(InvokeFunctionRequest(
        function_urn=urn, body={"n": 1}, x_cff_request_version="v1", x_cff_log_type="tail"))  # fmt: skip
    assert answer.status == 200
    assert json.loads(answer.result) == {"got": {"n": 1}, "colour": "blue"}
    assert answer.request_id in answer.log

    shown = sdk.show_function_config(ShowFunctionConfigRequest(function_urn=urn))
    assert (shown.func_name, shown.memory_size, shown.cpu, shown.version) == (name, 128, 300, "latest")
    listed = sdk.list_functions(ListFunctionsRequest(func_name=name, maxitems="10"))
    assert [one.func_urn for one in listed.functions] == [urn]

    config = UpdateFunctionConfigRequestBody(
        func_name=name, runtime="Python3.12", timeout=6, handler="index.handler", memory_size=256,
        user_data=json.dumps({"colour": "red"}),
    )  # fmt: skip
    updated = sdk.update_function_config(UpdateFunctionConfigRequest(function_urn=urn, body=config))
    assert (updated.timeout, updated.memory_size, updated.cpu) == (6, 256, 400)

    code = UpdateFunctionCodeRequestBody(
        code_type="inline", func_code=FuncCode(file=encoded(SOURCE.replace("got", "new"))))  # fmt: skip
    sdk.update_function_code(UpdateFunctionCodeRequest(function_urn=urn, body=code))
    answer = sdk.invoke_function(InvokeFunctionRequest(function_urn=urn, body={}, x_cff_request_version="v1"))
    assert json.loads(answer.result) == {"new": {}, "colour": "red"}

    sdk.delete_function(DeleteFunctionRequest(function_urn=urn.rpartition(":")[0]))
    with pytest.raises(ClientRequestException) as caught:
        sdk.show_function_config(ShowFunctionConfigRequest(function_urn=urn))
    assert (caught.value.status_code, caught.value.error_code) == (404, "FSS.1051")
    assert caught.value.request_id


def test_asynchronous_invocation(sdk: Any, name: str) -> None:
    urn = create(sdk, name)
    accepted = sdk.async_invoke_function(AsyncInvokeFunctionRequest(function_urn=urn, body={"n": 2}))

    def state() -> str:
        found = sdk.list_async_invocations(
            ListAsyncInvocationsRequest(function_urn=urn, request_id=accepted.request_id)
        )
        return str(found.invocations[0].status) if found.invocations else ""

    assert eventually(lambda: state() == "SUCCESS", 10.0, 0.05)
    sdk.delete_function(DeleteFunctionRequest(function_urn=urn.rpartition(":")[0]))


def test_disabled_function_raises_a_client_error(sdk: Any, name: str) -> None:
    urn = create(sdk, name)
    body = UpdateFunctionMaxInstanceConfigRequestBody(max_instance_num=0)
    shown = sdk.update_function_max_instance_config(UpdateFunctionMaxInstanceConfigRequest(function_urn=urn, body=body))
    assert shown.strategy_config.concurrency == 0

    with pytest.raises(ClientRequestException) as caught:
        sdk.invoke_function(InvokeFunctionRequest(function_urn=urn, body={}))
    assert caught.value.error_code == "FSS.0403"
    sdk.delete_function(DeleteFunctionRequest(function_urn=urn.rpartition(":")[0]))


def test_memory_by_request(sdk: Any, name: str) -> None:
    source = "def handler(event, context):\n    return context.getMemorySize()\n"
    body = CreateFunctionRequestBody(
        func_name=name, package="default", runtime="Python3.12", timeout=5, handler="index.handler", memory_size=128,
        code_type="inline", func_code=FuncCode(file=encoded(source)), enable_dynamic_memory=True,
    )  # fmt: skip
    urn = sdk.create_function(CreateFunctionRequest(body=body)).func_urn
    answer = sdk.invoke_function(InvokeFunctionRequest(
        function_urn=urn, body={}, x_cff_request_version="v1", x_cff_instance_memory="256"))  # fmt: skip
    with pytest.raises(ClientRequestException) as refused:
        sdk.async_invoke_function(AsyncInvokeFunctionRequest(function_urn=urn, body={}, x_cff_instance_memory="200"))
    sdk.delete_function(DeleteFunctionRequest(function_urn=urn.removesuffix(":latest")))

    assert "256" == answer.result
    assert (406, "FSS.0406") == (refused.value.status_code, refused.value.error_code)
