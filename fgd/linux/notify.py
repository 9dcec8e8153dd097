"""Talking to systemd: readiness and inherited sockets. Source: sd_notify(3), sd_listen_fds(3)."""

import os
import socket
from collections.abc import Mapping, MutableMapping

_FIRST_FD = 3


def sd_notify(text: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Sends lines such as `READY=1` or `STATUS=...` to the service manager; False when there is none.

    Raises:
        OSError: there is one, but it does not take the message.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(text.encode("utf-8"), address)
    return True


def listen_fds(environ: MutableMapping[str, str] = os.environ) -> list[tuple[int, str]]:
    """Descriptors that the service manager opened for us, with their names; may be empty.

    They are set close-on-exec, and the variables are removed, so that no child takes them for its own.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    found = []
    for index in range(int(count)):
        os.set_inheritable(_FIRST_FD + index, False)
        found.append((_FIRST_FD + index, names[index] if index < len(names) else ""))
    return found
