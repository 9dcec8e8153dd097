"""Disks of functions in a whole daemon: deployed, shared, failing, hanging, and after a restart."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fgd.testing.client import Client, HarnessError, Keys
from fgd.testing.daemon import DaemonProcess
from fgd.testing.host import hanging_disk
from tests.e2e.conftest import SETTINGS
from tests.e2e.sources import ECHO

FILES = """\
import os

def handler(event, context):
    path = event["path"]
    if "write" in event:
        with open(path, "w") as file:
            file.write(event["write"])
    if "fill" in event:
        with open(path, "wb") as file:
            for _ in range(event["fill"]):
                file.write(bytes(1 << 20))
        return os.path.getsize(path)
    if event.get("space"):
        status = os.statvfs(path)
        return status.f_blocks * status.f_frsize >> 20
    return open(path).read()
"""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disks") / "disk"
    folder.mkdir()
    os.chown(folder, 1003, 1003)
    return folder


@pytest.fixture(scope="module")
def daemon(disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One that lets functions mount a directory, and gives up on disks soon."""
    settings: dict[str, object] = {**SETTINGS, "mount_roots": [f"disk={disk}"], "mount_timeout_s": 2.0}
    # Nobody listens on that port of the loopback's last addresses: a server that refuses at once.
    settings["nfs_servers"] = ["dead=127.255.255.254:/export vers=4.2"]
    with DaemonProcess(tmp_path_factory.mktemp("fgd"), settings) as process:
        yield process


@pytest.fixture(scope="module")
def keys(daemon: DaemonProcess) -> Keys:
    return daemon.create_keys()


def mounts(*found: dict[str, Any], **user: int) -> dict[str, Any]:
    config: dict[str, Any] = {"func_mounts": list(found)}
    return {"mount_config": config | ({"mount_user": user} if user else {})}


def host(path: str = "/mnt/data", share: str = "", **more: Any) -> dict[str, Any]:
    return {
        "mount_type": "host", "mount_resource": "disk", "mount_share_path": share, "local_mount_path": path, **more
    }  # fmt: skip


def test_two_functions_share_a_disk_with_the_host(api: Client, deploy: Callable[..., str], disk: Path) -> None:
    writer = deploy(FILES, **mounts(host("/home/test")))
    reader = deploy(FILES, **mounts(host("/mnt/data", read_only=True), user_id=1003))
    wrote = api.invoke(writer, {"path": "/home/test/note", "write": "from one"})
    read = api.invoke(reader, {"path": "/mnt/data/note"})
    refused = api.invoke(reader, {"path": "/mnt/data/note", "write": "x"})

    assert ["from one", "from one"] == [wrote.text, read.text]
    assert "Read-only file system" in refused.text
    assert (1003, 1003) == ((disk / "note").stat().st_uid, (disk / "note").stat().st_gid)


def test_a_mount_that_fails_is_a_clear_error_at_deploy_and_changes_nothing(
    api: Client, deploy: Callable[..., str]
) -> None:
    with pytest.raises(HarnessError, match=r"412.*FSS\.1095.*mount /mnt/data: the folder 'none'"):
        deploy(FILES, **mounts(host(share="none")))
    urn = deploy(FILES, **mounts(host()))
    answer = api.configure(urn, **mounts(host(share="none")))

    assert (412, "FSS.1095") == (answer.status, answer.error_code)
    assert 200 == api.invoke(urn, {"path": "/mnt/data/a", "write": "a"}).status


def test_a_mount_that_fails_at_the_start_is_an_answer_with_its_name(
    api: Client, deploy: Callable[..., str], disk: Path
) -> None:
    (disk / "leaves").mkdir()
    urn = deploy(FILES, **mounts(host(share="leaves")))
    (disk / "leaves").rmdir()
    answer = api.invoke(urn, {"path": "/mnt/data/a"})

    assert "mount /mnt/data: the folder 'leaves' cannot be mounted" in answer.text
    (disk / "leaves").mkdir(mode=0o777)
    (disk / "leaves").chmod(0o777)
    assert "b" == api.invoke(urn, {"path": "/mnt/data/b", "write": "b"}).text


def test_a_disk_that_hangs_holds_up_nobody(
    api: Client, daemon: DaemonProcess, keys: Keys, deploy: Callable[..., str], disk: Path
) -> None:
    (disk / "slow").mkdir()
    (disk / "slow/inner").mkdir()
    urn = deploy(FILES, **mounts(host(share="slow/inner")))
    plain = deploy(ECHO)
    (disk / "slow/inner").rmdir()
    (disk / "slow").rmdir()
    answers: list[str] = []

    def call() -> None:
        client = daemon.client(keys)
        answers.append(client.invoke(urn, {"path": "/mnt/data/a"}).text)
        client.close()

    with hanging_disk(disk / "slow"):
        threads = [threading.Thread(target=call) for _ in range(20)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)  # the starts are under way
        began = time.monotonic()
        others = [deploy(ECHO) for _ in range(3)]
        found = [api.invoke(one, {"n": 1}).json() for one in [plain, *others]]
        status = daemon.cli("status", "--json")
        listed = json.loads(daemon.cli("mounts", "--json").stdout)
        took_s = time.monotonic() - began
        refused = api.configure(urn, **mounts(host("/mnt/other", share="slow/inner")))
        for thread in threads:
            thread.join()

    assert [{"n": 1}] * 4 == found
    assert 0 == status.returncode
    assert urn in [one["func_urn"] for one in listed["mounts"]]
    assert took_s < 5
    assert (412, "FSS.1095") == (refused.status, refused.error_code)
    assert 20 == len(answers)
    assert all("mount /mnt/data: not done within 2 s" in text for text in answers)
    assert 200 == api.invoke(plain).status


def test_a_server_that_is_not_there_is_a_clear_error(api: Client, daemon: DaemonProcess, name: str) -> None:
    """Where the host has no NFS at all, the kernel says so instead."""
    nfs = {"mount_type": "nfs", "mount_resource": "dead", "local_mount_path": "/mnt/nfs"}
    began = time.monotonic()
    with pytest.raises(HarnessError, match=r"412.*FSS\.1095.*mount /mnt/nfs: 127\.255\.255\.254:/export: ") as caught:
        api.deploy(name, ECHO, **mounts(nfs, user_id=5000, user_group_id=5000))

    assert time.monotonic() - began < 6
    assert any(word in str(caught.value) for word in ("No such device", "refused", "no answer within"))
    assert 0 == daemon.cli("status").returncode


def test_tmp_is_as_large_as_it_was_ordered(api: Client, deploy: Callable[..., str]) -> None:
    small = deploy(FILES)
    large = deploy(FILES, ephemeral_storage=10240, memory_size=1024)

    assert 512 == api.invoke(small, {"path": "/tmp", "space": True}).json()
    assert 10240 == api.invoke(large, {"path": "/tmp", "space": True}).json()
    assert 600 << 20 == api.invoke(large, {"path": "/tmp/big", "fill": 600}).json()
    too_much = api.invoke(deploy(FILES, ephemeral_storage=10240), {"path": "/tmp/big", "fill": 200})
    assert "runtime memory limit exceeded" in too_much.text


def test_the_command_deploys_with_mounts_and_shows_them(daemon: DaemonProcess, tmp_path: Path, name: str) -> None:
    (tmp_path / "index.py").write_text(FILES)
    spec = "type=host,resource=disk,path=/srv/in,ro"
    made = daemon.cli(
        "deploy", str(tmp_path), "--name", name, "--mount", spec, "--mount", "type=tmpfs,resource=8,path=/srv/out",
        "--mount-user", "1003:-1", "--tmp", "10240",
    )  # fmt: skip
    shown = json.loads(daemon.cli("functions", "show", name, "--json").stdout)
    listed = daemon.cli("mounts", "--check").stdout
    for wrong in ("type=host", "type=host,resource=a,path=/x,path=/y", "ro=1"):
        assert 2 == daemon.cli("deploy", str(tmp_path), "--mount", wrong, check=False).returncode
    daemon.cli("functions", "update", name, "--no-mounts")
    bare = json.loads(daemon.cli("functions", "show", name, "--json").stdout)
    daemon.cli("functions", "delete", name)

    assert made.stdout.startswith("created ")
    assert ["/srv/in", "/srv/out"] == [one["local_mount_path"] for one in shown["mount_config"]["func_mounts"]]
    assert (10240, True) == (shown["ephemeral_storage"], shown["mount_config"]["func_mounts"][0]["read_only"])
    assert any(name in line and "/srv/in" in line and line.endswith("active") for line in listed.splitlines())
    assert [] == bare["mount_config"]["func_mounts"]


def test_mounts_are_there_after_a_restart_and_a_version_keeps_its_own(
    api: Client, daemon: DaemonProcess, deploy: Callable[..., str]
) -> None:
    urn = deploy(FILES, **mounts(host()))
    assert 200 == api.functions("POST", f"/{urn}/versions", {"version": "v1"}).status
    assert 200 == api.configure(urn, **mounts()).status
    daemon.stop()
    daemon.start()
    api.close()
    versioned = urn.removesuffix("latest") + "v1"

    assert "kept" == api.invoke(versioned, {"path": "/mnt/data/kept", "write": "kept"}).text
    assert "No such file" in api.invoke(urn, {"path": "/mnt/data/kept"}).text
