"""Who is at the other end of the admin socket; the kernel vouches for it."""

import grp
import socket
import struct
from typing import Final

from fgd.model import Principal

_CREDENTIALS: Final = struct.Struct("iII")
#: SO_PEERGROUPS of the kernel (4.13), the supplementary groups of the peer at its connect; Python has no name for it.
_SO_PEERGROUPS: Final = 59


def group_id(name: str) -> int | None:
    """The id of a group; None when there is none of that name."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def admin_peer(sock: socket.socket, admin_gid: int | None) -> Principal | None:
    """The administrator at the other end: root, or a member of that group; None for anybody else.

    Source: unix(7), SO_PEERCRED; socket(7).
    """
    _pid, uid, gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if uid == 0:
        return Principal(name="root", project_id="*", admin=True)
    if admin_gid is None:
        return None
    if gid == admin_gid or admin_gid in _peer_groups(sock):
        return Principal(name=f"uid:{uid}", project_id="*", admin=True)
    return None


def _peer_groups(sock: socket.socket) -> tuple[int, ...]:
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
    except OSError:  # ERANGE: more groups than fit; Python allows no larger buffer
        return ()
    return struct.unpack(f"{len(raw) // 4}I", raw)
