"""Object stores of others, a real S3 server and a second daemon: as source of events, for code, as target."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import boto3
import pytest
from botocore.config import Config

from fgd.testing.client import Client, Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.asynchronous import enqueued
from tests.e2e.diary import DIARY, entries
from tests.e2e.s3 import Rig
from tests.e2e.sources import ECHO
from tests.gateway_s3 import S3Gateway

LONG_S = 60.0


class Server(Protocol):
    """What a server of these tests is."""

    access_key: str
    secret_key: str

    @property
    def url(self) -> str: ...
    def kill(self) -> None: ...
    def start(self) -> object: ...


class SecondDaemon:
    """fgd's own object store, of another daemon."""

    def __init__(self, folder: Path) -> None:
        self._rig = Rig(folder)
        self._rig.daemon.start()
        self._rig.open()
        self.access_key, self.secret_key = self._rig.keys.access_key, self._rig.keys.secret_key

    @property
    def url(self) -> str:
        return f"http://{self._rig.address}"

    def start(self) -> None:
        self._rig.daemon.start()

    def kill(self) -> None:
        self._rig.daemon.kill9()

    def close(self) -> None:
        self._rig.api.close()
        self._rig.daemon.__exit__()


@pytest.fixture(scope="module", params=["versitygw", "fgd"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if request.param == "fgd":
        daemon = SecondDaemon(tmp_path_factory.mktemp("second"))
        yield daemon
        daemon.close()
    else:
        with S3Gateway() as gateway:
            yield gateway


class Node:
    """The daemon that uses the server under the name `far`, and a client of the server."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.server = server
        folder.mkdir(parents=True, exist_ok=True)
        self.keys_file = folder / "far.keys"
        self.keys_file.write_text(f'access_key = "{server.access_key}"\nsecret_key = "{server.secret_key}"\n')
        self.keys_file.chmod(0o644)
        stores = [
            f"far {server.url} keys={self.keys_file} region=local poll_s=0.2",
            f"away http://127.0.0.1:1 keys={self.keys_file}",
            f"theirs {server.url.replace('127.0.0.1', 'localhost')} keys={self.keys_file} projects=somebody-else",
        ]
        settings: dict[str, object] = {"object_stores": stores, "drain_s": 5.0, "delivery_retry_first_s": 0.1}
        self.daemon = DaemonProcess(folder / "fgd", settings)
        self.s3 = boto3.client(
            "s3", endpoint_url=server.url, region_name="local",
            aws_access_key_id=server.access_key, aws_secret_access_key=server.secret_key,
            config=Config(s3={"addressing_style": "path"}),
        )  # fmt: skip

    def open(self) -> None:
        self.keys: Keys = self.daemon.create_keys()
        self.api: Client = self.daemon.client(self.keys)

    def follow(self, urn: str, **event_data: Any) -> Any:
        body = {"trigger_type_code": "OBS", "event_data": {"store": "far", **event_data}}
        return self.api.request("POST", f"/v2/{self.api.project_id}/fgs/triggers/{urn}", body)

    def state(self, trigger_id: str) -> Any:
        return json.loads(self.daemon.cli("triggers", "show", trigger_id, "--json").stdout)["state"]

    def followed(self, urn: str, **event_data: Any) -> str:
        """Makes a trigger that has had its first look; gives its id."""
        made = self.follow(urn, **event_data)
        assert 201 == made.status, made.text
        trigger_id = str(made.json()["trigger_id"])
        assert eventually(lambda: "follows" in self.state(trigger_id)["note"], LONG_S)
        return trigger_id

    def told(self, urn: str) -> list[tuple[str, str]]:
        """(name, key) of the events that a diary got."""
        records: list[Any] = [event["Records"][0] for _, event in entries(self.api, urn)]
        return [(record["eventName"], record["s3"]["object"]["key"]) for record in records]


@pytest.fixture(scope="module")
def node(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node(tmp_path_factory.mktemp("node"), server)
    with node.daemon:
        node.open()
        yield node
        node.api.close()


def test_what_changes_in_a_bucket_is_an_event_and_what_was_there_is_none(node: Node) -> None:
    node.s3.create_bucket(Bucket="events")
    node.s3.put_object(Bucket="events", Key="in/before.txt", Body=b"old")
    urn = node.api.deploy("follows", DIARY)
    node.followed(urn, bucket="events", events=["ObjectCreated", "ObjectRemoved"], prefix="in/")
    node.s3.put_object(Bucket="events", Key="in/a b+ü.txt", Body=b"1")
    node.s3.put_object(Bucket="events", Key="out/c.txt", Body=b"1")
    assert eventually(lambda: [("ObjectCreated:Put", "in%2Fa%20b%2B%C3%BC.txt")] == node.told(urn), LONG_S)
    node.s3.put_object(Bucket="events", Key="in/before.txt", Body=b"other")
    assert eventually(lambda: ("ObjectCreated:Put", "in%2Fbefore.txt") in node.told(urn), LONG_S)
    node.s3.delete_object(Bucket="events", Key="in/before.txt")
    assert eventually(lambda: ("ObjectRemoved:Delete", "in%2Fbefore.txt") in node.told(urn), LONG_S)
    event: Any = entries(node.api, urn)[0][1]

    assert 3 == len(node.told(urn))
    assert "events" == event["Records"][0]["s3"]["bucket"]["name"]
    assert 1 == event["Records"][0]["s3"]["object"]["size"]


def test_more_than_a_page_of_objects_and_what_came_while_server_and_daemon_were_dead(node: Node) -> None:
    node.s3.create_bucket(Bucket="many")
    for number in range(1100):
        node.s3.put_object(Bucket="many", Key=f"old/{number:04}", Body=b"x")
    urn = node.api.deploy("counts", DIARY)
    trigger_id = node.followed(urn, bucket="many", events=["Put", "Delete"])
    node.server.kill()
    assert eventually(lambda: "waiting" == node.state(trigger_id)["state"], LONG_S)
    waiting = node.state(trigger_id)
    node.daemon.kill9()
    assert [] == node.daemon.wait_gone(30.0)
    node.server.start()
    node.s3.put_object(Bucket="many", Key="new/1", Body=b"x")
    node.s3.put_object(Bucket="many", Key="old/0500", Body=b"changed")
    node.s3.delete_object(Bucket="many", Key="old/1099")
    node.daemon.start()
    node.api = node.daemon.client(node.keys)
    wanted = {
        ("ObjectCreated:Put", "new%2F1"), ("ObjectCreated:Put", "old%2F0500"), ("ObjectRemoved:Delete", "old%2F1099"),
    }  # fmt: skip
    assert eventually(lambda: wanted == set(node.told(urn)), LONG_S)

    assert "object store far: " in waiting["error"]
    assert node.server.secret_key not in json.dumps(waiting)


def test_a_store_that_is_away_or_a_bucket_that_is_not_there_is_a_state_and_no_refusal(node: Node) -> None:
    urn = node.api.deploy("waits", DIARY)
    away = node.follow(urn, store="away", bucket="any", events=["Put"]).json()["trigger_id"]
    missing = node.follow(urn, bucket="not-yet", events=["Put"]).json()["trigger_id"]

    assert eventually(lambda: "waiting" == node.state(away)["state"], LONG_S)
    assert "object store away: 127.0.0.1:1 cannot be reached" in node.state(away)["error"]
    assert eventually(lambda: "there is no bucket not-yet yet" == node.state(missing)["note"], LONG_S)
    node.s3.create_bucket(Bucket="not-yet")
    assert eventually(lambda: "follows the bucket not-yet" == node.state(missing)["note"], LONG_S)
    node.s3.put_object(Bucket="not-yet", Key="k", Body=b"x")
    assert eventually(lambda: [("ObjectCreated:Put", "k")] == node.told(urn), LONG_S)


def test_what_cannot_be_is_refused_with_the_field(node: Node) -> None:
    urn = node.api.deploy("refused", DIARY)
    answers = [
        node.follow(urn, store=store, bucket="b-1", events=events)
        for store, events in (("none", ["Put"]), ("theirs", ["Put"]), ("far", ["Copy"]))
    ]
    target = node.api.functions(
        "PUT", f"/{urn}/async-invoke-config",
        {"destination_config": {"on_success": {"destination": "OBS", "param": {"bucket": "b-1", "store": "none"}}}},
    )  # fmt: skip

    assert [400, 400, 400] == [one.status for one in answers]
    assert ["event_data.store", "event_data.store", "event_data.events"] == [
        one.json()["error_msg"].partition(":")[0] for one in answers
    ]
    assert (400, True) == (target.status, "store: there is no object store" in target.text)


def test_code_and_dependencies_come_from_it(node: Node) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("index.py", "def handler(event, context):\n    return 'from afar'\n")
    node.s3.create_bucket(Bucket="code")
    node.s3.put_object(Bucket="code", Key="dir/f 1.zip", Body=data.getvalue())
    node.s3.put_object(Bucket="code", Key="no.zip", Body=b"no archive")
    body: dict[str, Any] = {
        "func_name": "far", "package": "default", "runtime": "Python3.12", "handler": "index.handler",
        "timeout": 10, "memory_size": 128, "code_type": "obs", "code_url": f"{node.server.url}/code/dir/f%201.zip",
    }  # fmt: skip
    made = node.api.functions("POST", "", body)
    assert 200 == made.status, made.text
    answer = node.api.functions("POST", f"/{made.json()['func_urn']}/invocations", {})
    refused = [
        node.api.functions("POST", "", {**body, "func_name": "no", "code_url": url})
        for url in (
            f"{node.server.url}/code/none.zip", f"{node.server.url}/none/f.zip", f"{node.server.url}/code/no.zip",
            f"{node.server.url}/code/../../f.zip", "http://127.0.0.1:1/code/f.zip", "http://127.0.0.1:2/code/f.zip",
            f"{node.server.url.replace('127.0.0.1', 'localhost')}/code/dir/f%201.zip",
        )
    ]  # fmt: skip
    dependency = node.api.request(
        "POST", f"/v2/{node.api.project_id}/fgs/dependencies/version",
        {"name": "dep", "runtime": "Python3.12", "depend_type": "obs",
         "depend_link": f"{node.server.url}/code/dir/f%201.zip"},
    )  # fmt: skip

    assert "from afar" in answer.text
    assert body["code_url"] == made.json()["code_url"]
    assert 200 == dependency.status, dependency.text
    assert [404, 404, 400, 400, 503, 400, 400] == [one.status for one in refused]
    assert all(one.json()["error_msg"].startswith("code_url: ") for one in refused if one.status != 503)
    assert [] == list((node.daemon.state_dir / "objects" / ".tmp").iterdir())


def test_outcomes_go_into_it_also_when_it_was_away(node: Node) -> None:
    node.s3.create_bucket(Bucket="results")
    urn = node.api.deploy("works", ECHO)
    param = {"bucket": "results", "prefix": "r/", "store": "far"}
    answer = node.api.functions(
        "PUT", f"/{urn}/async-invoke-config",
        {"destination_config": {"on_success": {"destination": "OBS", "param": param}}},
    )  # fmt: skip
    assert 200 == answer.status, answer.text

    def keys() -> list[str]:
        return [one["Key"] for one in node.s3.list_objects_v2(Bucket="results").get("Contents", [])]

    first = enqueued(node.api, urn, {"n": 1})
    assert eventually(lambda: 1 == len(keys()), LONG_S)
    node.server.kill()
    second = enqueued(node.api, urn, {"n": 2})

    def tried() -> bool:
        shown = node.daemon.cli("async", "deliveries", urn, "--json").stdout
        return "cannot be reached" in shown

    assert eventually(tried, LONG_S)
    node.server.start()
    assert eventually(lambda: 2 == len(keys()), LONG_S)
    document = json.loads(node.s3.get_object(Bucket="results", Key=keys()[0])["Body"].read())

    log = node.daemon.log_file.read_text()
    assert node.server.secret_key not in log
    assert "HTTP Request" not in log, "not a line for every look"
    assert {first, second} == {key.split("Z-")[1].removesuffix("-success.json") for key in keys()}
    assert document["request_context"]["request_id"] in keys()[0]
