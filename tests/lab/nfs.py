"""Disks of a real NFS server, in the lab machine: run by tests/lab/run.sh, and by nothing else.

The server is the machine's own kernel; times are an emulated machine's.
"""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fgd.testing.client import Client, HarnessError, Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import eventually

EXPORT = Path("/export")
UID, GID = 5001, 5002
PATIENT_S = 60.0
FILES = """\
import os

def handler(event, context):
    path = event["path"]
    if "write" in event:
        with open(path, "w") as file:
            file.write(event["write"])
    status = os.stat(path)
    return [open(path).read(), status.st_uid, status.st_gid]
"""
ECHO = "def handler(event, context):\n    return event\n"


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.fixture(scope="module", autouse=True)
def server() -> None:
    """Exports a folder that belongs to the functions' owner."""
    (EXPORT / "inner").mkdir(parents=True)
    for folder in (EXPORT, EXPORT / "inner"):
        os.chown(folder, UID, GID)
        folder.chmod(0o755)
    Path("/etc/exports").write_text(f"{EXPORT} 127.0.0.1(rw,sync,no_subtree_check,root_squash)\n")
    # After a restart it lets clients of before come back first; nobody here wants to wait the usual 90 s for that.
    Path("/etc/nfs.conf.d").mkdir(exist_ok=True)
    Path("/etc/nfs.conf.d/lab.conf").write_text("[nfsd]\ngrace-time=10\nlease-time=10\n")
    run("systemctl", "start", "rpcbind", "nfs-server")
    run("exportfs", "-ra")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    settings: dict[str, object] = {
        "nfs_servers": [f"{name}=127.0.0.1:{EXPORT}{words}" for name, words in
                        (("v3", " vers=3"), ("v4", " vers=4.2"), ("any", ""), ("locked", " ro"))],
        "mount_timeout_s": 20.0, "drain_s": 5.0, "sync_timeout_s": 90.0,
    }  # fmt: skip
    process = DaemonProcess(tmp_path_factory.mktemp("fgd"), settings)
    try:
        _start(process)
        yield process
    finally:
        process.__exit__()


def _start(process: DaemonProcess) -> None:
    process.start(wait=False)
    process.wait_ready(2 * PATIENT_S)


@pytest.fixture(scope="module")
def api(daemon: DaemonProcess) -> Iterator[Client]:
    client = daemon.client(daemon.create_keys())
    yield client
    client.close()


def nfs(resource: str, path: str = "/mnt/nfs", share: str = "", **more: Any) -> dict[str, Any]:
    mount = {
        "mount_type": "nfs",
        "mount_resource": resource,
        "mount_share_path": share,
        "local_mount_path": path,
        **more,
    }
    return {"mount_config": {"mount_user": {"user_id": UID, "user_group_id": GID}, "func_mounts": [mount]}}


def nfs_devices() -> set[str]:
    """Device numbers of all NFS mounts that any process of this machine sees."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[fields.index("-") + 1] in ("nfs", "nfs4"):
                found.add(fields[2])
    return found


@pytest.mark.parametrize("version", ["v3", "v4", "any"])
def test_functions_and_server_agree_about_files_and_owners(api: Client, version: str) -> None:
    (EXPORT / "theirs").write_text("from the server")
    os.chown(EXPORT / "theirs", UID, GID)
    (EXPORT / "theirs").chmod(0o600)
    (EXPORT / "roots").write_text("secret")
    (EXPORT / "roots").chmod(0o600)
    writer = api.deploy(f"writer-{version}", FILES, timeout=60, **nfs(version))
    reader = api.deploy(f"reader-{version}", FILES, timeout=60, **nfs(version, "/home/test", read_only=True))
    wrote = api.invoke(writer, {"path": f"/mnt/nfs/{version}", "write": "from a function"})
    made = (EXPORT / version).stat()

    assert ["from a function", 1003, 1003] == wrote.json(), wrote.text
    assert (UID, GID) == (made.st_uid, made.st_gid)
    assert ["from a function", 1003, 1003] == api.invoke(reader, {"path": f"/home/test/{version}"}).json()
    assert ["from the server", 1003, 1003] == api.invoke(reader, {"path": "/home/test/theirs"}).json()
    assert "Permission denied" in api.invoke(reader, {"path": "/home/test/roots"}).text
    assert "Read-only file system" in api.invoke(reader, {"path": "/home/test/x", "write": "x"}).text


def test_an_export_is_mounted_once_for_all_functions(api: Client, daemon: DaemonProcess) -> None:
    for number in range(3):
        urn = api.deploy(f"many-{number}", FILES, timeout=60, **nfs("v4", share="inner"))
        assert 200 == api.invoke(urn, {"path": f"/mnt/nfs/{number}", "write": "x"}).status
    helpers = [one for one in daemon.launcher().children() if _holds(one.pid, "/export/inner")]
    found = json.loads(daemon.cli("mounts", "--json").stdout)["mounts"]

    assert 1 == len(helpers)
    assert {"active"} == {one["status"] for one in found if one["mount_share_path"] == "inner"}


def _holds(pid: int, path: str) -> bool:
    return f"127.0.0.1:{path} " in Path(f"/proc/{pid}/mountinfo").read_text()


def test_what_the_operator_exports_read_only_stays_so(api: Client) -> None:
    urn = api.deploy("locked", FILES, timeout=60, **nfs("locked"))

    assert "Read-only file system" in api.invoke(urn, {"path": "/mnt/nfs/x", "write": "x"}).text


def test_a_folder_that_is_not_exported_is_a_clear_error(api: Client) -> None:
    with pytest.raises(HarnessError, match=r"412.*FSS\.1095.*mount /mnt/nfs: 127\.0\.0\.1:/export/none: "):
        api.deploy("none", ECHO, **nfs("v3", share="none"))


def test_a_server_that_dies_holds_up_nobody_and_comes_back(api: Client, daemon: DaemonProcess) -> None:
    urn = api.deploy("hung", FILES, timeout=40, **nfs("v4", share="inner"))
    plain = api.deploy("plain", ECHO, timeout=60)
    assert 200 == api.invoke(urn, {"path": "/mnt/nfs/before", "write": "x"}).status
    run("exportfs", "-ua")
    run("rpc.nfsd", "0")
    keys = daemon.create_keys()
    answers: list[str] = []
    threads = [threading.Thread(target=_call, args=(daemon, keys, urn, answers)) for _ in range(12)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    began = time.monotonic()
    status = daemon.cli("status", "--json").returncode
    listed = daemon.cli("mounts").returncode
    others = [api.invoke(api.deploy(f"other-{n}", ECHO, timeout=60), {"n": n}).json() for n in range(3)]
    others.append(api.invoke(plain, {"n": 3}).json())
    took_s = time.monotonic() - began
    told = eventually(lambda: "error: the server does not answer" in daemon.cli("mounts").stdout, PATIENT_S, 1.0)
    for thread in threads:
        thread.join()

    assert (0, 0) == (status, listed)
    assert [{"n": n} for n in range(4)] == others
    assert took_s < 30
    assert told
    assert 12 == len(answers)
    assert all("errorMessage" in text or "error_msg" in text for text in answers)
    with pytest.raises(HarnessError, match=r"412.*FSS\.1095"):
        api.deploy("late", ECHO, **nfs("v3", "/mnt/late", share="inner"))
    run("rpc.nfsd", "8")
    run("exportfs", "-ra")
    event = {"path": "/mnt/nfs/back", "write": "back"}
    came_back = eventually(lambda: '"back"' in api.invoke(urn, event).text, 2 * PATIENT_S, 2.0)
    assert came_back


def _call(daemon: DaemonProcess, keys: Keys, urn: str, answers: list[str]) -> None:
    client = daemon.client(keys, 100.0)
    answers.append(client.invoke(urn, {"path": "/mnt/nfs/during", "write": "x"}).text)
    client.close()


def _ends(daemon: DaemonProcess, end: Callable[[], object]) -> bool:
    assert nfs_devices()
    end()
    return eventually(lambda: nfs_devices() == set() and not daemon.remains(), PATIENT_S, 0.5)


def test_killed_with_9_nothing_stays_mounted(api: Client, daemon: DaemonProcess) -> None:
    # Another disk of the server that was away: its connection comes back when the kernel tries again.
    event = {"path": "/mnt/nfs/killed", "write": "x"}
    assert eventually(lambda: api.invoke(_some(api), event).status == 200, 2 * PATIENT_S, 2.0)
    assert _ends(daemon, daemon.kill9)
    _start(daemon)


def test_stopped_nothing_stays_mounted(api: Client, daemon: DaemonProcess) -> None:
    api.close()
    assert 200 == api.invoke(_some(api), {"path": "/mnt/nfs/stopped", "write": "x"}).status
    assert _ends(daemon, daemon.stop)
    _start(daemon)


def _some(api: Client) -> str:
    found = api.functions("GET", "?func_name=writer-v4").json()["functions"]
    return str(found[0]["func_urn"])
