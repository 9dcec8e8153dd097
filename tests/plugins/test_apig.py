"""The trigger types APIG and DEDICATEDGATEWAY: which settings can be, and what they publish."""

from typing import Any

import pytest
import trio

from fgd.testing.trigger import PLACE, BadTriggerConfig, RecordingDoor, parse
from fgd_apig import Apig, DedicatedGateway

FULL: dict[str, Any] = {
    "name": "API_hello", "type": 1, "path": "/hello/{id}", "protocol": "HTTPS", "req_method": "GET",
    "group_id": "0123456789abcdef0123456789abcdef", "group_name": "APIGroup_test", "match_mode": "NORMAL",
    "env_name": "RELEASE", "env_id": "DEFAULT_ENVIRONMENT_RELEASE_ID", "auth": "APP",
    "func_info": {"function_urn": PLACE.function_urn, "invocation_type": "async", "timeout": 5000, "version": "latest"},
    "sl_domain": "x.apig.example.com", "backend_type": "FUNCTION", "instance_id": "i", "triggerid": "t", "api_id": "a",
}  # fmt: skip


def test_what_the_cloud_sends_becomes_an_api() -> None:
    for kind in (Apig, DedicatedGateway):
        route = kind.routes(parse(kind, FULL), PLACE)[0]

        assert ("API_hello", "GET", "/hello/{id}", False) == (route.name, route.method, route.path, route.prefix)
        assert ("0123456789abcdef0123456789abcdef", "DEFAULT_ENVIRONMENT_RELEASE_ID") == (
            route.group,
            route.environment,
        )
        assert ("APP", True, True, 5000) == (route.auth, route.https, route.async_, route.timeout_ms)


def test_a_name_is_enough_and_asks_for_credentials() -> None:
    route = Apig.routes(parse(Apig, {"name": "API_f"}), PLACE)[0]

    assert ("/f", "ANY", True, "IAM", 5000, "", "RELEASE") == (
        route.path, route.method, route.prefix, route.auth, route.timeout_ms, route.group, route.environment
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "ab"}, "name"), ({"name": "1abc"}, "name"), ({"name": "a-b-c"}, "name"), ({"name": "a" * 65}, "name"),
        ({"name": None}, "name"), ({"type": 3}, "type"), ({"protocol": "FTP"}, "protocol"),
        ({"req_method": "TRACE"}, "req_method"), ({"match_mode": "REGEX"}, "match_mode"), ({"auth": "BASIC"}, "auth"),
        ({"path": "hello"}, "path"), ({"path": "/a b"}, "path"),
        ({"path": "/a//b"}, "path"), ({"path": "/a/../b"}, "path"),
        ({"path": "/{x}/{x}"}, "path"), ({"path": "/a{x}"}, "path"),
        ({"path": "/{}"}, "path"), ({"path": "/%41"}, "path"),
        ({"path": "/" + "a" * 600}, "path"), ({"path": "/a?b"}, "path"), ({"path": "/a" * 40}, "path"),
        ({"func_info": {"timeout": 0}}, "func_info.timeout"), ({"func_info": {"timeout": 60001}}, "func_info.timeout"),
        ({"func_info": {}}, "func_info"),
        ({"func_info": {"timeout": 1, "invocation_type": "x"}}, "func_info.invocation_type"),
        ({"func_info": {"timeout": 1, "function_urn": "urn:x"}}, "func_info.function_urn"),
        ({"func_info": {"timeout": 1, "function_urn": PLACE.function_urn[:-6] + "v1"}}, "func_info.function_urn"),
        ({"func_info": {"timeout": 1, "version": "v1"}}, "func_info.version"),
        ({"backend_type": "HTTP"}, "backend_type"),
        ({"sl_domain": "x" * 256}, "sl_domain"), ({"cors_origins": ["a\r\nb"]}, "cors_origins[0]"),
        ({"cors_origins": "x"}, "cors_origins"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("kind", "code"), [(Apig, "FSS.1107"), (DedicatedGateway, "FSS.1417")])
def test_bad_settings_are_refused_by_name(kind: type[Apig], code: str, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(BadTriggerConfig) as caught:
        parse(kind, {**FULL, **changes})

    assert (code, field) == (caught.value.code, caught.value.field)


def test_it_runs_until_it_is_told_to_end() -> None:
    async def main() -> bool:
        async with trio.open_nursery() as nursery:
            await nursery.start(Apig(parse(Apig, FULL), RecordingDoor()).serve)
            nursery.cancel_scope.cancel()
        return True

    assert trio.run(main)
