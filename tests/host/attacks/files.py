"""Files: what can be written, read, made, or reached that should not be."""

# ruff: noqa: PTH101, PTH108, PTH110, PTH116, PTH118, PTH123, PTH208
# (An attack is clearest in the plain calls of the manual pages.)

import errno
import os
import shutil
import stat
import subprocess
from pathlib import Path

import raw  # type: ignore[import-not-found]  # beside this file in the package, not in the repository

_PROC_SECRETS = (
    "kcore", "keys", "key-users", "kmsg", "kpagecount", "kpageflags", "kpagecgroup", "timer_list", "sched_debug",
    "slabinfo", "vmallocinfo", "latency_stats", "sysrq-trigger", "iomem", "ioports", "1/mem", "1/environ",
)  # fmt: skip


def _refusal(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))


def writable() -> dict[str, object]:
    """Everything below / that can be opened for writing or in which a file can be made. Follows no links."""
    found, looked = [], 0
    for folder, names, files in os.walk("/"):
        if folder == "/proc":
            # Other processes of the sandbox are the attacker's own; one of them stands for all.
            names[:] = [name for name in names if not name.isdigit()]
        looked += 1 + len(files)
        probe = os.path.join(folder, ".probe")
        try:
            os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            os.unlink(probe)
            found.append(folder)
        except OSError:
            pass
        for name in files:
            path = os.path.join(folder, name)
            try:
                if stat.S_ISREG(os.lstat(path).st_mode) and os.access(path, os.W_OK):
                    os.close(os.open(path, os.O_WRONLY | os.O_NOFOLLOW))
                    found.append(path)
            except OSError:
                pass
    return {"looked": looked, "found": found}


def own_proc_files() -> dict[str, str]:
    """Writing to one's own /proc files."""
    found = {}
    for name in (
        "oom_score_adj",
        "comm",
        "uid_map",
        "setgroups",
        "attr/current",
        "coredump_filter",
        "clear_refs",
        "mem",
    ):
        try:
            os.close(os.open(f"/proc/self/{name}", os.O_WRONLY))
            found[name] = "allowed"
        except OSError as error:
            found[name] = _refusal(error)
    return found


def proc_secrets() -> dict[str, str]:
    """What reading (and for the trigger, writing) files about the host gives: errno, or how much was read."""
    found = {}
    for name in _PROC_SECRETS:
        try:
            with open(f"/proc/{name}", "rb") as file:
                found[name] = f"{len(file.read(4096))} bytes"
        except OSError as error:
            found[name] = _refusal(error)
    try:
        with open("/proc/sysrq-trigger", "wb", buffering=0) as file:
            file.write(b"h")
        found["sysrq-trigger write"] = "allowed"
    except OSError as error:
        found["sysrq-trigger write"] = _refusal(error)
    return found


def kernel_addresses() -> list[str]:
    """Addresses in /proc/kallsyms other than 0."""
    try:
        lines = Path("/proc/kallsyms").read_text().splitlines()
    except OSError:
        return []
    return [line for line in lines if line.split()[0].strip("0")][:3]


def sysctls() -> dict[str, str]:
    """Settings of the kernel that lead out when they can be written."""
    names = (
        "kernel/core_pattern", "kernel/modprobe", "kernel/hostname", "kernel/domainname", "vm/drop_caches",
        "kernel/pid_max", "net/ipv4/ip_forward", "fs/binfmt_misc/register", "kernel/unprivileged_userns_clone",
    )  # fmt: skip
    found = {}
    for name in names:
        try:
            os.close(os.open(f"/proc/sys/{name}", os.O_WRONLY))
            found[name] = "allowed"
        except OSError as error:
            found[name] = _refusal(error)
    return found


def devices() -> dict[str, object]:
    """Device nodes there are, and making new ones."""
    nodes, made = {}, {}
    for folder, _, files in os.walk("/dev"):
        for name in files:
            status = os.lstat(os.path.join(folder, name))
            if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
                nodes[os.path.join(folder, name)] = [os.major(status.st_rdev), os.minor(status.st_rdev)]
    for what, mode, device in (
        ("mem", stat.S_IFCHR, (1, 1)),
        ("disk", stat.S_IFBLK, (254, 0)),
        ("null", stat.S_IFCHR, (1, 3)),
    ):
        for folder in ("/tmp", "/dev/shm", "/dev"):
            try:
                os.mknod(f"{folder}/{what}-node", mode | 0o666, os.makedev(*device))
                made[f"{folder}/{what}"] = "allowed"
            except OSError as error:
                made[f"{folder}/{what}"] = _refusal(error)
    return {"nodes": nodes, "made": made}


def host_view() -> dict[str, object]:
    """Ways back to the host's root, and folders of the host that must not be there."""
    seen = {}
    for path in (
        "/.host", "/proc/1/root/.host", "/proc/self/root/../.host", "/sys", "/run", "/var", "/boot", "/root", "/mnt",
        "/etc/shadow", "/etc/ssh", "/sys/fs/cgroup", "/proc/1/root/etc/shadow", "/proc/1/cwd/../../../etc/shadow",
        "/proc/self/fd/3/..", "/dev/mem", "/dev/kmsg", "/dev/fuse", "/dev/net/tun", "/var/run/docker.sock",
    ):  # fmt: skip
        seen[path] = os.path.lexists(path)
    climbed = Path("/" + "../" * 40)
    same = (climbed.stat().st_dev, climbed.stat().st_ino) == (Path("/").stat().st_dev, Path("/").stat().st_ino)
    return {"seen": seen, "climbing_stays": same, "top": sorted(os.listdir("/"))}


def set_id() -> dict[str, object]:
    """Programs that would change the user: one of the host's, and one of our own making."""
    found: dict[str, object] = {}
    copy = "/tmp/shell"
    shutil.copyfile("/bin/sh", copy)
    os.chmod(copy, 0o6755)
    found["mode"] = oct(os.stat(copy).st_mode & 0o7777)
    done = subprocess.run(
        [copy, "-pc", "grep -E '^(Uid|Gid)' /proc/self/status"], capture_output=True, text=True, check=False
    )
    found["own"] = done.stdout.split()
    os.unlink(copy)
    for program in ("/usr/bin/su", "/usr/bin/passwd", "/usr/bin/mount", "/usr/bin/newuidmap"):
        if os.path.exists(program):
            status = os.stat(program)
            found[program] = [bool(status.st_mode & stat.S_ISUID), bool(os.statvfs(program).f_flag & os.ST_NOSUID)]
    for target in ((0, 0, 0), (1, 1, 1), (1004, 1004, 1004)):
        found[f"setresuid {target[0]}"] = raw.name(raw.call(117, *target))
        found[f"setresgid {target[0]}"] = raw.name(raw.call(119, *target))
    found["setgroups"] = raw.name(raw.call(116, 0, 0))
    return found


def own_program() -> dict[str, str]:
    """Overwriting the interpreter that runs us (and everybody else's), by its name and by /proc/self/exe."""
    found = {}
    for path in ("/proc/self/exe", os.path.realpath("/proc/self/exe"), "/home/snuser/runtime/bootstrap.py"):
        for flags in (os.O_WRONLY, os.O_RDWR):
            try:
                os.close(os.open(path, flags))
                found[path] = "allowed"
            except OSError as error:
                found[path] = _refusal(error)
    return found


def fill(folder: str) -> dict[str, int]:
    """Writes until the folder is full; the bytes that went in. Then empties it again."""
    path = f"{folder}/fill"
    written = 0
    chunk = bytes(1 << 20)
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            written += os.write(fd, chunk)
    except OSError as error:
        number = error.errno or 0
    finally:
        os.close(fd)
        os.unlink(path)
    return {"bytes": written, "errno": number}


def many_files(folder: str) -> dict[str, int]:
    """Makes empty files until there are no more to be had; how many there were."""
    base = Path(folder, "many")
    base.mkdir()
    count, number = 0, 0
    try:
        while count < 200_000:
            os.close(os.open(base / str(count), os.O_CREAT | os.O_WRONLY))
            count += 1
    except OSError as error:
        number = error.errno or 0
    shutil.rmtree(base)
    return {"count": count, "errno": number}


def listed(paths: list[str]) -> dict[str, object]:
    """What can be read of folders and files: names, the number of bytes, or the refusal."""
    found: dict[str, object] = {}
    for path in paths:
        try:
            found[path] = sorted(os.listdir(path)) if Path(path).is_dir() else Path(path).stat().st_size
        except OSError as error:
            found[path] = _refusal(error)
    return found
