"""Triggers of document databases and RabbitMQ while servers and daemons are killed: nothing is lost."""

import itertools
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.documents import DocumentServer
from tests.rabbits import RabbitNode

DEADLINE_S = 90.0
ROUND = 40
#: Writes every number that it gets to a file of the host: unlike a log, that is there when the daemon is killed.
NUMBERS = """
import json, re
def handler(event, context):
    with open('/mnt/disk/numbers', 'a') as file:
        file.write(''.join(f'{one}\\n' for one in re.findall(r'n=(\\d+);', json.dumps(event))))
"""
_names = itertools.count()


@pytest.fixture
def disk(tmp_path: Path, daemon: DaemonProcess) -> Path:
    """A directory of the host that functions of the daemon may mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    os.chown(folder, 1003, 1003)
    daemon.settings["mount_roots"] = [f"disk={folder}"]
    return folder


def deployed(api: Client) -> str:
    """The URN of a new function that writes numbers down."""
    mount = {"mount_type": "host", "mount_resource": "disk", "mount_share_path": "", "local_mount_path": "/mnt/disk"}
    return api.deploy("numbers", NUMBERS, mount_config={"func_mounts": [mount]})


def numbers(disk: Path) -> "Counter[int]":
    """How often each number came."""
    file = disk / "numbers"
    return Counter(map(int, file.read_text().split())) if file.exists() else Counter()


def create(api: Client, urn: str, code: str, data: dict[str, object], **fields: object) -> dict[str, Any]:
    path = f"/v2/{urn.split(':')[3]}/fgs/triggers/{urn}"
    answer = api.request("POST", path, {"trigger_type_code": code, "event_data": data, **fields})
    assert 201 == answer.status, answer.text
    return dict(answer.json())


def state(api: Client, urn: str, made: dict[str, Any]) -> dict[str, Any]:
    path = f"/fgd/v1/triggers/{urn}/{made['trigger_type_code']}/{made['trigger_id']}"
    return dict(api.request("GET", path).json()["state"])


def test_no_insert_is_lost_when_the_database_or_the_daemon_is_killed(
    daemon: DaemonProcess, documents: DocumentServer, disk: Path
) -> None:
    daemon.start()
    keys = daemon.create_keys()
    api = daemon.client(keys)
    urn = deployed(api)
    collection = f"fault{next(_names)}"
    data = {
        "instance_id": "i", "db_name": "shop", "collection_name": collection, "batch_size": 7, "mode": "Single",
        "instance_addrs": [documents.address], "db_user": "", "batch_wait_ms": 50,
    }  # fmt: skip
    made = create(api, urn, "DDS", data)
    assert "DISABLED" == made["trigger_status"]
    daemon.cli("triggers", "enable", made["trigger_id"])
    assert eventually(lambda: state(api, urn, made)["state"] == "running", DEADLINE_S)

    def insert(first: int, number: int = ROUND) -> None:
        with documents.client() as client:
            for n in range(first, first + number):
                client.shop[collection].insert_one({"text": f"n={n};"})

    def come(last: int) -> bool:
        return eventually(lambda: set(range(last)) <= set(numbers(disk)), DEADLINE_S, 0.2)

    insert(0)
    assert eventually(lambda: len(numbers(disk)) > 0, DEADLINE_S)
    documents.kill()
    documents.start()
    insert(ROUND)
    assert come(2 * ROUND)
    insert(2 * ROUND)
    daemon.kill9()
    insert(3 * ROUND)
    daemon.start()
    assert come(4 * ROUND)
    found = numbers(disk)

    # Of the daemon that was killed also those events run again that its instances were at.
    assert sum(found.values()) - len(found) <= ROUND, "what was under way comes again, not everything"


def test_no_message_is_lost_when_the_broker_or_the_daemon_is_killed(
    daemon: DaemonProcess, rabbit: RabbitNode, disk: Path
) -> None:
    daemon.start()
    keys = daemon.create_keys()
    api = daemon.client(keys)
    urn = deployed(api)
    exchange = f"fault{next(_names)}"
    rabbit.exchange(exchange, exchange)
    data = {
        "instance_id": "i", "exchange_name": exchange, "queue_name": exchange, "access_password": "guest",
        "batch_size": 7, "connect_address": rabbit.address,
    }  # fmt: skip
    made = create(api, urn, "RABBITMQ", data)

    def publish(first: int) -> None:
        rabbit.publish(exchange, *(json.dumps(f"n={n};") for n in range(first, first + ROUND)))

    def come(last: int) -> bool:
        return eventually(lambda: set(range(last)) <= set(numbers(disk)), DEADLINE_S, 0.2)

    publish(0)
    assert eventually(lambda: len(numbers(disk)) > 0, DEADLINE_S)
    rabbit.kill()
    assert eventually(lambda: bool(state(api, urn, made)["error"]), DEADLINE_S)
    rabbit.start()
    publish(ROUND)
    assert come(2 * ROUND)
    publish(2 * ROUND)
    daemon.kill9()
    publish(3 * ROUND)
    daemon.start()
    assert come(4 * ROUND)
    assert eventually(lambda: rabbit.waiting(exchange) == 0, DEADLINE_S)
    found = numbers(disk)

    # The broker itself forgets acknowledgements of its last moments when it is killed.
    again = sum(times - 1 for number, times in found.items() if number >= ROUND)
    assert again <= 2 * 7, "at most the batches that were under way come again"
