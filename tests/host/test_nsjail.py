"""The nsjail provider's own business: its template, what may go into it, and how its failures are told."""

import os
import signal
from pathlib import Path

import psutil
import pytest
import trio

from fgd.sandbox.api import Binding, ExitReport
from fgd.sandbox.host import LauncherHost
from fgd.sandbox.launcher_nsjail import complaint_text
from fgd.sandbox.nsjail import make_template
from fgd.sandbox.nsjail_start import MARKS, fill
from tests.host.attacker import Attacker, Ended, attack, store_attacks
from tests.host.sandboxes import Sandboxes

COMMAND = ["/opt/python", "-EsBu", "/home/snuser/runtime/bootstrap.py", "--channel", "3"]
ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


def template() -> str:
    return make_template(COMMAND, ENVIRONMENT)


def test_only_numbers_go_into_the_template() -> None:
    text = fill(template(), host_ids=(1879049195, 1879049196), tmp_bytes=1 << 20, tmp_inodes=100).decode()

    assert 'outside_id: "1879049195"' in text
    assert 'outside_id: "1879049196"' in text
    assert "size=1048576,nr_inodes=100,mode=1777" in text
    assert not any(mark in text for mark in MARKS.values())


@pytest.mark.parametrize("host_id", [0, -1, 1003, 65535, 2**32 - 1, 2**40, "0", '1" }', True, 1.5, None])
def test_an_id_outside_of_the_range_of_sandboxes_is_refused(host_id: object) -> None:
    with pytest.raises(ValueError, match="host_gid"):
        fill(template(), host_ids=(1879049195, host_id), tmp_bytes=1, tmp_inodes=1)  # type: ignore[arg-type]


def test_low_ids_are_taken_only_where_they_were_asked_for() -> None:
    text = fill(template(), host_ids=(5001, 5002), own_ids=True, tmp_bytes=1, tmp_inodes=1).decode()

    assert 'outside_id: "5001"' in text
    assert 'outside_id: "5002"' in text
    with pytest.raises(ValueError, match="host_uid"):
        fill(template(), host_ids=(0, 5002), own_ids=True, tmp_bytes=1, tmp_inodes=1)


@pytest.mark.parametrize("value", [0, -5, "1,size=99999", 2**63])
def test_sizes_must_be_positive_numbers(value: object) -> None:
    with pytest.raises(ValueError, match="tmp_bytes"):
        fill(template(), host_ids=(1879049195, 1879049195), tmp_bytes=value, tmp_inodes=1)  # type: ignore[arg-type]  # that is the point


def test_the_template_asks_for_everything_that_isolates() -> None:
    text = template()

    for line in (
        'hostname: "function"', "disable_rl: true", "pass_fd: 3", 'inside_id: "1003"', 'cwd: "/opt/function"',
        "time_limit: 0", "nice_level: 0",
    ):  # fmt: skip
        assert line in text, line
    # What is on by default must not be switched off, but for the network namespace: the launcher has made one already.
    assert "clone_newnet: false" in text
    text = text.replace("clone_newnet: false", "")
    for word in ("clone_new", "keep_caps", "cap:", "disable_no_new_privs", "skip_setsid", "no_pivotroot", "keep_env"):
        assert f"{word}" not in text or f"{word}: false" in text, word
    assert "cgroup_" not in text


def test_writable_mounts_are_the_two_temporary_ones() -> None:
    blocks = template().split("mount {")[1:]

    writable = [block for block in blocks if "rw: true" in block]
    assert len(writable) == 2
    assert all('fstype: "tmpfs"' in block and "nosuid: true" in block and "nodev: true" in block for block in writable)


@pytest.mark.parametrize("command", [[], ["python"], ["./x"]])
def test_the_program_must_be_named_by_its_absolute_path(command: list[str]) -> None:
    with pytest.raises(ValueError, match="absolute path"):
        make_template(command, ENVIRONMENT)


def test_a_crash_tells_its_signal(sandbox_host: Sandboxes) -> None:
    async def main(attacker: Attacker) -> ExitReport:
        with pytest.raises(Ended):
            await attacker.call("limits.crash")
        return await attacker.sandbox.wait()

    (report,) = attack(sandbox_host, "nsjail", main)

    assert report == ExitReport(None, 11, 0, "")


def test_nothing_of_a_sandbox_stays_mounted_on_the_host(sandbox_host: Sandboxes) -> None:
    before = Path("/proc/self/mountinfo").read_text()

    async def main(attacker: Attacker) -> str:
        return Path(f"/proc/{sandbox_host.launcher_pid}/mountinfo").read_text()

    (during,) = attack(sandbox_host, "nsjail", main)

    assert "nsjail" not in during
    assert before == Path("/proc/self/mountinfo").read_text()


def test_a_missing_interpreter_is_told(sandbox_host: Sandboxes, tmp_path: Path) -> None:
    """The runtime's folder is empty here, so the interpreter finds no program to run and says so."""
    runtime_dir = tmp_path / "runtime"
    runtime_dir.mkdir()
    runtime_dir.chmod(0o755)
    digest = store_attacks(sandbox_host.code_root)

    async def main(host: LauncherHost) -> tuple[ExitReport, str]:
        sandbox = await host.open("Python3.12")
        sandbox.bind(Binding(digest))
        report = await sandbox.wait()
        return report, os.read(sandbox.output_fd, 4096).decode()

    report, output = sandbox_host.run(main, ("Python3.12",), "nsjail", runtime_dir=runtime_dir)

    assert report.status == 2
    assert "can't open file" in output


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (b"", ""),
        (b"[W][2026] a warning\n", ""),
        (b"[E][2026] mount failed\n[E][2026] so this failed\n[F][2026] giving up\n", "[E][2026] mount failed"),
        (b"sh: error while loading shared libraries: x\n", "sh: error while loading shared libraries: x"),
        (b"error while loading x\n[F][2026] Launching child failed\n", "[F][2026] Launching child failed"),
        (b'{"step": "make root", "path": "/usr", "errno": 2}\n', "make root /usr: No such file or directory"),
        (b"[E]" + b"x" * 5000, "[E]" + "x" * 497),
    ],
)  # fmt: skip
def test_the_first_error_is_the_reason(log: bytes, reason: str) -> None:
    assert complaint_text(log) == reason


def test_what_nsjail_leaves_without_a_parent_is_reaped_by_the_launcher(sandbox_host: Sandboxes) -> None:
    async def main(attacker: Attacker) -> list[str]:
        launcher = psutil.Process(sandbox_host.launcher_pid)
        (nsjail,) = launcher.children()
        inner = nsjail.children(recursive=True)
        assert inner
        os.kill(nsjail.pid, signal.SIGKILL)
        report = await attacker.sandbox.wait()
        assert report.signal == signal.SIGKILL
        with trio.move_on_after(2):
            while any(one.is_running() for one in (nsjail, *inner)):  # a zombie runs, too
                await trio.sleep(0.01)
        return [str(one) for one in (nsjail, *inner) if one.is_running()]

    assert attack(sandbox_host, "nsjail", main) == [[]]
