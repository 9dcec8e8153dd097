"""The example package: MQTT against a real broker, with the kit, and installed by pip into a daemon."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.publish import multiple

from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually, free_port
from fgd.testing.trigger import BadTriggerConfig, RecordingDoor, TriggerRig
from tests.e2e.packaging import install

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugins" / "fgd_mqtt"
SOURCE = "def handler(event, context):\n    print('got', event['topic'], event['payload'])\n"


class Broker:
    """mosquitto on loopback; as a context manager it runs."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin")
        if program is None:
            pytest.fail("mosquitto is not installed: apt-get install mosquitto")
        config = self._folder / "mosquitto.conf"
        config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\n")
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=log)
        assert eventually(lambda: b"running" in (self._folder / "mosquitto.log").read_bytes())

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def publish(self, *payloads: str | bytes, topic: str = "orders/eu", qos: int = 1) -> None:
        messages = [{"topic": topic, "payload": payload, "qos": qos} for payload in payloads]
        multiple(messages, "127.0.0.1", self.port)  # type: ignore[arg-type]  # dicts are among what it takes


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def kind() -> Iterator[Any]:
    sys.path.insert(0, str(EXAMPLE))
    import fgd_mqtt  # type: ignore[import-not-found, unused-ignore]

    yield fgd_mqtt.Mqtt
    sys.path.remove(str(EXAMPLE))


def _rig(kind: Any, port: int, door: RecordingDoor | None = None, **settings: object) -> TriggerRig[Any]:
    data = {"host": "127.0.0.1", "port": port, "topics": ["orders/#"], **settings}
    return TriggerRig(kind, data, real_time=True, door=door)


def test_messages_become_events(broker: Broker, kind: Any) -> None:
    async def ready() -> None:
        broker.publish("one", b"\xff\xfe", qos=1)
        broker.publish("other", topic="invoices")
        broker.publish("last", qos=0)

    rig = _rig(kind, broker.port)
    events = rig.run(events=3, seconds=10, ready=ready)

    assert [("one", "utf-8"), ("//4=", "base64"), ("last", "utf-8")] == [(e["payload"], e["encoding"]) for e in events]
    assert {"topic": "orders/eu", "qos": 1, "retain": False} == {k: events[0][k] for k in ("topic", "qos", "retain")}
    assert [f"connected to 127.0.0.1:{broker.port}"] == rig.door.notes


def test_what_was_not_acknowledged_comes_again(broker: Broker, kind: Any) -> None:
    async def ready() -> None:
        broker.publish(*(f"m{number}" for number in range(10)))

    slow = _rig(kind, broker.port, RecordingDoor(delay_s=0.2), prefetch=2)
    first = slow.run(events=3, seconds=10, ready=ready)
    rest = _rig(kind, broker.port).run(events=7, seconds=10)
    # Some of the first were delivered and not acknowledged yet: they are among the seven, and as many are left.
    while len({event["payload"] for event in first + rest}) < 10:
        rest += _rig(kind, broker.port).run(events=1, seconds=10)

    assert 3 == len(first)
    assert {f"m{number}" for number in range(10)} == {event["payload"] for event in first + rest}


def test_a_message_over_the_limit_is_counted_and_does_not_come_again(broker: Broker, kind: Any) -> None:
    async def ready() -> None:
        broker.publish("x" * 300_000, "small")

    rig = _rig(kind, broker.port)
    rig.run(events=1, seconds=10, ready=ready)

    assert 1 == rig.door.figures["refused"]
    assert ["small"] == [one.event["payload"] for one in rig.door.events]


def test_a_broker_that_is_not_there_is_an_error_that_says_so(kind: Any) -> None:
    with pytest.RaisesGroup(ConnectionRefusedError, flatten_subgroups=True):
        _rig(kind, free_port()).run(seconds=5)


@pytest.mark.parametrize(
    ("settings", "field"),
    [({"topics": []}, "topics"), ({"topics": ["a#"]}, "topics[0]"), ({"topics": ["#/a"]}, "topics[0]"),
     ({"port": 0}, "port"), ({"password": "x"}, "username"), ({"qos": 3}, "qos")],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(kind: Any, settings: dict[str, object], field: str) -> None:
    with pytest.raises(BadTriggerConfig) as refused:
        TriggerRig(kind, {"host": "h", "topics": ["a/+/b"], **settings})

    assert str(refused.value).startswith(f"event_data.{field}")


def test_installed_into_a_daemon_it_survives_the_end_of_both(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="fgd-plugin-") as name:
        daemon = DaemonProcess(tmp_path / "daemon", {"drain_s": 1.0})
        with daemon:
            before = daemon.cli("plugins").stdout
            site = install(EXAMPLE, Path(name))
            monkeypatch.setenv("PYTHONPATH", str(site))
            daemon.stop()
            daemon.start()  # what `systemctl restart` does
            shown = daemon.cli("plugins", "show", "mqtt").stdout
            daemon.client(daemon.create_keys()).deploy("orders", SOURCE)
            made = json.loads(
                daemon.cli(
                    "triggers", "create", "orders", "MQTT", "--set", "host=127.0.0.1", "--set", f"port={broker.port}",
                    "--set", 'topics=["orders/#"]', "--json",
                ).stdout
            )  # fmt: skip

            def state(word: str) -> bool:
                return word in daemon.cli("triggers", "show", made["trigger_id"]).stdout

            def got(number: int) -> bool:
                lines = daemon.cli("logs", "orders", "--limit", "500").stdout
                return all(f"got orders/eu m{one}\n" in lines for one in range(number))

            assert eventually(lambda: state("connected to"))
            broker.publish(*(f"m{number}" for number in range(5)))
            assert eventually(lambda: got(5), step_s=0.2)
            daemon.kill9()
            broker.publish(*(f"m{number}" for number in range(5, 10)))
            daemon.start()
            assert eventually(lambda: got(10), step_s=0.2)
            broker.stop()
            assert eventually(lambda: state("waiting"))
            broken = daemon.cli("triggers", "show", made["trigger_id"]).stdout
            broker.start()
            assert eventually(lambda: state("running"), step_s=0.2)

    assert "mqtt" not in before
    assert "trigger types  MQTT" in shown
    assert "connection ended" in broken or "refused" in broken
