"""Functions and the object store: what their agency's policies allow, from inside the sandbox and by signature."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from botocore.exceptions import ClientError

from fgd.testing.client import Keys
from fgd.testing.host import eventually
from tests.e2e.s3 import Rig

LONG_S = 60.0
#: Reads the object that its event tells of and stores it in capitals in another bucket.
CAPITALS = """\
import os, urllib.request
from urllib.parse import unquote

def ask(context, method, path, data=None):
    url = os.environ["FGD_API_ENDPOINT"] + "/obs" + path
    request = urllib.request.Request(url, data, {"X-Auth-Token": context.getToken()}, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()

def handler(event, context):
    found = event["Records"][0]["s3"]
    text = ask(context, "GET", "/" + found["bucket"]["name"] + "/" + found["object"]["key"])
    ask(context, "PUT", "/capitals/" + found["object"]["key"], text.upper())
"""
TELLS = """\
def handler(event, context):
    return {
        "access_key": context.getSecurityAccessKey(), "secret_key": context.getSecuritySecretKey(),
        "session": context.getSecurityToken(), "token": context.getToken(),
    }
"""
POLICY = {
    "Version": "1.1",
    "Statement": [
        {"Effect": "Allow", "Action": ["obs:object:GetObject"], "Resource": ["OBS:*:*:object:inbox/*"]},
        {"Effect": "Allow", "Action": ["obs:bucket:ListBucket"], "Resource": ["OBS:*:*:bucket:inbox"]},
        {"Effect": "Allow", "Action": ["obs:object:*"], "Resource": ["OBS:*:*:object:capitals/*"]},
        {"Effect": "Deny", "Action": ["obs:*:*"], "Resource": ["OBS:*:*:object:inbox/private/*"]},
    ],
}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("fgd"))
    with rig.daemon:
        rig.open()
        rig.daemon.cli("agencies", "create", "reader", "--policy", json.dumps(POLICY))
        for bucket in ("inbox", "capitals", "other"):
            rig.cli("buckets", "create", bucket)
        yield rig
        rig.api.close()


@pytest.fixture(scope="module")
def told(rig: Rig) -> dict[str, str]:
    """What the agency hands out."""
    urn = rig.api.deploy("tells", TELLS, xrole="reader")
    answer: dict[str, str] = rig.api.invoke(urn).json()
    return answer


def test_a_function_reads_what_its_event_tells_of_and_stores_what_it_made(rig: Rig) -> None:
    urn = rig.api.deploy("capitals", CAPITALS, xrole="reader")
    made = rig.follow(urn, bucket="inbox", events=["ObjectCreated"], prefix="texts/")
    assert 201 == made.status, made.text
    large = b"abc" * 100_000
    rig.put("inbox", "texts/a b.txt", b"hello")
    rig.put("inbox", "texts/large", large)

    def keys() -> list[Any]:
        return [one["key"] for one in rig.cli("objects", "list", "capitals")["objects"]]

    assert eventually(lambda: ["texts/a b.txt", "texts/large"] == keys(), LONG_S)
    assert b"HELLO" == rig.get("capitals", "texts/a b.txt")
    assert large.upper() == rig.get("capitals", "texts/large")


@pytest.mark.parametrize("listening", [True, False])
def test_a_token_reaches_what_the_policies_allow(rig: Rig, told: dict[str, str], listening: bool) -> None:
    rig.put("inbox", "k", b"data")
    rig.put("inbox", "private/k", b"data")
    base = f"http://{rig.address}" if listening else f"http://127.0.0.1:{rig.daemon.port}/obs"

    def ask(method: str, path: str, **headers: str) -> int:
        headers["X-Auth-Token"] = told["token"]
        return httpx.request(method, base + path, headers=headers).status_code

    allowed = [
        ask("GET", "/inbox/k"), ask("GET", "/inbox?list-type=2"), ask("PUT", "/capitals/x"), ask("HEAD", "/capitals/x"),
        ask("PUT", "/capitals/copy", **{"x-amz-copy-source": "/inbox/k"}), ask("DELETE", "/capitals/x"),
    ]  # fmt: skip
    refused = [
        ask("GET", "/"), ask("PUT", "/new-bucket"), ask("DELETE", "/inbox"), ask("PUT", "/inbox/k"),
        ask("DELETE", "/inbox/k"), ask("GET", "/inbox/private/k"), ask("GET", "/inbox/private/none"),
        ask("GET", "/other/k"), ask("GET", "/none/k"), ask("GET", "/other?list-type=2"), ask("GET", "/inbox?uploads"),
        ask("PUT", "/capitals/copy", **{"x-amz-copy-source": quote("/inbox/private/k")}),
        ask("POST", "/other/k?uploads"),
    ]  # fmt: skip

    assert [200, 200, 200, 200, 200, 204] == allowed
    assert [403] * 13 == refused


def test_a_signature_with_the_temporary_keys_needs_their_security_token(rig: Rig, told: dict[str, str]) -> None:
    keys = Keys(told["access_key"], told["secret_key"], "", "")
    for url in (f"http://{rig.address}", f"http://127.0.0.1:{rig.daemon.port}/obs"):
        right = rig.boto(keys, session=told["session"], url=url)
        right.put_object(Bucket="capitals", Key="signed", Body=b"x" * 200_000)
        right.put_object(Bucket="capitals", Key="also", Body=b"x")
        deleted = right.delete_objects(Bucket="capitals", Delete={"Objects": [{"Key": "signed"}, {"Key": "also"}]})
        others = right.delete_objects(Bucket="inbox", Delete={"Objects": [{"Key": "k"}]})
        for wrong in (rig.boto(keys, url=url), rig.boto(keys, session="x", url=url)):
            with pytest.raises(ClientError) as refused:
                wrong.list_objects_v2(Bucket="inbox")
            assert 403 == refused.value.response["ResponseMetadata"]["HTTPStatusCode"]

        assert 2 == len(deleted["Deleted"])
        assert ["AccessDenied"] == [one["Code"] for one in others["Errors"]]


def test_what_an_agency_may_changes_at_once_for_what_was_handed_out(rig: Rig, told: dict[str, str]) -> None:
    url, headers = f"http://{rig.address}/inbox/changes", {"X-Auth-Token": told["token"]}
    rig.put("inbox", "changes", b"x")
    before = httpx.get(url, headers=headers).status_code
    rig.daemon.cli("agencies", "update", "reader", "--policy", "OBS ReadOnlyAccess")
    other = httpx.get(f"http://{rig.address}/other?list-type=2", headers=headers).status_code
    rig.daemon.cli("agencies", "update", "reader", "--no-policies")
    after = httpx.get(url, headers=headers).status_code

    assert (200, 200, 403) == (before, other, after)
