"""A daemon that was taken over leaves traps in its state directory; the next start, as root, steps over them."""

import json
import os
from pathlib import Path

import pytest

from fgd import runtime
from fgd.sandbox.guard import CodeRoot
from fgd.startup import Account, StartError, open_admin_socket, prepare_state, write_pid_file

ACCOUNT = Account(uid=1_700_000_000, gid=1_700_000_000, admin_gid=1_700_000_000)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    os.close(prepare_state(folder, ACCOUNT))
    return folder


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """What root owns and the daemon wants."""
    folder = tmp_path / "precious"
    folder.mkdir(mode=0o700)
    (folder / "shadow").write_text("root:secret\n", "ascii")
    return folder


def untouched(precious: Path) -> bool:
    paths = (precious, precious / "shadow")
    return all(path.stat().st_uid == 0 for path in paths) and paths[1].read_text("ascii") == "root:secret\n"


@pytest.mark.parametrize("name", ["code", "packages", "tmp"])
def test_a_folder_that_became_a_link_is_refused(state: Path, precious: Path, name: str) -> None:
    (state / name).rmdir()
    (state / name).symlink_to(precious)

    with pytest.raises(StartError, match=name):
        prepare_state(state, ACCOUNT)
    assert untouched(precious)


def test_a_lock_that_became_a_link_is_refused(state: Path, precious: Path) -> None:
    (state / "lock").unlink()
    (state / "lock").symlink_to(precious / "shadow")

    with pytest.raises(StartError, match="lock"):
        prepare_state(state, ACCOUNT)
    assert untouched(precious)


def test_a_lock_that_is_another_name_of_a_file_is_refused(state: Path, precious: Path) -> None:
    (state / "lock").unlink()
    (state / "lock").hardlink_to(precious / "shadow")

    with pytest.raises(StartError, match="lock"):
        prepare_state(state, ACCOUNT)
    assert untouched(precious)


def test_a_lock_that_became_a_pipe_does_not_hang_the_start(state: Path) -> None:
    (state / "lock").unlink()
    os.mkfifo(state / "lock")

    with pytest.raises(StartError, match="lock"):
        prepare_state(state, ACCOUNT)


def test_a_change_of_account_follows_no_link(state: Path, precious: Path) -> None:
    (state / "packages" / "link").symlink_to(precious)
    (state / "packages" / "name").hardlink_to(precious / "shadow")
    (state / "packages" / "own").write_text("x", "ascii")
    other = Account(uid=1_700_000_001, gid=1_700_000_001, admin_gid=0)

    os.close(prepare_state(state, other))

    assert untouched(precious)
    assert (state / "packages" / "own").stat().st_uid == other.uid
    assert (state / "packages").stat().st_uid == other.uid
    assert state.stat().st_uid == other.uid


def test_a_state_directory_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(0o777)

    os.close(prepare_state(folder, ACCOUNT))

    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_code_root_that_became_a_link_is_no_code_root(state: Path, precious: Path) -> None:
    (state / "code").rmdir()
    (state / "code").symlink_to(precious)

    with pytest.raises(OSError, match="code"):
        CodeRoot(str(state / "code"))


@pytest.mark.parametrize("kind", ["link", "link out", "folder's link"])
def test_no_package_leads_out_of_the_code_root(state: Path, precious: Path, kind: str) -> None:
    digest = "0" * 64
    target = {"link": precious, "link out": Path("../../precious"), "folder's link": state / "packages"}[kind]
    (state / "code" / digest).symlink_to(target)
    root = CodeRoot(str(state / "code"))

    with pytest.raises(OSError, match=digest):
        root.open(digest)
    os.close(root.fd)


def test_the_pid_file_is_not_written_through_a_link(tmp_path: Path, precious: Path) -> None:
    (tmp_path / f".fgd.pid.{os.getpid()}").symlink_to(precious / "shadow")

    with pytest.raises(StartError, match="pid file"):
        write_pid_file(tmp_path / "fgd.pid")
    assert untouched(precious)


def test_the_admin_socket_never_has_another_mode(tmp_path: Path) -> None:
    listener = open_admin_socket(tmp_path / "admin.sock", ACCOUNT)

    status = (tmp_path / "admin.sock").stat()
    listener.close()
    assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o660, 0, ACCOUNT.admin_gid)


@pytest.mark.parametrize("uid, mode", [(0, 0o666), (1003, 0o644)])
def test_a_cache_that_others_could_write_is_not_believed(tmp_path: Path, uid: int, mode: int) -> None:
    cache = tmp_path / "runtimes.json"
    cache.write_text(json.dumps({"/usr/bin/python3": {"stamp": [0, 0], "facts": {}}}), "utf-8")
    assert runtime._read_cache(cache)
    os.chown(cache, uid, uid)
    cache.chmod(mode)

    assert runtime._read_cache(cache) == {}
