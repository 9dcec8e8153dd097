"""No function takes more than its share, and all of it ends when it shall: on every provider."""

from pathlib import Path
from typing import Any

import pytest
import trio

from fgd.sandbox.api import ExitReport, Limits
from fgd.units import MIB
from tests.host.attacker import PROVIDERS, Attacker, Ended, alive, attack, look
from tests.host.sandboxes import Sandboxes

pytestmark = [pytest.mark.parametrize("provider", PROVIDERS), pytest.mark.slow]

SMALL = Limits(memory_mib=64, cpu_mcpu=1000)


@pytest.mark.parametrize("bomb", ["anonymous", "memfd", "shared", "system_v", "tmpfs", "pipes"])
def test_memory_in_every_disguise_ends_with_an_oom_kill(sandbox_host: Sandboxes, provider: str, bomb: str) -> None:
    async def main(attacker: Attacker) -> ExitReport:
        with pytest.raises(Ended):
            await attacker.call(f"limits.{bomb}", mib=256)
        return await attacker.sandbox.wait()

    (report,) = attack(sandbox_host, provider, main, SMALL)

    assert report.oom_kills >= 1
    assert report.signal == 9


def test_memory_spread_over_processes_counts_together(sandbox_host: Sandboxes, provider: str) -> None:
    """Version 1 ends some of the processes, version 2 the whole sandbox."""

    async def main(attacker: Attacker) -> tuple[Any, int]:
        try:
            killed = await attacker.call("limits.children", mib=256)
        except Ended:
            return [9], (await attacker.sandbox.wait()).oom_kills
        attacker.sandbox.kill("test")
        return killed, (await attacker.sandbox.wait()).oom_kills

    ((killed, oom_kills),) = attack(sandbox_host, provider, main, SMALL)

    assert 9 in killed
    assert oom_kills >= 1


def test_shared_memory_folder_is_capped(sandbox_host: Sandboxes, provider: str) -> None:
    found = look(sandbox_host, provider, "files.fill", Limits(memory_mib=512, cpu_mcpu=1000), folder="/dev/shm")

    assert found == {"bytes": 64 * MIB, "errno": 28}


def test_tmp_is_limited_in_bytes(sandbox_host: Sandboxes, provider: str) -> None:
    limits = Limits(memory_mib=256, cpu_mcpu=1000, tmp_mib=16)

    assert look(sandbox_host, provider, "files.fill", limits, folder="/tmp") == {"bytes": 16 * MIB, "errno": 28}


def test_tmp_is_limited_in_files(sandbox_host: Sandboxes, provider: str) -> None:
    found = look(
        sandbox_host, provider, "files.many_files", Limits(memory_mib=256, cpu_mcpu=1000, tmp_inodes=1000),
        folder="/tmp",
    )  # fmt: skip

    assert 900 < found["count"] < 1000
    assert found["errno"] == 28


def test_descriptors_are_limited(sandbox_host: Sandboxes, provider: str) -> None:
    assert look(sandbox_host, provider, "limits.descriptors_until_refused", Limits(open_files=100)) < 100


def test_processes_are_limited(sandbox_host: Sandboxes, provider: str) -> None:
    found = look(
        sandbox_host, provider, "limits.fork_until_refused", Limits(memory_mib=512, cpu_mcpu=1000, pids=200), most=400
    )  # fmt: skip

    assert 150 < found["count"] < 200
    assert found["errno"] == 11


def test_threads_count_as_processes(sandbox_host: Sandboxes, provider: str) -> None:
    limits = Limits(memory_mib=512, cpu_mcpu=1000, pids=200)

    assert 150 < look(sandbox_host, provider, "limits.threads_until_refused", limits, most=400) < 200


def test_cpu_is_in_proportion(sandbox_host: Sandboxes, provider: str) -> None:
    """Two busy processes for a second share three tenths of a core; the bounds leave room for a busy machine."""
    got_s = look(sandbox_host, provider, "limits.burn", Limits(memory_mib=128, cpu_mcpu=300), seconds=1, processes=2)

    assert 0.03 < got_s < 0.6


def test_nothing_runs_while_frozen(sandbox_host: Sandboxes, provider: str) -> None:
    async def some_output(attacker: Attacker) -> None:
        with trio.fail_after(20):
            while not attacker.output():
                await trio.sleep(0.01)

    async def main(attacker: Attacker) -> int:
        await attacker.begin("limits.tick")
        await some_output(attacker)
        attacker.sandbox.freeze()
        await trio.sleep(0.3)
        attacker.output()
        await trio.sleep(0.5)
        while_frozen = len(attacker.output())
        attacker.sandbox.thaw()
        await some_output(attacker)
        attacker.sandbox.kill("test")
        return while_frozen

    assert attack(sandbox_host, provider, main) == [0]


@pytest.mark.parametrize("frozen", [False, True])
def test_processes_that_refuse_to_die_die(sandbox_host: Sandboxes, provider: str, frozen: bool) -> None:
    """Double-forked, in sessions of their own, ignoring signals; asleep, busy and stopped."""

    async def main(attacker: Attacker) -> tuple[int, set[int], ExitReport]:
        await attacker.call("limits.leave_stubborn")
        before = attacker.processes()
        if frozen:
            attacker.sandbox.freeze()
        attacker.sandbox.kill("test")
        with trio.fail_after(3):
            report = await attacker.sandbox.wait()
        return len(before), await alive(before), report

    ((count, left, report),) = attack(sandbox_host, provider, main)

    assert count >= 4
    assert left == set()
    assert report.reason == "test"


def test_a_call_that_blocks_signals_and_holds_the_lock_is_ended(sandbox_host: Sandboxes, provider: str) -> None:
    async def main(attacker: Attacker) -> set[int]:
        await attacker.begin("limits.hold_everything")
        await trio.sleep(0.3)
        before = attacker.processes()
        attacker.sandbox.kill("test")
        with trio.fail_after(3):
            await attacker.sandbox.wait()
        return await alive(before)

    assert attack(sandbox_host, provider, main) == [set()]


def test_a_fork_bomb_is_ended_and_the_neighbour_goes_on(sandbox_host: Sandboxes, provider: str) -> None:
    results: list[Any] = []

    async def main(attacker: Attacker) -> None:
        if not results:
            await attacker.begin("limits.fork_forever")
            await trio.sleep(1)
            before = attacker.processes()
            folder = Path(attacker.sandbox._memory_path).parent
            attacker.sandbox.kill("bomb")
            with trio.fail_after(8):
                await attacker.sandbox.wait()
            results.extend((len(before), await alive(before), folder.exists()))
        else:
            results.append(await attacker.call("network.own_loopback"))

    attack(sandbox_host, provider, main, Limits(memory_mib=256, cpu_mcpu=500, pids=256), count=2)

    count, left, folder_left, neighbour = results
    assert count > 10
    assert left == set()
    assert not folder_left
    assert neighbour == "hello"


def test_ends_leave_no_zombies_of_ours(sandbox_host: Sandboxes, provider: str) -> None:
    """After three sandboxes have ended, the launcher has no dead children that nobody took."""

    async def main(attacker: Attacker) -> list[int]:
        attacker.sandbox.kill("test")
        await attacker.sandbox.wait()
        return _zombies(sandbox_host.launcher_pid)

    *_, last = attack(sandbox_host, provider, main, count=3)

    assert last == []


def _zombies(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] == "Z" and int(fields[1]) == parent:
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize(
    ("what", "arguments"),
    [
        ("tcp_buffers", {"connections": 1000}),
        ("tcp_buffers", {"connections": 1000, "buffer_bytes": 1 << 20}),
        ("udp_buffers", {"sockets": 1500}),
    ],
    ids=["tcp", "tcp that asks for more", "udp"],
)
def test_what_waits_in_sockets_is_bounded(
    sandbox_host: Sandboxes, provider: str, what: str, arguments: dict[str, int]
) -> None:
    """Version 1 counts it beside the memory, and lets every connection have one buffer whatever the limit says; how
    many connections there are, the limit of open files tells."""

    async def main(attacker: Attacker) -> int:
        await attacker.call(f"limits.{what}", **arguments)
        counted = Path(attacker.sandbox._memory_path).parent / "memory.kmem.tcp.usage_in_bytes"
        return int(counted.read_text()) if counted.exists() else attacker.sandbox.memory_bytes()

    (held,) = attack(sandbox_host, provider, main)

    assert held <= 160 * MIB
