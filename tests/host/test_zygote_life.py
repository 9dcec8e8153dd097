"""How sandboxes, zygotes and the launcher end, and that nothing of them stays."""

import json
import os
import signal
import socket
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio

from fgd.errors import SandboxError
from fgd.sandbox.api import Binding, ExitReport, Limits
from fgd.sandbox.host import LauncherHost, LauncherLost
from fgd.sandbox.launch import LauncherSettings, spawn_launcher
from fgd.testing.host import eventually
from tests.host.sandboxes import FIRST_ID, NAME, Sandboxes, ask

PROVIDERS = ("zygote", "nsjail")


async def _end(host: LauncherHost, sandbox_host: Sandboxes, source: str) -> ExitReport:
    """The report of a sandbox in which the source ran."""
    sandbox = await sandbox_host.bound(host)
    with pytest.raises(EOFError):
        await ask(sandbox, source)
    return await sandbox.wait()


def _processes_of(uid: int) -> list[int]:
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            if one.uids().real == uid:
                found.append(one.pid)
    return found


def _zygote_of(launcher_pid: int) -> psutil.Process:
    (zygote,) = psutil.Process(launcher_pid).children()
    return zygote


@pytest.mark.parametrize("provider", PROVIDERS)
def test_exit_status_and_signal_are_reported(sandbox_host: Sandboxes, provider: str) -> None:
    async def main(host: LauncherHost) -> list[ExitReport]:
        sources = ("import os; os._exit(7)", "import ctypes; ctypes.string_at(0)")
        return [await _end(host, sandbox_host, source) for source in sources]

    left, crashed = sandbox_host.run(main, provider=provider)

    assert ExitReport(7, 0, 0, "") == left
    assert ExitReport(None, signal.SIGSEGV, 0, "") == crashed


@pytest.mark.parametrize("provider", PROVIDERS)
def test_too_much_memory_is_an_oom_kill(sandbox_host: Sandboxes, provider: str) -> None:
    source = "hoard = [bytearray(1 << 20) for _ in range(300)]"

    report = sandbox_host.run(lambda host: _end(host, sandbox_host, source), provider=provider)

    assert report.signal == signal.SIGKILL
    assert report.oom_kills >= 1
    assert report.reason == ""


@pytest.mark.parametrize("provider", PROVIDERS)
def test_first_kill_names_the_reason_and_a_second_changes_nothing(sandbox_host: Sandboxes, provider: str) -> None:
    async def main(host: LauncherHost) -> ExitReport:
        sandbox = await sandbox_host.bound(host)
        await ask(sandbox, "out = 1")
        sandbox.kill("first")
        sandbox.kill("second")
        report = await sandbox.wait()
        sandbox.kill("third")
        assert 0 == sandbox.memory_bytes()
        assert report is await sandbox.wait()
        return report

    assert ExitReport(None, signal.SIGKILL, 0, "first") == sandbox_host.run(main, provider=provider)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_children_in_other_sessions_end_with_their_sandbox(sandbox_host: Sandboxes, provider: str) -> None:
    source = """
        import os, signal, time
        for _ in range(5):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
                    while True:
                        time.sleep(60)
                os._exit(0)
        out = os.getpid()
    """

    async def main(host: LauncherHost) -> None:
        sandbox = await sandbox_host.bound(host)
        await ask(sandbox, source)
        await sandbox.aclose()
        assert await trio.to_thread.run_sync(eventually, lambda: _processes_of(FIRST_ID + 65536 + 1003) == [])

    sandbox_host.run(main, provider=provider)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_frozen_sandbox_stands_still_and_goes_on_when_thawed(sandbox_host: Sandboxes, provider: str) -> None:
    async def main(host: LauncherHost) -> Any:
        sandbox = await sandbox_host.bound(host)
        await ask(sandbox, "out = 1")
        sandbox.freeze()
        with pytest.raises(trio.TooSlowError):
            await ask(sandbox, "out = 2", timeout_s=0.2)
        sandbox.thaw()
        with trio.fail_after(5):
            await trio.lowlevel.wait_readable(sandbox.channel)
        return json.loads(sandbox.channel.recv(100))

    assert {"out": 2} == sandbox_host.run(main, provider=provider)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_frozen_sandbox_can_be_killed(sandbox_host: Sandboxes, provider: str) -> None:
    async def main(host: LauncherHost) -> ExitReport:
        sandbox = await sandbox_host.bound(host)
        await ask(sandbox, "out = 1")
        sandbox.freeze()
        sandbox.kill("cold")
        with trio.fail_after(5):
            return await sandbox.wait()

    assert ExitReport(None, signal.SIGKILL, 0, "cold") == sandbox_host.run(main, provider=provider)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_missing_code_ends_the_sandbox_and_says_so(sandbox_host: Sandboxes, provider: str) -> None:
    async def main(host: LauncherHost) -> str:
        sandbox = await host.open("Python3.12")
        sandbox.bind(Binding("0" * 64))
        return (await sandbox.wait()).reason

    assert "bind: [Errno 2] No such file or directory: '000" in sandbox_host.run(main, provider=provider)


def test_code_that_is_a_link_is_not_followed(sandbox_host: Sandboxes) -> None:
    (sandbox_host.code_root / ("1" * 64)).symlink_to("/etc")

    async def main(host: LauncherHost) -> str:
        sandbox = await host.open("Python3.12")
        sandbox.bind(Binding("1" * 64))
        return (await sandbox.wait()).reason

    assert "bind: [Errno 40]" in sandbox_host.run(main)


def test_failing_step_inside_is_named(sandbox_host: Sandboxes) -> None:
    async def main(host: LauncherHost) -> str:
        sandbox = await host.open("Python3.12")
        # More descriptors than the kernel grants to anyone.
        sandbox.bind(Binding(sandbox_host.code(), Limits(open_files=1 << 20)))
        return (await sandbox.wait()).reason

    ceiling = int(Path("/proc/sys/fs/nr_open").read_text("ascii"))
    hard = psutil.Process().rlimit(psutil.RLIMIT_NOFILE)[1]
    if hard >= min(ceiling, 1 << 20):
        pytest.skip("the limit of open files is too high here to be refused")
    assert "limit open files: not allowed to raise maximum limit" == sandbox_host.run(main)


def test_unknown_runtime_is_refused(sandbox_host: Sandboxes) -> None:
    async def main(host: LauncherHost) -> None:
        with pytest.raises(SandboxError, match=r"no runtime Python1.5 on this host"):
            await host.open("Python1.5")

    sandbox_host.run(main)


def test_no_more_sandboxes_than_allowed_and_ids_are_given_again(sandbox_host: Sandboxes) -> None:
    async def main(host: LauncherHost) -> None:
        first, _ = await host.open("Python3.12"), await host.open("Python3.12")
        with pytest.raises(SandboxError, match="sandboxes_max"):
            await host.open("Python3.12")
        await first.aclose()
        await host.open("Python3.12")

    sandbox_host.run(main, sandboxes_max=2)


def test_cancelled_open_leaves_no_sandbox(sandbox_host: Sandboxes) -> None:
    async def main(host: LauncherHost) -> None:
        await (await host.open("Python3.12")).aclose()
        with trio.move_on_after(0):
            await host.open("Python3.12")
        # What was on its way is ended; with one place only, this shows that it is free again.
        with trio.fail_after(20):
            while True:
                try:
                    await host.open("Python3.12")
                    return
                except SandboxError:
                    await trio.sleep(0.01)

    sandbox_host.run(main, sandboxes_max=1)


def test_zygote_that_dies_takes_its_sandboxes_along_and_is_replaced(sandbox_host: Sandboxes) -> None:
    async def main(host: LauncherHost) -> Any:
        sandbox = await sandbox_host.bound(host)
        _zygote_of(sandbox_host.launcher_pid).kill()
        with trio.fail_after(5):
            await sandbox.wait()
        return await ask(await sandbox_host.bound(host), "out = 'alive'")

    assert "alive" == sandbox_host.run(main)


def test_zygote_that_hangs_is_replaced_and_its_sandboxes_live_on(sandbox_host: Sandboxes) -> None:
    async def main(host: LauncherHost) -> list[Any]:
        earlier = await sandbox_host.bound(host)
        await ask(earlier, "out = 1")
        zygote = _zygote_of(sandbox_host.launcher_pid)
        zygote.suspend()
        with pytest.raises(SandboxError, match="not ready in time"):
            await host.open("Python3.12")
        out = [await ask(earlier, "out = 'old'"), await ask(await sandbox_host.bound(host), "out = 'new'")]
        await earlier.aclose()
        assert await trio.to_thread.run_sync(eventually, lambda: not zygote.is_running())
        return out

    assert ["old", "new"] == sandbox_host.run(main, open_deadline_s=0.3)


def test_broken_runtime_is_reported_by_every_open(sandbox_host: Sandboxes, tmp_path: Any) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "bootstrap.py").write_text("raise ImportError('not today')\n")

    async def main(host: LauncherHost) -> None:
        for _ in range(2):
            with pytest.raises(SandboxError, match=r"zygote of Python3\.12: "):
                await host.open("Python3.12")

    sandbox_host.run(main, runtime_dir=broken)


def test_launcher_that_cannot_start_says_why(tmp_path: Path, requires: Any) -> None:
    requires("root")
    settings = LauncherSettings(NAME, tmp_path / "nowhere", FIRST_ID, 1, "auto", [])

    with pytest.raises(SandboxError, match=r"launcher: .*No such file or directory.*nowhere"):
        spawn_launcher(settings)


def test_launcher_ignores_termination_signals(sandbox_host: Sandboxes) -> None:
    async def main(host: LauncherHost) -> Any:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(sandbox_host.launcher_pid, number)
        sandbox = await sandbox_host.bound(host)
        # What it ignores, functions do not.
        return await ask(sandbox, "import signal; out = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL")

    assert sandbox_host.run(main) is True


def test_junk_requests_are_refused_and_the_launcher_goes_on(sandbox_host: Sandboxes) -> None:
    junk: list[Any] = [
        {}, [], None, ["open"], ["open", "1", "Python3.12"], ["open", 1, "../../x"], ["bind", "i-1", "../x", [1] * 6],
        ["kill", 7], ["bind", "i-1", "a" * 64, [10**9] * 6], ["exec", "/bin/sh"], ["open", 1, "x" * 8000],
    ]  # fmt: skip

    async def main(host: LauncherHost) -> Any:
        for message in junk:
            host.send(message)
        return await ask(await sandbox_host.bound(host), "out = 'fine'")

    assert "fine" == sandbox_host.run(main)


def test_everything_ends_within_a_second_when_the_daemon_does(sandbox_host: Sandboxes) -> None:
    async def main(host: LauncherHost) -> None:
        for _ in range(5):
            await ask(await sandbox_host.bound(host), "out = 1")
        frozen = await sandbox_host.bound(host)
        frozen.freeze()
        launcher = psutil.Process(sandbox_host.launcher_pid)
        family = [launcher, *launcher.children(recursive=True)]
        began = time.monotonic()
        await host.aclose()
        for one in family:
            assert eventually(lambda one=one: not one.is_running() or one.status() == "zombie")  # type: ignore[misc]
        assert time.monotonic() - began < 1.5

    sandbox_host.run(main)


def test_launcher_that_dies_takes_everything_along_and_the_next_one_cleans_up(sandbox_host: Sandboxes) -> None:
    async def main(host: LauncherHost) -> None:
        sandbox = await sandbox_host.bound(host)
        await ask(sandbox, "out = 1")
        launcher = psutil.Process(sandbox_host.launcher_pid)
        family = launcher.children(recursive=True)
        launcher.kill()
        with trio.fail_after(5):
            assert "the launcher has ended" == (await sandbox.wait()).reason
        for one in family:
            assert await trio.to_thread.run_sync(eventually, partial(_gone, one))

    with pytest.RaisesGroup(LauncherLost, flatten_subgroups=True):
        sandbox_host.run(main)

    async def again(host: LauncherHost) -> Any:
        return await ask(await sandbox_host.bound(host), "out = 2")

    assert 2 == sandbox_host.run(again)


def _gone(one: psutil.Process) -> bool:
    return not one.is_running()


def test_channel_ends_when_the_sandbox_does(sandbox_host: Sandboxes) -> None:
    async def main(host: LauncherHost) -> bytes:
        sandbox = await sandbox_host.bound(host)
        await ask(sandbox, "out = 1")
        sandbox.kill("over")
        await sandbox.wait()
        return sandbox.channel.recv(1)

    assert b"" == sandbox_host.run(main)


@pytest.mark.slow
def test_hundreds_of_sandboxes_leave_nothing(sandbox_host: Sandboxes) -> None:
    async def one(host: LauncherHost, slots: trio.CapacityLimiter) -> None:
        async with slots:
            sandbox = await sandbox_host.bound(host)
            await ask(sandbox, "out = 1")
            await sandbox.aclose()

    async def main(host: LauncherHost) -> None:
        slots = trio.CapacityLimiter(8)
        await (await host.open("Python3.12")).aclose()
        launcher = psutil.Process(sandbox_host.launcher_pid)
        before = launcher.num_fds()
        async with trio.open_nursery() as nursery:
            for _ in range(300):
                nursery.start_soon(one, host, slots)
        assert before == launcher.num_fds()
        zygote = _zygote_of(sandbox_host.launcher_pid)
        assert [] == zygote.children()

    sandbox_host.run(main)


def test_socket_of_the_wrong_kind_is_no_launcher() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)

    async def main() -> None:
        host = LauncherHost(ours)
        async with trio.open_nursery() as nursery:
            await nursery.start(host.run)
            theirs.close()

    with pytest.RaisesGroup(LauncherLost, flatten_subgroups=True):
        trio.run(main)
    ours.close()
