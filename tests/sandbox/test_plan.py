"""The plan: what is in a sandbox's root, computed without touching anything."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from fgd.runtime import RuntimeInstall
from fgd.sandbox.api import Limits
from fgd.sandbox.inside import steps
from fgd.sandbox.plan import Bind, Mask, Plan, Proc, Seal, Tmpfs, instance_plan, plain, root_plan


@pytest.fixture
def install(tmp_path: Path) -> RuntimeInstall:
    """An interpreter that need not exist: the plan is data."""
    return RuntimeInstall(
        id="Python3.12",
        language="python",
        version="3.12.1",
        executable=tmp_path / "prefix/bin/python3.12",
        prefix=tmp_path / "prefix",
        inside_prefix="/opt/function/runtime/python3.12/rtsp/python",
        inside_executable="/opt/function/runtime/python3.12/rtsp/python/bin/python3.12",
        library_path="",
        runtime_dir=tmp_path / "runtime",
        entry="bootstrap.py",
        forks=True,
        ssl=True,
        default_handler="index.handler",
        default_timeout_s=3,
        default_memory_mib=128,
    )


def sources(plan: Plan) -> set[str]:
    return {operation.source for operation in plan if isinstance(operation, Bind)}


def test_interpreter_and_runtime_are_at_their_documented_places(install: RuntimeInstall) -> None:
    binds = {item.path: item.source for item in root_plan(install) if isinstance(item, Bind)}

    assert str(install.prefix) == binds["/opt/function/runtime/python3.12/rtsp/python"]
    assert str(install.runtime_dir) == binds["/home/snuser/runtime"]


def test_only_a_zygote_has_the_inside_part_and_a_proc_of_its_own(install: RuntimeInstall) -> None:
    plain_root, zygote_root = root_plan(install), root_plan(install, Path("/here/inside"))

    assert {"/here/inside"} == sources(zygote_root) - sources(plain_root)
    assert [False] == [item.hidden for item in zygote_root if isinstance(item, Proc)]
    assert [] == [item for item in plain_root if isinstance(item, Proc)]


def test_nothing_private_of_the_host_is_bound(install: RuntimeInstall) -> None:
    system = ("/usr", "/bin", "/sbin", "/lib", "/etc/alternatives")
    allowed = (*system, "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki")

    for source in sources(root_plan(install)) - {str(install.prefix), str(install.runtime_dir)}:
        assert source.startswith(allowed)


def test_dev_is_sealed_after_it_was_filled(install: RuntimeInstall) -> None:
    plan = root_plan(install)

    behind = plan[plan.index(Seal("/dev")) + 1 :]
    assert {type(operation) for operation in behind} <= {Mask}


def test_only_tmp_and_shared_memory_are_writable_and_both_are_bounded() -> None:
    limits = Limits(tmp_mib=3, tmp_inodes=99)
    mounts = {item.path: item for item in instance_plan(limits) if isinstance(item, Tmpfs)}

    assert {"/tmp", "/dev/shm"} == set(mounts)
    assert (3 << 20, 99) == (mounts["/tmp"].size_bytes, mounts["/tmp"].inodes)
    assert all(item.owner == 1003 and not item.devices for item in mounts.values())


def test_masks_come_after_the_proc_they_cover() -> None:
    kinds = [type(item) for item in instance_plan(Limits())]

    assert Proc is kinds[0]
    assert Mask in kinds


def test_plain_form_is_json_that_the_executor_knows(install: RuntimeInstall) -> None:
    plan = plain((*root_plan(install, Path("/here/inside")), *instance_plan(Limits())))

    assert json.loads(json.dumps(plan)) == [list(item) for item in plan]
    assert {str(item[0]) for item in plan} <= set(steps.KNOWN)


def test_failing_step_names_what_where_and_why(tmp_path: Path) -> None:
    with pytest.raises(steps.StepFailed) as caught:
        steps.carry_out([["dir", str(tmp_path / "a"), 0o755], ["link", "x", str(tmp_path / "a")]])

    assert {"step": "link", "path": str(tmp_path / "a"), "errno": 17} == caught.value.report


def test_files_and_folders_have_their_modes_whatever_the_umask(tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        steps.carry_out([["file", str(tmp_path / "x/y"), "text\u00e9"], ["dir", str(tmp_path / "d"), 0o711]])
    finally:
        os.umask(mask)

    assert "text\u00e9" == (tmp_path / "x/y").read_text("utf-8")
    assert [0o755, 0o644, 0o711] == [(tmp_path / name).stat().st_mode & 0o777 for name in ("x", "x/y", "d")]


def test_what_the_host_does_not_have_is_left_out(tmp_path: Path) -> None:
    steps.carry_out([["copy", "/nowhere", str(tmp_path / "c")], ["bind", "/nowhere", str(tmp_path / "b"), False]])

    assert [] == list(tmp_path.iterdir())


def test_prefix_that_is_a_link_is_bound_by_its_real_place(install: RuntimeInstall, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    assert str(tmp_path / "real") in sources(root_plan(replace(install, prefix=tmp_path / "link")))


def test_operators_files_below_usr_are_covered(install: RuntimeInstall, tmp_path: Path) -> None:
    (install.prefix / "etc").mkdir(parents=True)
    (install.prefix / "pip.conf").write_text("[global]\nindex-url = https://user:secret@example.org/simple\n", "utf-8")

    covered = {item.path: item.folder for item in root_plan(install) if isinstance(item, Mask)}

    assert covered[f"{install.inside_prefix}/etc"] is True
    assert covered[f"{install.inside_prefix}/pip.conf"] is False
    shown = {"bin", "include", "lib", "lib32", "lib64", "libexec", "man", "sbin", "share"}
    for entry in Path("/usr/local").iterdir():
        hidden = entry.name not in shown and not entry.is_symlink()
        assert (f"/usr/local/{entry.name}" in covered) is hidden, entry


def test_an_interpreter_of_usr_local_shows_nothing_more_at_its_second_place(install: RuntimeInstall) -> None:
    plan = root_plan(replace(install, prefix=Path("/usr/local")))

    covered = {item.path for item in plan if isinstance(item, Mask)}
    for path in [path for path in covered if path.startswith("/usr/local/")]:
        assert path.replace("/usr/local", install.inside_prefix, 1) in covered
