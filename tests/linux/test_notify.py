"""Talking to systemd, with sockets of our own."""

import os
import socket
from pathlib import Path

import pytest

from fgd.linux.notify import listen_fds, sd_notify


def test_message_reaches_the_manager(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))

        assert sd_notify("READY=1", {"NOTIFY_SOCKET": str(path)}) is True
        assert b"READY=1" == manager.recv(100)


def test_abstract_address_begins_with_an_at_sign() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"fgd-test-{os.getpid()}"
        manager.bind("\0" + name)

        assert sd_notify("STOPPING=1", {"NOTIFY_SOCKET": "@" + name}) is True
        assert b"STOPPING=1" == manager.recv(100)


def test_without_a_manager_nothing_is_sent() -> None:
    assert sd_notify("READY=1", {}) is False
    assert sd_notify("READY=1", {"NOTIFY_SOCKET": "vsock:2:1"}) is False


def test_dead_manager_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sd_notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")})


@pytest.mark.parametrize(
    "environ", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"}]
)
def test_sockets_for_somebody_else_are_not_taken(environ: dict[str, str]) -> None:
    assert [] == listen_fds(environ)
    assert {} == environ
