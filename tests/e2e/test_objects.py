"""The object store of a running daemon, by a client for S3: objects, events, code."""

import hashlib
import io
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from minio import Minio
from minio.error import S3Error

from fgd.testing.client import Client, Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.diary import DIARY, entries

LONG_S = 60.0


class Rig:
    """A daemon whose object store listens, and clients of both."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.daemon = DaemonProcess(folder, {"obs_listen": self.address, "drain_s": 5.0})

    def open(self) -> None:
        self.keys: Keys = self.daemon.create_keys()
        self.api: Client = self.daemon.client(self.keys)
        self.s3 = Minio(self.address, self.keys.access_key, self.keys.secret_key, secure=False, region="local")

    def put(self, bucket: str, key: str, data: bytes) -> Any:
        return self.s3.put_object(bucket, key, io.BytesIO(data), len(data))

    def get(self, bucket: str, key: str, offset: int = 0, length: int = 0) -> bytes:
        answer = self.s3.get_object(bucket, key, offset=offset, length=length)
        try:
            return bytes(answer.data)
        finally:
            answer.close()
            answer.release_conn()

    def follow(self, urn: str, **event_data: Any) -> Any:
        body = {"trigger_type_code": "OBS", "event_data": event_data}
        return self.api.request("POST", f"/v2/{self.api.project_id}/fgs/triggers/{urn}", body)


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


def test_who_has_no_right_key_gets_nothing(rig: Rig) -> None:
    wrong = Minio(rig.address, rig.keys.access_key, "x" * 40, secure=False, region="local")
    with pytest.raises(S3Error) as refused:
        wrong.list_buckets()

    assert "SignatureDoesNotMatch" == refused.value.code


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
