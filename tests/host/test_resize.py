"""Other limits for a sandbox that runs: what it may use then, and what the kernel refuses."""

from pathlib import Path
from typing import Any

import pytest
import trio

from fgd.errors import PlatformError
from fgd.sandbox.api import Limits
from fgd.sandbox.host import LauncherHost, LauncherSandbox
from fgd.testing.host import fgd_cgroups
from tests.host.sandboxes import NAME, Sandboxes, ask

PROVIDERS = ("zygote", "nsjail")
HOLD = "import builtins; builtins.hoard = [bytearray(1 << 20) for _ in range({})]; out = len(builtins.hoard)"
LARGE = Limits.for_memory(512)


def _kernel_says(sandbox: LauncherSandbox) -> dict[str, int]:
    """The limits in the cgroup files: bytes of memory, CPU quota in us per 100 ms."""
    found: dict[str, int] = {}
    for folder in fgd_cgroups():
        if folder.endswith(f"/{NAME}/{sandbox.id}"):
            for file, name in (
                ("memory.limit_in_bytes", "memory"), ("memory.memsw.limit_in_bytes", "swap"), ("memory.max", "memory"),
                ("cpu.cfs_quota_us", "cpu"), ("cpu.max", "cpu"),
            ):  # fmt: skip
                path = Path(folder, file)
                if path.exists():
                    found[name] = int(path.read_text("ascii").split()[0])
    if found.get("swap") == found["memory"]:
        del found["swap"]
    return found


def _figures(limits: Limits) -> dict[str, int]:
    return {"memory": limits.memory_mib << 20, "cpu": limits.cpu_mcpu * 100}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_larger_sandbox_may_use_what_it_got_and_a_smaller_one_no_more(sandbox_host: Sandboxes, provider: str) -> None:
    async def main(host: LauncherHost) -> Any:
        sandbox = await sandbox_host.bound(host)
        small = _kernel_says(sandbox)
        await sandbox.resize(LARGE)
        large = _kernel_says(sandbox)
        held = await ask(sandbox, HOLD.format(300))
        await ask(sandbox, HOLD.format(0))
        await sandbox.resize(Limits())
        back = _kernel_says(sandbox)
        with pytest.raises(EOFError):
            await ask(sandbox, HOLD.format(300))
        return small, large, held, back, await sandbox.wait()

    small, large, held, back, report = sandbox_host.run(main, provider=provider)

    assert _figures(Limits()) == small == back
    assert _figures(LARGE) == large
    assert 300 == held
    assert report.oom_kills > 0


@pytest.mark.parametrize("provider", PROVIDERS)
def test_limit_below_what_is_in_use_is_refused_and_nothing_changes(sandbox_host: Sandboxes, provider: str) -> None:
    async def main(host: LauncherHost) -> Any:
        sandbox = await sandbox_host.bound(host, limits=LARGE)
        await ask(sandbox, HOLD.format(200))
        with pytest.raises(PlatformError, match="resize") as refused:
            await sandbox.resize(Limits())
        more = await ask(
            sandbox, "builtins.hoard += [bytearray(1 << 20) for _ in range(150)]; out = len(builtins.hoard)"
        )
        return str(refused.value), _kernel_says(sandbox), more

    text, limits, more = sandbox_host.run(main, provider=provider)

    assert "busy" in text.lower() or "in use" in text
    assert _figures(LARGE) == limits
    assert 350 == more


def test_frozen_sandbox_can_be_resized(sandbox_host: Sandboxes) -> None:
    async def main(host: LauncherHost) -> Any:
        sandbox = await sandbox_host.bound(host)
        await ask(sandbox, "out = 1")
        sandbox.freeze()
        await sandbox.resize(LARGE)
        limits = _kernel_says(sandbox)
        sandbox.thaw()
        return limits, await ask(sandbox, HOLD.format(200))

    assert (_figures(LARGE), 200) == sandbox_host.run(main)


def test_blank_ended_and_unknown_sandboxes_are_refused_and_the_launcher_goes_on(sandbox_host: Sandboxes) -> None:
    async def main(host: LauncherHost) -> Any:
        blank, ended = await host.open("Python3.12"), await sandbox_host.bound(host)
        ended.kill("enough")
        await ended.wait()
        for sandbox in (blank, ended):
            with pytest.raises(PlatformError, match="no such sandbox runs"):
                await sandbox.resize(LARGE)
        host.send(["resize", 1, blank.id, 0, 0])
        alive = await sandbox_host.bound(host)
        return await ask(alive, "out = 2")

    assert 2 == sandbox_host.run(main)


def test_resize_under_way_when_the_host_closes_is_answered(sandbox_host: Sandboxes) -> None:
    async def main(host: LauncherHost) -> None:
        sandbox = await sandbox_host.bound(host)
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_resize_or_refuse, sandbox)
                await trio.lowlevel.checkpoint()
                nursery.start_soon(host.aclose)
        with pytest.raises(PlatformError):
            await sandbox.resize(LARGE)

    sandbox_host.run(main)


async def _resize_or_refuse(sandbox: LauncherSandbox) -> None:
    try:
        await sandbox.resize(LARGE)
    except PlatformError as error:
        assert "ended" in str(error)
