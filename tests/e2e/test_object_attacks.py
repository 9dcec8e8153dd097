"""What clients of the object store try: other projects, wrong signatures, odd names, too much; and full disks."""

import hashlib
import http.client
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import httpx
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from fgd.testing.client import Keys
from fgd.testing.host import eventually
from tests.e2e.s3 import Rig
from tests.faults.test_full_disk import fill

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rig = Rig(tmp_path_factory.mktemp("fgd"), obs_quota_mib=16)
    with rig.daemon:
        rig.open()
        rig.boto().create_bucket(Bucket="box")
        rig.boto().put_object(Bucket="box", Key="secret", Body=b"mine")
        yield rig
        rig.api.close()


@pytest.fixture(scope="module")
def stranger(rig: Rig) -> Keys:
    """Keys of another project."""
    made = json.loads(rig.daemon.cli("keys", "create", "--project", "other", "--json").stdout)
    return Keys(made["access_key"], made["secret_key"], made["project_id"], made["token"])


def code(error: Any) -> tuple[int, str]:
    response = error.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def signed(rig: Rig, method: str, path: str, body: bytes = b"", **headers: str) -> httpx.Response:
    """A request with a right signature, whatever else is wrong with it; `path` as it goes over the wire."""
    raw, mark, query = path.partition("?")
    canonical = quote(unquote_to_bytes(raw), safe="/~") + mark + query
    request = AWSRequest(method, f"http://{rig.address}{canonical}", headers=headers, data=body)
    S3SigV4Auth(Credentials(rig.keys.access_key, rig.keys.secret_key), "s3", "local").add_auth(request)
    connection = http.client.HTTPConnection(rig.address, timeout=20)
    connection.request(method, path, body, dict(request.headers))
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return httpx.Response(answer.status, content=data)


def test_another_project_sees_nothing(rig: Rig, stranger: Keys) -> None:
    other = rig.boto(stranger)
    attempts: tuple[Callable[[], Any], ...] = (
        lambda: other.get_object(Bucket="box", Key="secret"),
        lambda: other.list_objects_v2(Bucket="box"),
        lambda: other.put_object(Bucket="box", Key="k", Body=b""),
        lambda: other.delete_object(Bucket="box", Key="secret"),
        lambda: other.delete_bucket(Bucket="box"),
        lambda: other.create_multipart_upload(Bucket="box", Key="k"),
    )
    for attempt in attempts:
        with pytest.raises(ClientError) as refused:
            attempt()
        assert (404, "NoSuchBucket") == code(refused)
    other.create_bucket(Bucket="box")
    with pytest.raises(ClientError) as refused:
        other.copy_object(Bucket="box", Key="k", CopySource={"Bucket": "box", "Key": "secret"})

    assert (404, "NoSuchKey") == code(refused)
    assert [] == other.list_objects_v2(Bucket="box").get("Contents", [])
    assert b"mine" == rig.get("box", "secret")


def test_uploads_of_another_project_cannot_be_written_or_completed(rig: Rig, stranger: Keys) -> None:
    upload = rig.boto().create_multipart_upload(Bucket="box", Key="k")["UploadId"]
    other = rig.boto(stranger)
    about = {"Bucket": "box", "Key": "k", "UploadId": upload}
    attempts: tuple[Callable[[], Any], ...] = (
        lambda: other.upload_part(**about, PartNumber=1, Body=b"x"),
        lambda: other.list_parts(**about),
        lambda: other.abort_multipart_upload(**about),
        lambda: other.complete_multipart_upload(**about, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": "x"}]}),
    )
    for attempt in attempts:
        with pytest.raises(ClientError) as refused:
            attempt()
        assert (404, "NoSuchUpload") == code(refused)
    rig.boto().abort_multipart_upload(**about)


def test_a_token_is_as_good_as_a_signature_and_a_wrong_one_is_not(rig: Rig, stranger: Keys) -> None:
    url = f"http://{rig.address}/box/secret"
    by_token = httpx.get(url, headers={"X-Auth-Token": rig.keys.token})

    assert (200, b"mine") == (by_token.status_code, by_token.content)
    assert 404 == httpx.get(url, headers={"X-Auth-Token": stranger.token}).status_code
    assert 403 == httpx.get(url, headers={"X-Auth-Token": "wrong"}).status_code
    assert 403 == httpx.get(url, headers=[("X-Auth-Token", "x"), ("X-Auth-Token", rig.keys.token)]).status_code
    assert 403 == httpx.get(url).status_code
    assert 403 == httpx.get(url, headers={"X-Fgd-Peer": "root"}).status_code


def test_below_obs_of_the_api_s_address_credentials_are_needed_as_well(rig: Rig) -> None:
    url = f"http://127.0.0.1:{rig.daemon.port}/obs/box/secret"
    for headers in ({}, {"X-Fgd-Peer": "root"}, {"X-Auth-Token": "wrong"}, {"X-Fgd-Client": "192.0.2.1"}):
        answer = httpx.get(url, headers=headers)
        assert 403 == answer.status_code, headers
        assert b"mine" not in answer.content

    assert b"mine" == httpx.get(url, headers={"X-Auth-Token": rig.keys.token}).content
    assert (
        b"mine"
        == rig.boto(url=f"http://127.0.0.1:{rig.daemon.port}/obs").get_object(Bucket="box", Key="secret")["Body"].read()
    )


def test_wrong_signatures(rig: Rig) -> None:
    wrong = Keys(rig.keys.access_key, "x" * 40, rig.keys.project_id, "")
    unknown = Keys("UNKNOWN", "x" * 40, rig.keys.project_id, "")
    answers = []
    for keys in (wrong, unknown):
        with pytest.raises(ClientError) as refused:
            rig.boto(keys).list_buckets()
        answers.append(code(refused))
    url = f"http://{rig.address}/box/k"
    request = AWSRequest("PUT", url, data=b"signed")
    S3SigV4Auth(Credentials(rig.keys.access_key, rig.keys.secret_key), "s3", "local").add_auth(request)
    good = dict(request.headers)
    other_body = httpx.put(url, content=b"others", headers=good)
    other_key = httpx.put(url + "2", content=b"signed", headers=good)
    other_date = httpx.put(url, content=b"signed", headers={**good, "X-Amz-Date": "20200101T000000Z"})
    unsigned_header = httpx.put(url, content=b"signed", headers={**good, "x-amz-meta-a": "b"})
    right = httpx.put(url, content=b"signed", headers=good)

    assert [(403, "SignatureDoesNotMatch"), (403, "InvalidAccessKeyId")] == answers
    assert (400, True) == (other_body.status_code, b"XAmzContentSHA256Mismatch" in other_body.content)
    assert [403, 403, 403] == [one.status_code for one in (other_key, other_date, unsigned_header)]
    assert 200 == right.status_code
    assert b"signed" == rig.get("box", "k")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/box/../../../etc/passwd", 400), ("/box/a/%2e%2e/b", 400), ("/box/%2E%2E", 400), ("/box/a%00b", 400),
        ("/box/a%0d%0aX-Evil:1", 400), ("/box/" + "k" * 1025, 400), ("/box/%ff%fe", 400), ("/box/%ed%a0%80", 400),
        ("/box/%EF%BF%BF", 400), ("/%2e%2e/k", 404), ("/..%2f..%2fetc/k", 400), ("/BOX/k", 404), ("/.tmp/k", 404),
    ],
)  # fmt: skip
def test_names_that_lead_nowhere(rig: Rig, path: str, status: int) -> None:
    before = rig.stored_files()
    answer = signed(rig, "PUT", path, b"evil", **{"x-amz-content-sha256": hashlib.sha256(b"evil").hexdigest()})

    assert status == answer.status_code, answer.text
    assert "<Code>" in answer.text
    assert before == rig.stored_files()


@pytest.mark.parametrize("name", ["..", "Box", "a_b", "ab", "x" * 64, "a..b", "-ab", "b%C3%BCx", "a%00b"])
def test_buckets_that_cannot_be(rig: Rig, name: str) -> None:
    answer = signed(rig, "PUT", f"/{name}")

    assert 400 == answer.status_code
    assert "InvalidBucketName" in answer.text or "MethodNotAllowed" in answer.text


@pytest.mark.parametrize("key", ["a?b#c&d=e", "a//b", "...", "日本/😀", "%2e%2e", "a\\..\\b", "x" * 1024])
def test_odd_keys_come_back_as_they_were(rig: Rig, key: str) -> None:
    s3 = rig.boto()
    s3.put_object(Bucket="box", Key=key, Body=key.encode())
    listed = [one["Key"] for one in s3.list_objects_v2(Bucket="box", Prefix=key)["Contents"]]

    assert key.encode() == s3.get_object(Bucket="box", Key=key)["Body"].read()
    assert [key] == listed
    s3.delete_object(Bucket="box", Key=key)


def test_more_than_the_quota_is_refused_while_it_comes_and_leaves_nothing(rig: Rig) -> None:
    before = rig.stored_files()
    headers = {"X-Auth-Token": rig.keys.token}

    def endless() -> Iterator[bytes]:
        for _ in range(4096):
            yield b"x" * MIB

    with pytest.raises(httpx.HTTPError):  # the daemon answers and hangs up long before the end
        httpx.put(f"http://{rig.address}/box/huge", content=endless(), headers=headers).raise_for_status()
    with pytest.raises(ClientError) as refused:
        rig.boto().put_object(Bucket="box", Key="huge", Body=b"x" * (17 * MIB))
    with pytest.raises(ClientError) as missing:
        rig.boto().head_object(Bucket="box", Key="huge")

    assert (403, "QuotaExceeded") == code(refused)
    assert 404 == code(missing)[0]
    assert eventually(lambda: before == rig.stored_files())
    rig.put("box", "small", b"still works")


def test_clients_that_go_away_leave_nothing(rig: Rig) -> None:
    before = rig.stored_files()
    host, port = rig.address.split(":")
    for _ in range(5):
        with socket.create_connection((host, int(port))) as one:
            one.sendall(
                f"PUT /box/half HTTP/1.1\r\nHost: {rig.address}\r\nX-Auth-Token: {rig.keys.token}\r\n"
                f"Content-Length: {MIB}\r\n\r\n".encode()
                + b"x" * (MIB // 2)
            )
            time.sleep(0.05)  # so that the daemon has begun
    upload = rig.boto().create_multipart_upload(Bucket="box", Key="parts")["UploadId"]
    rig.boto().upload_part(Bucket="box", Key="parts", UploadId=upload, PartNumber=1, Body=b"x" * MIB)
    rig.boto().abort_multipart_upload(Bucket="box", Key="parts", UploadId=upload)

    assert eventually(lambda: before == rig.stored_files())
    assert not [key for key in rig.boto().list_objects_v2(Bucket="box")["Contents"] if key["Key"] == "half"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<",
        b"<Delete>" * 9999,
        b'<!DOCTYPE a [<!ENTITY b "c">]><Delete>&b;</Delete>',
        b"<Delete/>",
        b"\xff\x00",
    ],
)
def test_xml_that_is_none(rig: Rig, body: bytes) -> None:
    answer = signed(rig, "POST", "/box?delete=", body)

    assert 400 == answer.status_code, answer.text


def test_heads_that_are_no_requests(rig: Rig) -> None:
    token = {"X-Auth-Token": rig.keys.token}
    url = f"http://{rig.address}/box"
    put = {**token, "x-amz-copy-source": "/box/none"}

    assert 404 == httpx.put(f"{url}/c", headers=put).status_code
    assert 416 == httpx.get(f"{url}/secret", headers={**token, "Range": "bytes=900-"}).status_code
    assert 400 == httpx.put(f"{url}/c?partNumber=x&uploadId=y", content=b"", headers=token).status_code
    assert 400 == httpx.get(f"{url}?list-type=2&max-keys=-1", headers=token).status_code
    assert 501 == httpx.get(f"{url}?acl", headers=token).status_code
    assert 405 == httpx.request("PATCH", f"{url}/c", headers=token).status_code
    assert 400 == httpx.put(f"{url}/c", headers={**token, "x-amz-meta-a": "b" * 3000}).status_code
    assert 400 == httpx.put(f"{url}/c", content=b"x", headers={**token, "Content-MD5": "x"}).status_code
    assert 200 == httpx.get(f"{url}?list-type=2&prefix={quote('secret')}", headers=token).status_code


def test_on_a_full_disk_what_cannot_be_stored_is_refused_and_what_is_there_is_read(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.daemon.state_dir.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m,mode=700", "tmpfs", str(rig.daemon.state_dir)], check=True
    )  # fmt: skip
    try:
        with rig.daemon:
            rig.open()
            s3 = rig.boto()
            s3.create_bucket(Bucket="box")
            s3.put_object(Bucket="box", Key="k", Body=b"there")
            filler = fill(rig.daemon.state_dir)
            with pytest.raises(ClientError) as refused:
                s3.put_object(Bucket="box", Key="new", Body=b"x" * MIB)
            read = s3.get_object(Bucket="box", Key="k")["Body"].read()
            filler.unlink()
            s3.put_object(Bucket="box", Key="new", Body=b"x" * MIB)
            stored = len(rig.stored_files())
            rig.api.close()
            assert 0 == rig.daemon.stop()
    finally:
        rig.daemon.__exit__()
        subprocess.run(["umount", str(rig.daemon.state_dir)], check=True)

    assert (503, "ServiceUnavailable") == code(refused)
    assert b"there" == read
    assert 2 == stored
