"""Streams while broker and daemon are killed: every record reaches its function, every notification its stream."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import Consumer

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from fgd.testing.kafka import KafkaBroker
from tests.e2e.asynchronous import enqueued
from tests.e2e.sources import ECHO

RECORDS = 20_000
PATIENCE_S = 90.0

#: Keeps what it got in a file of its own, which is whole or not there.
KEEPER = """\
import base64, os, time, uuid

def handler(event, context):
    texts = [event["ShardID"]] + [base64.b64decode(one["data"]).decode() for one in event["Message"]["records"]]
    # Clocks of the day may be set; this one goes on while daemons come and go.
    path = "/mnt/kept/%020d-" % time.monotonic_ns() + uuid.uuid4().hex
    with open(path + ".part", "w") as file:
        file.write("\\n".join(texts))
    os.rename(path + ".part", path)
    time.sleep(0.05)
"""


def kept(folder: Path) -> Iterator[list[str]]:
    """Shard and texts of each event, in the order in which they came."""
    for path in sorted(folder.iterdir()):
        if path.suffix != ".part":
            yield path.read_text().splitlines()


def texts(folder: Path) -> list[str]:
    return [text for _, *found in kept(folder) for text in found]


def streams(**topics: tuple[KafkaBroker, str]) -> dict[str, object]:
    return {name: {"brokers": [kafka.address], "topic": topic} for name, (kafka, topic) in topics.items()}


def make_trigger(api: Client, urn: str) -> None:
    data = {
        "stream_name": "orders", "sharditerator_type": "TRIM_HORIZON", "batch_size": 100, "polling_interval": 50,
        "polling_unit": "ms", "retries": 1_000_000, "retry_first_ms": 100,
    }  # fmt: skip
    body = {"trigger_type_code": "DIS", "trigger_status": "ACTIVE", "event_data": data}
    answer = api.request("POST", f"/v2/{api.project_id}/fgs/triggers/{urn}", body)
    assert 201 == answer.status, answer.text


def test_no_record_is_lost_when_broker_and_daemon_are_killed(tmp_path: Path, kafka: KafkaBroker) -> None:
    topic = kafka.topic("dis-faults", 4)
    half = RECORDS // 2
    kafka.produce(topic, [str(number) for number in range(half)], lambda number: number % 4)
    folder = tmp_path / "kept"
    folder.mkdir()
    os.chown(folder, 1003, 1003)
    mount = {"mount_type": "host", "mount_resource": "kept", "mount_share_path": "", "local_mount_path": "/mnt/kept"}
    settings: dict[str, object] = {
        "drain_s": 5.0, "mount_roots": [f"kept={folder}"], "freeze": False, "streams": streams(orders=(kafka, topic)),
    }  # fmt: skip
    with DaemonProcess(tmp_path / "fgd", settings) as daemon:
        api = daemon.client(daemon.create_keys())
        make_trigger(api, api.deploy("keeper", KEEPER, mount_config={"func_mounts": [mount]}))

        def files() -> int:
            return len(list(folder.iterdir()))

        assert eventually(lambda: files() > 20, PATIENCE_S)
        kafka.kill()
        kafka.start()
        kafka.produce(topic, [str(number) for number in range(half, RECORDS)], lambda number: number % 4)
        assert eventually(lambda: any(int(text) >= half for text in texts(folder)), PATIENCE_S)
        api.close()
        daemon.kill9()
        assert [] == daemon.wait_gone(30.0)
        at_kill = len(set(texts(folder)))
        daemon.start()
        assert eventually(lambda: len(set(texts(folder))) == RECORDS, PATIENCE_S)
        came = Counter(texts(folder))

    assert {str(number) for number in range(RECORDS)} == set(came)
    twice = sum(came.values()) - RECORDS
    print(f"{twice} of {RECORDS} records came again")
    # Events that ran at a kill, and what was done in the half second before a commit, of four partitions.
    assert twice < RECORDS / 2
    assert at_kill < RECORDS, "there was something left to do after the second kill"
    for partition in range(4):
        of_it = [int(text) for shard, *found in kept(folder) for text in found if shard == f"shardId-{partition:010d}"]
        assert sorted(set(of_it)) == list(dict.fromkeys(of_it)), "each first time in the order of the partition"


def test_a_daemon_killed_while_its_stream_is_away_delivers_after_its_next_start(
    tmp_path: Path, kafka: KafkaBroker
) -> None:
    topic = kafka.topic("dis-told", 2)
    settings: dict[str, object] = {
        "drain_s": 1.0, "delivery_timeout_s": 2.0, "streams": streams(out=(kafka, topic)),
    }  # fmt: skip
    with DaemonProcess(tmp_path, settings) as daemon:
        api = daemon.client(daemon.create_keys())
        urn = api.deploy("told", ECHO)
        target = {"destination": "DIS", "param": json.dumps({"stream_name": "out"})}
        config = {"destination_config": {"on_success": target}}
        assert 200 == api.functions("PUT", f"/{urn}/async-invoke-config", config).status
        first = [enqueued(api, urn, {"n": number}) for number in range(50)]
        assert eventually(lambda: _left(daemon) == 0, PATIENCE_S)
        kafka.kill()
        second = [enqueued(api, urn, {"n": number}) for number in range(50)]
        assert eventually(lambda: _tried(daemon) > 0, PATIENCE_S)
        api.close()
        daemon.kill9()
        assert [] == daemon.wait_gone(30.0)
        kafka.start()
        daemon.start()
        assert eventually(lambda: _left(daemon) == 0, PATIENCE_S)
        came = _written(kafka, topic, {*first, *second})

    assert {*first, *second} == set(came)
    print(f"{sum(came.values()) - len(came)} of {len(came)} notifications came again")
    assert {1} == {came[one] for one in first}, "what was acknowledged is not written again"


def _left(daemon: DaemonProcess) -> int:
    return len(daemon.admin("GET", "/fgd/v1/functions/told/async-deliveries").json()["deliveries"])


def _tried(daemon: DaemonProcess) -> int:
    found = daemon.admin("GET", "/fgd/v1/functions/told/async-deliveries").json()["deliveries"]
    return sum(1 for one in found if one["tries"] and "FSS.1115" in one["error"])


def _written(kafka: KafkaBroker, topic: str, wanted: set[str]) -> Counter[str]:
    """Keys of the records of a topic, once all that are wanted are there."""
    came: Counter[str] = Counter()
    consumer = Consumer({"bootstrap.servers": kafka.address, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])

    def read() -> bool:
        while (record := consumer.poll(0.5)) is not None:
            came[(record.key() or b"").decode()] += 1
        return wanted <= came.keys()

    try:
        assert eventually(read, PATIENCE_S)
    finally:
        consumer.close()
    return came
