"""cgroups: what is written where (in a temporary folder), and that the real ones limit, freeze and kill."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fgd.linux.cgroup import CgroupRoot, open_cgroup_root, unified_mount
from fgd.linux.cgroup_base import Cgroup, checked_name, keyed_value, signal_processes
from fgd.linux.cgroup_v1 import CgroupV1, mounted_controllers
from fgd.linux.cgroup_v2 import CgroupRootV2, CgroupV2, delegated_base, own_cgroup

HYBRID = """\
24 1 254:0 / / rw - ext4 /dev/root rw
30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 30 0:30 / /sys/fs/cgroup/pids rw shared:3 - cgroup cgroup rw,pids
35 30 0:31 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
"""
GIB = 1 << 30


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.read_text()}


def empty(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_controllers_are_found_by_mount_point() -> None:
    mounts = mounted_controllers(HYBRID)

    assert mounts["cpu"] == mounts["cpuacct"] == "/sys/fs/cgroup/cpu,cpuacct"
    assert mounts["memory"] == "/sys/fs/cgroup/memory"
    assert unified_mount(HYBRID) == "/sys/fs/cgroup/unified"


def test_version_1_limits_memory_and_swap_to_the_same(tmp_path: Path) -> None:
    folders = {
        "freezer": empty(tmp_path / "freezer", "freezer.state"),
        "memory": empty(tmp_path / "memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
        "cpu": empty(tmp_path / "cpu", "cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us"),
        "pids": empty(tmp_path / "pids", "pids.max"),
    }
    group = CgroupV1("a", {name: str(folder) for name, folder in folders.items()})

    group.set_limits(GIB, 500, 64)

    assert files(folders["memory"]) == {
        "memory.limit_in_bytes": "1073741824", "memory.memsw.limit_in_bytes": "1073741824",
    }  # fmt: skip
    assert files(folders["cpu"]) == {"cpu.shares": "512", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}
    assert files(folders["pids"]) == {"pids.max": "64"}


def test_version_1_without_swap_accounting_asks_for_no_swapping(tmp_path: Path) -> None:
    names = ("memory.limit_in_bytes", "memory.swappiness")
    memory = empty(tmp_path / "memory", *names)
    rest = empty(tmp_path / "rest", "cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us", "pids.max")
    group = CgroupV1("a", {"freezer": str(rest), "memory": str(memory), "cpu": str(rest), "pids": str(rest)})

    group.set_limits(GIB, 500, 64)

    assert files(memory) == {"memory.limit_in_bytes": "1073741824", "memory.swappiness": "0"}


def test_version_1_resizes_memory_and_cpu_only(tmp_path: Path) -> None:
    names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "cpu.shares", "cpu.cfs_period_us")
    folder = empty(tmp_path / "a", *names, "cpu.cfs_quota_us", "pids.max")
    group = CgroupV1("a", dict.fromkeys(("freezer", "memory", "cpu", "pids"), str(folder)))

    group.resize(GIB, 500)

    assert files(folder) == {
        "memory.limit_in_bytes": "1073741824", "memory.memsw.limit_in_bytes": "1073741824", "cpu.shares": "512",
        "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000",
    }  # fmt: skip


def test_version_2_resizes_by_way_of_memory_high_and_leaves_it_off(tmp_path: Path) -> None:
    names = ("memory.max", "memory.high", "memory.current", "cpu.max", "cpu.weight")
    folder = empty(tmp_path / "a", *names)
    (folder / "memory.current").write_text(str(GIB // 2))
    (folder / "memory.max").write_text(str(GIB * 2))
    group = CgroupV2("a", str(folder))

    with pytest.raises(OSError, match="are in use") as refused:
        group.resize(GIB // 4, 500)
    assert errno.EBUSY == refused.value.errno
    assert "max" == files(folder)["memory.high"][:3]
    assert str(GIB * 2) == files(folder)["memory.max"]
    assert "cpu.max" not in files(folder)

    group.resize(GIB, 500)

    assert files(folder)["memory.max"].startswith(str(GIB))
    assert ("50000 100000", "50") == (files(folder)["cpu.max"], files(folder)["cpu.weight"])


def test_version_2_limits_all_in_one_folder(tmp_path: Path) -> None:
    names = ("memory.max", "memory.swap.max", "memory.oom.group", "cpu.max", "cpu.weight", "pids.max")
    folder = empty(tmp_path / "a", *names)

    CgroupV2("a", str(folder)).set_limits(GIB, 300, 64)

    assert files(folder) == {
        "memory.max": "1073741824", "memory.swap.max": "0", "memory.oom.group": "1", "cpu.max": "30000 100000",
        "cpu.weight": "30", "pids.max": "64",
    }  # fmt: skip


def test_version_2_counts_oom_kills_of_its_events(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("low 0\nmax 9\noom 2\noom_kill 3\noom_group_kill 1\n")

    assert CgroupV2("a", str(tmp_path)).oom_kills() == 3
    assert keyed_value(str(tmp_path / "memory.events"), "missing") == 0


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", ".hidden", "a" * 65, "a\n", "a b"])
def test_names_cannot_lead_out_of_the_folder(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a cgroup"):
        checked_name(name)


def test_own_place_in_the_unified_hierarchy() -> None:
    text = "12:cpu,cpuacct:/x\n0::/system.slice/fgd.service\n"

    assert own_cgroup(text) == "/system.slice/fgd.service"
    assert own_cgroup("12:cpu:/x\n") == "/"
    assert delegated_base("/nowhere", "/") is None


class _Running:
    """Processes to put into cgroups; ended at the latest when the test is over."""

    def __init__(self) -> None:
        self.made: list[subprocess.Popen[bytes]] = []

    def start(self, source: str) -> subprocess.Popen[bytes]:
        """Runs Python source once a line comes in on its standard input."""
        command = [sys.executable, "-ISc", f"import os,sys,time,signal; sys.stdin.readline()\n{source}"]
        self.made.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        return self.made[-1]


@pytest.fixture
def running() -> Iterator[_Running]:
    made = _Running()
    yield made
    for process in made.made:
        process.kill()
        process.communicate()


@pytest.fixture
def root() -> Iterator[CgroupRoot]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    opened = open_cgroup_root(f"test-cgroup-{os.getpid()}")
    yield opened
    opened.sweep()
    opened.close()


def unlimited_v2() -> Iterator[CgroupRoot]:
    mount = unified_mount(Path("/proc/self/mountinfo").read_text())
    if mount is None or os.geteuid() != 0:
        pytest.skip("needs root and a cgroup version 2 hierarchy")
    opened = CgroupRootV2(mount, f"{mount}/fgd", f"test-cgroup-{os.getpid()}", controllers=())
    yield opened
    opened.sweep()
    opened.close()


#: Version 2 without controllers: joining, freezing and killing work on every host that has it mounted.
unlimited = pytest.fixture(unlimited_v2)


def go(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


def removed(group: Cgroup) -> bool:
    for _ in range(500):
        if group.remove():
            return True
        time.sleep(0.01)
    return False


def kill_ends_all(root: CgroupRoot, running: _Running, *, frozen: bool) -> None:
    group = root.create("stubborn")
    process = running.start(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for n in range(5):\n    if os.fork() == 0:\n        os.setsid()\n"
        "        os.kill(os.getpid(), signal.SIGSTOP)\n"
        "print('up', flush=True)\ntime.sleep(1000)"
    )
    group.attach(process.pid)
    go(process)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    if frozen:
        Path(group.freezer_path).write_bytes(group.freeze_bytes)

    group.kill()

    assert process.wait(5) == -signal.SIGKILL
    assert removed(group)


@pytest.mark.host
@pytest.mark.parametrize("frozen", [False, True])
def test_kill_ends_stopped_frozen_and_stubborn_processes(root: CgroupRoot, running: _Running, frozen: bool) -> None:
    kill_ends_all(root, running, frozen=frozen)


@pytest.mark.host
@pytest.mark.parametrize("frozen", [False, True])
def test_version_2_kill_does_so_too(unlimited: CgroupRoot, running: _Running, frozen: bool) -> None:
    kill_ends_all(unlimited, running, frozen=frozen)


@pytest.mark.host
def test_a_process_can_move_itself_with_descriptors_of_the_root(root: CgroupRoot, running: _Running) -> None:
    group = root.create("self")
    fds = group.join_fds()
    if (pid := os.fork()) == 0:
        os.setresuid(65534, 65534, 65534)
        for fd in fds:
            os.write(fd, b"0")
        signal.pause()
    for fd in fds:
        os.close(fd)
    for _ in range(500):
        if group.memory_bytes() or not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.01)

    text = Path(f"/proc/{pid}/cgroup").read_text()
    group.kill()
    os.waitpid(pid, 0)

    assert "/self" in text
    assert removed(group)


@pytest.mark.host
def test_limits_can_grow_and_shrink(root: CgroupRoot) -> None:
    group = root.create("resized")
    for mib in (64, 512, 32, 128):
        group.set_limits(mib << 20, 300, 100)

    assert group.oom_kills() == 0
    assert group.remove()


@pytest.mark.host
def test_memory_beyond_the_limit_is_an_oom_kill(root: CgroupRoot, running: _Running) -> None:
    group = root.create("bomb")
    group.set_limits(32 << 20, 1000, 100)
    process = running.start("x = b'x' * (100 << 20)")
    group.attach(process.pid)
    go(process)

    assert process.wait(10) == -signal.SIGKILL
    assert group.oom_kills() >= 1  # version 2 counts the process and the group
    assert removed(group)


@pytest.mark.host
def test_sweep_removes_what_an_earlier_daemon_left(root: CgroupRoot, running: _Running) -> None:
    for name in ("one", "two"):
        process = running.start("time.sleep(1000)")
        root.create(name).attach(process.pid)
        go(process)

    again = open_cgroup_root(f"test-cgroup-{os.getpid()}")

    assert again.sweep() == ["one", "two"]
    assert [process.wait(5) for process in running.made] == [-signal.SIGKILL] * 2
    assert again.sweep() == []


@pytest.mark.host
def test_a_name_can_be_taken_once(root: CgroupRoot) -> None:
    root.create("same")
    with pytest.raises(FileExistsError):
        root.create("same")


def test_signalling_a_cgroup_that_is_gone_does_nothing(tmp_path: Path) -> None:
    assert signal_processes(str(tmp_path / "gone"), signal.SIGKILL) == set()
