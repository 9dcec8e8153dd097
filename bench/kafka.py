"""Kafka and DIS triggers: messages a second from a real broker through a function, batches of 100 of 4 partitions."""

import time
from collections.abc import Mapping

from bench.host import report, say
from bench.node import node
from fgd.testing.client import Client
from fgd.testing.kafka import KafkaBroker

MESSAGES = 100_000
BATCH = 100
PARTITIONS = 4
DRAIN_S = 120.0
TOPIC = "bench"

COUNT = "def handler(event, context):\n    return sum(len(record['messages']) for record in event['records'])\n"
COUNT_RECORDS = "def handler(event, context):\n    return len(event['Message']['records'])\n"


def main() -> None:
    with KafkaBroker() as kafka:
        kafka.topic(TOPIC, PARTITIONS)
        kafka.produce(
            TOPIC, [f"message {number:06d}" for number in range(MESSAGES)], lambda number: number % PARTITIONS
        )
        brokers = {
            "kafka_connect_address": kafka.address, "topic_ids": [TOPIC], "start_position": "earliest",
            "batch_size": BATCH,
        }  # fmt: skip
        stream = {
            "stream_name": TOPIC, "sharditerator_type": "TRIM_HORIZON", "batch_size": BATCH, "polling_interval": 100,
            "polling_unit": "ms",
        }  # fmt: skip
        with node(streams={TOPIC: {"brokers": [kafka.address], "topic": TOPIC}}) as (_, client):
            _measure("kafka", client, "OPENSOURCEKAFKA", brokers, COUNT, {"records": []})
            _measure("dis", client, "DIS", stream, COUNT_RECORDS, {"Message": {"records": []}})


def _measure(
    name: str, client: Client, code: str, data: Mapping[str, object], handler: str, warm: Mapping[str, object]
) -> None:
    urn = client.deploy(f"count-{name}", handler)
    client.invoke(urn, warm)
    body = {"trigger_type_code": code, "trigger_status": "ACTIVE", "event_data": data}
    made = client.request("POST", f"/v2/{client.project_id}/fgs/triggers/{urn}", body).json()
    say(f"{name}: {MESSAGES} messages, batches of {BATCH}")

    def messages() -> float:
        answer = client.request("GET", f"/fgd/v1/triggers/{urn}/{code}/{made['trigger_id']}").json()
        return float(answer["state"]["figures"].get("messages", 0))

    while not messages():
        time.sleep(0.05)
    begin_s, first = time.monotonic(), messages()
    last = first
    while last < MESSAGES and time.monotonic() - begin_s < DRAIN_S:
        time.sleep(0.1)
        last = messages()
    took_s = time.monotonic() - begin_s
    figures = {"messages_per_s": round((last - first) / took_s), "left": MESSAGES - last}
    report(name, {"messages": MESSAGES, "batch": BATCH, **figures})


if __name__ == "__main__":
    main()
