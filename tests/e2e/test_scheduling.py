"""Instances: how many, who gets them, and what happens when there are none."""

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from fgd.testing.client import Answer, Client, Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.parallel import Flood
from tests.e2e.sources import TICKER, WHO

type Connect = Callable[[], Client]


@pytest.fixture
def connect(daemon: DaemonProcess, keys: Keys) -> Connect:
    """Makes further clients."""
    return lambda: daemon.client(keys)


def calls(urn: str, seconds: float) -> Callable[[Client], Answer]:
    """A call that takes this long."""
    return lambda client: client.invoke(urn, {"s": seconds})


def overlap(spans: list[tuple[float, float]]) -> bool:
    """Whether any two of the spans were at the same time."""
    return any(earlier[1] > later[0] for earlier, later in pairwise(sorted(spans)))


def test_one_request_at_a_time_per_instance_by_default(deploy: Callable[..., str], connect: Connect) -> None:
    urn = deploy(WHO)
    found = [answer.json() for answer in Flood(connect, 8, calls(urn, 0.3)).finish()]
    by_instance: dict[str, list[tuple[float, float]]] = {}
    for one in found:
        by_instance.setdefault(one["me"], []).append((one["begun"], one["ended"]))

    assert len(by_instance) > 1
    assert not any(overlap(spans) for spans in by_instance.values())


def test_several_requests_share_an_instance_when_allowed(
    api: Client, deploy: Callable[..., str], connect: Connect
) -> None:
    urn = deploy(WHO, strategy={"concurrency": 1, "concurrent_num": 10})
    api.invoke(urn)
    found = [answer.json() for answer in Flood(connect, 6, calls(urn, 0.5)).finish()]

    assert len({one["me"] for one in found}) == 1
    assert overlap([(one["begun"], one["ended"]) for one in found])


def test_requests_wait_in_line_for_the_only_instance(deploy: Callable[..., str], connect: Connect) -> None:
    urn = deploy(WHO, strategy={"concurrency": 1, "concurrent_num": 1})
    found = [answer.json() for answer in Flood(connect, 10, calls(urn, 0.05)).finish()]

    assert len({one["me"] for one in found}) == 1
    assert not overlap([(one["begun"], one["ended"]) for one in found])


def test_beyond_the_waiting_line_429(api: Client, deploy: Callable[..., str], connect: Connect) -> None:
    urn = deploy(WHO, strategy={"concurrency": 1, "concurrent_num": 1})
    api.invoke(urn)
    answers = Flood(connect, 45, calls(urn, 0.2)).finish()
    refused = [answer for answer in answers if answer.status != 200]

    assert len(answers) - len(refused) >= 30
    assert refused
    assert {(answer.status, answer.error_code) for answer in refused} == {(429, "FSS.0429")}
    assert {answer.json()["error_msg"] for answer in refused} == {
        "Your request has been controlled by overload sdk, please retry later."
    }
    assert api.invoke(urn).status == 200


def test_flood_of_one_function_does_not_hold_up_another(
    api: Client, deploy: Callable[..., str], connect: Connect
) -> None:
    busy = deploy(WHO, strategy={"concurrency": 1, "concurrent_num": 1})
    other = deploy(WHO)
    flood = Flood(connect, 25, calls(busy, 0.2))
    assert eventually(lambda: len(flood.answers) > 1)
    answered = api.invoke(other).status
    still_waiting = 25 - len(flood.answers)
    flood.finish()

    assert answered == 200
    assert still_waiting > 0


@pytest.fixture
def small(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A node with memory for four instances of 128 MB."""
    settings: dict[str, object] = {"memory_budget_mib": 512, "memory_overcommit": 1.0, "queue_max": 200}
    with DaemonProcess(tmp_path, settings) as daemon:
        yield daemon


def test_full_node_is_shared_and_idle_instances_make_room(small: DaemonProcess) -> None:
    keys = small.create_keys()
    api = small.client(keys)
    greedy, other = api.deploy("greedy", WHO), api.deploy("other", WHO)
    flood = Flood(lambda: small.client(keys), 40, calls(greedy, 0.2))
    assert eventually(lambda: len(flood.answers) > 4)
    answered = api.invoke(other).status
    still_waiting = 40 - len(flood.answers)
    assert {answer.status for answer in flood.finish()} == {200}

    assert answered == 200
    assert still_waiting > 0
    assert len(small.instances()) <= 4
    for number in range(6):  # each needs the place of an idle one
        assert api.invoke(api.deploy(f"late-{number}", WHO)).status == 200
    assert len(small.instances()) <= 4
    api.close()


def test_nothing_runs_between_two_requests(api: Client, deploy: Callable[..., str]) -> None:
    urn = deploy(TICKER)
    first = api.invoke(urn, {"s": 0.3}).json()
    time.sleep(1.5)
    second = api.invoke(urn).json()

    assert first > 5, "the thread runs during a request"
    assert second - first < 60, "the thread ran on between requests"


def test_idle_instances_go_after_the_keep_alive(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, {"keep_alive_s": 0.5}) as daemon:
        api = daemon.client(daemon.create_keys())
        urn = api.deploy("brief", WHO)
        first = api.invoke(urn).json()["me"]

        assert len(daemon.instances()) == 1
        assert eventually(lambda: not daemon.instances(), 5.0)
        assert api.invoke(urn).json()["me"] != first
        api.close()


def test_client_that_goes_away_does_not_break_anything(
    api: Client, daemon: DaemonProcess, keys: Keys, deploy: Callable[..., str]
) -> None:
    urn = deploy(WHO, strategy={"concurrency": 1, "concurrent_num": 1})
    for _ in range(3):
        hasty = daemon.client(keys, timeout_s=0.2)
        with pytest.raises(TimeoutError):
            hasty.invoke(urn, {"s": 0.5})
        hasty.close()

    assert api.invoke(urn).status == 200
