"""Reserved instances of a running daemon."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fgd.testing.client import Answer, Client, Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.parallel import Flood
from tests.e2e.sources import TICKER, WHO

SLOW_START = "import time\ntime.sleep(0.5)\n" + WHO


class Node:
    """A daemon of a test's own, so that its instances are all that there are."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.daemon = daemon
        self.keys: Keys = daemon.create_keys()
        self.api = daemon.client(self.keys)

    def connect(self) -> Client:
        return self.daemon.client(self.keys)

    def reserve(self, urn: str, count: int, **fields: Any) -> dict[str, Any]:
        answer = self.api.functions("PUT", f"/{urn}/reservedinstances", {"count": count, **fields})
        assert 200 == answer.status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def ready(self, count: int) -> bool:
        """Whether so many instances are kept and all of them are ready."""
        found = self.daemon.admin("GET", "/fgd/v1/status").json()["reserved"]
        return bool({"wanted": count, "ready": count} == found)

    def frozen(self) -> int:
        found = self.daemon.admin("GET", "/fgd/v1/status").json()
        return int(found["instances"]["frozen"])

    def pids(self) -> set[int]:
        return {one.pid for one in self.daemon.instances()}

    def call(self, urn: str, seconds: float = 0.0) -> Answer:
        return self.api.invoke(urn, {"s": seconds}, X_Fgd_Timing="1")


def cold(answer: Answer) -> bool:
    """Whether the request had to wait for a start."""
    assert 200 == answer.status, answer.text
    return bool(json.loads(answer.headers["x-fgd-timing"])["cold"])


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    settings: dict[str, object] = {"keep_alive_s": 0.5, "drain_s": 5.0}
    with DaemonProcess(tmp_path_factory.mktemp("reserved"), settings) as daemon:
        yield Node(daemon)


@pytest.fixture
def make(node: Node, name: str) -> Iterator[Callable[..., str]]:
    """Deploys functions that end with the test, and their instances with them."""
    made: list[str] = []

    def deploy(source: str, **fields: Any) -> str:
        made.append(node.api.deploy(f"{name}-{len(made)}", source, **fields))
        return made[-1]

    yield deploy
    for urn in made:
        assert 204 == node.api.functions("DELETE", f"/{urn.rpartition(':')[0]}").status

    assert eventually(lambda: not node.pids())


class Load:
    """Calls one after the other from two clients until it is stopped."""

    def __init__(self, node: Node, urn: str) -> None:
        self.answers: list[Answer] = []
        self._node, self._urn = node, urn
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        client = self._node.connect()
        while not self._over.is_set():
            self.answers.append(client.invoke(self._urn, {"s": 0.01}, X_Fgd_Timing="1"))
        client.close()

    def stop(self) -> list[Answer]:
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self.answers


def test_reserved_instances_are_made_ahead_and_stay_and_are_replaced_when_they_die(
    node: Node, make: Callable[..., str]
) -> None:
    urn = make(WHO)
    node.reserve(urn, 2)
    assert eventually(lambda: node.ready(2))
    made = node.pids()
    time.sleep(1.0)  # twice the keep-alive

    assert 2 == len(made)
    assert made == node.pids()
    assert not cold(node.call(urn))
    victim = min(made)
    os.kill(victim, signal.SIGKILL)
    assert eventually(lambda: victim not in node.pids() and node.ready(2))
    assert 2 == len(node.pids())
    assert not cold(node.call(urn))


def test_more_requests_than_reserved_instances_go_to_others_which_end_again(
    node: Node, make: Callable[..., str]
) -> None:
    urn = make(WHO)
    node.reserve(urn, 2)
    assert eventually(lambda: node.ready(2))
    kept = node.pids()
    answers = Flood(
        node.connect, 5, lambda client: client.invoke(urn, {"s": 1.0}, X_Fgd_Timing="1")
    ).finish()  # fmt: skip

    assert [False, False, True, True, True] == sorted(map(cold, answers))
    assert 5 == len({answer.json()["me"] for answer in answers})
    assert eventually(lambda: node.pids() == kept)


def test_idle_mode_stops_the_cpu_between_requests_and_others_keep_it(node: Node, make: Callable[..., str]) -> None:
    awake, asleep = make(TICKER), make(TICKER)
    node.reserve(awake, 1)
    node.reserve(asleep, 1, idle_mode=True)
    assert eventually(lambda: node.ready(2))
    first = {urn: node.api.invoke(urn, {}).json() for urn in (awake, asleep)}
    time.sleep(1.0)
    ticks = {urn: node.api.invoke(urn, {}).json() - first[urn] for urn in (awake, asleep)}

    assert ticks[awake] > 25
    assert ticks[asleep] < 15
    assert eventually(lambda: 1 == node.frozen())
    node.reserve(asleep, 1, idle_mode=False)
    assert eventually(lambda: 0 == node.frozen())


def test_changed_code_is_ready_before_it_is_in_force(node: Node, make: Callable[..., str]) -> None:
    urn = make(SLOW_START + "VERSION = 1\n")
    node.reserve(urn, 2)
    assert eventually(lambda: node.ready(2))
    load = Load(node, urn)
    assert eventually(lambda: len(load.answers) > 10)
    before = {answer.json()["me"] for answer in load.answers}
    assert 200 == node.api.replace_code(urn, SLOW_START + "VERSION = 2\n").status
    number = len(load.answers)
    assert eventually(lambda: len(load.answers) > number + 10)
    assert 200 == node.api.configure(urn, timeout=20).status
    answers = load.stop()

    assert {False} == set(map(cold, answers))
    assert not before & {answer.json()["me"] for answer in answers[number + 4 :]}
    assert eventually(lambda: 2 == len(node.pids()))


def test_change_that_cannot_start_is_made_all_the_same(node: Node, make: Callable[..., str]) -> None:
    urn = make(WHO)
    node.reserve(urn, 1)
    assert eventually(lambda: node.ready(1))
    assert 200 == node.api.replace_code(urn, "import nothing_of_that_name\n").status
    broken = node.api.invoke(urn, {})
    assert 200 == node.api.replace_code(urn, WHO).status

    assert "nothing_of_that_name" in broken.text
    assert eventually(lambda: node.ready(1))
    assert not cold(node.call(urn))


def test_reservation_of_an_alias_moves_with_it_without_a_gap(node: Node, make: Callable[..., str]) -> None:
    urn = make(SLOW_START)
    function = urn.rpartition(":")[0]
    for version in ("v1", "v2"):
        assert 200 == node.api.replace_code(urn, SLOW_START + f"NAME = '{version}'\n").status
        assert 200 == node.api.functions("POST", f"/{urn}/versions", {"version": version}).status
    assert 200 == node.api.functions("POST", f"/{urn}/aliases", {"name": "prod", "version": "v1"}).status
    alias = f"{function}:!prod"
    node.reserve(alias, 2)
    assert eventually(lambda: node.ready(2))
    first = node.pids()
    load = Load(node, alias)
    assert eventually(lambda: len(load.answers) > 10)
    assert 200 == node.api.functions("PUT", f"/{urn}/aliases/prod", {"version": "v2"}).status
    number = len(load.answers)
    assert eventually(lambda: len(load.answers) > number + 10)
    answers = load.stop()

    assert {False} == set(map(cold, answers))
    assert eventually(lambda: 2 == len(node.pids()) and not first & node.pids())


def test_reserved_instances_are_ready_when_a_restarted_daemon_is(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, {"drain_s": 5.0}) as daemon:
        node = Node(daemon)
        urn = node.api.deploy("kept", SLOW_START)
        node.reserve(urn, 2, idle_mode=True)
        assert eventually(lambda: node.ready(2))
        for end in (daemon.stop, daemon.kill9):
            end()
            assert [] == daemon.wait_gone()
            daemon.start()
            node.api.close()

            assert node.ready(2)
            assert not cold(node.call(urn))
        listed = node.api.functions("GET", "/reservedinstanceconfigs").json()
        assert [("latest", 2, True)] == [
            (one["qualifier_name"], one["min_count"], one["idle_mode"]) for one in listed["reserved_instances"]
        ]
        node.reserve(urn, 0)
        assert eventually(lambda: node.ready(0))
        daemon.stop()
        daemon.start()
        node.api.close()

        assert not node.pids()
        node.api.close()


def test_schedule_and_limits_of_the_node_hold(node: Node, make: Callable[..., str]) -> None:
    urn = make(WHO)
    every_second = {"name": "now", "cron": "* * * * * *", "count": 3}
    node.reserve(urn, 1, tactics_config={"cron_configs": [every_second]})

    assert eventually(lambda: node.ready(3), 8.0)
    expired = every_second | {"expired_time": int(time.time()) - 5}
    node.reserve(urn, 1, tactics_config={"cron_configs": [expired]})
    assert eventually(lambda: 1 == len(node.pids()), 8.0)
    answer = node.api.functions("PUT", f"/{urn}/reservedinstances", {"count": 1000})
    assert (400, "FSS.1076") == (answer.status, answer.error_code)
    assert answer.json()["error_msg"].startswith("count: ")


def test_process_of_a_frozen_reserved_instance_uses_no_cpu(node: Node, make: Callable[..., str]) -> None:
    node.reserve(make(TICKER), 1, idle_mode=True)
    assert eventually(lambda: node.ready(1) and len(node.pids()) == 1)
    process = psutil.Process(min(node.pids()))
    assert eventually(lambda: 1 == node.frozen())
    before = process.cpu_times()
    time.sleep(0.6)

    assert before[:2] == process.cpu_times()[:2]
