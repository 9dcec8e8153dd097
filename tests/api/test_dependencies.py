"""Dependencies through the API: upload, versions, use, deletion, and everything that is refused."""

import base64
import hashlib
import http.client
from collections.abc import Mapping
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkfunctiongraph import v2 as sdk

from tests.api.harness import MINIMAL, Api
from tests.store.zips import make_zip


def encoded(files: Mapping[str, str | bytes]) -> str:
    return base64.b64encode(make_zip(files)).decode()


def body(name: str, files: Mapping[str, str | bytes] | None = None, **fields: object) -> dict[str, object]:
    file = encoded(files or {f"{name}.py": "x = 1\n"})
    return {"name": name, "runtime": "Python3.12", "depend_type": "zip", "depend_file": file, **fields}


def upload(api: Api, name: str, files: Mapping[str, str | bytes] | None = None, **fields: object) -> dict[str, Any]:
    status, answer = api.v2("POST", "/dependencies/version", body(name, files, **fields))
    assert 200 == status, answer
    made: dict[str, Any] = answer
    return made


def zipped(files: Mapping[str, str | bytes]) -> dict[str, object]:
    return {"code_type": "zip", "code_filename": "code.zip", "func_code": {"file": encoded(files)}}


def test_the_same_name_adds_a_version_with_an_id_of_its_own(api: Api) -> None:
    first = upload(api, "twice", description="one")
    second = upload(api, "twice", {"other.py": ""}, runtime="Node.js20.15")
    _, versions = api.v2("GET", f"/dependencies/{first['dep_id']}/version")
    _, listed = api.v2("GET", "/dependencies?name=twice")

    assert (1, 2) == (first["version"], second["version"])
    assert first["dep_id"] == second["dep_id"]
    assert 3 == len({first["id"], second["id"], first["dep_id"]})
    assert [second["id"], first["id"]] == [one["id"] for one in versions["dependencies"]]
    assert [(first["dep_id"], 2)] == [(one["id"], one["version"]) for one in listed["dependencies"]]


def test_the_package_comes_back_as_it_was_sent(api: Api) -> None:
    sent = make_zip({"same.py": "x = 2\n"})
    made = upload(api, "same", depend_file=base64.b64encode(sent).decode())
    _, shown = api.v2("GET", f"/dependencies/{made['dep_id']}/version/1")
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=20)
    connection.request("GET", shown["download_link"], headers={"X-Auth-Token": api.keys["token"]})
    response = connection.getresponse()
    archive = response.read()
    connection.close()

    assert (200, "application/zip") == (response.status, response.headers["Content-Type"])
    assert sent == archive
    assert (len(archive), hashlib.md5(archive).hexdigest()) == (made["size"], made["etag"])


@pytest.mark.parametrize(
    ("fields", "status", "code", "word"),
    [
        ({"name": "1st"}, 400, "FSS.1024", "name"),
        ({"name": "ends-"}, 400, "FSS.1024", "name"),
        ({"name": "a" * 97}, 400, "FSS.1024", "name"),
        ({"name": None}, 400, "FSS.1024", "name"),
        ({"name": "a/../b"}, 400, "FSS.1024", "name"),
        ({"runtime": "python3"}, 400, "FSS.1005", "runtime"),
        ({"runtime": None}, 400, "FSS.1005", "runtime"),
        ({"description": "d" * 513}, 400, "FSS.1019", "description"),
        ({"depend_type": "tar"}, 400, "FSS.1032", "depend_type"),
        ({"depend_type": None}, 400, "FSS.1032", "depend_type"),
        ({"depend_type": "obs", "depend_link": "https://bbb.obs/x.zip"}, 404, "FSS.1054", "depend_link"),
        ({"depend_file": ""}, 400, "FSS.1012", "depend_file"),
        ({"depend_file": "%%%"}, 400, "FSS.1011", "depend_file"),
        ({"depend_file": 7}, 400, "FSS.1011", "depend_file"),
        ({"depend_file": base64.b64encode(b"no zip").decode()}, 400, "FSS.1011", "depend_file"),
        ({"depend_file": base64.b64encode(b"PK\x03\x04broken").decode()}, 400, "FSS.1011", "depend_file"),
        ({"depend_file": encoded({"../out": "x"})}, 400, "FSS.1011", "'../out'"),
        ({"depend_file": encoded({"a/left~": "x"})}, 400, "FSS.1024", "'a/left~'"),
    ],
)
def test_uploads_that_break_a_rule_are_refused_and_leave_nothing(
    api: Api, fields: dict[str, object], status: int, code: str, word: str
) -> None:
    got, answer = api.v2("POST", "/dependencies/version", {**body("refused"), **fields})
    _, listed = api.v2("GET", "/dependencies?name=refused")

    assert (status, code) == (got, answer["error_code"])
    assert word in answer["error_msg"]
    assert [] == listed["dependencies"]


def test_a_function_shows_what_it_has(api: Api) -> None:
    one, two = upload(api, "shown-a"), upload(api, "shown-b")
    made = api.function("shows", depend_version_list=[one["id"], two["id"]])
    bare = api.function("shows-none")

    assert [one["id"], two["id"]] == made["depend_version_list"]
    assert [one["dep_id"], two["dep_id"]] == made["depend_list"]
    assert [("shown-a", 1), ("shown-b", 1)] == [(dep["name"], dep["version"]) for dep in made["dependencies"]]
    assert [[], [], []] == [bare[name] for name in ("depend_version_list", "depend_list", "dependencies")]


def test_terraform_changes_the_list_without_sending_code(api: Api) -> None:
    """Its fields that are not set arrive empty."""
    made = upload(api, "listed")
    before = api.function("terraformed")
    request = {"code_type": "", "code_url": "", "code_filename": "", "depend_version_list": [made["id"]]}
    status, answer = api.v2("PUT", f"{api.of('terraformed')}/code", request)
    _, kept = api.v2("PUT", f"{api.of('terraformed')}/config", {"timeout": 9, "memory_size": 128})
    _, emptied = api.v2("PUT", f"{api.of('terraformed')}/code", {"depend_version_list": []})

    assert (200, before["digest"], [made["id"]]) == (status, answer["digest"], answer["depend_version_list"])
    assert [made["id"]] == kept["depend_version_list"]
    assert [] == emptied["depend_version_list"]


@pytest.mark.parametrize(
    ("wanted", "status", "code"),
    [
        ("id", 400, "FSS.1024"),
        ([7], 400, "FSS.1024"),
        (["absent"], 404, "FSS.1056"),
        ([str(number) for number in range(21)], 403, "FSS.1045"),
        (["same", "same"], 400, "FSS.1024"),
    ],
)
def test_bad_lists_are_refused(api: Api, wanted: object, status: int, code: str) -> None:
    request = {**MINIMAL, "func_name": "bad-list", "depend_version_list": wanted}
    got, answer = api.v2("POST", "/functions", request)

    assert (status, code) == (got, answer["error_code"])
    assert answer["error_msg"].startswith("depend_version_list: ")


def test_another_projects_dependency_is_not_there(api: Api) -> None:
    other = api.send("POST", "/fgd/v1/keys", {"project_id": "f" * 32}, {"X-Fgd-Peer": "uid:0"})[1]
    path = f"/v2/{'f' * 32}/fgs/dependencies"
    headers = {"X-Auth-Token": other["token"]}
    status, theirs, _ = api.send("POST", f"{path}/version", body("theirs"), headers)
    assert 200 == status
    request = {**MINIMAL, "func_name": "thief", "depend_version_list": [theirs["id"]]}
    answers = [
        api.v2("POST", "/functions", request),
        api.v2("GET", f"/dependencies/{theirs['dep_id']}/version"),
        api.v2("GET", f"/dependencies/{theirs['dep_id']}/version/1/archive"),
        api.v2("DELETE", f"/dependencies/{theirs['dep_id']}/version/1"),
        api.v2("PUT", f"/dependencies/{theirs['dep_id']}", {"depend_type": "zip", "name": "mine"}),
    ]

    assert [(404, "FSS.1056")] * 5 == [(status, answer["error_code"]) for status, answer in answers]
    assert [] == api.v2("GET", "/dependencies?name=theirs")[1]["dependencies"]


def refused_clash(api: Api, method: str, path: str, request: object) -> str:
    status, answer = api.v2(method, path, request)
    assert (424, "FSS.0424") == (status, answer.get("error_code")), answer
    message: str = answer["error_msg"]
    return message


def test_a_file_that_code_and_dependency_have_is_refused_with_both_names(api: Api) -> None:
    made = upload(api, "clashes", {"index.py": "", "lib.py": ""})
    create = {**MINIMAL, "func_name": "clashing", "depend_version_list": [made["id"]]}
    message = refused_clash(api, "POST", "/functions", create)
    api.function("clashing", **zipped({"main.py": "", "other.py": ""}), handler="main.handler")
    plain = upload(api, "plain", {"plain.py": ""})
    api.v2("PUT", f"{api.of('clashing')}/config", {"depend_version_list": [plain["id"]]})
    by_code = refused_clash(api, "PUT", f"{api.of('clashing')}/code", zipped({"plain.py": "", "main.py": ""}))
    by_list = refused_clash(
        api, "PUT", f"{api.of('clashing')}/code", {**zipped({"index.py": ""}), "depend_version_list": [made["id"]]}
    )
    _, after = api.v2("GET", f"{api.of('clashing')}/config")

    assert "index.py is in the code of 'clashing' and in dependency 'clashes' version 1" in message
    assert "plain.py is in the code of 'clashing' and in dependency 'plain' version 1" in by_code
    assert "'clashes'" in by_list
    assert [plain["id"]] == after["depend_version_list"]
    assert "main.handler" == after["handler"]


def test_a_new_list_and_new_code_in_one_request_are_checked_together(api: Api) -> None:
    made = upload(api, "together", {"index.py": ""})
    api.function("both")
    request = {**zipped({"main.py": ""}), "depend_version_list": [made["id"]]}
    status, answer = api.v2("PUT", f"{api.of('both')}/code", request)

    assert (200, [made["id"]]) == (status, answer["depend_version_list"])


def test_folders_merge_and_the_same_init_file_is_no_clash_between_dependencies(api: Api) -> None:
    init = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    ids = [
        upload(api, "space-a", {"space/__init__.py": init, "space/a.py": ""})["id"],
        upload(api, "space-b", {"space/__init__.py": init, "space/b.py": ""})["id"],
    ]
    other = upload(api, "space-c", {"space/__init__.py": "# another\n", "space/c.py": ""})["id"]
    made = api.function("spaced", depend_version_list=ids)
    path = f"{api.of('spaced')}/config"
    message = refused_clash(api, "PUT", path, {"depend_version_list": [*ids, other]})
    code = zipped({"space/__init__.py": init, "index.py": ""})
    by_code = refused_clash(api, "PUT", f"{api.of('spaced')}/code", code)

    assert ids == made["depend_version_list"]
    assert "space/__init__.py is in dependency 'space-a' version 1 and in dependency 'space-c' version 1" in message
    assert "the code of 'spaced'" in by_code


def test_a_file_where_another_package_has_a_folder_is_a_clash(api: Api) -> None:
    file, folder = upload(api, "as-file", {"thing": ""}), upload(api, "as-folder", {"thing/a.py": ""})
    for ids in ([file["id"], folder["id"]], [folder["id"], file["id"]]):
        request = {**MINIMAL, "func_name": "thing", "depend_version_list": ids}

        assert "thing is in dependency" in refused_clash(api, "POST", "/functions", request)


def test_a_version_in_use_cannot_be_deleted_until_no_version_of_a_function_has_it(api: Api) -> None:
    made = upload(api, "used")
    api.function("user", depend_version_list=[made["id"]])
    api.v2("POST", f"{api.of('user')}/versions", {"version": "v1"})
    path = f"/dependencies/{made['dep_id']}/version/1"
    by_latest = api.v2("DELETE", path)
    api.v2("PUT", f"{api.of('user')}/code", {"depend_version_list": []})
    by_published = api.v2("DELETE", path)
    legacy = api.v2("DELETE", f"/dependencies/{made['dep_id']}")
    api.v2("DELETE", f"{api.of('user')}%3Av1")
    freed = api.v2("DELETE", path)

    for status, answer in (by_latest, by_published, legacy):
        assert (412, "FSS.1033") == (status, answer["error_code"])
    assert "default:user (latest)" in by_latest[1]["error_msg"]
    assert "default:user (v1)" in by_published[1]["error_msg"]
    assert 204 == freed[0]
    assert 404 == api.v2("GET", f"/dependencies/{made['dep_id']}/version")[0]


def test_the_older_paths_make_change_and_delete_a_dependency(api: Api) -> None:
    status, made = api.v2("POST", "/dependencies", body("older"))
    again = api.v2("POST", "/dependencies", body("older"))
    path = f"/dependencies/{made['id']}"
    _, changed = api.v2("PUT", path, {**body("older-renamed", {"n.py": ""}), "description": "second"})
    _, shown = api.v2("GET", path)
    upload(api, "taken")
    taken = api.v2("PUT", path, {"depend_type": "zip", "name": "taken"})
    described = api.v2("PUT", path, {"depend_type": "zip", "description": "third"})[1]
    other_runtime = api.v2("PUT", path, {"depend_type": "zip", "runtime": "Java11"})
    deleted = api.v2("DELETE", path)

    assert (200, 1, made["dep_id"]) == (status, made["version"], made["id"])
    assert (409, "FSS.1065") == (again[0], again[1]["error_code"])
    assert ("older-renamed", 2, "second") == (changed["name"], changed["version"], changed["description"])
    assert (2, made["id"]) == (shown["version"], shown["id"])
    assert (400, "FSS.1031") == (taken[0], taken[1]["error_code"])
    assert ("third", 2) == (described["description"], described["version"])
    assert (400, "FSS.1024") == (other_runtime[0], other_runtime[1]["error_code"])
    assert 204 == deleted[0]
    assert 404 == api.v2("GET", path)[0]


def test_packages_of_dependencies_count_against_the_quota_of_code(api: Api) -> None:
    def used() -> int:
        return api.services.functions.usage(api.keys["project_id"]).code_bytes

    before = used()
    made = upload(api, "counted", {"counted.py": "x" * 1000})

    assert before + made["size"] == used()


def test_lists_come_in_pages_and_by_kind(api: Api) -> None:
    for number in range(3):
        upload(api, f"page-{number}", runtime="Java17")
    _, page = api.v2("GET", "/dependencies?runtime=Java17&maxitems=2")
    _, rest = api.v2("GET", f"/dependencies?runtime=Java17&maxitems=2&marker={page['next_marker']}")
    _, past = api.v2("GET", "/dependencies?runtime=Java17&marker=3")
    _, public = api.v2("GET", "/dependencies?dependency_type=public")
    bad = api.v2("GET", "/dependencies?dependency_type=mine")

    assert (["page-0", "page-1"], 2, 3) == (
        [one["name"] for one in page["dependencies"]],
        page["next_marker"],
        page["count"],
    )
    assert ["page-2"] == [one["name"] for one in rest["dependencies"]]
    assert ([], []) == (past["dependencies"], public["dependencies"])
    assert (400, "FSS.1001") == (bad[0], bad[1]["error_code"])


def test_the_official_sdk_speaks_all_of_it(api: Api) -> None:
    credentials = BasicCredentials(api.keys["access_key"], api.keys["secret_key"], api.keys["project_id"])
    builder = sdk.FunctionGraphClient.new_builder().with_credentials(credentials)
    client = builder.with_endpoint(f"http://127.0.0.1:{api.port}").build()
    request = sdk.CreateDependencyRequestBody(
        name="by-sdk", runtime="Python3.12", depend_type="zip", depend_file=encoded({"lib.py": ""}), description="d"
    )
    made = client.create_dependency_version(sdk.CreateDependencyVersionRequest(body=request))
    shown = client.show_dependency_version(
        sdk.ShowDependencyVersionRequest(depend_id=made.dep_id, version=str(made.version))
    )
    versions = client.list_dependency_version(sdk.ListDependencyVersionRequest(depend_id=made.dep_id)).dependencies
    listed = client.list_dependencies(sdk.ListDependenciesRequest(name="by-sdk", dependency_type="private"))
    created = client.create_function(
        sdk.CreateFunctionRequest(
            body=sdk.CreateFunctionRequestBody(
                **{**MINIMAL, "func_code": sdk.FuncCode(file=MINIMAL["func_code"]["file"])},  # type: ignore[index]
                func_name="by-sdk",
                package="default",
                depend_version_list=[made.id],
            )
        )
    )
    delete = sdk.DeleteDependencyVersionRequest(depend_id=made.dep_id, version="1")
    with pytest.raises(ClientRequestException) as refused:
        client.delete_dependency_version(delete)
    client.delete_function(sdk.DeleteFunctionRequest(function_urn=created.func_urn.removesuffix(":latest")))

    assert ("by-sdk", 1, "d", made.id) == (shown.name, shown.version, shown.description, shown.id)
    assert shown.download_link
    assert [(made.id, False)] == [(one.id, one.is_shared) for one in versions]
    assert [made.dep_id] == [one.id for one in listed.dependencies]
    assert [made.id] == created.depend_version_list
    assert ["by-sdk"] == [one.name for one in created.dependencies]
    assert "FSS.1033" == refused.value.error_code
    assert 204 == client.delete_dependency_version(delete).status_code
