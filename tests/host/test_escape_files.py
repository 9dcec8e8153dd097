"""Files, mounts and devices, seen by an author's code, on every provider."""

from pathlib import Path
from typing import Any

import pytest

from tests.host.attacker import PROVIDERS, look
from tests.host.sandboxes import Sandboxes

pytestmark = pytest.mark.parametrize("provider", PROVIDERS)

#: Types of file systems through which the host could be reached or changed.
FORBIDDEN_TYPES = {
    "cgroup",
    "cgroup2",
    "sysfs",
    "debugfs",
    "tracefs",
    "securityfs",
    "devtmpfs",
    "devpts",
    "bpf",
    "mqueue",
}


@pytest.mark.slow
def test_only_tmp_and_shared_memory_are_writable(sandbox_host: Sandboxes, provider: str) -> None:
    """Walks the whole tree."""
    found = look(sandbox_host, provider, "files.writable")

    assert found["looked"] > 1000
    assert sorted(found["found"]) == ["/dev/shm", "/tmp"]


def test_mounts_are_read_only_and_honour_no_set_id(sandbox_host: Sandboxes, provider: str) -> None:
    mounts = look(sandbox_host, provider, "identity.mounts")

    for point, options, kind, _ in mounts:
        words = options.split(",")
        assert "nosuid" in words, point
        assert ("rw" in words) == (point in ("/tmp", "/dev/shm")), point
        assert "nodev" in words or point == "/dev" or point.startswith("/proc/"), point
        assert kind not in FORBIDDEN_TYPES, point


def test_own_proc_files_cannot_be_written(sandbox_host: Sandboxes, provider: str) -> None:
    found = look(sandbox_host, provider, "files.own_proc_files")

    assert "allowed" not in found.values()


def test_proc_tells_no_secrets_and_triggers_nothing(sandbox_host: Sandboxes, provider: str) -> None:
    found = look(sandbox_host, provider, "files.proc_secrets")

    own = {"1/environ", "1/mem", "iomem", "ioports"}  # the last two show zeros without CAP_SYS_ADMIN
    assert {found[name] for name in found if name not in own} <= {"ENOENT", "EACCES", "EPERM", "0 bytes"}
    assert look(sandbox_host, provider, "files.kernel_addresses") == []


def test_no_setting_of_the_kernel_can_be_changed(sandbox_host: Sandboxes, provider: str) -> None:
    found = look(sandbox_host, provider, "files.sysctls")

    assert set(found.values()) <= {"EROFS", "EACCES", "EPERM", "ENOENT"}


def test_only_harmless_devices_and_no_new_ones(sandbox_host: Sandboxes, provider: str) -> None:
    found = look(sandbox_host, provider, "files.devices")

    assert found["nodes"] == {
        "/dev/null": [1, 3], "/dev/zero": [1, 5], "/dev/full": [1, 7], "/dev/random": [1, 8], "/dev/urandom": [1, 9],
    }  # fmt: skip
    assert "allowed" not in found["made"].values()


def test_there_is_no_way_back_to_the_hosts_root(sandbox_host: Sandboxes, provider: str) -> None:
    found = look(sandbox_host, provider, "files.host_view")

    assert [path for path, there in found["seen"].items() if there] == []
    assert found["climbing_stays"]
    assert set(found["top"]) <= {
        "bin", "dev", "etc", "home", "lib", "lib32", "lib64", "opt", "proc", "sbin", "tmp", "usr",
    }  # fmt: skip


def test_set_id_programs_change_nobody(sandbox_host: Sandboxes, provider: str) -> None:
    found: dict[str, Any] = look(sandbox_host, provider, "files.set_id")

    assert found.pop("own") == ["Uid:", *["1003"] * 4, "Gid:", *["1003"] * 4]
    assert found.pop("mode") == oct(0o6755)
    for name, result in found.items():
        if name.startswith("/"):
            assert result[1], f"{name} is on a mount that honours set-id"
        else:
            assert result in ("EPERM", "EINVAL"), name


def test_the_interpreter_and_the_runtime_cannot_be_overwritten(sandbox_host: Sandboxes, provider: str) -> None:
    """CVE-2019-5736: /proc/self/exe is the program that everybody else runs too."""
    found = look(sandbox_host, provider, "files.own_program")

    assert set(found.values()) <= {"EROFS", "ETXTBSY", "EACCES"}


def test_operators_files_below_usr_are_not_there(sandbox_host: Sandboxes, provider: str) -> None:
    paths = ["/usr/local/etc", "/usr/local/src", "/usr/src", "/usr/lib/modules", "/usr/etc"]
    paths = [path for path in paths if Path(path).is_dir()]

    found = look(sandbox_host, provider, "files.listed", paths=[*paths, "/usr/bin"])

    assert {path: found[path] for path in paths} == {path: [] for path in paths}
    assert "env" in found["/usr/bin"]
