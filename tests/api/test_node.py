"""fgd's own operations and the identity service: keys, tokens, logs, status, metrics."""

import pytest

from fgd.store.api import InvocationRecord, LogLine
from tests.api.harness import PEER, PROJECT, Api


def new_key(api: Api, body: object = None) -> dict[str, str]:
    status, answer, _ = api.send("POST", "/fgd/v1/keys", body, PEER)
    assert status == 200, answer
    key: dict[str, str] = answer
    return key


def log_in(api: Api, identity: object) -> tuple[int, str]:
    status, answer, headers = api.send("POST", "/v3/auth/tokens", {"auth": {"identity": identity}}, {})
    if status == 201:
        assert answer["token"]["expires_at"].endswith("Z")
    return status, headers.get("x-subject-token", "")


def by_keys(key: dict[str, str], secret: str = "") -> object:
    secrets = {"access": {"key": key["access_key"]}, "secret": {"key": secret or key["secret_key"]}}
    return {"methods": ["hw_ak_sk"], "hw_ak_sk": secrets}


def by_password(key: dict[str, str]) -> object:
    user = {"name": key["access_key"], "password": key["secret_key"], "domain": {"name": "any"}}
    return {"methods": ["password"], "password": {"user": user}}


def test_a_new_key_comes_with_a_token_that_works_at_once(api: Api) -> None:
    key = new_key(api)

    assert {"access_key", "secret_key", "project_id", "token"} <= set(key)
    assert PROJECT == key["project_id"]
    assert 200 == api.send("GET", f"/v2/{PROJECT}/fgs/functions", headers={"X-Auth-Token": key["token"]})[0]


def test_listed_keys_show_no_secret(api: Api) -> None:
    key = new_key(api, {"name": "listed"})
    _, answer, _ = api.send("GET", "/fgd/v1/keys", headers=PEER)

    assert "listed" in [item["name"] for item in answer["keys"]]
    assert key["secret_key"] not in str(answer) and key["token"] not in str(answer)


def test_a_revoked_key_takes_its_tokens_along(api: Api) -> None:
    key = new_key(api)
    _, second = log_in(api, by_keys(key))
    path = f"/v2/{PROJECT}/fgs/functions"
    assert 200 == api.send("GET", path, headers={"X-Auth-Token": second})[0]
    assert 204 == api.send("DELETE", f"/fgd/v1/keys/{key['access_key']}", headers=PEER)[0]

    for token in (key["token"], second):
        assert 401 == api.send("GET", path, headers={"X-Auth-Token": token})[0]
    assert 401 == log_in(api, by_keys(key))[0]
    assert 404 == api.send("DELETE", f"/fgd/v1/keys/{key['access_key']}", headers=PEER)[0]


@pytest.mark.parametrize("method", [by_keys, by_password])
def test_tokens_are_issued_for_keys(api: Api, method: object) -> None:
    assert callable(method)
    status, token = log_in(api, method(api.keys))

    assert 201 == status
    assert 200 == api.send("GET", f"/v2/{PROJECT}/fgs/functions", headers={"X-Auth-Token": token})[0]


def test_tokens_expire(api: Api) -> None:
    _, token = log_in(api, by_keys(api.keys))
    api.lost_s = api.services.config.token_ttl_s + 1
    try:
        assert 401 == api.send("GET", f"/v2/{PROJECT}/fgs/functions", headers={"X-Auth-Token": token})[0]
    finally:
        api.lost_s = 0.0


def test_wrong_secrets_and_unknown_keys_look_the_same(api: Api) -> None:
    wrong = api.send("POST", "/v3/auth/tokens", {"auth": {"identity": by_keys(api.keys, "wrong")}}, {})[:2]
    unknown = by_keys({"access_key": "AAAA", "secret_key": "b"})

    assert wrong == api.send("POST", "/v3/auth/tokens", {"auth": {"identity": unknown}}, {})[:2]
    assert 401 == wrong[0]


@pytest.mark.parametrize(
    "identity",
    [None, {}, {"methods": []}, {"methods": ["totp"]}, {"methods": ["password"]},
     {"methods": ["hw_ak_sk"], "hw_ak_sk": 1},
     {"methods": ["password"], "password": {"user": {"name": 1, "password": 2}}}],
)  # fmt: skip
def test_bad_identities_are_400(api: Api, identity: object) -> None:
    status, answer, _ = api.send("POST", "/v3/auth/tokens", {"auth": {"identity": identity}}, {})

    assert (400, "FSS.0400") == (status, answer["error_code"])
    assert answer["error_msg"].startswith("auth.identity.")


@pytest.mark.parametrize("body", [{"name": 5}, {"name": "n" * 65}, {"project_id": "no/slash"}, {"project_id": 7}])
def test_bad_keys_are_400(api: Api, body: dict[str, object]) -> None:
    status, answer, _ = api.send("POST", "/fgd/v1/keys", body, PEER)

    assert (400, next(iter(body))) == (status, answer["error_msg"].split(":")[0])


def test_terraform_finds_its_project_and_account(api: Api) -> None:
    _, projects, _ = api.send("GET", "/v3/projects?name=testland")
    _, others, _ = api.send("GET", "/v3/projects?name=elsewhere")
    _, domains, _ = api.send("GET", "/v3/auth/domains")

    assert [(PROJECT, "testland")] == [(item["id"], item["name"]) for item in projects["projects"]]
    assert [] == others["projects"]
    assert 1 == len(domains["domains"])


@pytest.mark.parametrize("path", ["/fgd/v1/status", "/fgd/v1/doctor", "/fgd/v1/keys"])
def test_the_node_is_for_administrators(api: Api, path: str) -> None:
    assert 403 == api.send("GET", path)[0]
    assert 200 == api.send("GET", path, headers=PEER)[0]


def test_metrics_need_credentials_and_health_none(api: Api) -> None:
    assert 401 == api.send("GET", "/metrics", headers={})[0]
    status, text, headers = api.send("GET", "/metrics")
    assert (200, "fgd_up 1\n") == (status, text)
    assert headers["content-type"].startswith("text/plain")

    assert (200, {"status": "ok"}) == api.send("GET", "/healthz", headers={})[:2]


def test_log_lines_are_found_by_request_and_go_on_at_the_cursor(api: Api) -> None:
    func_id = api.function("logged")["func_id"]
    for number in range(4):
        api.logs.line(LogLine(0.0, func_id, "latest", "i", f"r{number % 2}", "", f"line {number}"))
    _, everything, _ = api.send("GET", "/fgd/v1/functions/logged/logs?limit=2")
    _, mine, _ = api.send("GET", "/fgd/v1/functions/logged/logs?request_id=r1&match=line")
    _, later, _ = api.send("GET", f"/fgd/v1/functions/logged/logs?after={everything['cursor']}")

    assert ["line 2", "line 3"] == everything["lines"]
    assert ["line 1", "line 3"] == mine["lines"]
    assert ([], everything["cursor"]) == (later["lines"], later["cursor"])


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1000000", "after=-1"])
def test_bad_log_queries_are_400(api: Api, query: str) -> None:
    if api.v2("GET", api.of("logless") + "/config")[0] == 404:
        api.function("logless")
    status, answer, _ = api.send("GET", f"/fgd/v1/functions/logless/logs?{query}")

    assert (400, "FSS.1001") == (status, answer["error_code"])


def test_others_logs_are_forbidden(api: Api) -> None:
    assert 403 == api.send("GET", "/fgd/v1/functions/theirs:default:any/logs")[0]


def test_where_the_time_went(api: Api) -> None:
    func_id = api.function("timed")["func_id"]
    api.logs.invocation(InvocationRecord(1.0, "r", func_id, "latest", "i", "sync", 0, True, 1, 2, 3, 4, 5, 6, 128))
    _, answer, _ = api.send("GET", "/fgd/v1/functions/timed/invocations")

    assert [(1, 2, 3, 4, 5)] == [
        tuple(item[f"{part}_us"] for part in ("frontend", "queue", "dispatch", "runtime", "write"))
        for item in answer["invocations"]
    ]
