"""The object store of a running daemon, by clients for S3 and by commands: objects, events, code."""

import hashlib
import io
import os
import shutil
import socket
import ssl
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkfunctiongraph.v2 import (
    CreateFunctionTriggerRequest,
    CreateFunctionTriggerRequestBody,
    FunctionGraphClient,
    ListFunctionTriggersRequest,
)

from fgd.testing.client import HarnessError
from fgd.testing.host import eventually
from tests.e2e.diary import DIARY, entries
from tests.e2e.s3 import Rig
from tests.e2e.test_apig import certificate

LONG_S = 60.0


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("fgd"))
    with rig.daemon:
        rig.open()
        yield rig
        rig.api.close()


def test_objects_of_any_size_come_back_as_they_were(rig: Rig) -> None:
    rig.s3.make_bucket("sizes")
    large = bytes(range(256)) * 49152
    rig.put("sizes", "dir/a b+ü.txt", b"hello")
    rig.s3.put_object("sizes", "large", io.BytesIO(large), len(large), part_size=5 * 1024 * 1024)
    small = rig.s3.stat_object("sizes", "dir/a b+ü.txt")
    listed = sorted(str(one.object_name) for one in rig.s3.list_objects("sizes"))

    assert b"hello" == rig.get("sizes", "dir/a b+ü.txt")
    assert b"ell" == rig.get("sizes", "dir/a b+ü.txt", offset=1, length=3)
    assert hashlib.md5(b"hello").hexdigest() == small.etag
    assert large == rig.get("sizes", "large")
    assert ["dir/", "large"] == listed


def test_boto3_speaks_to_it(rig: Rig) -> None:
    """Listing, metadata, ranges, conditions, copies, uploads in parts, presigned URLs, deleting many."""
    s3 = rig.boto()
    s3.create_bucket(Bucket="boto")
    s3.put_object(Bucket="boto", Key="a b/ü+1.txt", Body=b"hello", ContentType="text/plain", Metadata={"who": "me"})
    got = s3.get_object(Bucket="boto", Key="a b/ü+1.txt", Range="bytes=1-3")
    s3.copy_object(Bucket="boto", Key="copy", CopySource={"Bucket": "boto", "Key": "a b/ü+1.txt"})
    with pytest.raises(ClientError) as taken:
        s3.put_object(Bucket="boto", Key="copy", Body=b"no", IfNoneMatch="*")
    large = bytes(range(256)) * 49152
    s3.upload_fileobj(io.BytesIO(large), "boto", "large", Config=TransferConfig(multipart_threshold=6 * 1024 * 1024))
    back = io.BytesIO()
    s3.download_fileobj("boto", "large", back)
    link = s3.generate_presigned_url("get_object", Params={"Bucket": "boto", "Key": "copy"}, ExpiresIn=60)
    pages = [
        [one["Key"] for one in page["Contents"]]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket="boto", PaginationConfig={"PageSize": 2})
    ]
    deleted = s3.delete_objects(Bucket="boto", Delete={"Objects": [{"Key": "copy"}, {"Key": "no-such"}]})
    with pytest.raises(ClientError) as gone:
        s3.get_object(Bucket="boto", Key="copy")

    assert b"ell" == got["Body"].read()
    assert ("text/plain", {"who": "me"}) == (got["ContentType"], got["Metadata"])
    assert "PreconditionFailed" == taken.value.response["Error"]["Code"]
    assert large == back.getvalue()
    assert s3.head_object(Bucket="boto", Key="large")["ETag"].strip('"').endswith("-2")
    assert link.startswith(f"http://{rig.address}/boto/copy?X-Amz-Algorithm=AWS4-HMAC-SHA256")
    assert [["a b/ü+1.txt", "copy"], ["large"]] == pages
    assert ["copy", "no-such"] == [one["Key"] for one in deleted["Deleted"]]
    assert "NoSuchKey" == gone.value.response["Error"]["Code"]


def test_a_presigned_url_needs_no_key_until_it_expires_or_is_changed(rig: Rig) -> None:
    s3 = rig.boto()
    s3.create_bucket(Bucket="links")
    s3.put_object(Bucket="links", Key="k", Body=b"for you")
    link = s3.generate_presigned_url("get_object", Params={"Bucket": "links", "Key": "k"}, ExpiresIn=60)
    put = s3.generate_presigned_url("put_object", Params={"Bucket": "links", "Key": "new"}, ExpiresIn=60)
    old = link.replace("X-Amz-Expires=60", "X-Amz-Expires=600")

    assert b"for you" == httpx.get(link).content
    assert 403 == httpx.get(old).status_code
    assert 403 == httpx.get(link.replace("/links/k?", "/links/new?")).status_code
    assert 403 == httpx.put(link, content=b"x").status_code
    assert 200 == httpx.put(put, content=b"from you").status_code
    assert b"from you" == rig.get("links", "new")


def test_commands_for_buckets_and_objects(rig: Rig, tmp_path: Path) -> None:
    source, target = tmp_path / "in.bin", tmp_path / "out.bin"
    source.write_bytes(os.urandom(40 * 1024 * 1024))
    rig.cli("buckets", "create", "cli-1")
    made = rig.cli("objects", "put", "cli-1/dir/ü 1.bin", str(source), "--content-type", "text/x")
    (tmp_path / "one").write_bytes(b"1")
    small = rig.cli("objects", "put", "cli-1/other", str(tmp_path / "one"))
    (tmp_path / "one").unlink()
    buckets = [one["name"] for one in rig.cli("buckets", "list")["buckets"]]
    listed = rig.cli("objects", "list", "cli-1", "--prefix", "dir/")["objects"]
    got = rig.cli("objects", "get", "cli-1/dir/ü 1.bin", str(target))
    shown = rig.daemon.cli("objects", "get", "cli-1/other", "-").stdout
    full = rig.daemon.cli("buckets", "delete", "cli-1", check=False)
    missing = rig.daemon.cli("objects", "get", "cli-1/none", str(tmp_path / "none"), check=False)
    wrong = rig.daemon.cli("objects", "get", "cli-1", check=False)
    table = rig.daemon.cli("objects", "list", "cli-1").stdout
    for key in ("dir/ü 1.bin", "other"):
        rig.cli("objects", "delete", f"cli-1/{key}")
    rig.cli("buckets", "delete", "cli-1")

    assert "cli-1" in buckets
    assert made["etag"] == listed[0]["etag"]
    assert made["etag"].endswith("-3"), "in parts of 16 MiB"
    assert hashlib.md5(b"1").hexdigest() == small["etag"]
    assert [("dir/ü 1.bin", 40 * 1024 * 1024)] == [(one["key"], one["size"]) for one in listed]
    assert (source.read_bytes(), 40 * 1024 * 1024) == (target.read_bytes(), got["size"])
    assert "1" == shown
    assert (3, True) == (full.returncode, "BucketNotEmpty" in full.stderr)
    assert (3, True) == (missing.returncode, "NoSuchKey" in missing.stderr)
    assert (2, True) == (wrong.returncode, "must be BUCKET/KEY" in wrong.stderr)
    assert ["in.bin", "out.bin"] == sorted(path.name for path in tmp_path.iterdir())
    assert table.startswith("KEY")
    assert "cli-1" not in [one["name"] for one in rig.cli("buckets", "list")["buckets"]]


def test_an_object_leads_to_one_event_with_its_key_encoded(rig: Rig) -> None:
    rig.s3.make_bucket("events")
    urn = rig.api.deploy("follows", DIARY)
    made = rig.follow(urn, bucket="events", events=["s3:ObjectCreated:*"], suffix=".txt")
    again = rig.follow(urn, bucket="events", events=["Delete"], suffix=".txt")
    rig.put("events", "other.bin", b"no")
    rig.put("events", "dir/file.txt", b"hello")
    assert made.status in (200, 201), made.text
    assert (403, "FSS.1108") == (again.status, again.error_code)
    assert eventually(lambda: len(entries(rig.api, urn)) == 1, LONG_S)
    event: Any = entries(rig.api, urn)[0][1]
    [record] = event["Records"]

    assert "dir%2Ffile.txt" == record["s3"]["object"]["key"]
    assert "ObjectCreated:Put" == record["eventName"]
    assert hashlib.md5(b"hello").hexdigest() == record["s3"]["object"]["eTag"]
    assert 5 == record["s3"]["object"]["size"]


def test_the_sdk_makes_triggers_and_one_bucket_has_one_of_a_kind_also_after_a_restart(rig: Rig) -> None:
    credentials = BasicCredentials(rig.keys.access_key, rig.keys.secret_key, rig.keys.project_id)
    builder = FunctionGraphClient.new_builder().with_credentials(credentials)
    sdk = builder.with_endpoint(f"http://127.0.0.1:{rig.daemon.port}").build()
    urn, other = rig.api.deploy("sdk-follows", DIARY), rig.api.deploy("sdk-late", DIARY)
    data = {"bucket": "by-sdk", "events": ["s3:ObjectCreated:*"], "prefix": "in/", "suffix": ".zip", "name": "zips"}
    body = CreateFunctionTriggerRequestBody(trigger_type_code="OBS", trigger_status="ACTIVE", event_data=data)
    made = sdk.create_function_trigger(CreateFunctionTriggerRequest(function_urn=urn, body=body))
    shown = sdk.list_function_triggers(ListFunctionTriggersRequest(function_urn=urn)).body[0]
    off = rig.api.request("PUT", f"/v2/{rig.api.project_id}/fgs/triggers/{urn}/OBS/{made.trigger_id}",
                          {"trigger_status": "DISABLED"})  # fmt: skip
    rig.daemon.stop()
    rig.daemon.start()
    rig.api = rig.daemon.client(rig.keys)
    late = rig.follow(other, **data)
    rig.daemon.cli("triggers", "delete", made.trigger_id)
    again = rig.follow(other, **data)

    assert (data["bucket"], data["prefix"]) == (shown.event_data.bucket, shown.event_data.prefix)
    assert 400 == off.status, off.text
    assert (403, "FSS.1108") == (late.status, late.error_code)
    assert 201 == again.status, again.text


def test_code_and_dependencies_come_from_a_bucket(rig: Rig) -> None:
    rig.s3.make_bucket("packages")
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("index.py", "def handler(event, context):\n    return 'from a bucket'\n")
    rig.put("packages", "code/f.zip", data.getvalue())
    body: dict[str, Any] = {
        "func_name": "stored", "package": "default", "runtime": "Python3.12", "handler": "index.handler",
        "timeout": 10, "memory_size": 128, "code_type": "obs",
        "code_url": "https://packages.obs.local.example.com/code/f.zip",
    }  # fmt: skip
    made = rig.api.functions("POST", "", body)
    missing = rig.api.functions("POST", "", {**body, "func_name": "no", "code_url": "obs://packages/none.zip"})
    assert 200 == made.status, made.text
    answer = rig.api.functions("POST", f"/{made.json()['func_urn']}/invocations", {})
    dependency = rig.api.request(
        "POST", f"/v2/{rig.api.project_id}/fgs/dependencies/version",
        {"name": "dep", "runtime": "Python3.12", "depend_type": "obs", "depend_link": "obs://packages/code/f.zip"},
    )  # fmt: skip

    assert "from a bucket" in answer.text
    assert body["code_url"] == made.json()["code_url"]
    assert (404, "FSS.1054") == (missing.status, missing.error_code)
    assert 200 == dependency.status, dependency.text


def test_by_tls_with_a_certificate_that_is_changed_while_it_runs(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # Not below pytest's own folder, which each further run of pytest closes to others.
    folder = Path(tempfile.mkdtemp(prefix="fgd-tls-"))
    request.addfinalizer(lambda: shutil.rmtree(folder))
    folder.chmod(0o755)
    certificate(folder, "first")
    rig = Rig(tmp_path / "node", tls_cert=str(folder / "cert.pem"), tls_key=str(folder / "key.pem"))
    rig.daemon.settings["obs_listen"] = f"{rig.address} tls"
    trusted = ssl.create_default_context()
    with rig.daemon:
        rig.open()
        url, headers = f"https://{rig.address}/", {"X-Auth-Token": rig.keys.token}
        trusted.load_verify_locations(folder / "cert.pem")
        first = httpx.get(url, headers=headers, verify=trusted)
        plain = socket.create_connection(("127.0.0.1", int(rig.address.split(":")[1])), timeout=10)
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answered = plain.recv(100)
        plain.close()
        certificate(folder, "second")
        rig.daemon.reload()

        def changed() -> bool:
            try:
                httpx.get(url, headers=headers, verify=trusted)
            except httpx.ConnectError:
                return True
            return False

        assert eventually(changed)
        trusted.load_verify_locations(folder / "cert.pem")
        second = httpx.get(url, headers=headers, verify=trusted)
        rig.api.close()

    assert (200, 200) == (first.status_code, second.status_code)
    assert b"HTTP/1.1 200" not in answered
    rig.daemon.settings["tls_key"] = ""
    with pytest.raises(HarnessError, match="obs_listen: tls needs the settings tls_cert and tls_key"):
        rig.daemon.start()


def test_a_function_is_not_invoked_by_its_own_outcomes(rig: Rig) -> None:
    urn = rig.api.deploy("rounds", DIARY)
    rig.s3.make_bucket("rounds")
    assert 201 == rig.follow(urn, bucket="rounds", events=["ObjectCreated"]).status
    rig.cli("async", "config", "rounds", "--on-success", "OBS:rounds/out/")
    rig.put("rounds", "in", b"x")

    def skipped() -> int:
        [trigger] = rig.cli("triggers", "list", "rounds")["triggers"]
        figures = rig.cli("triggers", "show", trigger["trigger_id"])["state"]["figures"]
        return int(figures.get("skipped", 0))

    assert eventually(lambda: skipped() == 1, LONG_S)
    assert eventually(lambda: len(entries(rig.api, urn)) == 1, LONG_S)
    assert ["in", "out/"] == sorted(str(one.object_name) for one in rig.s3.list_objects("rounds"))
