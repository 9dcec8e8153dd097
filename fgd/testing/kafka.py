"""A real Kafka broker for tests and benches: one node on loopback, from the jars of tools/test-servers.sh."""

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from fgd.testing.client import HarnessError
from fgd.testing.host import eventually, free_port

#: Users of the listeners that ask for one.
PLAIN_USER: Final = ("alice", "plain-secret")
SCRAM_USER: Final = ("bob", "scram-secret")
_READY_S: Final = 60.0
_HEAP: Final = "-Xmx384m"


def _jars() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fgd-test-servers"
    found = [one.parent for one in cache.glob("kafka-*/.complete")]
    if not found or shutil.which("java") is None:
        raise HarnessError("there is no Kafka broker to test against; get one: tools/test-servers.sh")
    return max(found)


class KafkaBroker:
    """One broker. As a context manager it starts it, and ends it whatever happens; its data goes with it."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fgd-kafka-"))
        self.port, self.sasl_port, self.ssl_port, self._controller = (free_port() for _ in range(4))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Without users and encryption."""
        return f"127.0.0.1:{self.port}"

    @property
    def authority(self) -> str:
        """PEM of the certificate that the encrypted listener has; it signs itself, for `localhost`."""
        return (self.folder / "cert.pem").read_text()

    def __enter__(self) -> Self:
        try:
            self._format()
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> Self:
        """Starts it and waits until it answers.

        Raises:
            HarnessError: it does not; with the end of its log.
        """
        self._process = self._java("kafka.Kafka", str(self.folder / "server.properties"))
        admin = self.admin()

        def ready() -> bool:
            try:
                return bool(admin.list_topics(timeout=2).brokers)
            except KafkaException:
                return False

        if not eventually(ready, _READY_S):
            self.kill()
            raise HarnessError(f"the broker does not answer:\n{(self.folder / 'log').read_text()[-3000:]}")
        return self

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

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
        producer = Producer({"bootstrap.servers": self.address, "message.max.bytes": 10_000_000, "log_level": 0})
        for number, value in enumerate(values):
            where = {} if partition is None else {"partition": partition(number)}
            producer.produce(topic, value, **where)  # type: ignore[arg-type]  # the stub has no union for keywords
            if number % 10_000 == 9_999:
                producer.flush(_READY_S)
        if producer.flush(_READY_S):
            raise HarnessError(f"messages to {topic} were not written")

    def _format(self) -> None:
        key, certificate = self.folder / "key.pem", self.folder / "cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
            check=True, capture_output=True, timeout=_READY_S,
        )  # fmt: skip
        (self.folder / "keystore.pem").write_text(key.read_text() + certificate.read_text())
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
        }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        (self.folder / "server.properties").write_text(text)
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if cluster.startswith("-"):
            cluster = "A" + cluster[1:]
        user = f"SCRAM-SHA-256=[name={SCRAM_USER[0]},password={SCRAM_USER[1]}]"
        done = self._java(
            "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self.folder / "server.properties"),
            "--add-scram", user,
        ).wait(_READY_S)  # fmt: skip
        if done:
            raise HarnessError(f"the broker's data cannot be made:\n{(self.folder / 'log').read_text()[-3000:]}")

    def _java(self, *words: str) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                # It ends with who started it.
                ["setpriv", "--pdeathsig", "KILL", "java", _HEAP, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                 "-cp", f"{_jars()}/*", *words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
