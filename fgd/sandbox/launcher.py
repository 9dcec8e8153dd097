"""The launcher: the one privileged process of fgd. It makes sandboxes and ends them; it knows nothing of functions.

Theory of operation: started by the daemon as `python -I -S launcher.py` with two descriptors: 3 is a SOCK_SEQPACKET
socket to the daemon, 4 a file with the settings (JSON), written while the daemon still was root and believed. What
comes by the socket is not believed (`fgd.sandbox.guard`). One thread, one loop, standard library only.

    request                                        answer
    ["open", number, runtime, network]             ["opened", number, sandbox, freeze, thaw, memory path] + descriptors
                                                   or ["failed", number, text]
    ["open", number, runtime, network, [uid, gid]]          the same; the function has these ids on the host
    ["bind", sandbox, code digest, limits, more]   none; what fails ends the sandbox
                                                   with "door": first ["door", sandbox] + a listening socket inside
    ["try", number, mounts, [uid, gid]]            ["tried", number, "" or what cannot be mounted]
    ["resize", number, sandbox, MiB, millicores]   ["resized", number, "" or why it was refused]
    ["kill", sandbox]                              none
                                                   ["share", export, share, state], of an NFS mount, whenever it changes
                                                   ["gone", sandbox, exit status or null, signal, OOM kills, reason]

`more` is an object: "dependencies", a list of digests; "mounts" (`fgd.sandbox.mount_plan`) and the "owner" that the
function is on them, [uid, gid]. "gone" is sent when no process and no cgroup of the sandbox is
left. Descriptors: channel, output pipe, freezer file. When the daemon is gone, everything is killed and removed within
a second, and the launcher ends.
"""

import base64
import json
import os
import resource
import signal
import socket
import sys
from collections import deque
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fgd.linux import libc
from fgd.linux.cgroup import open_cgroup_root
from fgd.sandbox.guard import REQUEST_BYTES, Bind, CodeRoot, Kill, Open, Refused, Resize, Try, parse_request
from fgd.sandbox.guard import Disks as DiskCounts
from fgd.sandbox.launcher_disks import Disks, Made, Share
from fgd.sandbox.launcher_loop import Loop
from fgd.sandbox.launcher_network import NONE, Networks
from fgd.sandbox.launcher_nsjail import NsjailSandbox
from fgd.sandbox.launcher_sandbox import Sandbox, ZygoteSandbox
from fgd.sandbox.launcher_zygote import Zygote
from fgd.sandbox.mount_plan import NfsMount, Owner
from fgd.sandbox.views import CodeViews

DAEMON_FD, SETTINGS_FD = 3, 4
IDS_PER_SANDBOX = 65536
#: Of the first block of ids, these are the zygotes'; the one before them may be the daemon's.
_ZYGOTE_IDS_FROM = 16
_SHUTDOWN_S = 0.9
_INSIDE_ID = 1003


def complain(text: str) -> None:
    """One line for the daemon's log."""
    print(f"fgd launcher: {text}", file=sys.stderr, flush=True)


def account_text(owner: Owner) -> str:
    """Why no function gets these ids."""
    return (
        f"mount_user {owner.uid}:{owner.gid}: this host has an account or group with such an id, and on NFS a function "
        "runs with it; choose other ids, or list these in the setting nfs_owners"
    )


class Launcher:
    """All zygotes and sandboxes of one daemon."""

    def __init__(self, loop: Loop, daemon: socket.socket, settings: dict[str, Any]) -> None:
        self._loop = loop
        self._daemon = daemon
        self._runtimes: dict[str, dict[str, Any]] = settings["runtimes"]
        self._program = base64.b64decode(settings["program"])
        self._nsjail = os.open(settings["nsjail"], os.O_RDONLY | os.O_CLOEXEC) if settings["nsjail"] else -1
        self._views = CodeViews(CodeRoot(settings["code_root"]), loop.after)
        self._first_id: int = settings["first_uid"]
        self._deadline_s: float = settings["open_deadline_s"]
        #: Blocks of ids, the longest unused first: an id is not given anew while anything of it could be around.
        self._blocks = deque(range(1, settings["sandboxes_max"] + 1))
        self._disks = Disks(loop, settings["disks"])
        self._cgroups = open_cgroup_root(settings["name"])
        for name in self._cgroups.sweep():
            complain(f"removed what was left of sandbox {name}")
        self._networks = Networks(settings["networks"])
        try:
            for text in self._networks.sweep():
                complain(f"removed what was left of networks: {text}")
        except OSError as error:
            complain(f"what was left of networks could not be removed: {error}")
        self._made = 0
        self._sandboxes: dict[str, Sandbox] = {}
        self._zygotes: dict[str, Zygote] = {}
        self._all_zygotes: set[Zygote] = set()
        self._waiting: dict[str, list[Open]] = {}
        self._disks.on_state = lambda export, share, state: self._tell(["share", export, share, state])
        #: Ids of this host's accounts, which no function gets.
        self._accounts: tuple[set[int], set[int]] = (set(settings["uids"]), set(settings["gids"]))
        self._files: list[tuple[str, int, int]] = settings["files"]
        self._closing = False
        loop.watch(daemon.fileno(), self._request)

    def _tell(self, message: list[object], fds: list[int] | None = None) -> None:
        data = json.dumps(message).encode("ascii")
        try:
            socket.send_fds(self._daemon, [data], fds or [], socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError):
            self.close()

    def _request(self) -> None:
        try:
            data, _, flags, _ = self._daemon.recvmsg(REQUEST_BYTES, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data, flags = b"", 0
        if not data:
            self.close()
            return
        try:
            if flags & socket.MSG_TRUNC:
                raise Refused("request too long")
            request = parse_request(data, DiskCounts(len(self._disks.roots), len(self._disks.exports)))
        except Refused as error:
            complain(f"refused a request: {error}")
            return
        match request:
            case Open():
                self._open(request)
            case Bind():
                self._bind(request)
            case Try():
                self._try(request)
            case Resize():
                self._resize(request)
            case Kill() if request.sandbox in self._sandboxes:
                self._sandboxes[request.sandbox].kill("")

    def _open(self, request: Open) -> None:
        runtime = self._runtimes.get(request.runtime)
        if runtime is None:
            self._tell(["failed", request.number, f"no runtime {request.runtime} on this host"])
        elif request.own_ids is not None and self._is_account(request.own_ids):
            self._tell(["failed", request.number, account_text(request.own_ids)])
        elif request.network != NONE and not self._networks.knows(request.network):
            self._tell(["failed", request.number, f"this host has no network {request.network}"])
        elif runtime["provider"] == "nsjail":
            self._make(request, None)
        else:
            try:
                zygote = self._zygotes.get(request.runtime) or self._start_zygote(request.runtime, runtime)
            except OSError as error:
                self._tell(["failed", request.number, f"zygote of {request.runtime}: {error}"])
                return
            if zygote.ready:
                self._make(request, zygote)
            else:
                self._waiting[request.runtime].append(request)

    def _is_account(self, owner: Owner) -> bool:
        return owner.uid in self._accounts[0] or owner.gid in self._accounts[1]

    def _start_zygote(self, name: str, runtime: dict[str, Any]) -> Zygote:
        ids = self._first_id + _ZYGOTE_IDS_FROM + list(self._runtimes).index(name)
        zygote = Zygote(self._loop, runtime, ids, self._program)
        zygote.on_ready = partial(self._zygote_ready, name, zygote)
        zygote.on_retired = partial(self._zygote_retired, name, zygote)
        zygote.on_broken = partial(self._zygote_broken, zygote)
        zygote.on_end = partial(self._zygote_ended, name, zygote)
        self._zygotes[name] = zygote
        self._all_zygotes.add(zygote)
        self._waiting[name] = []
        return zygote

    def _zygote_ready(self, name: str, zygote: Zygote) -> None:
        for request in self._waiting.pop(name, []):
            self._make(request, zygote)

    def _zygote_retired(self, name: str, zygote: Zygote) -> None:
        if self._zygotes.get(name) is zygote:
            del self._zygotes[name]

    def _zygote_broken(self, zygote: Zygote) -> None:
        for sandbox in list(self._sandboxes.values()):
            if isinstance(sandbox, ZygoteSandbox) and sandbox.zygote is zygote:
                sandbox.kill("its zygote ended")

    def _zygote_ended(self, name: str, zygote: Zygote, reason: str) -> None:
        self._zygote_retired(name, zygote)
        self._all_zygotes.discard(zygote)
        if not self._closing:
            complain(f"zygote of {name}: {reason}")
        if not zygote.ready:
            for request in self._waiting.pop(name, []):
                self._tell(["failed", request.number, f"zygote of {name}: {reason}"])
        self._check_closed()

    def _make(self, request: Open, zygote: Zygote | None) -> None:
        """Begins a sandbox; the daemon hears of it when it is ready, or why it is not."""
        number, runtime, network, own = request
        if not self._blocks:
            self._tell(["failed", number, "as many sandboxes as sandboxes_max allows are in use"])
            return
        self._made += 1
        name = f"i-{self._made}"
        block = self._blocks.popleft()
        ids = self._first_id + block * IDS_PER_SANDBOX
        cgroup = None
        try:
            cgroup = self._cgroups.create(name)
            common = (self._loop, name, ids, own, cgroup, self._networks, network)
            sandbox: Sandbox
            if zygote is None:
                sandbox = NsjailSandbox(*common, runtime=self._runtimes[runtime], binary=self._nsjail)
            else:
                sandbox = ZygoteSandbox(*common, zygote=zygote, deadline_s=self._deadline_s)
        except OSError as error:
            self._blocks.append(block)
            if cgroup is not None:
                cgroup.remove()
            if zygote is not None and isinstance(error, BlockingIOError | BrokenPipeError):
                zygote.retire("does not take requests")
            self._tell(["failed", number, f"sandbox of {runtime}: {error}"])
            return
        self._sandboxes[name] = sandbox
        sandbox.on_open = partial(self._opened, number, sandbox)
        sandbox.on_gone = partial(self._gone, sandbox, block)
        if isinstance(sandbox, NsjailSandbox):
            sandbox.hand_over()

    def _opened(self, number: int, sandbox: Sandbox, fds: list[int] | None, error: str) -> None:
        if fds is None:
            self._tell(["failed", number, error])
            return
        cgroup = sandbox.cgroup
        words = [cgroup.freeze_bytes.decode("ascii"), cgroup.thaw_bytes.decode("ascii")]
        self._tell(["opened", number, sandbox.name, *words, cgroup.memory_current_path], fds)

    def _bind(self, request: Bind) -> None:
        sandbox = self._sandboxes.get(request.sandbox)
        if sandbox is None or sandbox.state != "blank" or sandbox.mounting is not None:
            return
        if not request.mounts:
            self._bind_with(sandbox, request, [])
            return
        if any(isinstance(mount, NfsMount) for mount in request.mounts) and sandbox.own_ids != request.owner:
            sandbox.kill("bind: the sandbox has other ids than its mounts need")
            return

        def made(mounts: Made | None, reason: str) -> None:
            if sandbox.state == "blank":
                if mounts is None:
                    sandbox.kill(reason)
                else:
                    self._bind_with(sandbox, request, mounts)

        sandbox.mounting = self._disks.make(request.mounts, request.owner, sandbox.user, sandbox.ids, made)

    def _bind_with(self, sandbox: Sandbox, request: Bind, mounts: Made) -> None:
        try:
            view = self._views.open(request.code, request.dependencies)
            try:
                if request.door:
                    with sandbox.open_door() as door:
                        self._tell(["door", sandbox.name], [door.fileno()])
                sandbox.bind(view, request.limits, mounts)
            finally:
                os.close(view)
        except OSError as error:
            sandbox.kill(f"bind: {error}")

    def _try(self, request: Try) -> None:
        if any(isinstance(mount, NfsMount) for mount in request.mounts) and self._is_account(request.owner):
            self._tell(["tried", request.number, account_text(request.owner)])
            return
        shares: list[Share] = []

        def tried(mounts: Made | None, reason: str) -> None:
            self._tell(["tried", request.number, reason])
            self._loop.after(0, lambda: self._disks.let_go(shares))

        ids = self._first_id
        inside = (ids + _INSIDE_ID, ids + _INSIDE_ID)
        shares += self._disks.make(request.mounts, request.owner, inside, ids, tried).shares

    def _resize(self, request: Resize) -> None:
        sandbox = self._sandboxes.get(request.sandbox)
        refusal = ""
        if sandbox is None or sandbox.state != "bound":
            refusal = "no such sandbox runs"
        else:
            try:
                sandbox.resize(request.memory_mib, request.cpu_mcpu)
            except OSError as error:
                refusal = str(error)
        self._tell(["resized", request.number, refusal])

    def _gone(self, sandbox: Sandbox, block: int, status: int | None, oom_kills: int) -> None:
        del self._sandboxes[sandbox.name]
        if sandbox.mounting is not None:
            sandbox.mounting.fail("its sandbox ended")
            self._disks.let_go(sandbox.mounting.shares)
        self._blocks.append(block)
        if sandbox.seat is not None:
            self._networks.release(sandbox.seat)
        code, number = None, 0
        if status is not None:
            result = os.waitstatus_to_exitcode(status)
            code, number = (result, 0) if result >= 0 else (None, -result)
        if not self._closing:
            self._tell(["gone", sandbox.name, code, number, oom_kills, sandbox.reason])
        self._check_closed()

    def close(self) -> None:
        """The daemon is gone: ends everything, then the loop."""
        if self._closing:
            return
        self._closing = True
        self._loop.forget(self._daemon.fileno())
        self._loop.after(_SHUTDOWN_S, self._stop)
        # Sandboxes first: a zygote's end would wait for what is frozen below it. One that refuses spares no other.
        for sandbox in list(self._sandboxes.values()):
            with suppress(OSError):
                sandbox.kill("the daemon ended")
        for zygote in list(self._all_zygotes):
            zygote.kill()
        self._disks.close()
        self._check_closed()

    def _check_closed(self) -> None:
        if self._closing and not self._sandboxes and not self._all_zygotes:
            self._stop()

    def _stop(self) -> None:
        for sandbox in self._sandboxes.values():  # time is up: once more, in case something froze them meanwhile
            with suppress(OSError):
                sandbox.cgroup.kill()
        self._cgroups.close()
        for text in self._networks.close():
            complain(f"networks: {text}")
        for path, device, inode in self._files:
            with suppress(OSError):  # not ours any more: gone, or another daemon's by now
                status = os.lstat(path)
                if (status.st_dev, status.st_ino) == (device, inode):
                    Path(path).unlink()
        self._loop.running = False


def main() -> None:
    """Runs until the daemon is gone. The daemon tells us to stop by closing its socket, never by a signal."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.closerange(SETTINGS_FD + 1, os.sysconf("SC_OPEN_MAX"))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    daemon = socket.socket(fileno=DAEMON_FD)
    daemon.set_inheritable(False)
    with open(SETTINGS_FD, "rb") as file:
        settings = json.load(file)
    os.umask(0o022)
    # What a provider's program leaves without a parent becomes ours, and is reaped before its sandbox counts as gone.
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    loop = Loop()
    try:
        launcher = Launcher(loop, daemon, settings)
    except (OSError, ValueError) as error:
        daemon.send(json.dumps(["unable", str(error)]).encode("ascii"))
        sys.exit(1)
    daemon.send(b'["ready"]')
    loop.run()
    del launcher


if __name__ == "__main__":
    main()
