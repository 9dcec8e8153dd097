"""Another user of the machine gets at nothing of the daemon: sockets, state, memory, processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fgd.testing.daemon import DaemonProcess

#: Tries everything and prints what worked, as JSON.
_TRY = """
import json, os, socket, sys
order = json.loads(sys.argv[1])
worked = []

def attempt(name, action):
    try:
        action()
    except OSError:
        return
    worked.append(name)

def connect(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(2)
        sock.connect(path)

for path in order["sockets"]:
    attempt("connect " + path, lambda: connect(path))
for path in order["files"]:
    attempt("open " + path, lambda: os.close(os.open(path, os.O_RDONLY)))
for pid in order["pids"]:
    for name in ("mem", "environ", "maps", "fd", "root/etc", "cwd/catalog.db", "fd/3"):
        path = "/proc/%d/%s" % (pid, name)
        attempt(path, lambda: os.close(os.open(path, os.O_RDONLY)))
    attempt("signal", lambda: os.kill(pid, 0))
    attempt("pidfd", lambda: os.pidfd_open(pid) and os.kill(pid, 0))
print(json.dumps(worked))
"""


@pytest.fixture
def reachable(daemon: DaemonProcess) -> Path:
    """The daemon's folder, which pytest keeps in a private one: only the daemon's own modes shall stand in the way."""
    for folder in (daemon.folder, *daemon.folder.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    return daemon.folder


def test_a_stranger_gets_at_nothing(daemon: DaemonProcess, reachable: Path) -> None:
    state = daemon.state_dir
    order = {
        "sockets": [str(daemon.admin_socket), str(state / "control.sock"), f"/proc/{daemon.pid}/cwd/control.sock"],
        "files": [str(path) for path in (state, *state.iterdir())],
        "pids": [one.pid for one in daemon.processes()],
    }
    python = os.path.realpath("/usr/bin/python3")
    if not Path(python).exists():
        pytest.skip("no interpreter that other users may run")
    done = subprocess.run(
        [python, "-c", _TRY, json.dumps(order)], user=65534, group=65534, extra_groups=[], cwd="/",
        capture_output=True, text=True, check=True, timeout=60, env={},
    )  # fmt: skip

    assert sys.version_info >= (3, 12)
    assert json.loads(done.stdout) == []


def test_no_file_of_the_state_is_open_to_others(daemon: DaemonProcess) -> None:
    assert daemon.state_dir.stat().st_mode & 0o777 == 0o700
    assert daemon.admin_socket.stat().st_mode & 0o777 == 0o660


def test_nothing_of_the_daemon_has_a_capability_but_the_launcher(daemon: DaemonProcess) -> None:
    launcher = daemon.launcher().pid
    for one in daemon.processes():
        if one.pid == launcher:
            continue
        status = Path(f"/proc/{one.pid}/status").read_text("ascii")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert int(fields["Uid"].split()[1]) != 0, one
        # A blank has all capabilities of a user namespace of its own, and none outside of it.
        if Path(f"/proc/{one.pid}/ns/user").readlink() == Path("/proc/self/ns/user").readlink():
            assert int(fields["CapEff"], 16) == 0, one
