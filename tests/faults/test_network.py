"""What networks leave on the host: nothing, however the daemon and its launcher end."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fgd.testing.client import Client, UnixConnection
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually
from tests.e2e.netlab import LAN, NETWORKS, NODE, NODE_LAN, WORLD, NetLab, Probes, lab_daemon

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("ip", "nft", "nsenter"))), reason="needs ip, nft and nsenter"
)


@pytest.fixture(scope="module")
def lab() -> Iterator[NetLab]:
    with NetLab() as made:
        yield made


@pytest.fixture
def fresh(lab: NetLab, tmp_path: Path) -> Iterator[Callable[..., DaemonProcess]]:
    made: list[DaemonProcess] = []

    def make(**settings: object) -> DaemonProcess:
        made.append(lab_daemon(tmp_path, lab, **settings))
        return made[-1]

    yield make
    for daemon in made:
        daemon.__exit__()


def test_nothing_is_made_before_the_first_function_that_needs_it(
    lab: NetLab, fresh: Callable[..., DaemonProcess]
) -> None:
    with fresh() as daemon:
        probes = Probes(daemon)
        probes.urn("shut", network_controller={"disable_public_network": True})

        assert ["lo"] == probes.ask("shut", do="see")["interfaces"]
        assert [] == lab.traces()
        probes.client.close()


def test_nothing_is_left_after_a_stop_and_after_a_kill(lab: NetLab, fresh: Callable[..., DaemonProcess]) -> None:
    daemon = fresh()
    with daemon:
        _use(daemon)
        traces = " ".join(lab.traces())

        assert all(word in traces for word in ("br-own", "table inet fgd_", "eth0")), traces
        assert 0 == daemon.stop()
        assert [] == lab.traces()
        daemon.start()
        _use_again(daemon)
        daemon.kill9()

        assert eventually(lambda: [] == lab.traces()), lab.traces()


def test_what_a_killed_launcher_left_is_gone_after_the_next_start(
    lab: NetLab, fresh: Callable[..., DaemonProcess]
) -> None:
    daemon = fresh()
    with daemon:
        _use(daemon)
        launcher = daemon.launcher()
        launcher.suspend()
        daemon.kill9()
        launcher.kill()
        assert [] == daemon.wait_gone()
        assert "table inet fgd_" in " ".join(lab.traces()), "otherwise this tests nothing"
        # Stored functions ask for blanks at once; without a pool nothing is made until somebody calls.
        daemon.settings |= {"blank_pool": 0, "blank_pool_max": 0}
        daemon.start()

        assert [] == lab.traces()
        assert daemon.wait_log("removed what was left of networks")
        _use_again(daemon)


def test_the_last_daemon_of_a_host_puts_forwarding_back(lab: NetLab, tmp_path: Path) -> None:
    first, second = (
        lab_daemon(tmp_path / name, lab, public_subnet=subnet, networks={})
        for name, subnet in (("a", "10.213.0.0/16"), ("b", "10.214.0.0/16"))
    )
    with first, second:
        used = [Probes(daemon) for daemon in (first, second)]
        for probes in used:
            probes.urn("out")
            probes.get("out", f"http://{WORLD}/")
        first.stop()

        assert "world " + NODE == used[1].get("out", f"http://{WORLD}/")
        second.stop()

        assert [] == lab.traces()
        for probes in used:
            probes.client.close()


def test_nobody_else_is_let_through_where_forwarding_was_off(lab: NetLab, fresh: Callable[..., DaemonProcess]) -> None:
    with fresh(networks={"lab": NETWORKS["lab"]}) as daemon:
        probes = Probes(daemon)
        probes.urn("out")
        probes.urn("lab", func_vpc={"vpc_id": "lab", "subnet_id": "lab"})
        probes.get("out", f"http://{WORLD}/")
        probes.get("lab", f"http://{LAN}/")
        lab.run("lan", "ip", "route", "replace", "default", "via", NODE_LAN)

        assert "eth0" in lab.traces()
        assert "" == lab.get("world", LAN)
        assert "" == lab.get("lan", WORLD)
        probes.client.close()


def _use(daemon: DaemonProcess) -> None:
    probes = Probes(daemon)
    probes.urn("out")
    probes.urn("own", func_vpc={"vpc_id": "own", "subnet_id": "own"})
    assert "world " + NODE == probes.get("out", f"http://{WORLD}/")
    probes.tried("own", (WORLD, 80))
    probes.client.close()


def _use_again(daemon: DaemonProcess) -> None:
    client = Client(lambda: UnixConnection(str(daemon.admin_socket), 60.0), daemon.create_keys().project_id)
    for urn in (function["func_urn"] for function in client.functions("GET").json()["functions"]):
        assert 200 == client.invoke(urn, {"do": "try", "targets": [[WORLD, 80]]}).status
    client.close()
