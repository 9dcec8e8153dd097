"""50,000 messages while broker and daemon are killed: all of them come."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from fgd.testing.kafka import KafkaBroker

MESSAGES = 50_000
PATIENCE_S = 90.0

#: Keeps what it got in a file of its own, which is whole or not there.
KEEPER = """\
import os, time, uuid

def handler(event, context):
    texts = [text for record in event["records"] for text in record["messages"]]
    path = "/mnt/kept/" + uuid.uuid4().hex
    with open(path + ".part", "w") as file:
        file.write("\\n".join(texts))
    os.rename(path + ".part", path)
    time.sleep(0.05)
"""


def kept(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        if path.suffix != ".part":
            yield from path.read_text().splitlines()


def make_trigger(api: Client, urn: str, kafka: KafkaBroker, topic: str) -> str:
    data = {
        "kafka_connect_address": kafka.address, "topic_ids": [topic], "start_position": "earliest", "batch_size": 100,
        "batch_window_ms": 50, "retries": 1_000_000, "retry_first_ms": 100,
    }  # fmt: skip
    body = {"trigger_type_code": "OPENSOURCEKAFKA", "trigger_status": "ACTIVE", "event_data": data}
    answer = api.request("POST", f"/v2/{api.project_id}/fgs/triggers/{urn}", body)
    assert 201 == answer.status, answer.text
    return str(answer.json()["trigger_id"])


def test_no_message_is_lost_when_broker_and_daemon_are_killed(tmp_path: Path, kafka: KafkaBroker) -> None:
    topic = kafka.topic("t-faults", 4)
    half = MESSAGES // 2
    kafka.produce(topic, [str(number) for number in range(half)], lambda number: number % 4)
    folder = tmp_path / "kept"
    folder.mkdir()
    os.chown(folder, 1003, 1003)
    mount = {"mount_type": "host", "mount_resource": "kept", "mount_share_path": "", "local_mount_path": "/mnt/kept"}
    settings: dict[str, object] = {"drain_s": 5.0, "mount_roots": [f"kept={folder}"], "freeze": False}
    with DaemonProcess(tmp_path / "fgd", settings) as daemon:
        api = daemon.client(daemon.create_keys())
        urn = api.deploy("keeper", KEEPER, mount_config={"func_mounts": [mount]})
        make_trigger(api, urn, kafka, topic)

        def files() -> int:
            return len(list(folder.iterdir()))

        assert eventually(lambda: files() > 50, PATIENCE_S)
        kafka.kill()
        kafka.start()
        kafka.produce(topic, [str(number) for number in range(half, MESSAGES)], lambda number: number % 4)
        assert eventually(lambda: any(int(text) >= half for text in kept(folder)), PATIENCE_S)
        api.close()
        daemon.kill9()
        assert [] == daemon.wait_gone(30.0)
        at_kill = len(set(kept(folder)))
        daemon.start()
        assert eventually(lambda: len(set(kept(folder))) == MESSAGES, PATIENCE_S)
        came = Counter(kept(folder))

    assert {str(number) for number in range(MESSAGES)} == set(came)
    twice = sum(came.values()) - MESSAGES
    print(f"{twice} of {MESSAGES} messages came again")
    # Batches that ran at a kill, and what was done in the half second before a commit, of four partitions.
    assert twice < MESSAGES / 2
    assert at_kill < MESSAGES, "there was something left to do after the second kill"
