"""What a function is handed by its agency, in a real daemon, and what it can do with it."""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fgd.testing.client import Client, Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.signing import signed_headers
from tests.e2e.sources import ECHO

#: Gives what its context and its initializer's context hand out.
TELLS = """\
NAMES = ("getAccessKey", "getSecretKey", "getSecurityAccessKey", "getSecuritySecretKey", "getSecurityToken", "getToken")
AT_START = []
def tell(context):
    return {name: getattr(context, name)() for name in NAMES}
def init(context):
    AT_START.append(tell(context))
def handler(event, context):
    return {"now": tell(context), "start": AT_START, "type": context.getInvokeType(), "alias": context.getAlias()}
"""


@pytest.fixture
def agency(daemon: DaemonProcess, name: str) -> Iterator[Callable[..., str]]:
    """Makes agencies for this test, by the command."""
    made: list[str] = []

    def create(*policies: str) -> str:
        made.append(f"{name}-{len(made)}")
        daemon.cli("agencies", "create", made[-1], *(word for text in policies for word in ("--policy", text)))
        return made[-1]

    yield create
    for one in made:
        daemon.cli("agencies", "delete", one, check=False)


def _deploy_telling(deploy: Callable[..., str], **fields: Any) -> str:
    return deploy(TELLS, initializer_handler="index.init", initializer_timeout=10, **fields)


def _as(daemon: DaemonProcess, keys: Keys, token: str) -> Client:
    return daemon.client(Keys("", "", keys.project_id, token))


def test_a_function_without_an_agency_is_handed_nothing(api: Client, deploy: Callable[..., str]) -> None:
    told = api.invoke(_deploy_telling(deploy)).json()

    assert {""} == set(told["now"].values())
    assert told["now"] == told["start"][0]


def test_credentials_reach_what_the_policies_allow(
    daemon: DaemonProcess, keys: Keys, api: Client, deploy: Callable[..., str], agency: Callable[..., str], actor: str
) -> None:
    other = deploy("def handler(event, context):\n    return 'other'\n")
    policy = {
        "Version": "1.1",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["functiongraph:function:invoke"],
                "Resource": [f"FUNCTIONGRAPH:*:*:function:default/{actor.split(':')[6]}"],
            }
        ],
    }
    told = api.invoke(_deploy_telling(deploy, xrole=agency(json.dumps(policy)))).json()
    client = _as(daemon, keys, told["now"]["getToken"])

    assert told["now"] == told["start"][0]
    assert all(told["now"].values())
    assert told["now"]["getAccessKey"] == told["now"]["getSecurityAccessKey"]
    assert "sync" == told["type"]
    assert 200 == client.invoke(actor).status
    for refused in (
        client.enqueue(actor), client.invoke(other), client.invoke("no-such-function"), client.functions("GET"),
        client.functions("GET", f"/{actor}/config"),
    ):  # fmt: skip
        assert (403, "FSS.1125") == (refused.status, refused.error_code)
    assert 403 == client.request("GET", "/fgd/v1/keys").status
    assert 401 == _as(daemon, keys, told["now"]["getSecurityToken"]).invoke(actor).status


def test_a_signature_with_the_temporary_keys_needs_their_security_token(
    daemon: DaemonProcess, keys: Keys, api: Client, deploy: Callable[..., str], agency: Callable[..., str], actor: str
) -> None:
    told = api.invoke(_deploy_telling(deploy, app_xrole=agency("FunctionGraph Invoker"))).json()["now"]
    pair = Keys(told["getSecurityAccessKey"], told["getSecuritySecretKey"], keys.project_id, "")
    anonymous = _as(daemon, keys, "")
    path = f"/v2/{keys.project_id}/fgs/functions/{actor}/invocations"
    headers = signed_headers(pair, "POST", path, b"{}")

    assert 401 == anonymous.request("POST", path, b"{}", headers).status
    answer = anonymous.request("POST", path, b"{}", headers | {"X-Security-Token": told["getSecurityToken"]})
    assert 200 == answer.status, answer.text


def test_an_execution_agency_goes_before_and_aliases_and_async_calls_have_it_too(
    daemon: DaemonProcess, keys: Keys, api: Client, deploy: Callable[..., str], agency: Callable[..., str]
) -> None:
    first, second = agency("FunctionGraph ReadOnlyAccess"), agency()
    urn = _deploy_telling(deploy, xrole=first, app_xrole=second)
    base = urn.removesuffix(":latest")
    assert 200 == api.functions("POST", f"/{base}/versions", {"version": "v1"}).status
    assert 200 == api.functions("POST", f"/{base}/aliases", {"name": "live", "version": "v1"}).status
    told = api.invoke(f"{base}:!live").json()
    api.configure(urn, app_xrole="")
    later = api.invoke(urn).json()["now"]["getToken"]

    assert ("live", "sync") == (told["alias"], told["type"])
    assert 403 == _as(daemon, keys, told["now"]["getToken"]).functions("GET").status
    assert 200 == _as(daemon, keys, later).functions("GET").status
    assert later != told["now"]["getToken"]


def test_asynchronous_invocations_are_handed_credentials(
    api: Client, deploy: Callable[..., str], agency: Callable[..., str]
) -> None:
    source = "def handler(event, context):\n    print('token of', len(context.getToken()), context.getInvokeType())\n"
    urn = deploy(source, xrole=agency())
    api.enqueue(urn)

    def logged() -> bool:
        return "token of 64 async" in api.request("GET", f"/fgd/v1/functions/{urn}/logs").text

    assert eventually(logged, 10)


def test_a_pre_stop_handler_has_credentials(
    api: Client, deploy: Callable[..., str], agency: Callable[..., str]
) -> None:
    source = ECHO + "def bye(context):\n    print('token of', len(context.getToken()))\n"
    urn = deploy(source, xrole=agency(), pre_stop_handler="index.bye")
    assert api.invoke(urn).status == 200
    assert api.replace_code(urn, source + "# new\n").status == 200

    assert eventually(lambda: "token of 64" in api.request("GET", f"/fgd/v1/functions/{urn}/logs").text)


def test_the_daemons_log_and_disk_hold_no_token(
    daemon: DaemonProcess, keys: Keys, api: Client, deploy: Callable[..., str], agency: Callable[..., str]
) -> None:
    told = api.invoke(_deploy_telling(deploy, xrole=agency("FunctionGraph User"))).json()["now"]
    _as(daemon, keys, told["getToken"]).functions("GET")
    _as(daemon, keys, told["getToken"] + "x").functions("GET")
    files = [path for path in daemon.state_dir.iterdir() if path.is_file()]
    stored = daemon.log_file.read_bytes() + b"".join(path.read_bytes() for path in files)

    for name in ("getSecretKey", "getSecurityToken", "getToken"):
        assert told[name].encode() not in stored, name
    assert hashlib.sha256(told["getToken"].encode()).hexdigest().encode() in stored
