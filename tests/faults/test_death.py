"""Whatever process dies: nothing is left running, nothing acknowledged is lost, and the rest goes on."""

import signal
import socket
import threading
import time
from pathlib import Path

import psutil
import pytest

from bench.kill9 import rounds
from fgd.testing.client import Answer
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import alive, eventually
from tests.e2e.parallel import Flood
from tests.e2e.sources import ACTOR, ECHO, WHO


def capabilities(pid: int) -> dict[str, int]:
    """The five sets of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line[:6]: int(line.split()[1], 16) for line in lines if line.startswith("Cap")}


def test_only_the_launcher_has_capabilities(daemon: DaemonProcess) -> None:
    daemon.start()
    api = daemon.client(daemon.create_keys())
    api.invoke(api.deploy("one", ECHO))
    launcher = daemon.launcher().pid
    ours = Path("/proc/self/ns/user").readlink()
    instances = {one.pid for one in daemon.instances()}
    seen = 0
    for one in daemon.processes():
        try:
            sets = capabilities(one.pid)
            # A blank is still root inside of its own user namespace, which gives it nothing outside.
            blank = Path(f"/proc/{one.pid}/ns/user").readlink() != ours and one.pid not in instances
        except FileNotFoundError:  # the process that makes a blank's namespaces has ended meanwhile
            assert one.pid not in instances
            continue
        if one.pid == launcher or blank:
            continue
        seen += 1
        assert sets["CapEff"] == 0, one
        assert sets["CapPrm"] == 0, one
        assert sets["CapInh"] == 0, one
        assert sets["CapAmb"] == 0, one
        assert one.uids().effective != 0, one
        if one.pid in instances:
            assert sets["CapBnd"] == 0, one
    assert seen >= 3, "daemon, zygote, instance"
    assert instances
    api.close()


def test_killed_daemon_takes_everything_with_it(daemon: DaemonProcess) -> None:
    daemon.start()
    keys = daemon.create_keys()
    api = daemon.client(keys)
    urn = api.deploy("who", WHO)
    flood = [threading.Thread(target=lambda: _ignore(daemon.client(keys).invoke, urn, {"s": 20})) for _ in range(5)]
    for thread in flood:
        thread.start()
    assert eventually(lambda: len(daemon.instances()) == 5)
    api.close()
    daemon.kill9()

    assert daemon.wait_gone(3.0) == []
    assert eventually(lambda: daemon.own_cgroups() == [], 3.0)
    for thread in flood:
        thread.join()
    daemon.start()
    assert api.invoke(urn, {"s": 0}).status == 200
    api.close()


def _ignore(function: object, *arguments: object) -> None:
    try:
        function(*arguments)  # type: ignore[operator]
    except (OSError, EOFError, Exception):  # the daemon is killed under it; any end will do
        return


def test_killed_launcher_ends_the_daemon(daemon: DaemonProcess) -> None:
    daemon.start()
    api = daemon.client(daemon.create_keys())
    api.invoke(api.deploy("one", ECHO))
    assert daemon.process is not None
    api.close()
    daemon.processes()
    daemon.launcher().kill()

    assert daemon.process.wait(10) != 0
    assert daemon.wait_gone() == []
    daemon.process = None
    daemon.start()
    assert api.invoke("one", {"n": 1}).json() == {"n": 1}
    api.close()


def test_killed_zygote_is_replaced(daemon: DaemonProcess) -> None:
    daemon.start()
    api = daemon.client(daemon.create_keys())
    urn = api.deploy("one", ECHO)
    api.invoke(urn)
    for number in range(2):
        zygotes = daemon.zygotes()
        assert zygotes
        for zygote in zygotes:
            zygote.kill()
        assert eventually(lambda old=tuple(zygotes): not any(alive(one) for one in old))  # type: ignore[misc]
        answer = _patient(daemon, api.invoke, urn, {"n": number})
        assert answer.json() == {"n": number}
        assert api.invoke(api.deploy(f"new{number}", ECHO), {"n": 7}).json() == {"n": 7}
    api.close()


def _patient(daemon: DaemonProcess, function: object, *arguments: object) -> Answer:
    """Asks until the answer is right; a request may be lost with the instance that had it."""
    answers: list[Answer] = []

    def right() -> bool:
        answers.append(function(*arguments))  # type: ignore[operator]
        return answers[-1].status == 200 and answers[-1].headers.get("x-func-err-code") == "0"

    assert eventually(right, 5.0), f"{answers[-1]}\n{daemon.log_tail()}"
    return answers[-1]


def test_killed_instance_costs_one_request(daemon: DaemonProcess) -> None:
    daemon.start()
    api = daemon.client(daemon.create_keys())
    urn = api.deploy("one", ECHO)
    api.invoke(urn)
    for one in daemon.instances():
        one.kill()
    answer = _patient(daemon, api.invoke, urn, {"n": 1})

    assert answer.json() == {"n": 1}
    api.close()


def test_stopped_instance_times_out_and_is_replaced(daemon: DaemonProcess) -> None:
    daemon.settings["freeze"] = False
    daemon.start()
    api = daemon.client(daemon.create_keys())
    urn = api.deploy("one", ECHO, timeout=3)
    api.invoke(urn)
    for one in daemon.instances():
        one.send_signal(signal.SIGSTOP)

    assert api.invoke(urn, {"n": 1}).headers["x-func-err-code"] == "4010"
    assert api.invoke(urn, {"n": 2}).json() == {"n": 2}
    api.close()


def test_no_acknowledged_event_is_lost_over_kills(daemon: DaemonProcess) -> None:
    daemon.start()
    keys = daemon.create_keys()
    result = rounds(daemon, daemon.client(keys), keys, 3, 30.0)

    assert result["acknowledged"]
    assert result["lost"] == 0, result
    assert result["processes_left_after_kill"] == 0


def test_term_lets_running_requests_finish(daemon: DaemonProcess) -> None:
    daemon.start()
    keys = daemon.create_keys()
    urn = daemon.client(keys).deploy("who", WHO)
    flood = Flood(lambda: daemon.client(keys), 3, lambda client: client.invoke(urn, {"s": 1.5}))
    assert eventually(lambda: len(daemon.instances()) == 3)
    time.sleep(0.2)
    code = daemon.stop()

    assert code == 0
    assert [answer.status for answer in flood.finish()] == [200, 200, 200]
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", daemon.port), 1):
        pass


def test_term_does_not_wait_for_ever(daemon: DaemonProcess) -> None:
    daemon.settings["drain_s"] = 0.5
    daemon.start()
    keys = daemon.create_keys()
    urn = daemon.client(keys).deploy("who", WHO, timeout=60)
    thread = threading.Thread(target=lambda: _ignore(daemon.client(keys).invoke, urn, {"s": 50}))
    thread.start()
    assert eventually(lambda: len(daemon.instances()) == 1)
    start = time.monotonic()
    daemon.stop()

    assert time.monotonic() - start < 20
    thread.join()


def test_hostile_functions_leave_nothing_behind(daemon: DaemonProcess) -> None:
    daemon.settings |= {"blank_pool": 2, "blank_pool_max": 2}
    daemon.start()
    api = daemon.client(daemon.create_keys())
    urn = api.deploy("actor", ACTOR, timeout=3)
    api.invoke(urn)
    time.sleep(1.0)  # the pool of blanks is full again
    fds_before = psutil.Process(daemon.pid).num_fds()
    for event in ({"do": "eat"}, {"do": "exit"}, {"do": "segfault"}, {"do": "sleep-stubborn", "s": 20},
                  {"do": "raw-flood", "lines": 30000}, {"do": "abort"}, {"do": "big", "bytes": 7 << 20}):  # fmt: skip
        assert api.invoke(urn, event).status == 200
        assert api.invoke(urn, {"do": "text", "text": "ok"}).text == "ok", event

    assert eventually(lambda: len(daemon.instances()) <= 1, 8.0)
    assert eventually(lambda: psutil.Process(daemon.pid).num_fds() <= fds_before + 16, 8.0)
    zombies = [one for one in daemon.processes() if one.status() == psutil.STATUS_ZOMBIE]
    assert zombies == []
    api.close()
