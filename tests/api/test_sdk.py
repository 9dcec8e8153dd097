"""The official SDK as it is, signing its requests, against the control plane."""

import base64
import json
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException, ServerResponseException
from huaweicloudsdkfunctiongraph import v2 as sdk

from fgd.store.api import AsyncRecord
from tests.api.harness import Api
from tests.api.test_functions import packed

SOURCE = base64.b64encode(b"def handler(event, context):\n    return event\n").decode()


@pytest.fixture
def client(api: Api) -> Any:
    credentials = BasicCredentials(api.keys["access_key"], api.keys["secret_key"], api.keys["project_id"])
    builder = sdk.FunctionGraphClient.new_builder().with_credentials(credentials)
    return builder.with_endpoint(f"http://127.0.0.1:{api.port}").build()


def new_function(client: Any, name: str, **fields: object) -> Any:
    body = sdk.CreateFunctionRequestBody(
        func_name=name,
        package="default",
        runtime="Python3.12",
        timeout=3,
        handler="index.handler",
        memory_size=128,
        code_type="inline",
        func_code=sdk.FuncCode(file=SOURCE),
        **fields,
    )
    return client.create_function(sdk.CreateFunctionRequest(body=body))


def test_a_function_lives_and_dies(client: Any) -> None:
    created = new_function(client, "sdk-life", description="first")
    urn = created.func_urn
    shown = client.show_function_config(sdk.ShowFunctionConfigRequest(function_urn=urn))
    listed = client.list_functions(sdk.ListFunctionsRequest(func_name="sdk-life"))
    assert ("first", "latest", 400) == (shown.description, shown.version, shown.strategy_config.concurrency)
    assert [urn] == [item.func_urn for item in listed.functions]

    body = sdk.UpdateFunctionConfigRequestBody(
        func_name="sdk-life", runtime="Python3.12", timeout=20, handler="index.handler", memory_size=256,
        user_data='{"colour":"blue"}', encrypted_user_data='{"token":"t"}',
        strategy_config=sdk.StrategyConfig(concurrency=5, concurrent_num=2),
    )  # fmt: skip
    changed = client.update_function_config(sdk.UpdateFunctionConfigRequest(function_urn=urn, body=body))
    assert (20, 256, 500 - 100, 5, 2) == (
        changed.timeout,
        changed.memory_size,
        changed.cpu,
        changed.strategy_config.concurrency,
        changed.strategy_config.concurrent_num,
    )
    assert {"token": "******"} == json.loads(changed.encrypted_user_data)

    client.delete_function(sdk.DeleteFunctionRequest(function_urn=urn.removesuffix(":latest")))
    with pytest.raises(ClientRequestException) as gone:
        client.show_function_config(sdk.ShowFunctionConfigRequest(function_urn=urn))

    assert (404, "FSS.1051") == (gone.value.status_code, gone.value.error_code)
    assert gone.value.request_id


def test_code_goes_up_and_comes_back(client: Any) -> None:
    urn = new_function(client, "sdk-code").func_urn
    file = packed(index__py="def handler(event, context):\n    return 2\n")
    body = sdk.UpdateFunctionCodeRequestBody(
        code_type="zip", code_filename="index.zip", func_code=sdk.FuncCode(file=file)
    )
    updated = client.update_function_code(sdk.UpdateFunctionCodeRequest(function_urn=urn, body=body))
    shown = client.show_function_code(sdk.ShowFunctionCodeRequest(function_urn=urn))

    assert file == shown.func_code.file
    assert updated.digest == shown.digest
    assert len(base64.b64decode(file)) == shown.code_size


def test_instances_can_be_limited(client: Any) -> None:
    urn = new_function(client, "sdk-limit").func_urn
    body = sdk.UpdateFunctionMaxInstanceConfigRequestBody(max_instance_num=0)
    answer = client.update_function_max_instance_config(
        sdk.UpdateFunctionMaxInstanceConfigRequest(function_urn=urn, body=body)
    )

    assert 0 == answer.strategy_config.concurrency


def test_asynchronous_settings_are_kept_and_taken_away(client: Any) -> None:
    urn = new_function(client, "sdk-async").func_urn
    show = sdk.ShowFunctionAsyncInvokeConfigRequest(function_urn=urn)
    with pytest.raises(ClientRequestException) as none_yet:
        client.show_function_async_invoke_config(show)
    assert 404 == none_yet.value.status_code

    body = sdk.UpdateFunctionAsyncInvokeConfigRequestBody(
        max_async_event_age_in_seconds=60, max_async_retry_attempts=3, enable_async_status_log=True
    )
    client.update_function_async_invoke_config(sdk.UpdateFunctionAsyncInvokeConfigRequest(function_urn=urn, body=body))
    shown = client.show_function_async_invoke_config(show)
    listed = client.list_function_async_invoke_config(sdk.ListFunctionAsyncInvokeConfigRequest(function_urn=urn))
    assert (60, 3) == (shown.max_async_event_age_in_seconds, shown.max_async_retry_attempts)
    assert 1 == listed.count

    client.delete_function_async_invoke_config(sdk.DeleteFunctionAsyncInvokeConfigRequest(function_urn=urn))
    with pytest.raises(ClientRequestException):
        client.show_function_async_invoke_config(show)


def test_asynchronous_invocations_are_found_and_stopped(api: Api, client: Any) -> None:
    created = new_function(client, "sdk-records")
    now_s = api.now_s()
    for number, state in enumerate(("WAIT", "SUCCESS")):
        api.records.records.append(
            AsyncRecord(
                request_id=f"{created.func_id}-{number}", func_id=created.func_id, version="latest",
                state="WAIT" if state == "WAIT" else "SUCCESS", tries=0, error_code=0, error_message="",
                enqueued_s=now_s, start_s=0.0, end_s=0.0,
            )
        )  # fmt: skip
    urn = created.func_urn
    found = client.list_async_invocations(sdk.ListAsyncInvocationsRequest(function_urn=urn))
    active = client.list_active_async_invocations(sdk.ListActiveAsyncInvocationsRequest(function_urn=urn))
    assert ["WAIT", "SUCCESS"] == [item.status for item in found.invocations]
    assert [f"{created.func_id}-0"] == [item.request_id for item in active.invocations]

    def cancel(request_id: str) -> Any:
        body = sdk.CancelAsyncInvocationRequestBody(request_id=request_id, type="force")
        return client.cancel_async_invocation(sdk.CancelAsyncInvocationRequest(function_urn=urn, body=body))

    assert 200 == cancel(f"{created.func_id}-0").status_code
    for over in (f"{created.func_id}-1", "unknown"):
        with pytest.raises(ClientRequestException) as refused:
            cancel(over)
        assert 404 == refused.value.status_code


def test_lists_of_what_cannot_be_made_are_empty(client: Any) -> None:
    urn = new_function(client, "sdk-empty").func_urn

    # The SDK's model of an empty array holds nothing at all.
    assert b"[]" == client.list_version_aliases(sdk.ListVersionAliasesRequest(function_urn=urn)).raw_content
    assert b"[]" == client.list_function_triggers(sdk.ListFunctionTriggersRequest(function_urn=urn)).raw_content
    assert ["latest"] == [
        item.version
        for item in client.list_function_versions(sdk.ListFunctionVersionsRequest(function_urn=urn)).versions
    ]
    for marker in ("0", "7"):
        reserved = client.list_reserved_instance_configs(
            sdk.ListReservedInstanceConfigsRequest(function_urn=urn, limit="100", marker=marker)
        )
        assert ([], 0) == (reserved.reserved_instances, reserved.count)
    assert [] == client.list_dependencies(sdk.ListDependenciesRequest()).dependencies


def test_the_log_of_a_function_has_a_name(client: Any) -> None:
    created = new_function(client, "sdk-logs")
    detail = client.show_lts_log_details(sdk.ShowLtsLogDetailsRequest(function_urn=created.func_urn))

    assert created.func_id == detail.stream_id


def test_versions_and_aliases(client: Any) -> None:
    urn = new_function(client, "sdk-versions").func_urn
    body = sdk.CreateFunctionVersionRequestBody(version="v1", description="first")
    version = client.create_function_version(sdk.CreateFunctionVersionRequest(function_urn=urn, body=body))
    alias_body = sdk.CreateVersionAliasRequestBody(name="live", version="v1", description="d")
    client.create_version_alias(sdk.CreateVersionAliasRequest(function_urn=urn, body=alias_body))
    moved = sdk.UpdateVersionAliasRequestBody(version="latest", additional_version_weights={"v1": 10})
    request = sdk.UpdateVersionAliasRequest(function_urn=urn, alias_name="live", body=moved)
    alias = client.update_version_alias(request)
    versions = client.list_function_versions(sdk.ListFunctionVersionsRequest(function_urn=urn))
    aliases = client.list_version_aliases(sdk.ListVersionAliasesRequest(function_urn=urn)).body
    shown = client.show_version_alias(sdk.ShowVersionAliasRequest(function_urn=urn, alias_name="live"))
    config = client.show_function_config(sdk.ShowFunctionConfigRequest(function_urn=shown.alias_urn))

    assert ("v1", "first") == (version.version, version.version_description)
    assert ["latest", "v1"] == [one.version for one in versions.versions]
    assert ("latest", {"v1": 10}) == (alias.version, alias.additional_version_weights)
    assert ["live"] == [one.name for one in aliases]
    assert shown.alias_urn.endswith(":sdk-versions:!live")
    assert "latest" == config.version
    client.delete_version_alias(sdk.DeleteVersionAliasRequest(function_urn=urn, alias_name="live"))
    client.delete_function(sdk.DeleteFunctionRequest(function_urn=version.func_urn))
    assert 1 == client.list_function_versions(sdk.ListFunctionVersionsRequest(function_urn=urn)).count


def test_what_is_not_built_raises_and_names_itself(client: Any) -> None:
    with pytest.raises(ServerResponseException) as refused:
        client.create_vpc_endpoint(
            sdk.CreateVpcEndpointRequest(body=sdk.CreateVpcEndpointRequestBody(vpc_id="v", subnet_id="s"))
        )

    assert (501, "FSS.0501") == (refused.value.status_code, refused.value.error_code)
    assert "networks of functions" in refused.value.error_msg


def test_a_wrong_secret_key_is_refused(api: Api) -> None:
    credentials = BasicCredentials(api.keys["access_key"], "wrong", api.keys["project_id"])
    builder = sdk.FunctionGraphClient.new_builder().with_credentials(credentials)
    client = builder.with_endpoint(f"http://127.0.0.1:{api.port}").build()
    with pytest.raises(ClientRequestException) as refused:
        client.list_functions(sdk.ListFunctionsRequest())

    assert (401, "FSS.0401") == (refused.value.status_code, refused.value.error_code)


def test_life_of_instances_is_set_and_shown(client: Any) -> None:
    urn = new_function(
        client, "sdk-lifecycle", enable_dynamic_memory=True, pre_stop_handler="index.bye", pre_stop_timeout=60
    ).func_urn
    body = sdk.UpdateFunctionConfigRequestBody(
        func_name="sdk-lifecycle", runtime="Python3.12", timeout=3, handler="index.handler", memory_size=128,
        heartbeat_handler="index.beat",
    )  # fmt: skip
    client.update_function_config(sdk.UpdateFunctionConfigRequest(function_urn=urn, body=body))
    shown = client.show_function_config(sdk.ShowFunctionConfigRequest(function_urn=urn))

    assert ("index.bye", 60) == (shown.pre_stop_handler, shown.pre_stop_timeout)
    assert (True, "index.beat") == (shown.enable_dynamic_memory, shown.heartbeat_handler)
