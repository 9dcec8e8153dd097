"""`fgd agencies`, and the options that give an agency to a function, against an API that answers as laid out."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.api import PROJECT, Api
from tests.cli.conftest import Fgd
from tests.cli.test_commands import CONFIG, FUNCTIONS

AGENCIES = f"/fgd/v1/projects/{PROJECT}/agencies"
DOCUMENT = {"Version": "1.1", "Statement": [{"Effect": "Allow", "Action": ["functiongraph:function:invoke"]}]}
AGENCY: dict[str, Any] = {
    "name": "a", "project_id": PROJECT, "description": "d", "policies": ["FunctionGraph User", DOCUMENT],
    "without_effect": [], "functions": ["default:f"], "created_at": "2030-01-01T00:00:00Z",
    "last_modified": "2030-01-01T00:00:00Z",
}  # fmt: skip


def test_create_takes_names_documents_and_files(api: Api, fgd: Fgd, tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text(json.dumps(DOCUMENT))
    api.answer(f"POST {AGENCIES}", AGENCY)

    ran = fgd(
        "agencies", "create", "a", "--description", "d", "--policy", "FunctionGraph User",
        "--policy", json.dumps(DOCUMENT), "--policy", f"@{tmp_path}/policy.json",
    )  # fmt: skip

    assert 0 == ran.code, ran.err
    assert "default:f" in ran.out
    assert "functiongraph:function:invoke" in ran.out
    sent = api.sent(f"POST {AGENCIES}")[0].json()
    assert {"name": "a", "description": "d", "policies": ["FunctionGraph User", DOCUMENT, DOCUMENT]} == sent


@pytest.mark.parametrize("policy", ["@/no/such/file", '{"Version": "1.1"'])
def test_a_policy_that_cannot_be_read_is_wrong_usage(api: Api, fgd: Fgd, policy: str) -> None:
    ran = fgd("agencies", "create", "a", "--policy", policy)

    assert 2 == ran.code
    assert "--policy" in ran.err
    assert [] == api.sent(f"POST {AGENCIES}")


def test_list_shows_a_table_and_json(api: Api, fgd: Fgd) -> None:
    api.answer(f"GET {AGENCIES}", {"agencies": [AGENCY]})

    table, as_json = fgd("agencies", "list"), fgd("agencies", "list", "--json")

    assert ["a", "FunctionGraph", "User,", "(document)", "1", "d"] == table.out.splitlines()[1].split()[:6]
    assert {"agencies": [AGENCY]} == json.loads(as_json.out)


def test_an_empty_list_says_what_to_do(api: Api, fgd: Fgd) -> None:
    api.answer(f"GET {AGENCIES}", {"agencies": []})

    assert "fgd agencies create" in fgd("agencies", "list").out


def test_update_sends_only_what_was_given(api: Api, fgd: Fgd) -> None:
    api.answer(f"PUT {AGENCIES}/a", AGENCY | {"policies": [], "without_effect": ["obs:object:PutObject"]})

    emptied = fgd("agencies", "update", "a", "--no-policies")
    nothing = fgd("agencies", "update", "a")

    assert 0 == emptied.code
    assert "it allows nothing" in emptied.out
    assert "obs:object:PutObject" in emptied.err
    assert {"policies": []} == api.sent(f"PUT {AGENCIES}/a")[0].json()
    assert 2 == nothing.code


def test_delete_and_another_project(api: Api, fgd: Fgd) -> None:
    path = AGENCIES.replace(PROJECT, "p2")
    api.answer(f"DELETE {path}/a", b"", status=204)

    assert 0 == fgd("agencies", "delete", "a", "--project", "p2").code
    assert 1 == len(api.sent(f"DELETE {path}/a"))


def test_policies_lists_them_with_all_actions(api: Api, fgd: Fgd) -> None:
    answer = {
        "policies": {"FunctionGraph User": DOCUMENT},
        "actions": {"functiongraph:function:list": "list functions"},
    }
    api.answer("GET /fgd/v1/policies", answer)

    assert "functiongraph:function:list  list functions" in fgd("agencies", "policies").out
    assert answer == json.loads(fgd("agencies", "policies", "--json").out)


def test_a_function_is_given_agencies_and_loses_one(api: Api, fgd: Fgd) -> None:
    api.answer(f"GET {FUNCTIONS}/hello/config", CONFIG | {"xrole": "a", "app_xrole": "b"})
    api.answer(f"PUT {FUNCTIONS}/hello/config", CONFIG)

    ran = fgd("functions", "update", "hello", "--agency", "a", "--execution-agency", "")

    assert 0 == ran.code, ran.err
    sent = api.sent(f"PUT {FUNCTIONS}/hello/config")[0].json()
    assert ("a", "") == (sent["xrole"], sent["app_xrole"])
    assert "execution agency" in ran.out
