"""The root phase of `fgd serve` from its first step to the drop of privileges; each step is in `fgd.startup`."""

import argparse
import contextlib
import hashlib
import logging
import os
import resource
import socket
from dataclasses import dataclass
from pathlib import Path

from fgd import startup
from fgd.config import Config, load_config
from fgd.linux.notify import listen_fds
from fgd.linux.process import drop_privileges, make_reachable
from fgd.log import set_up_logging
from fgd.network import PUBLIC
from fgd.remote_stores import parse_remote_stores
from fgd.runtime import RuntimeInstall, discover
from fgd.sandbox.launch import LauncherSettings, spawn_launcher
from fgd.sandbox.network_survey import Survey, survey
from fgd.shares import parse_exports, parse_owners, parse_roots

log = logging.getLogger(__name__)

#: Belongs to root: what it says of an interpreter is believed at the next start.
_RUNTIME_CACHE = Path("/var/cache/fgd/runtimes.json")
_OPEN_FILES = 65536


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the root phase leaves behind."""

    config: Config
    config_path: Path | None
    state_dir: Path
    host: str
    port: int
    admin: socket.socket
    inherited: list[socket.socket]
    launcher: socket.socket
    runtimes: list[RuntimeInstall]
    survey: Survey


def prepare(args: argparse.Namespace) -> Prepared:
    """Does everything that needs root, in the order of `fgd.startup`; ends without any privilege.

    Raises:
        StartError, ConfigError, SandboxError: fgd cannot start here; the message says why and what to do.
    """
    config_path = Path(args.config).absolute() if args.config else None
    config = load_config(config_path)
    set_up_logging(config.log_level)
    if os.geteuid() != 0:
        raise startup.StartError(
            "fgd serve must be started as root: its launcher makes namespaces and cgroups; the daemon itself then runs"
            " without privileges. Use sudo, or the systemd unit."
        )
    host, port = startup.parse_listen(args.listen)
    state_dir = Path(args.state_dir).resolve()
    account = startup.find_account(config)
    inherited = [socket.socket(fileno=fd) for fd, _ in listen_fds()]
    startup.prepare_state(state_dir, account)
    files = [Path(args.admin_socket).absolute()]
    admin = startup.open_admin_socket(files[0], account)
    if args.pid_file:
        files.append(Path(args.pid_file).absolute())
        startup.write_pid_file(files[1])
    _RUNTIME_CACHE.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    runtimes = discover(cache=_RUNTIME_CACHE)
    _allow_open_files()
    # One folder of cgroups per state directory: a later daemon finds what an earlier one left.
    name = "d" + hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:12]
    found = survey(config, name)
    if found.lack and config.network == PUBLIC:
        raise startup.StartError(f"network: this host has no public network: {found.lack}; set auto or none")
    if found.lack:
        log.warning("functions have no network: %s", found.lack)
    launcher, _ = spawn_launcher(
        LauncherSettings(
            name=name,
            code_root=state_dir / "code",
            first_uid=config.first_uid + 65536,
            sandboxes_max=config.sandboxes_max,
            provider=config.provider,
            runtimes=runtimes,
            files=files,
            mount_roots=parse_roots(config.mount_roots),
            nfs_exports=parse_exports(config.nfs_servers),
            nfs_owners=parse_owners(config.nfs_owners),
            mount_limit_s=config.mount_timeout_s,
            networks=found.plan,
        )
    )
    paths = startup.needed_paths(state_dir, runtimes)
    if config_path is not None:
        paths = startup.outermost([*paths, config_path.resolve()])
    if config.public_dependencies and Path(config.public_dependencies).is_dir():
        paths = startup.outermost([*paths, Path(config.public_dependencies).resolve()])
    secret = [Path(one) for stream in config.streams.values() for one in (stream.password_file, stream.ca_file) if one]
    paths = startup.outermost([*paths, *(one.resolve() for one in secret if one.exists())])
    keys = [Path(store.keys).resolve() for store in parse_remote_stores(config.object_stores).values()]
    paths = startup.outermost([*paths, *(path for path in keys if path.exists())])
    make_reachable(paths)
    drop_privileges(account.uid, account.gid)
    os.chdir(state_dir)
    return Prepared(config, config_path, state_dir, host, port, admin, inherited, launcher, runtimes, found)


def _allow_open_files() -> None:
    """Each instance takes three descriptors of the daemon's."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, max(hard, _OPEN_FILES)))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
