"""Event sources for `bench.soak`: what is made before the load, how events are given to a source, and what the function
does with them: it appends the number of each to a file of the host.
"""

import gzip
import http.client
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pika
from confluent_kafka import Producer

from fgd.testing.client import Client, UnixConnection
from fgd.testing.daemon import DaemonProcess
from fgd.testing.kafka import KafkaBroker
from tests.documents import DocumentServer
from tests.rabbits import RabbitNode

DISK = "/mnt/soak"
_CODE = """\
import base64, json, os, time
def handler(event, context):
    found = {numbers}
    file = os.open("{disk}/{name}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, "".join("%s\\n" % one for one in found).encode())
    os.close(file)
    time.sleep({pause_s})
    return {{"statusCode": 200, "isBase64Encoded": False, "headers": {{}}, "body": "{{}}"}}
"""
_MESSAGES = 'text for record in event["records"] for text in record["messages"]'

#: Gives a source the events with these numbers; returns when the source has acknowledged them.
type Feed = Callable[[range], None]


@dataclass(frozen=True, slots=True)
class Source:
    """One source under load.

    Attributes:
        rate_s: events a second.
        make: makes the source and its trigger; None of the feed for sources that tick by themselves.
        numbers: Python expression for the numbers in `event`.
        pause_s: how long the function sleeps after each event.
        drains: whether everything must have come at the end; a source whose function is too slow keeps the rest.
    """

    name: str
    rate_s: int
    make: "Callable[[World, str], Feed | None]"
    numbers: str
    pause_s: float = 0.0
    drains: bool = True

    def code(self) -> str:
        """The function's source."""
        return _CODE.format(numbers=self.numbers, disk=DISK, name=self.name, pause_s=self.pause_s)


class World:
    """What sources are made of: the daemon, a Kafka broker, other servers that sources start."""

    def __init__(self, daemon: DaemonProcess, client: Client, kafka: KafkaBroker, stack: ExitStack) -> None:
        self.daemon = daemon
        self.client = client
        self.kafka = kafka
        self._stack = stack

    def server(self, server: Any) -> Any:
        """A server that lives as long as this."""
        return self._stack.enter_context(server)

    def own_client(self) -> Client:
        """A client for one thread alone."""
        port = self.daemon.port
        client = Client(
            lambda: http.client.HTTPConnection("127.0.0.1", port, timeout=60), self.client.project_id, self.client.token
        )
        self._stack.callback(client.close)
        return client

    def trigger(self, urn: str, code: str, data: Mapping[str, object]) -> dict[str, Any]:
        """A new trigger that is switched on.

        Raises:
            RuntimeError: it was refused.
        """
        body = {"trigger_type_code": code, "trigger_status": "ACTIVE", "event_data": data}
        return self.post(f"/v2/{self.client.project_id}/fgs/triggers/{urn}", body)

    def post(self, path: str, body: Mapping[str, object], client: Client | None = None) -> dict[str, Any]:
        """The answer to a request that must be granted.

        Raises:
            RuntimeError: it was not.
        """
        answer = (client or self.client).request("POST", path, body)
        if answer.status >= 300:
            raise RuntimeError(f"{path}: {answer.text}")
        return dict(answer.json()) if answer.body else {}


def _async(world: World, urn: str) -> Feed:
    client = world.own_client()

    def feed(numbers: range) -> None:
        for number in numbers:
            answer = client.enqueue(urn, {"n": number})
            if answer.status != 202:
                raise RuntimeError(answer.text)

    return feed


def _apig(world: World, urn: str) -> Feed:
    data = {"name": "API_soak", "auth": "NONE", "protocol": "HTTP"}
    made = world.trigger(urn, "APIG", data)
    path = "/" + made["event_data"]["invoke_url"].split("/", 3)[3]
    client = world.own_client()

    def feed(numbers: range) -> None:
        for number in numbers:
            answer = client.request("GET", f"{path}?n={number}")
            if answer.status != 200:
                raise RuntimeError(answer.text)

    return feed


def _timer(world: World, urn: str) -> None:
    for number in range(TIMER_RATE_S):
        data = {
            "name": f"soak{number}", "schedule_type": "Cron", "schedule": "@every 1s", "user_event": str(number),
        }  # fmt: skip
        world.trigger(urn, "TIMER", data)


def _kafka(topic: str, partitions: int, batch: int) -> Callable[[World, str], Feed]:
    def make(world: World, urn: str) -> Feed:
        kafka = world.kafka
        kafka.topic(topic, partitions)
        data = {
            "kafka_connect_address": kafka.address, "topic_ids": [topic], "start_position": "earliest",
            "batch_size": batch,
        }  # fmt: skip
        world.trigger(urn, "OPENSOURCEKAFKA", data)
        return _producing(kafka, topic, partitions)

    return make


def _dis(world: World, urn: str) -> Feed:
    data = {"stream_name": "soak", "sharditerator_type": "TRIM_HORIZON", "polling_interval": 200, "polling_unit": "ms"}
    world.trigger(urn, "DIS", data)
    return _producing(world.kafka, STREAM_TOPIC, STREAM_PARTITIONS)


def _producing(kafka: KafkaBroker, topic: str, partitions: int) -> Feed:
    producer = Producer({"bootstrap.servers": kafka.address, "log_level": 0, "linger.ms": 5})

    def feed(numbers: range) -> None:
        for number in numbers:
            producer.produce(topic, str(number), partition=number % partitions)
        if producer.flush(30):
            raise RuntimeError("the broker did not take all messages")

    return feed


def _rabbit(world: World, urn: str) -> Feed:
    node: RabbitNode = world.server(RabbitNode())
    node.exchange("soak", "soak")
    data = {
        "instance_id": "soak", "connect_address": node.address, "exchange_name": "soak", "queue_name": "soak",
        "access_password": "guest", "batch_size": 50,
    }  # fmt: skip
    world.trigger(urn, "RABBITMQ", data)
    channel = node.connect().channel()
    channel.confirm_delivery()

    def feed(numbers: range) -> None:
        for number in numbers:
            channel.basic_publish("soak", "", str(number), pika.BasicProperties(delivery_mode=2))

    return feed


def _dds(world: World, urn: str) -> Feed:
    documents: DocumentServer = world.server(DocumentServer())
    data = {
        "instance_id": "soak", "instance_addrs": [documents.address], "db_name": "soak", "collection_name": "soak",
        "db_user": "", "batch_size": 50, "mode": "Single",
    }  # fmt: skip
    world.trigger(urn, "DDS", data)
    collection = documents.client().soak.soak

    def feed(numbers: range) -> None:
        collection.insert_many({"n": str(number)} for number in numbers)

    return feed


def _smn(world: World, urn: str) -> Feed:
    topics = f"/v2/{world.client.project_id}/notifications/topics"
    topic_urn = world.post(topics, {"name": "soak", "display_name": ""})["topic_urn"]
    world.trigger(urn, "SMN", {"topic_urn": topic_urn})
    client = world.own_client()

    def feed(numbers: range) -> None:
        for number in numbers:
            world.post(f"{topics}/{topic_urn}/publish", {"subject": "soak", "message": str(number)}, client)

    return feed


def _lts(world: World, urn: str) -> Feed:
    client = world.own_client()
    groups = f"/v2/{client.project_id}/groups"
    group_id = world.post(groups, {"log_group_name": "soak"})["log_group_id"]
    stream_id = world.post(f"{groups}/{group_id}/streams", {"log_stream_name": "soak"})["log_stream_id"]
    data = {"log_group_id": group_id, "log_topic_id": stream_id, "batch_interval_ms": 200}
    world.trigger(urn, "LTS", data)
    path = f"/fgd/v1/projects/{client.project_id}/log-streams/{stream_id}/lines"

    def feed(numbers: range) -> None:
        answer = client.request("POST", path, gzip.compress(b"".join(b"%d\n" % number for number in numbers), 1))
        if answer.status != 200:
            raise RuntimeError(answer.text)

    return feed


def _objects(world: World, urn: str) -> Feed:
    client = Client(lambda: UnixConnection(str(world.daemon.admin_socket), 60.0), "")

    def put(path: str) -> None:
        answer = client.request("PUT", f"/obs/soak{path}", b"x" * 100)
        if answer.status != 200:
            raise RuntimeError(answer.text)

    put("")
    world.trigger(urn, "OBS", {"bucket": "soak", "events": ["Put"]})

    def feed(numbers: range) -> None:
        for number in numbers:
            put(f"/{number}")

    return feed


TIMER_RATE_S = 5
STREAM_TOPIC = "stream"
STREAM_PARTITIONS = 2
SOURCES = (
    Source("async", 50, _async, '[event["n"]]'),
    Source("apig", 50, _apig, '[event["queryStringParameters"]["n"]]'),
    Source("timer", TIMER_RATE_S, _timer, '[event["user_event"] + "@" + event["time"]]'),
    Source("kafka", 500, _kafka("soak", 4, 100), f"[{_MESSAGES}]"),
    Source("kafka_slow", 300, _kafka("slow", 1, 10), f"[{_MESSAGES}]", pause_s=0.1, drains=False),
    Source("dis", 100, _dis, '[base64.b64decode(one["data"]).decode() for one in event["Message"]["records"]]'),
    Source("rabbitmq", 100, _rabbit, f"[{_MESSAGES}]"),
    Source("dds", 50, _dds, '[json.loads(one["dds"]["full_document"])["n"] for one in event["records"]]'),
    Source("objects", 50, _objects, '[one["s3"]["object"]["key"] for one in event["Records"]]'),
    Source("smn", 10, _smn, '[one["smn"]["message"] for one in event["record"]]'),
    Source(
        "lts", 1000, _lts,
        '[one["message"] for one in json.loads(json.loads(base64.b64decode(event["lts"]["data"]))["logs"])]',
    ),
)  # fmt: skip
