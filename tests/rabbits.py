"""A RabbitMQ node for tests, on loopback, with a folder, a cookie and an epmd of its own."""

import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pika
from pika.exceptions import AMQPError

from fgd.testing.client import HarnessError
from fgd.testing.host import free_ports
from fgd.testing.server import Server

_SERVER: Final = "/usr/lib/rabbitmq/bin/rabbitmq-server"


class RabbitNode(Server):
    """One broker."""

    what = "RabbitMQ"
    short = "rabbit"
    ready_s = 90.0

    def __init__(self) -> None:
        super().__init__()
        self.port, self.tls_port, self._epmd_port, self._dist_port = free_ports(4)
        self._epmd: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def tls_address(self) -> str:
        """Where connections are encrypted."""
        return f"localhost:{self.tls_port}"

    def prepare(self) -> None:
        if not Path(_SERVER).exists() or shutil.which("openssl") is None:
            raise HarnessError("there is no RabbitMQ to test against; get it: tools/test-servers.sh")
        self.certify()
        (self.folder / "rabbit.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\nlisteners.ssl.1 = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.certfile = {self.folder}/cert.pem\nssl_options.keyfile = {self.folder}/key.pem\n"
            "ssl_options.verify = verify_none\n"
            "disk_free_limit.absolute = 1MB\nlog.console = true\nlog.file = false\n"
        )
        (self.folder / "plugins").write_text("[].\n")
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        self._epmd = self._erlang("epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1")

    def launch(self) -> "subprocess.Popen[bytes]":
        return self._erlang(_SERVER)

    def ready(self) -> bool:
        try:
            self.connect().close()
        except (AMQPError, OSError):
            return False
        return True

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
        super().__exit__()

    def connect(self) -> Any:
        """A connection of pika for what tests write."""
        return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port, socket_timeout=5))

    def exchange(self, name: str, queue: str = "", **arguments: object) -> None:
        """Makes a fanout exchange, and a durable queue bound to it if one is named."""
        with self.connect() as connection:
            channel = connection.channel()
            channel.exchange_declare(name, "fanout", durable=True)
            if queue:
                channel.queue_declare(queue, durable=True, arguments=arguments)
                channel.queue_bind(queue, name)

    def publish(self, exchange: str, *bodies: bytes | str) -> None:
        """Writes messages, kept on disk, and waits until the broker has each."""
        with self.connect() as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for body in bodies:
                channel.basic_publish(exchange, "", body, pika.BasicProperties(delivery_mode=2))

    def waiting(self, queue: str) -> int:
        """How many messages of a queue are ready."""
        with self.connect() as connection:
            return int(connection.channel().queue_declare(queue, passive=True).method.message_count)

    def _erlang(self, *words: str) -> "subprocess.Popen[bytes]":
        folder = str(self.folder)
        own = {
            "HOME": folder,
            "RABBITMQ_NODENAME": f"fgd{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": folder,
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbit.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/none",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        return self.run(*words, env=own)
