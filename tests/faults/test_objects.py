"""What the object store acknowledged is there, and its events come, however often the daemon is killed meanwhile."""

import io
import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

from fgd.testing.client import Client, Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually, free_port

BUCKET = "killed"
WRITERS = 4
PER_WRITER = 150
KILLS_AT = (100, 250, 400)
PATIENCE_S = 120.0

#: Keeps each event in a file of its own, which is whole or not there: the log of a function is written a moment later.
KEEPER = """\
import os, uuid

def handler(event, context):
    path = "/mnt/kept/" + uuid.uuid4().hex
    with open(path + ".part", "w") as file:
        for record in event["Records"]:
            file.write(record["eventName"] + " " + record["s3"]["object"]["key"] + "\\n")
    os.rename(path + ".part", path)
"""


def kept(folder: Path) -> Iterator[tuple[str, str]]:
    """(name, key) of all events that came."""
    for path in folder.iterdir():
        if path.suffix != ".part":
            for line in path.read_text().splitlines():
                name, _, key = line.partition(" ")
                yield name, unquote(key)


def content(key: str) -> bytes:
    return key.encode() * 100


class Writers:
    """Clients that put objects, and delete every tenth, until each was acknowledged."""

    def __init__(self, address: str, keys: Keys) -> None:
        self._address = address
        self._keys = keys
        self.acknowledged: set[tuple[str, str]] = set()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(WRITERS)]

    def client(self) -> Minio:
        pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5.0, read=10.0))
        keys = self._keys
        return Minio(
            self._address, keys.access_key, keys.secret_key, secure=False, region="local", http_client=pool
        )  # fmt: skip

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def _work(self, writer: int) -> None:
        client = self.client()
        for number in range(PER_WRITER):
            key = f"writer {writer}/{number:04}.txt"
            data = content(key)
            self._insist(lambda key=key, data=data: client.put_object(BUCKET, key, io.BytesIO(data), len(data)))
            self.acknowledged.add(("ObjectCreated:Put", key))
            if number % 10 == 0:
                self._insist(lambda key=key: client.remove_object(BUCKET, key))
                self.acknowledged.add(("ObjectRemoved:DeleteMarkerCreated", key))

    def _insist(self, do: object) -> None:
        assert callable(do)
        pause = threading.Event()
        for _ in range(600):
            try:
                do()
            except (HTTPError, MinioException, OSError):
                pause.wait(0.1)  # the daemon is dead or starts
            else:
                return
        raise AssertionError("never acknowledged")


def follow(api: Client, urn: str) -> None:
    data = {"bucket": BUCKET, "events": ["ObjectCreated", "ObjectRemoved"], "suffix": ".txt"}
    answer = api.request(
        "POST", f"/v2/{api.project_id}/fgs/triggers/{urn}", {"trigger_type_code": "OBS", "event_data": data}
    )
    assert 201 == answer.status, answer.text


def test_acknowledged_objects_and_their_events_survive_several_kills_under_load(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    folder = tmp_path / "kept"
    folder.mkdir()
    os.chown(folder, 1003, 1003)
    mount = {"mount_type": "host", "mount_resource": "kept", "mount_share_path": "", "local_mount_path": "/mnt/kept"}
    settings: dict[str, object] = {"drain_s": 5.0, "mount_roots": [f"kept={folder}"], "obs_listen": address}
    with DaemonProcess(tmp_path / "fgd", settings) as daemon:
        keys = daemon.create_keys()
        api = daemon.client(keys)
        urn = api.deploy("keeper", KEEPER, mount_config={"func_mounts": [mount]})
        writers = Writers(address, keys)
        writers.client().make_bucket(BUCKET)
        follow(api, urn)
        api.close()
        writers.start()
        for at in KILLS_AT:
            assert eventually(lambda at=at: len(writers.acknowledged) >= at, PATIENCE_S)  # type: ignore[misc]
            daemon.kill9()
            assert [] == daemon.wait_gone(30.0)
            daemon.start()
        writers.join()
        assert eventually(lambda: writers.acknowledged <= set(kept(folder)), PATIENCE_S)
        came = Counter(kept(folder))
        client = writers.client()
        names = {str(one.object_name) for one in client.list_objects(BUCKET, recursive=True)}
        removed = {key for name, key in writers.acknowledged if name.startswith("ObjectRemoved")}
        for key in names:
            answer = client.get_object(BUCKET, key)
            assert content(key) == answer.data, key
            answer.close()
        for key in removed:
            try:
                client.stat_object(BUCKET, key)
            except S3Error as error:
                assert "NoSuchKey" == error.code
            else:
                raise AssertionError(f"{key} is back")

    written = {key for name, key in writers.acknowledged if name.startswith("ObjectCreated")}
    assert WRITERS * PER_WRITER == len(written)
    assert written - removed == names
    assert writers.acknowledged == set(came)
    print(f"{sum(came.values()) - len(came)} of {len(came)} events came again")
