"""Dropping privileges and keeping paths reachable, in children that do it for real."""

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from fgd.linux.namespaces import fork_into_new_pid_namespace
from fgd.linux.process import drop_privileges, make_reachable
from fgd.sandbox.host import LauncherHost
from tests.host.sandboxes import FIRST_ID, Sandboxes

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture
def root(requires: Callable[..., None]) -> None:
    requires("root")


def in_child(work: Callable[[], Any]) -> Any:
    """What `work` gives (JSON) when a forked child does it."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, json.dumps(work()).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        data = answer.read()
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return json.loads(data)


def status_of(pid: str = "self") -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_bytes().decode().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_dropped_process_has_no_capability_group_or_way_back() -> None:
    def work() -> list[Any]:
        drop_privileges(FIRST_ID, FIRST_ID)
        status = status_of()
        refused = 0
        attempts: list[Callable[[], None]] = [
            lambda: os.setuid(0),
            lambda: os.setgroups([0]),
            lambda: os.chroot("/"),
        ]
        for attempt in attempts:
            try:
                attempt()
            except PermissionError:
                refused += 1
        names = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")
        return [refused, [status[name].split() for name in names]]

    ids, none = [str(FIRST_ID)] * 4, ["0" * 16]
    assert [3, [ids, ids, [], none, none, none, none, none, ["1"]]] == in_child(work)


def test_paths_below_closed_folders_are_reachable_and_their_neighbours_are_not(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "a/state").mkdir(parents=True)
    (closed / "a/secret").mkdir()
    (closed / "file.txt").write_text("read me")
    (closed / "a/state").chmod(0o755)
    os.chown(closed / "a/state", FIRST_ID, FIRST_ID)
    closed.chmod(0o700)

    def work() -> list[Any]:
        make_reachable([closed / "a/state", closed / "file.txt"])
        drop_privileges(FIRST_ID, FIRST_ID)
        (closed / "a/state/new").write_text("written")
        return [(closed / "file.txt").read_text(), [entry.name for entry in (closed / "a").iterdir()]]

    assert ["read me", ["state"]] == in_child(work)
    assert "written" == (closed / "a/state/new").read_text()
    assert {"state", "secret"} == {entry.name for entry in (closed / "a").iterdir()}


def test_nested_paths_and_open_ones_are_fine(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "outer/inner").mkdir(parents=True)
    (closed / "outer/inner/x").write_text("x")
    closed.chmod(0o700)

    def work() -> str:
        make_reachable([closed / "outer", closed / "outer/inner", Path("/usr/bin"), Path("/")])
        drop_privileges(FIRST_ID, FIRST_ID)
        return (closed / "outer/inner/x").read_text()

    assert "x" == in_child(work)


def test_missing_path_is_an_error_that_names_it(tmp_path: Path) -> None:
    def work() -> str:
        try:
            make_reachable([tmp_path / "nowhere"])
        except FileNotFoundError as error:
            return str(error.filename)
        return "no error"

    assert str(tmp_path / "nowhere") == in_child(work)


def test_fork_into_a_pid_namespace_turns_back() -> None:
    def work() -> list[int]:
        child = fork_into_new_pid_namespace()
        if child == 0:
            os._exit(os.getpid())
        first = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        plain = os.fork()
        if plain == 0:
            os._exit(0 if os.getpid() > 1 else 1)
        return [first, os.waitstatus_to_exitcode(os.waitpid(plain, 0)[1])]

    assert [1, 0] == in_child(work)


def test_zygote_has_no_capability_on_the_host(sandbox_host: Sandboxes) -> None:
    async def main(host: LauncherHost) -> list[list[str]]:
        sandbox = await host.open("Python3.12")
        await sandbox.aclose()
        found = []
        for one in psutil.Process(sandbox_host.launcher_pid).children(recursive=True):
            status = status_of(str(one.pid))
            if status["Uid"].split()[0] == str(FIRST_ID + 16):
                found.append(
                    [status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")]
                )
        return found

    assert [["0" * 16] * 5 + ["1"]] == sandbox_host.run(main, provider="zygote")
