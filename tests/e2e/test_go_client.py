"""Open Telekom Cloud's Go library, on which a Terraform provider is built, reads fgd's answers with its own structs.

The steps are those of tests/go_client, which runs once; here is what each of them must have seen.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from fgd.testing.client import Client, HarnessError, Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.conftest import SETTINGS
from tests.e2e.go_client import Refusal, Steps, build, run
from tests.e2e.go_expected import REFUSED, TRIGGERS

NAME: Final = "go-client"
RUNTIME: Final = "Python3.12"
#: What the function printed of the event that the library sent, inside of a JSON text.
LOGGED: Final = r"got {\"body\": {\"k\": \"v\"}}"


@dataclass(frozen=True, slots=True)
class Run(Steps):
    """One run, and what it was given."""

    project: str
    group: str
    stream: str
    source: str
    topic: str

    def urn(self, suffix: str = "", qualifier: str = "") -> str:
        return f"urn:fss:local:{self.project}:function:default:{NAME}{suffix}{qualifier}"


@pytest.fixture(scope="module")
def go(daemon: DaemonProcess, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The run, with an agency, a topic and log streams made for it; all of that goes afterwards."""
    program = build(tmp_path_factory.mktemp("go"))
    daemon.cli("agencies", "create", NAME, "--policy", "FunctionGraph User")
    topic = json.loads(daemon.cli("smn", "topics", "create", NAME, "--json").stdout)["topic_urn"]
    group = json.loads(daemon.cli("lts", "groups", NAME, "--create", "--days", "2", "--json").stdout)["log_group_id"]
    stream, source = (
        json.loads(daemon.cli("lts", "streams", NAME, name, "--create", "--json").stdout)["log_stream_id"]
        for name in ("lines", "source")
    )
    secrets = {"FGD_TOKEN": keys.token, "FGD_ACCESS_KEY": keys.access_key, "FGD_SECRET_KEY": keys.secret_key}
    steps = run(
        program, secrets, endpoint=f"http://127.0.0.1:{daemon.port}", project=keys.project_id, name=NAME,
        runtime=RUNTIME, agency=NAME, topic=topic, log_group=group, log_stream=stream, source_stream=source,
    )  # fmt: skip
    yield Run(steps.lines, project=keys.project_id, group=group, stream=stream, source=source, topic=topic)
    daemon.cli("functions", "delete", f"{NAME}-zip")
    daemon.cli("agencies", "delete", NAME)
    daemon.cli("smn", "topics", "delete", NAME)
    daemon.cli("lts", "groups", NAME, "--delete")


def brief(refusal: Refusal) -> Refusal:
    """Without its message."""
    return replace(refusal, message="")


def part(seen: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: seen[name] for name in names}


def test_a_function_is_read_as_it_was_made(go: Run) -> None:
    made, read = go.seen("create_inline"), go.seen("get")

    assert read == made
    assert {
        "func_urn": go.urn(qualifier=":latest"), "func_name": NAME, "package": "default", "runtime": RUNTIME,
        "timeout": 10, "handler": "index.handler", "memory_size": 128, "cpu": 300, "code_type": "inline",
        "code_filename": "index.py", "version": "latest", "type": "v2", "namespace": go.project,
        "strategy_config": {"concurrency": 400, "concurrent_num": 1}, "ephemeral_storage": 512,
    }.items() <= read.items()  # fmt: skip
    assert read["func_id"]
    assert 128 == len(read["digest"])
    assert read["code_size"] > 0
    assert go.urn().startswith(read["func_urn"].rpartition(":")[0])


def test_what_was_not_set_is_read_as_nothing(go: Run) -> None:
    """Anything else would be a difference that Terraform wants to take away at every run."""
    unset = {
        "description": "", "user_data": "", "encrypted_user_data": "", "xrole": "", "app_xrole": "",
        "initializer_handler": "", "initializer_timeout": 0, "pre_stop_handler": "", "pre_stop_timeout": "",
        "heartbeat_handler": "", "func_vpc": {"security_groups": None}, "network_controller": {}, "custom_image": {},
        "mount_config": {"mount_user": {"user_id": "", "user_group_id": ""}, "func_mounts": None}, "domain_names": "",
        "depend_version_list": [], "enable_dynamic_memory": False, "is_stateful_function": False, "gpu_memory": 0,
        "gpu_type": "", "code_url": "", "extend_config": "", "reserved_instance_count": 0,
    }  # fmt: skip

    assert unset == part(go.seen("get"), *unset)


def test_a_package_is_read_as_it_was_made(go: Run) -> None:
    made, read = go.seen("create_zip"), go.seen("get_zip")

    assert read == made
    assert {
        "code_type": "zip", "code_filename": "app.zip", "handler": "app.handler", "timeout": 30, "memory_size": 256,
        "user_data": '{"plain": "p"}', "encrypted_user_data": '{"secret":"******"}', "description": "packed",
        "initializer_handler": "app.start", "initializer_timeout": 5, "enable_dynamic_memory": True,
        "log_group_id": go.group, "log_stream_id": go.stream,
    }.items() <= read.items()  # fmt: skip


def test_code(go: Run) -> None:
    """The package comes back as a ZIP in Base64, which the program unpacked."""
    inline, packed = go.seen("get_code"), go.seen("get_code_zip")
    updated = go.seen("get_code_updated")

    assert ["index.py"] == list(inline["files"])
    assert '"word": "first"' in inline["files"]["index.py"]
    assert ["app.py"] == list(packed["files"])
    assert '"word": "second"' in updated["files"]["index.py"]
    assert go.seen("update_code")["digest"] == updated["code"]["digest"] != inline["code"]["digest"]
    assert ("index.py", go.urn(qualifier=":latest")) == (
        go.seen("update_code")["code_filename"],
        go.seen("update_code")["func_urn"],
    )


def test_list(go: Run) -> None:
    found = go.seen("list")
    mine = {one["func_name"]: one for one in found["functions"] if one["func_name"].startswith(NAME)}

    assert [NAME, f"{NAME}-zip"] == sorted(mine)
    assert go.seen("get") == mine[NAME]
    assert len(found["functions"]) == found["count"] == found["next_marker"]
    assert [] == go.seen("list_end")["functions"]
    assert {"functions": [], "next_marker": 0, "count": 0} == go.seen("list_other_package")


def test_an_update_is_read_back_field_by_field(go: Run) -> None:
    changed = {
        "timeout": 20, "memory_size": 512, "cpu": 600, "user_data": '{"plain": "open"}', "description": "changed",
        "encrypted_user_data": '{"secret":"******"}', "xrole": NAME, "app_xrole": NAME,
        "extend_config": '{"kept": true}', "strategy_config": {"concurrency": 9, "concurrent_num": 2},
        "initializer_handler": "index.start", "initializer_timeout": 7, "ephemeral_storage": 512,
        "log_group_id": go.group, "log_stream_id": go.stream, "enable_dynamic_memory": True,
        "network_controller": {"disable_public_network": True}, "heartbeat_handler": "index.beat",
        "func_vpc": {"security_groups": None},
        "mount_config": {
            "mount_user": {"user_id": "5000", "user_group_id": "5001"},
            "func_mounts": [
                {"mount_type": "tmpfs", "mount_resource": "16", "local_mount_path": "/mnt/scratch"},
            ],
        },
    }  # fmt: skip

    assert changed == part(go.seen("update"), *changed)
    assert go.seen("update") == go.seen("get_updated")


def test_an_update_keeps_what_it_does_not_name(go: Run) -> None:
    before, after = go.seen("get_updated"), go.seen("get_little")
    differ = {name for name in before if before[name] != after[name]}

    assert go.seen("update_little") == after
    assert (21, 256, {}) == (after["timeout"], after["memory_size"], after["network_controller"])
    assert {"timeout", "memory_size", "cpu", "network_controller", "image_name"} <= differ
    assert differ <= {"timeout", "memory_size", "cpu", "network_controller", "image_name", "last_modified"}


def test_synchronous_invocations(go: Run) -> None:
    first, second = go.seen("invoke"), go.seen("invoke_updated")
    nothing: dict[str, object] = {
        "event": {},
        "plain": None,
        "secret": None,
        "memory": 128,
        "started": False,
        "word": "first",
    }
    all_set = {"event": {}, "plain": "open", "secret": "hidden", "memory": 256, "started": True, "word": "second"}

    assert (nothing, "200", "") == (json.loads(first["result"]), first["status"], first["log"])
    assert all_set == json.loads(second["result"])
    assert first["request_id"] != second["request_id"]


def test_asynchronous_invocation(go: Run, api: Client) -> None:
    request_id = go.seen("invoke_async")["request_id"]

    def states() -> list[str]:
        found = api.functions("GET", f"/{go.urn('-zip')}/async-invocations?request_id={request_id}").json()
        return [one["status"] for one in found["invocations"]]

    assert eventually(lambda: states() == ["SUCCESS"], 10.0)
    where = f"/fgd/v1/functions/{go.urn('-zip')}/logs?request_id={request_id}"
    assert eventually(lambda: LOGGED in api.request("GET", where).text, 10.0)


def test_instances_and_pinning(go: Run) -> None:
    assert {"concurrency": 7, "concurrent_num": 2} == go.seen("max_instances")["strategy_config"]
    assert {"concurrency": -1, "concurrent_num": 2} == go.seen("max_instances_none")["strategy_config"]
    assert (None, None) == (go.seen("pin"), go.seen("unpin"))


def test_versions(go: Run) -> None:
    first, second, listed = go.seen("publish"), go.seen("publish_second"), go.seen("versions")

    assert go.seen("code_between")["digest"] == second["digest"]
    assert [("v1", go.urn(qualifier=":v1")), ("v2", go.urn(qualifier=":v2"))] == [
        (one["version"], one["func_urn"]) for one in (first, second)
    ]
    assert first["func_id"] == second["func_id"]
    assert first["digest"] != second["digest"]
    assert {**first, "image_name": ""} == {**go.seen("get_version"), "image_name": ""}
    assert (3, 2) == (listed["count"], listed["next_marker"])
    assert 2 == len({one["version"] for one in listed["versions"]} & {"latest", "v1", "v2"})
    assert Refusal("golangsdk.ErrDefault409", 409, "FSS.1062") == brief(go.refused("publish_again"))
    assert Refusal("golangsdk.ErrDefault403", 403, "FSS.1094") == brief(go.refused("version_in_use"))
    assert go.seen("version_delete") is None
    assert Refusal("golangsdk.ErrDefault404", 404, "FSS.1052") == brief(go.refused("version_gone"))


def test_aliases(go: Run) -> None:
    made = go.seen("alias_create")
    updated = go.seen("alias_update")
    created = {
        "name": "prod", "version": "v1", "description": "live", "additional_version_weights": {"v2": 30},
        "alias_urn": go.urn(qualifier=":!prod"),
    }  # fmt: skip

    assert created == part(made, *created) == part(go.seen("alias_get"), *created)
    assert [go.seen("alias_get")] == go.seen("alias_list")
    assert made["last_modified"]
    assert made["additional_version_strategy"] is None
    assert ("v2", {"v1": 5}) == (updated["version"], updated["additional_version_weights"])
    assert part(updated, *created) == part(go.seen("alias_get_updated"), *created)
    assert go.seen("alias_delete") is None
    assert Refusal("golangsdk.ErrDefault404", 404, "FSS.1053") == brief(go.refused("alias_gone"))
    assert [] == go.seen("alias_list_empty")


def test_reserved_instances(go: Run) -> None:
    nights = {
        "name": "nights", "cron": "0 0 2 * * ?", "count": 2, "start_time": 1900000000, "expired_time": 2000000000,
    }  # fmt: skip
    of_alias = {
        "qualifier_type": "alias", "qualifier_name": "prod", "min_count": 1, "idle_mode": False,
        "tactics_config": {"cron_configs": [nights]},
    }  # fmt: skip
    of_version = {
        **of_alias, "qualifier_type": "version", "qualifier_name": "v1", "tactics_config": {"cron_configs": None},
    }  # fmt: skip
    configs = go.seen("reserved_configs")
    found = [part(one, *of_alias) for one in configs["reserved_instances"]]

    assert {"tactics_config": {"cron_configs": [nights]}, "idle_mode": False, "count": 1} == go.seen("reserve_alias")
    assert {"tactics_config": None, "idle_mode": False, "count": 1} == go.seen("reserve_version")
    assert (2, {"next_marker": 2, "previous_marker": 0, "current_count": 2}) == (
        go.seen("reserved")["count"],
        go.seen("reserved")["page_info"],
    )
    assert of_alias in found
    assert of_version in found
    assert configs["count"] == len(found) == configs["page_info"]["next_marker"]
    assert 1 == go.seen("get_reserved")["reserved_instance_count"]
    for name in ("release:!prod", "release:v1"):
        assert {"tactics_config": None, "idle_mode": False, "count": 0} == go.seen(name)
    assert 0 == go.seen("reserved_none")["count"]


@pytest.mark.parametrize("name", TRIGGERS)
def test_triggers_are_read_as_they_were_made(go: Run, name: str) -> None:
    made = go.seen(name)

    assert TRIGGERS[name] == (made["trigger_type_code"], made["trigger_status"], made["event_data"])
    assert made in go.seen("triggers")
    assert made["trigger_id"]
    assert made["created_time"]


def test_triggers_on_things_that_were_made_for_them(go: Run) -> None:
    smn, lts, listed = go.seen("smn"), go.seen("lts_trigger"), go.seen("triggers")

    assert ("ACTIVE", {"topic_urn": go.topic}) == (smn["trigger_status"], smn["event_data"])
    assert {"log_group_id": go.group, "log_topic_id": go.source} == lts["event_data"]
    assert {"SMN", "LTS"} < {one["trigger_type_code"] for one in listed}
    assert 10 == len(listed)


def test_a_published_api(go: Run, daemon: DaemonProcess) -> None:
    made, data = go.seen("apig"), go.seen("apig")["event_data"]
    sent = {
        "name": "API_go", "type": 1, "path": f"/{NAME}", "protocol": "HTTP", "req_method": "GET", "match_mode": "SWA",
        "env_name": "RELEASE", "env_id": "DEFAULT_ENVIRONMENT_RELEASE_ID", "auth": "NONE", "backend_type": "FUNCTION",
        "func_info": {"function_urn": go.urn(), "invocation_type": "sync", "timeout": 5000, "version": "latest"},
    }  # fmt: skip

    assert sent == part(data, *sent)
    assert f"http://127.0.0.1:{daemon.port}/api/{data['group_id']}/{NAME}" == data["invoke_url"]
    assert made == go.seen("apig_get")
    assert Refusal("golangsdk.ErrDefault400", 400, "FSS.0400") == brief(go.refused("apig_off"))
    assert "cannot be disabled" in go.refused("apig_off").message


def test_triggers_are_switched_and_deleted(go: Run) -> None:
    assert go.seen("timer") == go.seen("timer_get")
    assert "DISABLED" == go.seen("timer_off")["trigger_status"]
    assert go.seen("timer_off") == go.seen("timer_get_off")
    assert go.seen("timer")["event_data"] == go.seen("timer_off")["event_data"]
    assert "ACTIVE" == go.seen("cron_on")["trigger_status"]
    assert go.seen("timer_delete") is None
    assert Refusal("golangsdk.ErrDefault404", 404, "FSS.1140") == brief(go.refused("timer_gone"))
    assert go.seen("triggers_delete") is None
    assert [] == go.seen("triggers_none")


def test_tags(go: Run) -> None:
    """Set by the URN with `latest`, taken away by the one without, as Terraform does."""
    tags, left = go.seen("tags"), go.seen("tags_left")

    assert (None, None) == (go.seen("tags_create"), go.seen("tags_delete"))
    assert [{"key": "stage", "value": "test"}, {"key": "team", "value": "shop"}] == sorted(
        tags["tags"], key=lambda tag: str(tag["key"])
    )
    assert [{"key": "stage", "value": "test"}] == left["tags"]
    assert [{"key": "_sys_enterprise_project_id", "value": "0"}] == tags["sys_tags"]


def test_quotas(go: Run) -> None:
    found = {one["type"]: one for one in go.seen("quotas")["resources"]}

    assert (SETTINGS["functions_max"], "") == (found["fgs_func_num"]["quota"], found["fgs_func_num"]["unit"])
    assert found["fgs_func_num"]["used"] >= 2
    assert "MB" == found["fgs_func_code_size"]["unit"]


def test_logs(go: Run) -> None:
    """That logs are on already is an error which Terraform knows by its text, and goes on."""
    enabled = go.refused("lts_enable")

    assert Refusal("golangsdk.ErrDefault400", 400, "FSS.1221") == brief(enabled)
    assert "lts log has been enabled" in enabled.message.lower()
    assert {"group_name": NAME, "group_id": go.group, "stream_id": go.stream, "stream_name": "lines"} == go.seen("lts")


def test_export_and_import(go: Run) -> None:
    made, read = go.seen("import"), go.seen("get_imported")
    kept = (
        "runtime", "timeout", "handler", "memory_size", "user_data", "description", "initializer_handler",
        "initializer_timeout", "code_filename", "digest", "mount_config", "heartbeat_handler", "strategy_config",
        "enable_dynamic_memory", "xrole", "extend_config", "log_stream_id",
    )  # fmt: skip
    source = {**go.seen("get_little"), "strategy_config": {"concurrency": -1, "concurrent_num": 2}}

    assert (None, None) == (go.seen("export"), go.seen("export_read"))
    assert read == made
    assert (f"{NAME}-again", "") == (made["func_name"], made["encrypted_user_data"])
    assert part({**source, "digest": go.seen("publish_second")["digest"]}, *kept) == part(made, *kept)
    assert '"word": "third"' in go.seen("get_code_imported")["files"]["index.py"]
    assert Refusal("golangsdk.ErrDefault409", 409, "FSS.1061") == brief(go.refused("import_twice"))


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_the_librarys_errors(go: Run, name: str) -> None:
    status, code, words = REFUSED[name]
    kind = "ErrUnexpectedResponseCode" if status == 501 else f"ErrDefault{status}"
    found = go.refused(name)

    assert Refusal(f"golangsdk.{kind}", status, code) == brief(found)
    assert words in found.message


def test_the_library_logs_in_with_an_access_key(go: Run, keys: Keys) -> None:
    assert {"project": go.project, "domain": go.project, "user": keys.access_key, "token": True} == go.seen("login")
    assert 8 == len(go.seen("login_used")["resources"])


def test_requests_that_the_library_signs(go: Run) -> None:
    made = go.seen("signed_create")

    assert go.urn("-signed", ":latest") == made["func_urn"]
    assert made in go.seen("signed_list")["functions"]
    assert "first" == json.loads(go.seen("signed_invoke")["result"])["word"]
    assert go.seen("signed_delete") is None


def test_deletion(go: Run) -> None:
    """The steps after these, in `REFUSED`, saw that the functions were gone."""
    assert (None, None) == (go.seen("delete"), go.seen("delete_imported"))


def test_without_go_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(HarnessError, match=r"no Go .* tools/test-servers\.sh"):
        build(tmp_path)


def test_without_its_modules_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "none"))
    monkeypatch.setenv("GOPROXY", "off")

    with pytest.raises(HarnessError, match=r"(?s)does not build .*gophertelekomcloud"):
        build(tmp_path)
