"""The example of the user guide, section 10: a function that sets another one's reserved instances through the API."""

import base64
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually

#: As the guide has it, with `{Endpoint}`, `{project_id}` and `{func-urn}` to be replaced as it says.
EXAMPLE = """\
# -*- coding:utf-8 -*-
import json
import requests
def handler(event, context):
    domainId = "https://{Endpoint}"
    url = "/v2/{project_id}/fgs/functions/{func-urn}/reservedinstances"
    token = context.getToken()
    requrl = domainId + url
    headerdata = {"Content-Type":"application/json","x-auth-token":token}
    r = requests.put(requrl, data=event["user_event"], headers=headerdata,verify=False)
    return r.json
"""

#: Tells what the API answers to a request of its own.
ASKS = """\
import http.client, json, os
from urllib.parse import urlsplit
def handler(event, context):
    where = urlsplit(os.environ["FGD_API_ENDPOINT"])
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=5)
    headers = {"Content-Type": "application/json"} | ({"X-Auth-Token": context.getToken()} if event["token"] else {})
    connection.request(event["method"], event["path"], json.dumps(event.get("body")), headers)
    answer = connection.getresponse()
    return {"status": answer.status, "body": answer.read().decode()}
"""

#: Opens clients that begin to speak TLS and go no further, then asks honestly.
HALF = """\
import http.client, os, socket
from urllib.parse import urlsplit
def handler(event, context):
    where = urlsplit(os.environ["FGD_API_ENDPOINT"])
    begun = [socket.create_connection((where.hostname, where.port)) for _ in range(48)]
    for number, one in enumerate(begun):
        one.sendall(b"\\x16" if number % 2 else b"\\x16\\x03\\x01\\xff\\xff" + os.urandom(2000))
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=20)
    connection.request("GET", event["path"], headers={"X-Auth-Token": context.getToken()})
    return connection.getresponse().status
"""


@pytest.fixture(scope="module")
def package() -> Callable[[str], str]:
    """Packs a source with `requests` and what that needs, in Base64."""
    site = Path(requests.__file__).parents[1]
    names = ("requests", "urllib3", "idna", "certifi", "charset_normalizer")
    files = [path for name in names for path in sorted((site / name).rglob("*")) if path.suffix in (".py", ".pem")]

    def pack(source: str) -> str:
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("index.py", source)
            for path in files:
                archive.write(path, path.relative_to(site))
        return base64.b64encode(data.getvalue()).decode()

    return pack


def test_the_example_of_the_guide_sets_reserved_instances(
    daemon: DaemonProcess, api: Client, deploy: Callable[..., str], package: Callable[[str], str], name: str
) -> None:
    daemon.cli("agencies", "create", name, "--policy", "FunctionGraph User")
    objective = deploy("def handler(event, context):\n    return 'objective'\n")
    replaced = {"{Endpoint}": "127.100.0.1:8320", "{project_id}": api.project_id, "{func-urn}": objective}
    source = EXAMPLE
    for placeholder, value in replaced.items():
        source = source.replace(placeholder, value)
    zipped = {"code_type": "zip", "code_filename": "index.zip", "func_code": {"file": package(source)}}
    timer = deploy("", xrole=name, timeout=30, memory_size=256, **zipped)

    def reserved() -> int:
        return int(api.functions("GET", f"/{objective}/config").json()["reserved_instance_count"])

    assert 0 == reserved()
    answer = api.invoke(timer, {"user_event": '{"count": 2}'}, X_Cff_Log_Type="tail")
    # What it returns is no value but a method, for lack of brackets; its work is done by then.
    assert "4007" == answer.headers["x-func-err-code"], answer.text
    assert 2 == reserved()
    api.invoke(timer, {"user_event": '{"count": 0}'})
    assert 0 == reserved()

    daemon.cli("agencies", "update", name, "--policy", "FunctionGraph Invoker")
    api.invoke(timer, {"user_event": '{"count": 2}'})
    assert 0 == reserved(), "the policy allows it no more"
    api.functions("DELETE", f"/{timer.removesuffix(':latest')}")
    assert eventually(lambda: daemon.cli("agencies", "delete", name, check=False).returncode == 0, 5)


def test_from_inside_only_the_agencys_rights_are_had(
    daemon: DaemonProcess, api: Client, deploy: Callable[..., str], name: str
) -> None:
    daemon.cli("agencies", "create", name, "--policy", "FunctionGraph Invoker")
    urn = deploy(ASKS, xrole=name)
    project = f"/v2/{api.project_id}/fgs/functions"

    def ask(method: str, path: str, *, token: bool = True, **more: Any) -> int:
        answer = api.invoke(urn, {"method": method, "path": path, "token": token, **more}).json()
        return int(answer["status"])

    assert 200 == ask("GET", project)
    assert 401 == ask("GET", project, token=False)
    assert 403 == ask("DELETE", f"{project}/{quote(urn.removesuffix(':latest'), safe='')}")
    assert 403 == ask("POST", "/fgd/v1/keys", body={})
    assert 403 == ask("GET", "/fgd/v1/status")
    assert 403 == ask("POST", f"/fgd/v1/projects/{api.project_id}/agencies", body={"name": "mine"})
    assert 403 == ask("GET", f"/v2/{'f' * 32}/fgs/functions")


def test_half_made_handshakes_hold_up_nobody_for_long(
    daemon: DaemonProcess, api: Client, deploy: Callable[..., str], name: str
) -> None:
    """They are cut off after `header_timeout_s`, which is 2 s here; a sandbox has 32 at once."""
    daemon.cli("agencies", "create", name, "--policy", "FunctionGraph Invoker")
    urn = deploy(HALF, xrole=name, timeout=30)

    assert "200" == api.invoke(urn, {"path": f"/v2/{api.project_id}/fgs/functions"}).text
    assert 200 == api.functions("GET").status
