"""A daemon that cannot start says why in one line, ends with an error, and leaves nothing behind."""

import json
import os
import socket
import sqlite3
import subprocess
from functools import partial
from pathlib import Path

import pytest

from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess
from tests.e2e.parallel import Flood
from tests.e2e.sources import ECHO, WHO


def refused(daemon: DaemonProcess, *, command: list[str] | None = None) -> str:
    """Starts a daemon that shall refuse; gives what it said."""
    daemon.write_settings()
    done = subprocess.run(command or daemon.command(), capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode not in (0, -9), done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3, done.stderr
    return done.stderr


def test_second_daemon_on_the_same_state(daemon: DaemonProcess, tmp_path: Path) -> None:
    daemon.start()
    other = DaemonProcess(tmp_path / "other")
    command = other.command()
    command[command.index("--state-dir") + 1] = str(daemon.state_dir)
    said = refused(other, command=command)

    assert str(daemon.state_dir) in said
    assert str(daemon.pid) in said
    assert daemon.admin("GET", "/healthz").status == 200
    assert other.remains() == []


def test_second_daemon_on_the_same_admin_socket(daemon: DaemonProcess, tmp_path: Path) -> None:
    daemon.start()
    other = DaemonProcess(tmp_path / "other")
    command = other.command()
    command[command.index("--admin-socket") + 1] = str(daemon.admin_socket)
    said = refused(other, command=command)

    assert str(daemon.admin_socket) in said
    assert daemon.admin("GET", "/healthz").status == 200


def test_port_in_use(daemon: DaemonProcess) -> None:
    with socket.create_server(("127.0.0.1", daemon.port)):
        said = refused(daemon)

    assert str(daemon.port) in said
    assert daemon.wait_gone() == []
    daemon.start()
    assert daemon.admin("GET", "/healthz").status == 200


def test_state_of_a_newer_version(daemon: DaemonProcess) -> None:
    daemon.start()
    daemon.stop()
    files = sorted(daemon.state_dir.glob("*.db"))
    assert files
    for path in files:
        before = path.stat()
        connection = sqlite3.connect(path)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute("PRAGMA user_version=9999")
        connection.close()
        said = refused(daemon)
        assert "newer" in said
        assert path.name in said
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA user_version").fetchone()[0] == 9999, "it was not touched"
        connection.execute(f"PRAGMA user_version={version}")
        connection.close()
        for beside in path.parent.glob(f"{path.name}*"):
            os.chown(beside, before.st_uid, before.st_gid)
    daemon.start()


def test_damaged_database(daemon: DaemonProcess) -> None:
    daemon.start()
    daemon.stop()
    path = daemon.state_dir / "catalog.db"
    for beside in daemon.state_dir.glob("catalog.db-*"):
        beside.unlink()
    path.write_bytes(b"this is not a database" * 1000)

    assert "catalog.db" in refused(daemon)


@pytest.mark.parametrize(
    ("settings", "word"),
    [("nothing_like_this = 1\n", "nothing_like_this"), ("queue_max = -1\n", "queue_max"),
     ('keep_alive_s = "long"\n', "keep_alive_s"), ("this is no toml", "fgd.toml")],
)  # fmt: skip
def test_wrong_settings(daemon: DaemonProcess, settings: str, word: str) -> None:
    (daemon.folder / "fgd.toml").write_text(settings)
    done = subprocess.run(daemon.command(), capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode != 0
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_state_directory_that_is_a_file(daemon: DaemonProcess) -> None:
    daemon.state_dir.write_text("occupied")

    assert str(daemon.state_dir) in refused(daemon)


def test_without_root_it_says_so(daemon: DaemonProcess) -> None:
    daemon.write_settings()
    # The interpreter may lie where only root can read: such a process may read everything, but is not root.
    reader = ["setpriv", "--reuid=65534", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    done = subprocess.run([*reader, *daemon.command()], capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode not in (0, 127)
    assert "root" in done.stderr
    assert "Traceback" not in done.stderr
    assert not daemon.state_dir.exists()


def test_admin_socket_is_closed_to_other_users(daemon: DaemonProcess) -> None:
    daemon.start()
    mode = daemon.admin_socket.stat().st_mode & 0o777

    assert mode & 0o007 == 0
    assert (daemon.state_dir.stat().st_mode & 0o077) == 0
    assert [path for path in (daemon.state_dir).glob("key*") if path.stat().st_mode & 0o077] == []


def test_command_without_a_daemon_says_where_it_looked(daemon: DaemonProcess) -> None:
    done = daemon.cli("status", check=False)

    assert done.returncode == 4
    assert str(daemon.admin_socket) in done.stderr


def test_pid_file_names_the_daemon(daemon: DaemonProcess) -> None:
    daemon.start()

    assert int(daemon.pid_file.read_text()) == daemon.pid
    daemon.stop()
    assert not daemon.pid_file.exists()
    assert not daemon.admin_socket.exists()


def test_cli_deploys_and_invokes(daemon: DaemonProcess, tmp_path: Path) -> None:
    daemon.start()
    source = tmp_path / "shout.py"
    source.write_text("def handler(event, context):\n    print('heard')\n    return event['text'].upper()\n")
    daemon.cli("deploy", str(source), "--handler", "shout.handler", "--timeout", "5")
    done = daemon.cli("invoke", "shout", "--data", '{"text": "hey"}', "--tail")
    logs = daemon.cli("logs", "shout")

    assert done.stdout.strip().strip('"') == "HEY"
    assert "heard" in done.stderr
    assert "heard" in logs.stdout
    assert json.loads(daemon.cli("functions", "list", "--json").stdout)["functions"][0]["func_name"] == "shout"
    assert daemon.cli("invoke", "nothing", check=False).returncode == 3
    assert daemon.cli("invoke", "shout", "--data", "{}", check=False).returncode == 1


def test_reload_takes_new_settings_without_a_restart(daemon: DaemonProcess) -> None:
    daemon.settings["queue_max"] = 0
    daemon.start()
    keys = daemon.create_keys()
    api = daemon.client(keys)
    urn = api.deploy("one", WHO)
    assert api.configure(urn, strategy_config={"concurrency": 1, "concurrent_num": 1}).status == 200
    api.invoke(urn)
    send = partial(Client.invoke, urn=urn, event={"s": 0.3})

    assert 429 in {one.status for one in Flood(lambda: daemon.client(keys), 4, send).finish()}
    daemon.settings["queue_max"] = 50
    daemon.reload()
    assert daemon.wait_log("reloaded")
    assert {one.status for one in Flood(lambda: daemon.client(keys), 4, send).finish()} == {200}
    api.close()


def test_reload_of_a_broken_file_keeps_the_old_settings(daemon: DaemonProcess) -> None:
    daemon.start()
    api = daemon.client(daemon.create_keys())
    urn = api.deploy("one", ECHO)
    daemon.settings["queue_max"] = "many"
    daemon.reload()

    assert daemon.wait_log("queue_max")
    assert api.invoke(urn, {"n": 1}).json() == {"n": 1}
    del daemon.settings["queue_max"]
    api.close()
