"""Starts nsjail for one sandbox: standard library only, runs as root in a child that the launcher forked.

The child works in a mount namespace of its own, which disappears with nsjail: there it carries out the root plan as a
zygote's launcher does, attaches the function's code, and leaves the rest to nsjail. `/tmp` of that namespace is a fresh
tmpfs, so that nobody on the host can have put a link where nsjail makes its working folder.
"""

import fcntl
import json
import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from fgd.linux import libc
from fgd.linux.mounts import make_private
from fgd.linux.process import die_with_parent, first_for_oom_killer
from fgd.sandbox.inside import steps

#: Where the root stands in the child's mount namespace, as `<STAGE>/root`.
STAGE: Final = "/tmp"
CHANNEL_FD: Final = 3
_CONFIG_FD: Final = 4
#: Host ids below this belong to people and services (`fgd.config` has the same rule for `first_uid`).
_IDS_FROM: Final = 65536
#: In a template, these stand for the numbers that differ from sandbox to sandbox.
MARKS: Final = {
    "host_uid": "@HOST_UID@",
    "host_gid": "@HOST_GID@",
    "tmp_bytes": "@TMP_BYTES@",
    "tmp_inodes": "@TMP_INODES@",
}
_HOST = "/.host"


@dataclass(frozen=True, slots=True)
class Start:
    """All that the child needs. Descriptors are the launcher's; the child makes copies with the right numbers.

    `root_plan` is a plan in its plain form; `code` a detached read-only mount; `mounts` others, each with
    its access path; `cgroup` what `Cgroup.join_fds` gave; `network` its network namespace;
    `log` the write end of a pipe for nsjail's complaints; `binary` nsjail opened for reading.
    """

    binary: int
    config: bytes
    root_plan: list[list[object]]
    code: int
    code_root: str
    mounts: list[tuple[int, str]]
    cgroup: list[int]
    network: int
    channel: int
    output: int
    log: int
    open_files: int


def fill(
    template: str, *, host_ids: tuple[int, int], tmp_bytes: int, tmp_inodes: int, own_ids: bool = False
) -> bytes:  # fmt: skip
    """The configuration of one sandbox. Only whole numbers go into the template's text.

    Args:
        template: from `fgd.sandbox.nsjail.make_template`, made before any function ran.
        host_ids: the host's uid and gid for 1003 inside.
        tmp_bytes: size of /tmp.
        tmp_inodes: files and folders in it.
        own_ids: whether the ids were asked for, and may be below those of sandboxes.

    Raises:
        ValueError: a number that cannot be (a low id would be a person's or a service's).
    """
    values = {"host_uid": host_ids[0], "host_gid": host_ids[1], "tmp_bytes": tmp_bytes, "tmp_inodes": tmp_inodes}
    for name, value in values.items():
        low, high = (1 if own_ids else _IDS_FROM, 2**32 - 1) if name.startswith("host_") else (1, 2**63)
        if type(value) is not int or not low <= value < high:
            raise ValueError(f"{name}: must be a number from {low} to {high - 1}, not {value!r}")
        template = template.replace(MARKS[name], str(value))
    return template.encode("utf-8")


def run(start: Start) -> NoReturn:
    """Call it in a freshly forked child with one thread. Never returns; what fails goes to the log pipe as JSON."""
    step = "die with the launcher"
    try:
        die_with_parent()
        libc.join_new_session_keyring()
        first_for_oom_killer(os.getpid())
        step = "join cgroup"
        for fd in start.cgroup:
            os.write(fd, b"0")
        step = "enter network"
        os.setns(start.network, os.CLONE_NEWNET)
        step = "make root"
        _make_root(start)
        step = "limit resources"
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
        resource.setrlimit(resource.RLIMIT_NOFILE, (start.open_files, start.open_files))
        step = "arrange descriptors"
        binary = _arrange(start)
        step = "execute nsjail"
        os.execve(binary, ["nsjail", "--config", f"/proc/self/fd/{_CONFIG_FD}"], {})
    except steps.StepFailed as error:
        _complain(start.log, error.report)
    except OSError as error:
        _complain(start.log, {"step": step, "path": str(error.filename or ""), "errno": error.errno or 0})
    except Exception as error:  # nobody above hears of it: this is a forked child
        _complain(start.log, {"step": step, "path": repr(error), "errno": 0})
    finally:
        os._exit(1)


def _complain(log: int, report: dict[str, object]) -> None:
    os.write(log, json.dumps(report).encode("ascii") + b"\n")


def _make_root(start: Start) -> None:
    os.unshare(os.CLONE_NEWNS)
    make_private()
    host = libc.clone_mount("/", recursive=True)
    real_root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    root, old = Path(STAGE, "root"), Path(STAGE, "root", _HOST[1:])
    libc.mount("tmpfs", STAGE, "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "size=1m,nr_inodes=1024,mode=1777")
    root.mkdir()
    # Without flags, as nsjail's last remount names none, and the kernel lets no flag be dropped; only ours is in it.
    libc.mount("tmpfs", str(root), "tmpfs", 0, "size=4m,nr_inodes=4096,mode=755")
    old.mkdir()
    libc.attach_mount(host, str(old))
    os.close(host)
    # Plans name paths from the root: be in it while they are carried out, then come back by the open descriptor.
    os.chroot(root)
    os.chdir("/")
    steps.carry_out(start.root_plan, _HOST)
    libc.attach_mount(start.code, start.code_root)
    for mount, path in start.mounts:
        Path(path).mkdir(parents=True, exist_ok=True)
        libc.attach_mount(mount, path)
    libc.umount(_HOST, libc.MNT_DETACH)
    Path(_HOST).rmdir()
    top = os.open("/", os.O_PATH | os.O_CLOEXEC)
    libc.set_mount_attributes(top, libc.MOUNT_ATTR_RDONLY)
    os.close(top)
    os.fchdir(real_root)
    os.chroot(".")
    os.close(real_root)


def _arrange(start: Start) -> int:
    """Puts each descriptor where nsjail looks for it and closes all others; returns nsjail's own."""
    config = os.memfd_create("nsjail", os.MFD_CLOEXEC)
    os.write(config, start.config)
    os.lseek(config, 0, os.SEEK_SET)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    # Copies above all targets first, so that none of them is overwritten before it is used.
    sources = [_above(fd) for fd in (null, start.output, start.log, start.channel, config, start.binary)]
    targets = (0, 1, 2, CHANNEL_FD, _CONFIG_FD)
    for source, target in zip(sources, targets, strict=False):
        os.dup2(source, target, inheritable=True)
    binary = len(targets)
    os.dup2(sources[-1], binary, inheritable=False)
    os.closerange(binary + 1, os.sysconf("SC_OPEN_MAX"))
    return binary


def _above(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 16)
