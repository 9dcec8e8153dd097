"""A real Kafka broker for tests and benches: one node on loopback, from the jars of tools/test-servers.sh."""

import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from fgd.testing.client import HarnessError
from fgd.testing.host import free_ports
from fgd.testing.server import JavaServer

#: Users of the listeners that ask for one.
PLAIN_USER: Final = ("alice", "plain-secret")
SCRAM_USER: Final = ("bob", "scram-secret")
_READY_S: Final = 60.0


class KafkaBroker(JavaServer):
    """One broker."""

    what = "the Kafka broker"
    short = jars_name = "kafka"
    heap = "-Xmx384m"

    def __init__(self) -> None:
        super().__init__()
        self.port, self.sasl_port, self.ssl_port, self._controller = free_ports(4)

    @property
    def address(self) -> str:
        """Without users and encryption."""
        return f"127.0.0.1:{self.port}"

    def launch(self) -> "subprocess.Popen[bytes]":
        return self.java("", "kafka.Kafka", str(self.folder / "server.properties"))

    def ready(self) -> bool:
        try:
            return bool(self.admin().list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def admin(self) -> AdminClient:
        """A client that makes topics."""
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def topic(self, name: str, partitions: int = 1) -> str:
        """Makes a topic; gives its name."""
        admin = self.admin()  # what it makes goes with it
        made = admin.create_topics([NewTopic(name, partitions, 1)])
        made[name].result(_READY_S)
        return name

    def produce(self, topic: str, values: "list[bytes | str]", partition: "Callable[[int], int] | None" = None) -> None:
        """Writes messages and waits until they are there; `partition` gives one for the number of each."""
        # Idempotent, as the first messages of a new topic may be refused, and would come behind later ones.
        options: dict[str, Any] = {"message.max.bytes": 10_000_000, "enable.idempotence": True, "log_level": 0}
        producer = Producer({"bootstrap.servers": self.address, **options})
        for number, value in enumerate(values):
            where = {} if partition is None else {"partition": partition(number)}
            producer.produce(topic, value, **where)  # type: ignore[arg-type]  # the stub has no union for keywords
            if number % 10_000 == 9_999:
                producer.flush(_READY_S)
        if producer.flush(_READY_S):
            raise HarnessError(f"messages to {topic} were not written")

    def prepare(self) -> None:
        self.certify()
        (self.folder / "keystore.pem").write_text((self.folder / "key.pem").read_text() + self.authority)
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        users = f'{plain} user_{PLAIN_USER[0]}="{PLAIN_USER[1]}";'
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},SASL://127.0.0.1:{self.sasl_port},"
            f"TLS://127.0.0.1:{self.ssl_port},CONTROLLER://127.0.0.1:{self._controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port},SASL://127.0.0.1:{self.sasl_port},"
            f"TLS://localhost:{self.ssl_port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,"
            "TLS:SASL_SSL",
            "inter.broker.listener.name": "PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
            "listener.name.sasl.plain.sasl.jaas.config": users,
            "listener.name.tls.plain.sasl.jaas.config": users,
            "listener.name.sasl.scram-sha-256.sasl.jaas.config": scram,
            "listener.name.tls.scram-sha-256.sasl.jaas.config": scram,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.folder / "keystore.pem",
            "log.dirs": self.folder / "data",
            "auto.create.topics.enable": "false",
            "message.max.bytes": 10_000_000,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            # One that was killed is let in again when its earlier self counts as gone.
            "broker.session.timeout.ms": 1500,
            "broker.heartbeat.interval.ms": 300,
        }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        (self.folder / "server.properties").write_text(text)
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if cluster.startswith("-"):
            cluster = "A" + cluster[1:]
        user = f"SCRAM-SHA-256=[name={SCRAM_USER[0]},password={SCRAM_USER[1]}]"
        done = self.java(
            "", "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self.folder / "server.properties"),
            "--add-scram", user,
        ).wait(_READY_S)  # fmt: skip
        if done:
            raise HarnessError(f"the broker's data cannot be made:\n{self.log_tail()}")
