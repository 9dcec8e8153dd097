"""The doctor's judgement."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fgd import doctor
from fgd.config import Config
from fgd.linux import probe


def by_name(checks: list[doctor.Check]) -> dict[str, doctor.Check]:
    return {check.name: check for check in checks}


def test_every_finding_that_is_not_well_says_what_it_means_and_how_to_mend_it(tmp_path: Path) -> None:
    checks = doctor.run_checks(Config(), tmp_path)

    assert len(checks) >= 15
    assert len({check.name for check in checks}) == len(checks)
    for check in checks:
        assert check.state in ("ok", "warn", "fail")
        assert check.found
        if check.state != "ok":
            assert check.meaning and check.mend, check.name
    assert json.loads(json.dumps([check.to_json() for check in checks]))[0]["name"] == "root"


def test_ids_beyond_the_kernels_range_fail() -> None:
    check = by_name(doctor.run_checks(Config(first_uid=4294000000)))["ids of instances"]

    assert check.state == "fail"
    assert "first_uid" in check.mend


def test_more_memory_promised_than_there_is_warns() -> None:
    check = by_name(doctor.run_checks(Config(memory_budget_mib=1 << 30)))["memory"]

    assert check.state == "warn"


def test_the_account_may_not_be_root() -> None:
    assert by_name(doctor.run_checks(Config(user="root")))["account"].state == "fail"


@pytest.mark.parametrize(
    ("setting", "value", "word"),
    [
        ("kernel.unprivileged_userns_clone", "0", "unprivileged_userns_clone=1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "AppArmor"),
    ],
)
def test_refused_namespaces_are_traced_to_the_setting(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str, word: str
) -> None:
    """The kernel's answers are replaced here, as no test may change this host's settings."""
    asked: Callable[[str], str | None] = probe.sysctl
    monkeypatch.setattr(probe, "sysctl", lambda name: value if name == setting else asked(name))
    monkeypatch.setattr(probe, "try_namespaces", lambda: "create namespaces: Operation not permitted")

    check = by_name(doctor.run_checks())["namespaces"]

    assert check.state == "fail"
    assert word in check.mend


def test_a_piped_core_pattern_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Callable[[str], str | None] = probe.sysctl
    replaced = {"kernel.core_pattern": "|/usr/bin/handler %p"}
    monkeypatch.setattr(probe, "sysctl", lambda name: replaced.get(name) or asked(name))

    check = by_name(doctor.run_checks())["core dumps"]

    assert check.state == "warn"
    assert "/usr/bin/handler" in check.found


def test_a_public_folder_that_is_not_there_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "Python3.12").mkdir()
    absent = by_name(doctor.run_checks(Config(public_dependencies=str(tmp_path / "absent"))))["public dependencies"]
    there = by_name(doctor.run_checks(Config(public_dependencies=str(tmp_path))))["public dependencies"]

    assert ("warn", True) == (absent.state, "No such file" in absent.found)
    assert ("ok", True) == (there.state, "Python3.12" in there.found)


def test_a_kernel_without_overlayfs_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str, options: object, attributes: int) -> int:
        raise OSError(errno.ENODEV, "No such device", kind)

    assert "ok" == by_name(doctor.run_checks())["dependencies"].state
    monkeypatch.setattr("fgd.linux.libc.new_mount", refuse)
    check = by_name(doctor.run_checks())["dependencies"]

    assert ("warn", "overlayfs: No such device") == (check.state, check.found)


def test_disks_that_cannot_be_offered_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(**settings: tuple[str, ...]) -> doctor.Check:
        return by_name(doctor.run_checks(Config(**settings)))["mounts"]  # type: ignore[arg-type]

    assert ("ok", "1 host directories, 0 NFS exports are offered") == (
        check(mount_roots=(str(tmp_path),)).state,
        check(mount_roots=(str(tmp_path),)).found,
    )
    assert ("fail", f"no directory: {tmp_path}/none") == (
        check(mount_roots=(f"x={tmp_path}/none",)).state,
        check(mount_roots=(f"x={tmp_path}/none",)).found,
    )
    monkeypatch.setattr(probe, "knows_filesystem", lambda name: False)
    assert "fail" == check(nfs_servers=("nas:/export",)).state


def test_the_kernel_is_asked_for_its_file_systems() -> None:
    assert probe.knows_filesystem("tmpfs")
    assert not probe.knows_filesystem("nosuchfs")
