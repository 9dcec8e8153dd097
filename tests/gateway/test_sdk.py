"""The official SDK against the gateway: signatures over the wire, both kinds of invocation, errors."""

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkfunctiongraph.v2 import (
    AsyncInvokeFunctionRequest,
    FunctionGraphClient,
    InvokeFunctionRequest,
)

from tests.gateway.rig import KEY, PROJECT, URN, Rig


def sdk(rig: Rig, *, secret_key: str = KEY.secret_key) -> FunctionGraphClient:
    credentials = BasicCredentials(KEY.access_key, secret_key, PROJECT)
    host, port = rig.address
    return (
        FunctionGraphClient.new_builder().with_credentials(credentials).with_endpoint(f"http://{host}:{port}").build()
    )


def test_invocation_in_version_1(rig: Rig) -> None:
    request = InvokeFunctionRequest(
        function_urn=URN, x_cff_log_type="tail", x_cff_request_version="v1", body={"name": "Zoë"}
    )
    answer = sdk(rig).invoke_function(request)

    assert answer.status == 200
    assert answer.result == '{"name": "Zo\\u00eb"}'
    assert answer.log == "Start\nprinted\nFinish\n"
    assert answer.x_cff_request_id == answer.request_id


def test_equal_invocations_in_a_row_are_all_run(rig: Rig) -> None:
    client = sdk(rig)
    for _ in range(10):
        client.invoke_function(InvokeFunctionRequest(function_urn=URN, x_cff_request_version="v1", body={}))

    assert len(rig.invoker.calls) == 10


def test_invocation_without_a_body(rig: Rig) -> None:
    answer = sdk(rig).invoke_function(InvokeFunctionRequest(function_urn=URN, x_cff_request_version="v1"))

    assert answer.result == "{}"


def test_asynchronous_invocation(rig: Rig) -> None:
    answer = sdk(rig).async_invoke_function(AsyncInvokeFunctionRequest(function_urn=URN, body={"a": 1}))

    assert [(answer.request_id, b'{"a": 1}')] == [(identity, event) for _name, identity, event in rig.queue.events]


def test_errors_carry_code_and_request_id(rig: Rig) -> None:
    with pytest.raises(ClientRequestException) as caught:
        sdk(rig).invoke_function(InvokeFunctionRequest(function_urn=URN.replace("hello", "nothing"), body={}))

    assert (caught.value.status_code, caught.value.error_code) == (404, "FSS.1051")
    assert caught.value.request_id


def test_wrong_secret_key_is_401(rig: Rig) -> None:
    with pytest.raises(ClientRequestException) as caught:
        sdk(rig, secret_key="wrong").invoke_function(InvokeFunctionRequest(function_urn=URN, body={}))

    assert (caught.value.status_code, caught.value.error_code) == (401, "FSS.0401")
