"""What a sandbox's file system shall be: an ordered list of operations, computed from a runtime and from limits.

Theory of operation: there are two lists. The *root plan* is carried out once per zygote, as root, in a new mount
namespace: it fills an empty tmpfs, which then becomes the root of the zygote and of everything it forks. The *instance
plan* is carried out in each blank sandbox, by its own namespaces' rights. `fgd/sandbox/inside/steps.py` carries out
both; the nsjail provider translates both into nsjail's configuration. Everything is read-only but /tmp and /dev/shm.
"""

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from fgd.runtime import RuntimeInstall
from fgd.sandbox.api import Limits
from fgd.units import MIB

#: User and group inside (runtimes.md 1.1), and how many ids a sandbox has.
INSIDE_ID: Final = 1003
IDS_PER_SANDBOX: Final = 65536
HOSTNAME: Final = "function"
RUNTIME_ROOT: Final = "/home/snuser/runtime"
CODE_ROOT: Final = "/opt/function/code"
WORK_DIR: Final = "/opt/function"
#: Below it is the package `inside`, the in-sandbox part of the zygote provider.
ZYGOTE_ROOT: Final = "/home/snuser/sandbox"
SHM_BYTES: Final = 64 * MIB
SHM_INODES: Final = 4096


@dataclass(frozen=True, slots=True)
class Dir:
    """A folder."""

    path: str
    mode: int = 0o755


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """A tmpfs that belongs to `owner` (uid and gid inside). Never set-id; devices only where `devices` says so."""

    path: str
    size_bytes: int
    inodes: int
    mode: int = 0o755
    owner: int = 0
    executable: bool = False
    devices: bool = False


@dataclass(frozen=True, slots=True)
class Bind:
    """A host file or folder with all mounted below it, read-only, no set-id, no devices.

    What is not `required` is left out when the host does not have it.
    """

    source: str
    path: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class File:
    """A small file with this text, mode 0644."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a host file (links are followed), mode 0644; left out when the host does not have it."""

    source: str
    path: str


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str
    path: str


@dataclass(frozen=True, slots=True)
class Device:
    """A character device that anyone may use, made anew: nothing on the host can stand in for it."""

    path: str
    major: int
    minor: int


@dataclass(frozen=True, slots=True)
class Proc:
    """A /proc of the current pid namespace, read-only. `hidden`: processes of other users are not shown."""

    path: str = "/proc"
    hidden: bool = True


@dataclass(frozen=True, slots=True)
class Mask:
    """Covers a file with the sandbox's /dev/null, or a `folder` with an empty one."""

    path: str
    folder: bool = False


@dataclass(frozen=True, slots=True)
class Seal:
    """Makes a mount read-only, once it has been filled."""

    path: str


type Operation = Dir | Tmpfs | Bind | File | Copy | Link | Device | Proc | Mask | Seal
type Plan = tuple[Operation, ...]

_PASSWD = "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\nsnuser:x:1003:1003::/home/snuser:/usr/sbin/nologin\n"
_GROUP = "root:x:0:\nsnuser:x:1003:\n"
#: What /etc/hosts holds in every sandbox.
HOSTS_TEXT: Final = f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost\n"
_NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\n"
#: What of /usr/local programs and libraries are found in. All else there is an operator's own: sources, data, settings
#: (npmrc with its tokens lies in etc).
_LOCAL_SHOWN: Final = frozenset(("bin", "include", "lib", "lib32", "lib64", "libexec", "man", "sbin", "share"))
#: Below /usr: settings, sources, and the kernel's modules and symbols, which only help to attack it.
_USR_HIDDEN: Final = ("src", "local/lib/systemd", "lib/modules", "lib/debug", "lib/firmware")
_SYSTEM_LINKABLE = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")
#: Trusted certificates and their folders on Debian, Fedora and SUSE; never a folder with private keys.
_CERTIFICATES = ("/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/ca-trust/extracted", "/etc/pki/tls/certs")
#: What in /proc tells about the host or reaches into it, though most of it is the host's root's alone anyway.
_PROC_FILES = ("keys", "key-users", "kcore", "timer_list", "sched_debug", "latency_stats", "sysrq-trigger")
_PROC_FOLDERS = ("acpi", "bus", "irq", "scsi")
_DEVICES = (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9))


def _system() -> list[Operation]:
    """The host's programs and libraries. On a merged /usr, /bin and its like are links, here as there."""
    plan: list[Operation] = [Bind("/usr", "/usr")]
    for name in _SYSTEM_LINKABLE:
        path = Path(name)
        if path.is_symlink():
            plan.append(Link(str(path.readlink()), name))
        elif path.is_dir():
            plan.append(Bind(name, name))
    plan.append(Bind("/etc/alternatives", "/etc/alternatives", required=False))
    return plan


def _hidden(shown: dict[str, str]) -> list[Operation]:
    """Covers what no function needs and what may hold somebody's secrets.

    Args:
        shown: folders of the host by the paths at which they are seen inside. An interpreter may live in /usr/local,
            which is then seen at a second place.
    """
    plan: list[Operation] = []
    for path, source in shown.items():
        top = Path(source)
        hidden = [top / "etc", top / "pip.conf"]
        if source == "/usr":
            hidden += [top / name for name in _USR_HIDDEN]
            top = top / "local"
        if str(top) == "/usr/local":
            hidden += [entry for entry in _listed(top) if entry.name not in _LOCAL_SHOWN]
        plan += [
            Mask(f"{path}/{one.relative_to(source)}", folder=one.is_dir())
            for one in sorted(set(hidden))
            if one.exists() and not one.is_symlink()
        ]
    return plan


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _etc() -> list[Operation]:
    plan: list[Operation] = [
        File("/etc/passwd", _PASSWD),
        File("/etc/group", _GROUP),
        File("/etc/hosts", HOSTS_TEXT),
        File("/etc/hostname", HOSTNAME + "\n"),
        File("/etc/nsswitch.conf", _NSSWITCH),
        File("/etc/resolv.conf", ""),
        Copy("/etc/ld.so.cache", "/etc/ld.so.cache"),
        Copy("/etc/localtime", "/etc/localtime"),
    ]
    plan += [Bind(path, path, required=False) for path in _CERTIFICATES]
    return plan


def _dev() -> list[Operation]:
    plan: list[Operation] = [Tmpfs("/dev", MIB, 64, devices=True)]
    plan += [Device(f"/dev/{name}", 1, minor) for name, minor in _DEVICES]
    plan += [
        Link("/proc/self/fd", "/dev/fd"),
        Link("/proc/self/fd/0", "/dev/stdin"),
        Link("/proc/self/fd/1", "/dev/stdout"),
        Link("/proc/self/fd/2", "/dev/stderr"),
        Dir("/dev/shm"),
        Seal("/dev"),
    ]
    return plan


def root_plan(install: RuntimeInstall, inside: Path | None = None) -> Plan:
    """The root of a runtime's sandboxes, before anything of one instance. The order is that of carrying out.

    Args:
        install: the interpreter and the folder of its runtime files.
        inside: the folder of the in-sandbox part; only zygotes have it.
    """
    plan = _system()
    plan += [
        Dir("/opt"),
        Dir(CODE_ROOT),
        Bind(str(install.prefix.resolve()), install.inside_prefix),
        Dir("/home/snuser"),
        Bind(str(install.runtime_dir.resolve()), RUNTIME_ROOT),
        Dir("/home/snuser/log"),
        Dir("/tmp"),
        Dir("/proc"),
    ]
    if inside is not None:
        # The kernel lets a user namespace mount a /proc only where one can be seen already.
        plan += [Bind(str(inside), f"{ZYGOTE_ROOT}/inside"), Proc(hidden=False)]
    prefix = str(install.prefix.resolve())
    # Behind /dev, whose null covers files.
    hidden = _hidden({"/usr": "/usr", install.inside_prefix: prefix})
    return (*plan, *_etc(), *_dev(), *hidden)


def _masks() -> list[Operation]:
    """Only what this kernel has."""
    files: list[Operation] = [Mask(f"/proc/{name}") for name in _PROC_FILES if Path("/proc", name).exists()]
    return files + [Mask(f"/proc/{name}", folder=True) for name in _PROC_FOLDERS if Path("/proc", name).exists()]


def instance_plan(limits: Limits) -> Plan:
    """What each instance has for itself: its processes, /tmp and shared memory."""
    return (
        Proc(),
        *_masks(),
        Tmpfs(
            "/tmp",
            limits.tmp_mib * MIB,
            limits.tmp_inodes,
            mode=0o1777,
            owner=INSIDE_ID,
            executable=True,
        ),
        Tmpfs("/dev/shm", SHM_BYTES, SHM_INODES, mode=0o1777, owner=INSIDE_ID),
    )


def plain(plan: Plan) -> list[list[object]]:
    """The same as lists of an operation's lower-case name and its fields in order, as the executor takes it."""
    return [[type(operation).__name__.lower(), *astuple(operation)] for operation in plan]
