"""A Kafka trigger: messages a second from a real broker through a function, in batches of 100 of 4 partitions."""

import time

from bench.host import report, say
from bench.node import node
from fgd.testing.kafka import KafkaBroker

MESSAGES = 100_000
BATCH = 100
PARTITIONS = 4
DRAIN_S = 120.0

COUNT = "def handler(event, context):\n    return sum(len(record['messages']) for record in event['records'])\n"


def main() -> None:
    with KafkaBroker() as kafka, node() as (_, client):
        topic = kafka.topic("bench", PARTITIONS)
        kafka.produce(
            topic, [f"message {number:06d}" for number in range(MESSAGES)], lambda number: number % PARTITIONS
        )
        urn = client.deploy("count", COUNT)
        client.invoke(urn, {"records": []})
        data = {
            "kafka_connect_address": kafka.address, "topic_ids": [topic], "start_position": "earliest",
            "batch_size": BATCH,
        }  # fmt: skip
        body = {"trigger_type_code": "OPENSOURCEKAFKA", "trigger_status": "ACTIVE", "event_data": data}
        made = client.request("POST", f"/v2/{client.project_id}/fgs/triggers/{urn}", body).json()
        say(f"kafka: {MESSAGES} messages, batches of {BATCH}")

        def figures() -> dict[str, float]:
            answer = client.request("GET", f"/fgd/v1/triggers/{urn}/OPENSOURCEKAFKA/{made['trigger_id']}").json()
            return dict(answer["state"]["figures"])

        while not figures().get("messages"):
            time.sleep(0.05)
        begin_s, first = time.monotonic(), figures()["messages"]
        last = first
        while last < MESSAGES and time.monotonic() - begin_s < DRAIN_S:
            time.sleep(0.1)
            last = figures()["messages"]
        took_s = time.monotonic() - begin_s
        report(
            "kafka",
            {
                "messages": MESSAGES,
                "batch": BATCH,
                "messages_per_s": round((last - first) / took_s),
                "left": MESSAGES - last,
            },
        )


if __name__ == "__main__":
    main()
