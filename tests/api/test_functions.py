"""Functions through HTTP: what clients see, beyond what the SDK tests cover."""

import base64
import io
import json
import zipfile

from tests.api.harness import MINIMAL, PEER, Api

TERRAFORM_READS = """
func_name runtime timeout memory_size package handler code_type description type code_url code_filename user_data xrole
app_xrole enterprise_project_id custom_image gpu_type gpu_memory lts_custom_tag pre_stop_handler pre_stop_timeout
depend_version_list initializer_handler initializer_timeout strategy_config domain_names func_vpc mount_config
enable_dynamic_memory is_stateful_function network_controller peering_cidr enable_auth_in_header enable_class_isolation
ephemeral_storage heartbeat_handler restore_hook_handler restore_hook_timeout enable_lts_log
user_data_encrypt_kms_key_id code_encrypt_kms_key_id func_urn version
"""


def packed(**files: str) -> str:
    """A ZIP in Base64."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return base64.b64encode(target.getvalue()).decode()


def test_create_answers_with_an_urn_of_eight_fields(api: Api) -> None:
    created = api.function("eight")

    assert created["func_urn"] == f"urn:fss:testland:{api.keys['project_id']}:function:default:eight:latest"
    assert 128 == len(created["digest"])
    assert (300, 128, 3) == (created["cpu"], created["memory_size"], created["timeout"])


def test_unset_fields_are_null_for_terraform(api: Api) -> None:
    created = api.function("unset", description="", func_vpc=None, user_data="")
    for field in ("description", "user_data", "func_vpc", "mount_config", "network_controller", "heartbeat_handler"):
        assert created[field] is None, field

    assert {"concurrency": 400, "concurrent_num": 1} == created["strategy_config"]


def test_a_configuration_has_every_field_that_terraform_reads(api: Api) -> None:
    api.function("terraform-reads")
    _, answer = api.v2("GET", api.of("terraform-reads") + "/config")

    assert set() == set(TERRAFORM_READS.split()) - set(answer)


def test_every_form_of_urn_names_the_function(api: Api) -> None:
    created = api.function("forms")
    project = api.keys["project_id"]
    for urn in (
        "forms",
        "default:forms",
        f"{project}:default:forms",
        f"{project}:default:forms:latest",
        created["func_urn"],
        created["func_urn"].removesuffix(":latest"),
        created["func_urn"].replace(":", "%3A"),
        created["func_urn"].replace(":", "%3a"),
    ):
        status, answer = api.v2("GET", f"/functions/{urn}/config")
        assert (200, created["func_id"]) == (status, answer.get("func_id")), urn


def test_qualifiers_that_do_not_exist_have_codes_of_their_own(api: Api) -> None:
    api.function("qualified")
    codes = [
        api.v2("GET", f"{api.of(name)}/config")[1]["error_code"]
        for name in ("absent", "qualified:v1", "qualified:!live")
    ]

    assert ["FSS.1051", "FSS.1052", "FSS.1053"] == codes


def test_defaults_come_from_the_runtime(api: Api) -> None:
    status, answer = api.v2("POST", "/functions", {"func_name": "bare", "runtime": "Python3.9", "code_type": "inline"})

    assert 200 == status, answer
    assert ("index.handler", 128, 3, "default") == tuple(
        answer[name] for name in ("handler", "memory_size", "timeout", "package")
    )


def test_an_inline_function_without_source_starts_as_a_sample(api: Api) -> None:
    api.function("sampled", func_code={"file": ""}, handler="main.start")
    _, answer = api.v2("GET", f"{api.of('sampled')}/code")
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(answer["func_code"]["file"]))) as archive:
        assert ["main.py"] == archive.namelist()
        assert "def start(event, context)" in archive.read("main.py").decode()


def test_a_zip_under_inline_is_taken_as_an_archive(api: Api) -> None:
    file = packed(index__py="x = 1", more__py="y = 2")
    api.function("zipped", func_code={"file": file})
    _, answer = api.v2("GET", f"{api.of('zipped')}/code")

    assert file == answer["func_code"]["file"]


def test_update_of_the_configuration_keeps_what_is_absent(api: Api) -> None:
    api.function("kept", description="old", user_data='{"a":"1"}')
    status, answer = api.v2("PUT", f"{api.of('kept')}/config", {"timeout": 30, "runtime": "Python3.12"})

    assert (200, 30, "old", '{"a":"1"}') == (status, answer["timeout"], answer["description"], answer["user_data"])


def test_terraforms_empty_fields_are_no_features(api: Api) -> None:
    api.function("terraformed")
    body = {
        "runtime": "Python3.12", "timeout": 5, "memory_size": 256, "description": "", "peering_cidr": "",
        "heartbeat_handler": "", "restore_hook_handler": "", "restore_hook_timeout": 0,
        "strategy_config": {"concurrent_num": 4}, "custom_image": {"enabled": False},
        "network_controller": {"disable_public_network": False, "trigger_access_vpcs": []},
    }  # fmt: skip
    status, answer = api.v2("PUT", f"{api.of('terraformed')}/config", body)

    assert 200 == status, answer
    assert {"concurrency": 400, "concurrent_num": 4} == answer["strategy_config"]


def test_a_code_update_without_code_keeps_the_code(api: Api) -> None:
    created = api.function("codeless")
    status, answer = api.v2("PUT", f"{api.of('codeless')}/code", {"code_type": "", "code_url": "", "code_filename": ""})

    assert (200, created["digest"]) == (status, answer["digest"])


def test_secrets_are_masked_and_survive_being_sent_back(api: Api) -> None:
    created = api.function("secretive", encrypted_user_data='{"password":"hunter2"}', user_data='{"user":"me"}')
    body = {"encrypted_user_data": created["encrypted_user_data"], "description": "touched"}
    _, answer = api.v2("PUT", f"{api.of('secretive')}/config", body)
    function = api.directory.by_id(created["func_id"])
    assert function is not None

    assert {"password": "******"} == json.loads(answer["encrypted_user_data"])
    assert "hunter2" not in function.encrypted_user_data
    assert {"password": "hunter2", "user": "me"} == api.services.functions.user_data(function)


def test_zero_instances_disables_and_another_number_enables(api: Api) -> None:
    created = api.function("switched")
    _, disabled = api.v2("PUT", f"{api.of('switched')}/config-max-instance", {"max_instance_num": 0})
    function = api.directory.by_id(created["func_id"])
    assert function is not None and function.disabled
    assert 0 == disabled["strategy_config"]["concurrency"]

    _, enabled = api.v2("PUT", f"{api.of('switched')}/config-max-instance", {"max_instance_num": -1})

    assert -1 == enabled["strategy_config"]["concurrency"]


def test_a_disabled_function_still_takes_code(api: Api) -> None:
    api.function("asleep", strategy_config={"concurrency": 0})
    status, answer = api.v2(
        "PUT", f"{api.of('asleep')}/code", {"code_type": "inline", "func_code": {"file": "eCA9IDE="}}
    )

    assert (200, 0) == (status, answer["strategy_config"]["concurrency"])


def test_delete_is_204_once_and_404_after(api: Api) -> None:
    api.function("gone")

    assert (204, "") == api.v2("DELETE", api.of("gone"))
    assert 404 == api.v2("DELETE", api.of("gone"))[0]


def test_latest_is_not_deleted_by_name(api: Api) -> None:
    api.function("stays")

    assert 400 == api.v2("DELETE", api.of("stays") + "%3Alatest")[0]
    assert 200 == api.v2("GET", api.of("stays") + "/config")[0]


def test_a_name_can_be_used_again_and_is_another_function(api: Api) -> None:
    first = api.function("again")
    api.v2("DELETE", api.of("again"))
    second = api.function("again")

    assert first["func_id"] != second["func_id"]


def test_the_same_name_twice_is_a_conflict(api: Api) -> None:
    api.function("twice")
    status, answer = api.v2("POST", "/functions", {**MINIMAL, "func_name": "twice"})

    assert (409, "FSS.1061") == (status, answer["error_code"])


def test_pages_end_with_an_empty_one(api: Api) -> None:
    for number in range(3):
        api.function(f"paged-{number}")
    _, first = api.v2("GET", "/functions?func_name=paged-&maxitems=2&marker=0")
    _, second = api.v2("GET", f"/functions?func_name=paged-&maxitems=2&marker={first['next_marker']}")
    _, third = api.v2("GET", f"/functions?func_name=paged-&maxitems=2&marker={second['next_marker']}")

    assert (["paged-0", "paged-1"], 3) == ([item["func_name"] for item in first["functions"]], first["count"])
    assert ["paged-2"] == [item["func_name"] for item in second["functions"]]
    assert ([], second["next_marker"]) == (third["functions"], third["next_marker"])


def test_a_collected_function_says_so_nowhere_but_keeps_the_mark(api: Api) -> None:
    created = api.function("pinned")
    status, _ = api.v2("PUT", api.of("pinned") + "/collect/true")
    function = api.directory.by_id(created["func_id"])
    assert function is not None

    assert (200, True) == (status, function.echo["collected"])
    assert 400 == api.v2("PUT", api.of("pinned") + "/collect/maybe")[0]


def test_quotas_count_what_is_there(api: Api) -> None:
    api.function("counted")
    _, answer = api.v2("GET", "/quotas")
    used = {item["type"]: (item["used"], item["quota"]) for item in answer["quotas"]["resources"]}

    assert len(api.directory.list(api.keys["project_id"])) == used["fgs_func_num"][0]
    assert 100 == used["fgs_func_num"][1]


def test_an_administrator_may_use_any_project(api: Api) -> None:
    status, answer, _ = api.send(
        "POST", "/v2/another-project/fgs/functions", {**MINIMAL, "func_name": "elsewhere"}, PEER
    )

    assert 200 == status, answer
    assert "another-project" in answer["func_urn"]
