"""Functions as files: out and in again they are the same, and no hostile file does harm."""

import base64
import hashlib
import http.client
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from huaweicloudsdkfunctiongraph import v2 as sdk

from fgd.config import parse_config
from tests.api.harness import Api, running_api
from tests.api.test_agencies import make
from tests.api.test_functions import packed
from tests.api.test_sdk import client, new_function

__all__ = ["client"]

#: What of a function is its own, and not of its settings.
IDENTITY = {"func_id", "resource_id", "func_urn", "func_name", "package", "image_name", "last_modified", "log_group_id",
            "log_stream_id", "missing_secrets"}  # fmt: skip
SETTINGS: dict[str, Any] = {
    "handler": "src/index.handler",
    "timeout": 77,
    "memory_size": 512,
    "description": 'ünï: "quoted"\n# no comment\n  - yes',
    "user_data": json.dumps({"yes": "no", "n": "1.0", "lines": "a\nb", "quote": "'\""}),
    "initializer_handler": "src/index.init",
    "initializer_timeout": 9,
    "strategy_config": {"concurrency": 7, "concurrent_num": 3},
    "xrole": "an-agency",
    "app_xrole": "another",
    "enterprise_project_id": "0",
    "lts_custom_tag": {"a": "1"},
    "user_data_encrypt_kms_key_id": "k1",
    "code_encrypt_kms_key_id": "k2",
    "extend_config": "{}",
    "ephemeral_storage": 10240,
    "code_type": "zip",
    "code_filename": "my code.zip",
    "tags": '{"owner":"ann","größe":""}',
    "enable_dynamic_memory": True,
    "heartbeat_handler": "src/index.beat",
    "pre_stop_handler": "src/index.stop",
    "pre_stop_timeout": 8,
}


def download(api: Api, name: str, query: str = "", package: str = "default") -> tuple[int, bytes, str]:
    """Status, bytes and file name of an export."""
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=20)
    try:
        connection.request(
            "GET", f"/v2/{api.keys['project_id']}/fgs{api.of(name).replace('default', package)}/export{query}",
            headers={"X-Auth-Token": api.keys["token"]},
        )  # fmt: skip
        answer = connection.getresponse()
        named = answer.headers.get("Content-Disposition", "")
        return answer.status, answer.read(), named.partition('filename="')[2].rstrip('"')
    finally:
        connection.close()


def load(api: Api, name: object, file: bytes, **fields: object) -> tuple[int, Any]:
    """Imports a file."""
    body = {"func_name": name, "file_name": "f.zip", "file_type": "zip", "file_code": base64.b64encode(file).decode()}
    return api.v2("POST", "/functions/import", {**body, **fields})


def settings(api: Api, name: str, package: str = "default") -> dict[str, Any]:
    shown = api.v2("GET", api.of(name).replace("default", package) + "/config")[1]
    return {key: value for key, value in shown.items() if key not in IDENTITY}


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


CODE = base64.b64decode(packed(index__py="def handler(event, context):\n    return 1\n"))
PLAIN = "func_name: f\nruntime: Python3.12\n"


def test_a_function_with_every_setting_comes_back_the_same(api: Api) -> None:
    for agency in ("an-agency", "another"):
        make(api, agency, "FunctionGraph ReadOnlyAccess")
    code = packed(**{"src/index__py": "def handler(e, c): pass\ndef init(c): pass\n"})
    api.function("whole", **{**SETTINGS, "func_code": {"file": code}})
    status, file, filename = download(api, "whole")
    assert 200 == status
    assert f"whole_{hashlib.md5(base64.b64decode(code)).hexdigest()}.zip" == filename

    status, answer = load(api, "copy", file, package="others")
    assert 200 == status, answer
    assert ("copy", "others", []) == (answer["func_name"], answer["package"], answer["missing_secrets"])
    assert settings(api, "whole") == settings(api, "copy", "others")
    shown = settings(api, "copy", "others")
    assert {name: shown[name] for name in SETTINGS if name != "tags"} == {
        name: value for name, value in SETTINGS.items() if name != "tags"
    }
    found = {one.name: api.services.tags.of(one) for one in api.directory.list(api.keys["project_id"])}
    assert {"owner": "ann", "größe": ""} == found["whole"] == found["copy"]

    # A second time out it is the same file, but for the name.
    again = zipfile.ZipFile(io.BytesIO(download(api, "copy", package="others")[1]))
    first = zipfile.ZipFile(io.BytesIO(file))
    assert first.read("whole.zip") == again.read("copy.zip") == base64.b64decode(code)
    one, two = yaml.safe_load(first.read("whole.yaml")), yaml.safe_load(again.read("copy.yaml"))
    assert one == {**two, "func_name": "whole", "package": "default"}


def test_a_function_with_inline_code_and_defaults_comes_back_the_same(api: Api) -> None:
    api.function("small")
    file = download(api, "small")[1]

    written = yaml.safe_load(zipfile.ZipFile(io.BytesIO(file)).read("small.yaml"))
    assert written["strategy_config"] == {"concurrency": 400, "concurrent_num": 1}
    assert None not in written.values()
    assert not written.keys() & {"user_data", "initializer_handler", "xrole", "tags", "encrypted_user_data_names"}
    assert 200 == load(api, "small-2", file)[0]
    assert settings(api, "small") == settings(api, "small-2")


def test_a_disabled_function_keeps_what_it_is_enabled_to(api: Api) -> None:
    api.function("off", strategy_config={"concurrency": 9})
    api.v2("PUT", api.of("off") + "/config-max-instance", {"max_instance_num": 0})

    assert 200 == load(api, "off-2", download(api, "off")[1])[0]
    assert settings(api, "off") == settings(api, "off-2")
    assert (0, 9) == (settings(api, "off-2")["concurrency"], settings(api, "off-2")["enabled_concurrency"])


def test_reserved_instances_stay_behind(api: Api) -> None:
    api.function("reserving-out")
    assert 200 == api.v2("PUT", api.of("reserving-out") + "/reservedinstances", {"count": 1})[0]
    assert 1 == settings(api, "reserving-out")["reserved_instance_count"]

    assert 200 == load(api, "reserving-in", download(api, "reserving-out")[1])[0]
    assert 0 == settings(api, "reserving-in")["reserved_instance_count"]
    assert 200 == api.v2("PUT", api.of("reserving-out") + "/reservedinstances", {"count": 0})[0]


def test_a_version_goes_out_as_it_was_published(api: Api) -> None:
    api.function("moving", description="before")
    api.v2("POST", api.of("moving") + "/versions", {"version": "v1"})
    api.v2("POST", api.of("moving") + "/aliases", {"name": "live", "version": "v1"})
    api.v2("PUT", api.of("moving") + "/config", {"description": "after"})
    exported = {
        name: zipfile.ZipFile(io.BytesIO(download(api, f"moving{name}")[1])).read("moving.yaml")
        for name in ("", ":v1", ":!live")
    }

    assert "after" == yaml.safe_load(exported[""])["description"]
    assert "before" == yaml.safe_load(exported[":v1"])["description"]
    assert exported[":v1"] == exported[":!live"]
    assert b"live" not in exported[""]


def test_secrets_stay_here_and_their_names_go_along(api: Api) -> None:
    api.function("secretive", encrypted_user_data='{"token":"sesame","pin":"1234"}')
    file = download(api, "secretive")[1]
    assert b"sesame" not in file
    assert b"1234" not in file

    status, answer = load(api, "secretive-2", file)
    assert (200, ["pin", "token"]) == (status, answer["missing_secrets"])
    assert answer["encrypted_user_data"] is None

    status, answer = load(api, "secretive-3", file, encrypted_user_data='{"token":"other"}')
    assert (200, ["pin"]) == (status, answer["missing_secrets"])
    function = api.directory.by_id(answer["func_id"])
    assert function is not None
    assert {"token": "other"} == api.services.functions.user_data(function)


def test_a_mask_is_no_secret(api: Api) -> None:
    """As it would be in a file that was made of what an answer shows."""
    text = PLAIN + 'encrypted_user_data: \'{"a":"******","b":"real"}\'\n'
    status, answer = load(api, "masked", zipped({"f.yaml": text, "f.zip": CODE}))

    assert (200, ["a"], '{"b":"******"}') == (status, answer["missing_secrets"], answer["encrypted_user_data"])


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["parts.yaml", "parts.zip"]),
        ("?config=true&code=true", ["parts.yaml", "parts.zip"]),
        ("?config=true", ["parts.yaml"]),
        ("?config=true&code=false", ["parts.yaml"]),
        ("?type=config", ["parts.yaml"]),
        ("?code=true", ["index.py"]),
        ("?config=false&code=true", ["index.py"]),
        ("?type=code", ["index.py"]),
    ],
)
def test_what_is_asked_for_is_in_the_file(api: Api, query: str, names: list[str]) -> None:
    if api.v2("GET", api.of("parts") + "/config")[0] == 404:
        api.function("parts")
    status, file, _ = download(api, "parts", query)

    assert (200, names) == (status, zipfile.ZipFile(io.BytesIO(file)).namelist())


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?config=false&code=false", "config"),
        ("?config=false", "config"),
        ("?config=yes", "config"),
        ("?code=1", "code"),
        ("?type=all", "type"),
        ("?type=code&config=true", "type"),
    ],
)
def test_unclear_wishes_are_refused(api: Api, query: str, field: str) -> None:
    api.function("unclear" + str(abs(hash(query))))
    status, body, _ = download(api, "unclear" + str(abs(hash(query))), query)

    assert (400, "FSS.1001") == (status, json.loads(body)["error_code"])
    assert json.loads(body)["error_msg"].startswith(field + ":")


def test_an_export_of_more_than_50_mb_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fgd.control.exported.PACKAGE_MAX_BYTES", 300)
    api.function("heavy")
    status, body, _ = download(api, "heavy")

    assert (413, "FSS.1071") == (status, json.loads(body)["error_code"])


FILES: list[tuple[str, Mapping[str, bytes | str], int, str, str]] = [
    ("no yaml", {"f.zip": CODE}, 400, "FSS.1025", "file_code"),
    ("two yamls", {"a.yaml": PLAIN, "b/c.yml": PLAIN, "f.zip": CODE}, 400, "FSS.1022", "file_code"),
    ("no code", {"f.yaml": PLAIN}, 400, "FSS.1012", "file_code"),
    ("two codes", {"f.yaml": PLAIN, "f.zip": CODE, "g.zip": CODE}, 400, "FSS.1011", "file_code"),
    ("code that is none", {"f.yaml": PLAIN, "f.zip": b"no zip"}, 400, "FSS.1011", "func_code.file"),
    ("broken code", {"f.yaml": PLAIN, "f.zip": b"PK\x03\x04"}, 400, "FSS.1011", "func_code.file"),
    ("hostile code", {"f.yaml": PLAIN, "f.zip": zipped({"../up.py": "x"})}, 400, "FSS.1011", "func_code.file"),
    ("broken yaml", {"f.yaml": "a: [", "f.zip": CODE}, 400, "FSS.1025", "file_code"),
    ("a text", {"f.yaml": "just text", "f.zip": CODE}, 400, "FSS.1025", "file_code"),
    ("an empty yaml", {"f.yaml": "", "f.zip": CODE}, 400, "FSS.1025", "file_code"),
    ("a list of texts", {"f.yaml": "functions: [a, b]", "f.zip": CODE}, 400, "FSS.1025", "file_code"),
    ("a giant yaml", {"f.yaml": "#" * 300_000, "f.zip": CODE}, 400, "FSS.1023", "file_code"),
    ("an anchor", {"f.yaml": "a: &a [1]\nb: *a\n", "f.zip": CODE}, 400, "FSS.1025", "file_code"),
    ("no name", {"f.yaml": "runtime: Python3.12", "f.zip": CODE}, 404, "FSS.1057", "file_code"),
    ("others", {"f.yaml": "[{func_name: a}, {func_name: b}]", "f.zip": CODE}, 404, "FSS.1057", "func_name"),
    ("twice", {"f.yaml": "[{func_name: a}, {func_name: a}]", "f.zip": CODE}, 400, "FSS.1058", "file_code"),
    ("bad package", {"f.yaml": PLAIN + "package: 1x\n", "f.zip": CODE}, 400, "FSS.1027", "file_code"),
    ("bad concurrency", {"f.yaml": PLAIN + "strategy_config: {concurrency: 5000}\n", "f.zip": CODE}, 400, "FSS.1026",
     "strategy_config.concurrency"),
    ("bad limit", {"f.yaml": PLAIN + "strategy_config: {concurrency: 0}\nenabled_concurrency: x\n", "f.zip": CODE}, 400,
     "FSS.1026", "enabled_concurrency"),
    ("bad memory", {"f.yaml": PLAIN + "memory_size: 129\n", "f.zip": CODE}, 400, "FSS.1007", "memory_size"),
    ("no runtime", {"f.yaml": "func_name: f", "f.zip": CODE}, 400, "FSS.1005", "runtime"),
    ("bad tags", {"f.yaml": PLAIN + "tags: [{key: _sys_a}]\n", "f.zip": CODE}, 400, "FSS.0400", "tags[0].key"),
    ("bad variables", {"f.yaml": PLAIN + "user_data: {a: 1}\n", "f.zip": CODE}, 400, "FSS.1009", "user_data"),
    ("deep variables", {"f.yaml": PLAIN + "user_data: {a: {b: [1]}}\n", "f.zip": CODE}, 400, "FSS.1009", "user_data"),
    ("odd variables", {"f.yaml": PLAIN + "user_data: {a: .nan, b: 2024-01-01}\n", "f.zip": CODE}, 400, "FSS.1009",
     "user_data"),
    ("bad secrets", {"f.yaml": PLAIN + "encrypted_user_data: '[]'\n", "f.zip": CODE}, 400, "FSS.1009",
     "encrypted_user_data"),
    ("dependencies", {"f.yaml": PLAIN + "dependencies: [{name: pandas, version: 2}]\n", "f.zip": CODE}, 400, "FSS.1024",
     "file_code: dependencies[0]"),
    ("nameless dependency", {"f.yaml": PLAIN + "dependencies: [{version: 2}]\n", "f.zip": CODE}, 400, "FSS.1024",
     "file_code: dependencies[0]"),
    ("dependency text", {"f.yaml": PLAIN + "dependencies: pandas\n", "f.zip": CODE}, 400, "FSS.1024",
     "file_code: dependencies"),
    ("leaves the folder", {"../f.yaml": PLAIN, "f.zip": CODE}, 400, "FSS.1011", "file_code"),
    ("absolute", {"/etc/f.yaml": PLAIN, "f.zip": CODE}, 400, "FSS.1011", "file_code"),
    ("a bomb", {"f.yaml": PLAIN, "f.zip": CODE, "bomb": b"\0" * (60 << 20)}, 400, "FSS.1011", "file_code"),
    ("many files", {"f.yaml": PLAIN, "f.zip": CODE, **{f"n{n}": b"" for n in range(200)}}, 400, "FSS.1011",
     "file_code"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "status", "code", "field"), [one[1:] for one in FILES], ids=[one[0] for one in FILES]
)
def test_a_bad_file_is_refused_and_nothing_is_left(
    api: Api, files: Mapping[str, bytes | str], status: int, code: str, field: str
) -> None:
    before = api.directory.generation
    got, answer = load(api, "refused", zipped(files))

    assert (status, code) == (got, answer["error_code"]), answer
    assert answer["error_msg"].startswith(field + ":"), answer
    assert before == api.directory.generation
    assert [] == list(api.state_dir.joinpath("tmp").iterdir())


@pytest.mark.parametrize(
    ("fields", "status", "code", "field"),
    [
        ({"func_name": None}, 400, "FSS.1002", "func_name"),
        ({"func_name": "1st"}, 400, "FSS.1002", "func_name"),
        ({"package": "1st"}, 400, "FSS.1027", "package"),
        ({"package": 5}, 400, "FSS.1027", "package"),
        ({"file_name": None}, 400, "FSS.1013", "file_name"),
        ({"file_name": "a\nb"}, 400, "FSS.1013", "file_name"),
        ({"file_type": "tar"}, 400, "FSS.1013", "file_type"),
        ({"file_type": None}, 400, "FSS.1013", "file_type"),
        ({"file_code": None}, 400, "FSS.1011", "file_code"),
        ({"file_code": 5}, 400, "FSS.1011", "file_code"),
        ({"file_code": "!!"}, 400, "FSS.1011", "file_code"),
        ({"file_code": "YWJj"}, 400, "FSS.1011", "file_code"),
        ({"encrypted_user_data": {"a": "b"}}, 400, "FSS.1009", "encrypted_user_data"),
    ],
)
def test_a_bad_request_is_refused_by_name(
    api: Api, fields: dict[str, object], status: int, code: str, field: str
) -> None:
    file = zipped({"f.yaml": PLAIN, "f.zip": CODE})
    got, answer = load(api, fields.get("func_name", "refused"), file, **fields)

    assert (status, code) == (got, answer["error_code"]), answer
    assert answer["error_msg"].startswith(field + ":"), answer


def test_a_file_too_large_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fgd.control.transfer.PACKAGE_MAX_BYTES", 1000)
    for size in (1200, 2000):
        status, answer = load(api, "big", zipped({"f.yaml": PLAIN, "f.zip": CODE}) + b"\0" * size)

        assert (400, "FSS.1023") == (status, answer["error_code"])


def test_a_name_that_is_taken_is_a_conflict(api: Api) -> None:
    api.function("taken")
    status, answer = load(api, "taken", download(api, "taken")[1])

    assert (409, "FSS.1061") == (status, answer["error_code"])


def test_files_made_by_others_are_read_too(api: Api) -> None:
    """JSON is YAML; what an answer of the API shows besides settings is passed over; folders do not matter."""
    shown = api.function("shown", description="mine")
    file = zipped({"x/f.yml": json.dumps(shown), "x/code.zip": CODE, "__MACOSX/x/._f.yml": b"\0", "readme": "hi"})
    status, answer = load(api, "read", file)
    assert (200, "mine") == (status, answer["description"]), answer

    file = zipped({"f.yaml": PLAIN + "user_data: {colour: blue}\nencrypted_user_data: {pin: '1'}\n", "f.zip": CODE})
    answer = load(api, "by-hand", file)[1]
    assert ('{"colour":"blue"}', '{"pin":"******"}') == (answer["user_data"], answer["encrypted_user_data"])

    many = "- {func_name: a, runtime: Python3.12}\n- {func_name: b, runtime: Python3.9, package: p}\n"
    file = zipped({"f.yaml": many, "f.zip": CODE})
    assert "Python3.9" == load(api, "b", file, package="p")[1]["runtime"]


def _depend(api: Api, name: str, text: str) -> dict[str, Any]:
    body = {"name": name, "runtime": "Python3.12", "depend_type": "zip", "depend_file": packed(**{name + "__py": text})}
    status, answer = api.v2("POST", "/dependencies/version", body)
    assert 200 == status, answer
    made: dict[str, Any] = answer
    return made


def test_dependencies_travel_by_name_and_version(api: Api) -> None:
    old = _depend(api, "lib", "x = 1\n")
    _depend(api, "lib", "x = 2\n")
    other = _depend(api, "other", "y = 1\n")
    api.function("depending", depend_version_list=[other["id"], old["id"]])
    file = download(api, "depending")[1]
    written = yaml.safe_load(zipfile.ZipFile(io.BytesIO(file)).read("depending.yaml"))

    assert [("other", 1, False), ("lib", 1, False)] == [
        (one["name"], one["version"], one["public"]) for one in written["dependencies"]
    ]
    assert not written.keys() & {"depend_version_list", "depend_list"}
    assert 200 == load(api, "depending-2", file)[0]
    assert settings(api, "depending") == settings(api, "depending-2")
    assert [other["id"], old["id"]] == settings(api, "depending-2")["depend_version_list"]


@pytest.mark.slow
def test_networks_travel_and_a_node_without_them_refuses(api: Api, tmp_path: Path) -> None:
    networks = {"lab": {"subnet": "10.70.0.0/24", "hosts": {"db.corp.internal": "10.70.0.10"}}}
    wanted = {
        "func_vpc": {"vpc_id": "lab", "subnet_id": "lab"},
        "network_controller": {"disable_public_network": True, "trigger_access_vpcs": [{"vpc_id": "lab"}]},
        "domain_names": json.dumps([{"domain_name": "db.corp.internal"}]),
        "peering_cidr": "192.168.0.0/16;192.0.2.0/24",
    }
    with running_api(tmp_path, parse_config({"region": "testland", "networks": networks})) as other:
        other.function("inside", **wanted)
        file = download(other, "inside")[1]

        assert 200 == load(other, "inside-2", file)[0]
        assert settings(other, "inside") == settings(other, "inside-2")
        assert "lab" == settings(other, "inside")["func_vpc"]["vpc_id"]
        assert wanted["peering_cidr"] == settings(other, "inside-2")["peering_cidr"]
    status, answer = load(api, "outside", file)
    assert 400 <= status < 500, answer
    assert answer["error_msg"].startswith("func_vpc")


@pytest.mark.slow
def test_disks_travel_and_a_node_without_them_refuses(api: Api, tmp_path: Path) -> None:
    mount = {"mount_type": "host", "mount_resource": "data", "local_mount_path": "/data", "read_only": True}
    config = {"mount_user": {"user_id": 7, "user_group_id": 8}, "func_mounts": [mount]}
    with running_api(tmp_path, parse_config({"region": "testland", "mount_roots": ["data=/srv/data"]})) as other:
        other.function("mounted", mount_config=config)
        file = download(other, "mounted")[1]

        assert 200 == load(other, "mounted-2", file)[0]
        assert settings(other, "mounted") == settings(other, "mounted-2")
        assert settings(other, "mounted")["mount_config"]["mount_user"] == config["mount_user"]
    status, answer = load(api, "unmounted", file)
    assert 400 <= status < 500, answer
    assert answer["error_msg"].startswith("mount_config")


def test_the_sdk_takes_it_out_and_in(client: Any) -> None:
    urn = new_function(client, "sdk-export", description="carried").func_urn
    exported = client.export_function(sdk.ExportFunctionRequest(function_urn=urn, config=True, code=True))
    file = base64.b64encode(exported.raw_content).decode()
    body = sdk.ImportFunctionRequestBody(
        func_name="sdk-import", file_name="f.zip", file_type="zip", file_code=file, package="default"
    )
    imported = client.import_function(sdk.ImportFunctionRequest(body=body))

    assert ("carried", "sdk-import") == (imported.description, imported.func_name)
