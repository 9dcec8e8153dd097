"""Who gets through the admin socket."""

import grp
import os
import socket
import sys

import pytest

from fgd.gateway.peer import admin_peer, group_id
from tests.gateway.rig import PATH, Rig

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become other users")


def _as_user(path: str, uid: int, gid: int, groups: list[int]) -> bytes:
    """What a process of that user reads from the socket."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            client = socket.socket(socket.AF_UNIX)
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
            client.connect(path)
            client.settimeout(5)
            os.write(write_end, client.recv(65536))
            status = 0
        except OSError as error:
            os.write(write_end, str(error).encode())
        finally:
            sys.stdout.flush()
            os._exit(status)
    os.close(write_end)
    data = os.read(read_end, 65536)
    os.close(read_end)
    os.waitpid(pid, 0)
    return data


@needs_root
def test_strangers_get_403(rig: Rig) -> None:
    answer = _as_user(rig.admin_path, 12345, 12345, [])

    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"FSS.0403" in answer
    assert rig.admin().ask(f"POST {PATH} HTTP/1.1\r\nHost: a\r\n\r\n".encode()).status == 200


@needs_root
@pytest.mark.parametrize("supplementary", [False, True])
def test_members_of_the_group_are_administrators(supplementary: bool) -> None:
    group = grp.getgrall()[-1]
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert admin_peer(ours, group.gr_gid).name == "root"  # type: ignore[union-attr]  # we are root
    listener = socket.socket(socket.AF_UNIX)
    path = f"\0fgd-test-peer-{os.getpid()}-{supplementary:d}"
    listener.bind(path)
    listener.listen()
    with listener:
        pid = os.fork()
        if pid == 0:
            client = socket.socket(socket.AF_UNIX)
            os.setgroups([group.gr_gid] if supplementary else [])
            os.setgid(54321 if supplementary else group.gr_gid)
            os.setuid(54321)
            client.connect(path)
            client.recv(1)
            os._exit(0)
        sock, _ = listener.accept()
        with sock:
            peer = admin_peer(sock, group.gr_gid)
            stranger = admin_peer(sock, 987654)
        os.waitpid(pid, 0)

    assert peer is not None
    assert (peer.name, peer.admin) == ("uid:54321", True)
    assert stranger is None


def test_group_that_does_not_exist_is_nobodys() -> None:
    assert group_id("no-such-group-here") is None
