"""Commands about tags, test events, files and quotas, against an API that answers as laid out."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.api import PROJECT, Api
from tests.cli.conftest import Fgd

FUNCTIONS = f"/v2/{PROJECT}/fgs/functions"
TAGS = f"/v2/{PROJECT}/functions"
TRY = "/fgd/v1/functions/hello/test"
TRIAL: dict[str, Any] = {
    "request_id": "r1", "function_urn": "urn:fss:local:p1:function:default:hello:latest", "error_code": 0,
    "function_error": False, "result": {"a": "ä"}, "log": "a line",
    "summary": {"duration": 1.9, "billingDuration": 2, "memorySize": 128, "memoryUsed": 21.5},
}  # fmt: skip


def test_tags_are_set_and_shown(api: Api, fgd: Fgd) -> None:
    api.answer(f"POST {TAGS}/hello/tags/create", b"", status=204)
    api.answer(f"GET {TAGS}/hello/tags", {"tags": [{"key": "owner", "value": "a=b"}], "sys_tags": []})

    ran = fgd("tags", "add", "hello", "owner=a=b", "empty=")

    assert (0, ["KEY", "VALUE", "owner", "a=b"]) == (ran.code, ran.out.split())
    sent = api.sent(f"POST {TAGS}/hello/tags/create")[0].json()
    assert [{"key": "owner", "value": "a=b"}, {"key": "empty", "value": ""}] == sent["tags"]
    assert "owner" == json.loads(fgd("tags", "list", "hello", "--json").out)["tags"][0]["key"]


def test_a_tag_without_a_value_is_wrong_usage(api: Api, fgd: Fgd) -> None:
    ran = fgd("tags", "add", "hello", "owner")

    assert 2 == ran.code
    assert "owner=" in ran.err


def test_tags_are_taken_away_by_key(api: Api, fgd: Fgd) -> None:
    api.answer(f"DELETE {TAGS}/hello/tags/delete", b"", status=204)
    api.answer(f"GET {TAGS}/hello/tags", {"tags": [], "sys_tags": []})

    assert "hello has no tags\n" == fgd("tags", "remove", "hello", "a", "b").out
    assert [{"key": "a"}, {"key": "b"}] == api.sent(f"DELETE {TAGS}/hello/tags/delete")[0].json()["tags"]


def test_all_keys_of_all_functions(api: Api, fgd: Fgd) -> None:
    api.answer(f"GET {TAGS}/tags", {"tags": [{"key": "stage", "values": ["", "test"]}], "sys_tags": []})

    assert ["KEY", "VALUES", "stage", '"",', "test"] == fgd("tags", "list").out.split()


def test_find_sends_what_must_hold(api: Api, fgd: Fgd) -> None:
    one = {"resource_id": "urn:fss:local:p1:function:pack:hello:latest", "resource_name": "hello",
           "tags": [{"key": "a", "value": "1"}]}  # fmt: skip
    api.answer(f"POST {TAGS}/resource-instances/filter", {"resources": [one], "total_count": 1})

    ran = fgd("tags", "find", "a=1", "a=2", "b", "--match", "hel")

    assert ["NAME", "PACKAGE", "TAGS", "hello", "pack", "a=1"] == ran.out.split()
    sent = api.sent(f"POST {TAGS}/resource-instances/filter")[0].json()
    assert [{"key": "a", "values": ["1", "2"]}, {"key": "b", "values": []}] == sent["tags"]
    assert [{"key": "resource_name", "value": "hel"}] == sent["matches"]
    assert 1 == json.loads(fgd("tags", "find", "--none", "--json").out)["total_count"]
    assert api.sent(f"POST {TAGS}/resource-instances/filter")[1].json()["without_any_tag"] is True
    assert 2 == fgd("tags", "find", "a", "--none").code


def test_events_are_kept_listed_shown_changed_and_deleted(api: Api, fgd: Fgd, tmp_path: Path) -> None:
    content = base64.b64encode('{"a": "ä"}'.encode()).decode()
    event = {"id": "i1", "name": "one", "last_modified": 0}
    api.answer(f"POST {FUNCTIONS}/hello/events", event)
    api.answer(f"GET {FUNCTIONS}/hello/events", {"events": [event], "count": 1})
    api.answer(f"GET {FUNCTIONS}/hello/events/one", {**event, "content": content})
    api.answer(f"PUT {FUNCTIONS}/hello/events/one", event)
    api.answer(f"DELETE {FUNCTIONS}/hello/events/one", b"", status=204)
    (tmp_path / "event.json").write_text('{"a": "ä"}')

    assert "created one\n" == fgd("events", "create", "hello", "one", "--data", f"@{tmp_path}/event.json").out
    assert {"name": "one", "content": content} == api.sent(f"POST {FUNCTIONS}/hello/events")[0].json()
    assert ["NAME", "ID", "MODIFIED", "one", "i1", "1970-01-01T00:00:00Z"] == fgd("events", "list", "hello").out.split()
    assert {"a": "ä"} == json.loads(fgd("events", "show", "hello", "one").out)
    assert {"a": "ä"} == json.loads(fgd("events", "show", "hello", "one", "--json").out)["event"]
    assert "updated one\n" == fgd("events", "update", "hello", "one", "--data", "[]").out
    assert "W10=" == api.sent(f"PUT {FUNCTIONS}/hello/events/one")[0].json()["content"]
    assert "deleted one\n" == fgd("events", "delete", "hello", "one").out


def test_an_event_can_begin_as_what_a_source_sends(api: Api, fgd: Fgd) -> None:
    api.answer("GET /fgd/v1/event-templates/timer", {"name": "timer", "event": {"trigger_type": "TIMER"}})
    api.answer("GET /fgd/v1/event-templates/blank", {"name": "blank", "event": {"key": "value"}})
    api.answer(f"POST {FUNCTIONS}/hello/events", {"id": "i1", "name": "tick"})
    fgd("events", "create", "hello", "tick", "--template", "timer")
    fgd("events", "create", "hello", "tick")

    sent = [base64.b64decode(one.json()["content"]) for one in api.sent(f"POST {FUNCTIONS}/hello/events")]
    assert [b'{"trigger_type": "TIMER"}', b'{"key": "value"}'] == sent
    assert {"trigger_type": "TIMER"} == json.loads(fgd("events", "templates", "timer").out)
    assert 2 == fgd("events", "create", "hello", "x", "--data", "{}", "--template", "timer").code


def test_templates_are_a_table(api: Api, fgd: Fgd) -> None:
    api.answer("GET /fgd/v1/event-templates", {"event_templates": [{"name": "a", "title": "b", "description": "c"}]})

    assert ["SOURCE", "TITLE", "EVENT", "a", "b", "c"] == fgd("events", "templates").out.split()


def test_a_try_prints_result_summary_and_log(api: Api, fgd: Fgd) -> None:
    api.answer(f"POST {TRY}", TRIAL)

    ran = fgd("test", "hello", "--event", "one")

    assert 0 == ran.code
    assert (
        'result (success)\n{\n  "a": "ä"\n}\n\nsummary\n  request   r1\n'
        "  function  urn:fss:local:p1:function:default:hello:latest\n  duration  1.900 ms, billed 2 ms\n"
        "  memory    21.500 MB used of 128 MB\n\nlog\na line\n"
    ) == ran.out
    assert {"event": "one"} == api.sent(f"POST {TRY}")[0].json()


@pytest.mark.parametrize(
    ("words", "body"),
    [((), {}), (("--template", "timer"), {"template": "timer"}), (("--data", "null"), {"data": None})],
)
def test_a_try_names_its_event(api: Api, fgd: Fgd, words: tuple[str, ...], body: object) -> None:
    api.answer(f"POST {TRY}", TRIAL)

    assert TRIAL == json.loads(fgd("test", "hello", "--json", *words).out)
    assert body == api.sent(f"POST {TRY}")[0].json()


def test_a_try_that_failed_ends_with_1(api: Api, fgd: Fgd) -> None:
    api.answer(f"POST {TRY}", {**TRIAL, "error_code": 4002, "log": ""})

    ran = fgd("test", "hello")

    assert (1, "result (failed with 4002)") == (ran.code, ran.out.splitlines()[0])
    assert 2 == fgd("test", "hello", "--data", "{broken").code


def test_quotas_name_the_setting_behind_them(api: Api, fgd: Fgd) -> None:
    one = {"type": "fgs_func_num", "used": 3, "quota": 4000, "unit": "", "setting": "functions_max"}
    api.answer(f"GET /v2/{PROJECT}/fgs/quotas", {"quotas": {"resources": [one]}})

    assert ["fgs_func_num", "3", "4000", "functions", "functions_max"] == fgd("quotas").out.splitlines()[1].split()
    assert one == json.loads(fgd("quotas", "--json").out)["quotas"]["resources"][0]


def test_export_writes_the_file_under_its_name(
    api: Api, fgd: Fgd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = 'attachment; filename="../hello_0123.zip"'
    api.answer(f"GET {FUNCTIONS}/hello/export", b"PK", Content_Disposition=named)

    assert "wrote hello_0123.zip (2 B)\n" == fgd("functions", "export", "hello").out
    assert b"PK" == (tmp_path / "hello_0123.zip").read_bytes()
    fgd("functions", "export", "hello", "--code-only", "-o", str(tmp_path / "code.zip"))
    fgd("functions", "export", "hello", "--config-only", "-o", str(tmp_path / "config.zip"))
    assert ["config=true&code=true", "config=false&code=true", "config=true&code=false"] == [
        one.query for one in api.sent(f"GET {FUNCTIONS}/hello/export")
    ]
    assert 3 == fgd("functions", "export", "missing").code


def test_import_takes_the_name_out_of_the_file_s(api: Api, fgd: Fgd, tmp_path: Path) -> None:
    made = {"func_urn": "urn", "runtime": "Python3.12", "code_size": 5, "missing_secrets": ["pin"]}
    api.answer(f"POST {FUNCTIONS}/import", made)
    file = tmp_path / f"my_fn_{'0' * 32}.zip"
    file.write_bytes(b"PK")

    ran = fgd("functions", "import", str(file), "--package", "pack", "--secret-env", "token=s3cret")

    assert (0, "imported urn (Python3.12, 5 B)\n") == (ran.code, ran.out)
    assert "fgd functions update pack:my_fn --secret-env token=... --secret-env pin=..." in ran.err
    assert "s3cret" not in ran.err
    sent = api.sent(f"POST {FUNCTIONS}/import")[0].json()
    assert ("my_fn", "pack", "zip", "UEs=") == (
        sent["func_name"], sent["package"], sent["file_type"], sent["file_code"],
    )  # fmt: skip
    assert {"token": "s3cret"} == json.loads(sent["encrypted_user_data"])
    fgd("functions", "import", str(file), "--name", "other")
    assert "other" == api.sent(f"POST {FUNCTIONS}/import")[1].json()["func_name"]
    assert 2 == fgd("functions", "import", str(tmp_path / "none.zip")).code
