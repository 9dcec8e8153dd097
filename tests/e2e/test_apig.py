"""Published APIs of a real daemon: the guide's example by curl, every way to prove who one is, TLS, what survives."""

import base64
import contextlib
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkfunctiongraph.v2 import (
    CreateFunctionTriggerRequest,
    CreateFunctionTriggerRequestBody,
    FunctionGraphClient,
    ListFunctionTriggersRequest,
    TriggerEventDataRequestBody,
)

from fgd.testing.client import Client, Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.signing import signed_headers
from tests.gateway.http2_client import Http2

#: As the guide has it, section 5.3.
GUIDE = """\
# -*- coding:utf-8 -*-
import json
def handler(event, context):
    body = "<html><title>Functiongraph Demo</title><body><p>Hello, FunctionGraph!</p></body></html>"
    print(body)
    return {
      "statusCode":200,
      "body":body,
      "headers": {
        "Content-Type": "text/html",
      },
      "isBase64Encoded": False
    }
"""
#: Gives the event back, gzipped where the client takes that.
MIRROR = """\
import base64, gzip, json
def handler(event, context):
    headers = {"Content-Type": "application/json"}
    body = json.dumps(event).encode()
    if "gzip" in event["headers"].get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        body = gzip.compress(body)
    return {"statusCode": 200, "headers": headers, "body": base64.b64encode(body).decode(), "isBase64Encoded": True}
"""
ENOUGH_S = 20


def certificate(folder: Path, name: str) -> None:
    """A self-signed certificate and its key, in the files that the settings name."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-subj", f"/CN={name}",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    for file in ("key.pem", "cert.pem"):
        (folder / file).chmod(0o644)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DaemonProcess, Client, Keys, Path]]:
    """A daemon with a listener for published APIs alone, with TLS."""
    folder = tmp_path_factory.mktemp("fgd-tls")
    folder.chmod(0o755)
    for parent in list(folder.parents)[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    certificate(folder, "first")
    settings = {
        "listeners": ["127.0.0.1:0 tls apis"], "tls_cert": str(folder / "cert.pem"), "tls_key": str(folder / "key.pem"),
        "drain_s": 5.0,
    }  # fmt: skip
    with DaemonProcess(tmp_path_factory.mktemp("fgd"), settings) as daemon:
        keys = daemon.create_keys()
        client = daemon.client(keys)
        yield daemon, client, keys, folder
        client.close()


def publish(daemon: DaemonProcess, function: str, name: str, **settings: Any) -> str:
    """Makes a trigger by the command and gives the address that the command prints."""
    words = [part for key, value in settings.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    daemon.cli("triggers", "create", function, "APIG", "--set", f"name={name}", *words)
    return daemon.cli("triggers", "url", name).stdout.strip()


def test_the_guides_example_opens_with_curl(api: Client, daemon: DaemonProcess, deploy: Any) -> None:
    urn = deploy(GUIDE)
    function = urn.split(":")[6]
    url = publish(daemon, function, "API_apig", auth="NONE", protocol="HTTP", req_method="GET", path="/apig")
    command = ["curl", "-sS", "--fail", "-i", url]
    first = subprocess.run(command, capture_output=True, text=True, timeout=ENOUGH_S, check=True).stdout
    missing = requests.post(url, timeout=ENOUGH_S)

    assert "content-type: text/html" in first.lower()
    assert "Hello, FunctionGraph!" in first
    assert (404, "APIG.0101") == (missing.status_code, missing.json()["error_code"])
    assert missing.headers["X-Request-Id"] == missing.json()["request_id"]


def test_the_sdk_makes_a_trigger_and_its_own_credentials_call_it(
    daemon: DaemonProcess, keys: Keys, deploy: Any
) -> None:
    urn = deploy(MIRROR)
    credentials = BasicCredentials(keys.access_key, keys.secret_key, keys.project_id)
    builder = FunctionGraphClient.new_builder().with_credentials(credentials)
    sdk = builder.with_endpoint(f"http://127.0.0.1:{daemon.port}").build()
    data = {
        "name": "API_sdk", "type": 1, "path": "/sdk", "protocol": "HTTP", "req_method": "ANY", "group_id": "DEFAULT",
        "match_mode": "SWA", "env_name": "RELEASE", "env_id": "DEFAULT_ENVIRONMENT_RELEASE_ID", "auth": "IAM",
        "func_info": {"function_urn": urn, "invocation_type": "sync", "timeout": 5000, "version": "latest"},
    }  # fmt: skip
    body = CreateFunctionTriggerRequestBody(
        trigger_type_code="DEDICATEDGATEWAY", event_data=TriggerEventDataRequestBody(**data)
    )
    made = sdk.create_function_trigger(CreateFunctionTriggerRequest(function_urn=urn, body=body))
    url = made.event_data.invoke_url
    with pytest.raises(ClientRequestException) as refused:
        sdk.create_function_trigger(CreateFunctionTriggerRequest(function_urn=urn, body=body))
    path = url.removeprefix(f"http://127.0.0.1:{daemon.port}") + "/deep"
    signed = requests.post(
        url + "/deep", b"\xff", headers=signed_headers(keys, "POST", path, b"\xff"), timeout=ENOUGH_S
    )
    nobody = requests.post(url, timeout=ENOUGH_S)

    assert "FSS.1146" == refused.value.error_code
    assert b"API_sdk" in sdk.list_function_triggers(ListFunctionTriggersRequest(function_urn=urn)).raw_content
    assert 200 == signed.status_code, signed.text
    event = signed.json()
    assert ("/sdk/deep", {"": "deep"}, b"\xff") == (
        event["path"], event["pathParameters"], base64.b64decode(event["body"])
    )  # fmt: skip
    assert "gzip" == signed.headers["Content-Encoding"]
    assert (401, "APIG.0301") == (nobody.status_code, nobody.json()["error_code"])


def test_apps_and_limits_are_made_by_commands(daemon: DaemonProcess, deploy: Any) -> None:
    function = deploy(MIRROR).split(":")[6]
    url = publish(daemon, function, "API_app", auth="APP", protocol="HTTP", path="/for-apps")
    daemon.cli("apig", "apps", "create", "shop")
    daemon.cli("apig", "apps", "bind", "shop", "API_app")
    code = daemon.cli("apig", "apps", "code", "shop").stdout.strip()
    daemon.cli("apig", "throttles", "create", "few", "--api-limit", "2", "--unit", "DAY")
    daemon.cli("apig", "throttles", "bind", "few", "API_app")
    answers = [requests.get(url, headers={"X-Apig-AppCode": code}, timeout=ENOUGH_S) for _ in range(3)]
    shown = json.loads(daemon.cli("apig", "apps", "show", "shop", "--json").stdout)
    listed = daemon.cli("apig", "list").stdout
    for kind, name in (("throttles", "few"), ("apps", "shop")):
        daemon.cli("apig", kind, "delete", name)

    assert [200, 200, 429] == [one.status_code for one in answers]
    assert "APIG.0308" == answers[2].json()["error_code"]
    assert [code] == shown["codes"]
    assert url in listed


def test_an_asynchronous_api_stores_the_event(daemon: DaemonProcess, api: Client, deploy: Any) -> None:
    urn = deploy(GUIDE)
    info = {"timeout": 5000, "invocation_type": "async"}
    url = publish(daemon, urn.split(":")[6], "API_async", auth="NONE", protocol="HTTP", path="/later", func_info=info)
    answer = requests.post(url, b"x", timeout=ENOUGH_S)
    path = f"/async-invocations?request_id={answer.headers['X-Request-Id']}"

    assert 202 == answer.status_code
    assert eventually(lambda: "SUCCESS" in api.functions("GET", f"/{urn}{path}").text, 10)


def test_an_api_of_an_alias_follows_it(daemon: DaemonProcess, api: Client, deploy: Any) -> None:
    answer = "def handler(event, context):\n    return {{'statusCode': 200, 'body': '{}' + context.getAlias()}}\n"
    urn = deploy(answer.format("one "))
    function = urn.split(":")[6]
    daemon.cli("versions", "publish", function, "--name", "v1")
    api.replace_code(urn, answer.format("two "))
    daemon.cli("versions", "publish", function, "--name", "v2")
    daemon.cli("aliases", "create", function, "live", "v1")
    url = publish(daemon, f"{function}@!live", "API_alias", auth="NONE", protocol="HTTP", path="/alias")
    session = requests.Session()
    before = session.get(url, timeout=ENOUGH_S).text
    daemon.cli("aliases", "update", function, "live", "v2")

    assert ("one live", "two live") == (before, session.get(url, timeout=ENOUGH_S).text)


def test_a_slow_function_is_504(daemon: DaemonProcess, deploy: Any) -> None:
    urn = deploy("import time\ndef handler(event, context):\n    time.sleep(1)\n")
    info = {"timeout": 100}
    url = publish(daemon, urn.split(":")[6], "API_slow", auth="NONE", protocol="HTTP", path="/slow", func_info=info)
    answer = requests.get(url, timeout=ENOUGH_S)

    assert (504, "APIG.0201") == (answer.status_code, answer.json()["error_code"])


def test_apis_by_tls_with_a_certificate_that_changes(node: tuple[DaemonProcess, Client, Keys, Path]) -> None:
    daemon, client, keys, folder = node
    urn = client.deploy("mirror", MIRROR)
    url = publish(daemon, "mirror", "API_tls", auth="NONE", path="/tls")
    pem = str(folder / "cert.pem")
    secure = requests.post(url, b"x" * 100_000, verify=pem, timeout=ENOUGH_S)
    host, port = url.split("/")[2].split(":")
    session = requests.Session()
    kept = [session.get(url, verify=pem, timeout=ENOUGH_S).status_code for _ in range(3)]
    plain = requests.get(url.replace(f"https://{host}:{port}", f"http://{host}:{daemon.port}"), timeout=ENOUGH_S)
    management = requests.get(
        f"https://{host}:{port}/fgd/v1/status", headers={"X-Auth-Token": keys.token}, verify=pem, timeout=ENOUGH_S
    )

    event = secure.json()
    assert url.startswith("https://127.0.0.1:")
    assert (b"x" * 100_000, "https") == (base64.b64decode(event["body"]), event["headers"]["x-forwarded-proto"])
    assert ("127.0.0.1", port) == (event["headers"]["x-real-ip"], event["headers"]["x-forwarded-port"])
    assert [200] * 3 == kept
    assert (403, "APIG.0110") == (plain.status_code, plain.json()["error_code"])
    assert 404 == management.status_code
    before = ssl.get_server_certificate((host, int(port)))
    certificate(folder, "second")
    daemon.reload()
    assert eventually(lambda: ssl.get_server_certificate((host, int(port))) != before, 5)
    assert 200 == requests.get(url, verify=pem, timeout=ENOUGH_S).status_code
    good = (folder / "key.pem").read_bytes()
    (folder / "key.pem").write_bytes(b"no key")
    daemon.reload()
    assert daemon.wait_log("the certificate stays as it was")
    assert 200 == requests.get(url, verify=pem, timeout=ENOUGH_S).status_code
    (folder / "key.pem").write_bytes(good)
    daemon.kill9()
    daemon.wait_gone()
    daemon.start()
    again = daemon.cli("triggers", "url", "API_tls").stdout.strip()
    assert 200 == requests.get(again, verify=pem, timeout=ENOUGH_S).status_code
    assert client.project_id in urn


def test_the_same_function_by_http_2_and_by_http_1_1(node: tuple[DaemonProcess, Client, Keys, Path]) -> None:
    daemon, _, keys, folder = node
    with contextlib.closing(daemon.client(keys)) as client:
        client.deploy("mirror-2", MIRROR)
    url = publish(daemon, "mirror-2", "API_http2", auth="NONE", path="/http2")
    context = ssl.create_default_context(cafile=str(folder / "cert.pem"))
    events = {}
    for version, http2 in (("HTTP/2", True), ("HTTP/1.1", False)):
        with httpx.Client(http2=http2, http1=not http2, verify=context, timeout=ENOUGH_S) as http:
            answers = [http.post(url + "/a?b=c", content=b"\0" * 100_000) for _ in range(3)]
        assert [(version, 200)] * 3 == [(one.http_version, one.status_code) for one in answers]
        events[version] = answers[-1].json()
        events[version]["requestContext"].pop("requestId")
        events[version]["headers"].pop("x-request-id")
    curl = ["curl", "-s", "--http2", "--cacert", str(folder / "cert.pem"), "-w", "%{http_version} %{http_code}"]
    by_curl = subprocess.run([*curl, "-o", "/dev/null", url], check=True, capture_output=True, timeout=ENOUGH_S)

    assert events["HTTP/2"] == events["HTTP/1.1"]
    assert ("/http2/a", "https") == (events["HTTP/2"]["path"], events["HTTP/2"]["headers"]["x-forwarded-proto"])
    assert b"\0" * 100_000 == base64.b64decode(events["HTTP/2"]["body"])
    assert b"2 200" == by_curl.stdout
    assert "Traceback" not in daemon.log_file.read_text("utf-8")


SLOW = """\
import time
def handler(event, context):
    time.sleep(2)
    return {"statusCode": 200, "body": "x" * 1000000}
"""


def instances(daemon: DaemonProcess) -> int:
    return sum(daemon.admin("GET", "/fgd/v1/status").json()["instances"].values())


def test_requests_by_http_2_are_answered_while_the_daemon_stops(
    node: tuple[DaemonProcess, Client, Keys, Path],
) -> None:
    daemon, _, keys, _ = node
    with contextlib.closing(daemon.client(keys)) as client:
        client.deploy("slow-2", SLOW)
    url = publish(daemon, "slow-2", "API_slow2", auth="NONE", path="/slow2")
    host, port = url.split("/")[2].split(":")
    http = Http2((host, int(port)), timeout_s=ENOUGH_S)
    path = "/" + url.split("/", 3)[3]
    assert 1_000_000 == len(http.ask(path).body)
    before = instances(daemon)
    streams = [http.begin(path) for _ in range(3)]
    assert eventually(lambda: instances(daemon) == before + 2, 5)
    codes: list[int] = []
    stopping = threading.Thread(target=lambda: codes.append(daemon.stop()))
    stopping.start()
    http.until_gone()
    stopping.join()
    http.close()
    daemon.start()

    assert [0] == codes
    assert [(True, 1_000_000)] * 3 == [(http.heard[one].ended, len(http.heard[one].body)) for one in streams]
    assert (0, streams[-1]) == http.goaway
    assert "Traceback" not in daemon.log_file.read_text("utf-8")
