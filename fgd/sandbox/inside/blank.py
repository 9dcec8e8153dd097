"""A blank sandbox: from the zygote's fork to the call of the runtime. Works on Python 2.7 and 3.

Theory of operation: the zygote's child joins its cgroup and makes all seven namespaces, then forks; this second process
is the first of the new pid namespace and becomes the instance. The launcher, which the kernel tells its process id,
maps its user ids. It then mounts its own /proc, /tmp and /dev/shm and waits. With the code (a detached mount) come the
limits; it attaches the one, sets the others, gives up everything that is not needed to run the function, and calls the
runtime. The order of giving up: first what needs rights (mounts, limits), then the rights (ids, capabilities), then
calls (seccomp).
"""

from __future__ import absolute_import

import gc
import json
import os
import resource
import select
import signal
import sys
import traceback

from . import kernel, root, steps

CHANNEL = 3
_SETUP = 4
_MESSAGE_BYTES = 8192
_FDS_MAX = 16
_INSIDE_ID = 1003
#: A blank that gets no code for so long was made to be kept, and has time to warm up; in a burst of starts it has not.
_UNHURRIED_S = 0.25
_NAMESPACES = (
    kernel.CLONE_NEWUSER
    | kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWCGROUP
)


class _Steps(object):
    """Names the step under way, so that a failure can tell which it was."""

    def __init__(self):
        self.name = ""
        self.path = ""

    def __call__(self, name, path=""):
        self.name, self.path = name, path


def start(setup, channel, output, cgroup, config, runtime):
    """Turns the zygote's child into a blank sandbox, waits for its code, runs it. Never returns.

    Args:
        setup: socket to the launcher, kept until the function's code is about to run.
        channel: the runtime's socket; becomes descriptor 3.
        output: pipe that becomes descriptors 1 and 2.
        cgroup: descriptors to write "0" into, to join the cgroups.
        config: the launcher's configuration of the zygote.
        runtime: the module with `serve(fd)`.
    """
    step = _Steps()
    status = 1
    try:
        step("join cgroup")
        for fd in cgroup:
            os.write(fd, b"0")
        step("create namespaces")
        kernel.unshare(_NAMESPACES)
        step("fork")
        if kernel.fork():
            os._exit(0)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        step("arrange descriptors")
        for source, target in ((output, 1), (output, 2), (channel, CHANNEL), (setup, _SETUP)):
            if source != target:
                os.dup2(source, target)
        setup = _SETUP
        kernel.close_from(_SETUP + 1)
        step("hand over network namespace")
        # The launcher may open it by itself only with the right to trace processes, which it has no other use for.
        network = os.open("/proc/self/ns/net", os.O_RDONLY)
        # The link tells our id in the zygote's pid namespace, by which the zygote will report our end.
        kernel.send_descriptor(setup, b"hello " + os.readlink("/proc/self").encode("ascii"), network)
        os.close(network)
        answer = kernel.receive(setup, 16, 0)[0].split()
        if answer[:1] != [b"mapped"]:
            os._exit(1)
        _furnish(step, config, answer[1].decode("ascii") if answer[1:] else "")
        kernel.send(setup, b"ready")
        if hasattr(runtime, "warm_up") and not select.select([setup], [], [], _UNHURRIED_S)[0]:
            runtime.warm_up()
        message, fds = kernel.receive(setup, _MESSAGE_BYTES, _FDS_MAX)
        if not message:
            os._exit(1)
        _bind(step, json.loads(message.decode("ascii")), fds[0], fds[1:], config)
        kernel.close_from(_SETUP)
        status = _run(runtime)
    except steps.StepFailed as error:
        _complain(setup, error.report)
    except EnvironmentError as error:
        _complain(setup, {"step": step.name, "path": step.path, "errno": error.errno or 0})
    except Exception as error:  # setrlimit, for one, raises ValueError when it is not permitted
        _complain(setup, {"step": step.name, "path": step.path, "text": str(error)})
    finally:
        os._exit(status)


def _complain(setup, report):
    try:
        kernel.send(setup, json.dumps(report).encode("ascii"))
    except EnvironmentError:
        pass  # the launcher is gone, and everything of it ends


def _furnish(step, config, network):
    """`network`: the number of its network, by which the root has files for it; "" for none."""
    step("become root inside")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    if network:
        for name in ("hosts", "resolv.conf"):
            step("choose for the network", "/etc/" + name)
            kernel.mount("%s/%s/%s" % (config["network_files"], network, name), "/etc/" + name, None, kernel.MS_BIND)
    steps.carry_out(config["plan"])
    step("bring up loopback")
    kernel.loopback_up()
    step("set hostname")
    kernel.set_hostname(config["hostname"])
    step("start session")
    os.setsid()
    step("limit core files")
    # With 0 the kernel would still run the host's core_pattern program, as root; 1 is its sign for "no core at all".
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    step("drop bounding set")
    kernel.drop_bounding_set()
    step("enter work directory", config["work_dir"])
    os.chdir(config["work_dir"])


def _bind(step, order, code, mounts, config):
    step("attach code", config["code_root"])
    kernel.attach_mount(code, config["code_root"])
    if mounts:
        step("make room for mounts")
        root.make_folders(order["mounts"])
        for fd, path in zip(mounts, order["mounts"]):
            step("mount", path)
            kernel.attach_mount(fd, path)
        step("enter work directory", config["work_dir"])
        os.chdir(config["work_dir"])
    if order["tmp"]:
        step("resize", "/tmp")
        flags = kernel.MS_REMOUNT | kernel.MS_NOSUID | kernel.MS_NODEV
        kernel.mount("tmpfs", "/tmp", "tmpfs", flags, order["tmp"])
    step("limit open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (order["open_files"], order["open_files"]))
    _refresh_randomness()
    step("become user")
    os.setresgid(_INSIDE_ID, _INSIDE_ID, _INSIDE_ID)
    os.setresuid(_INSIDE_ID, _INSIDE_ID, _INSIDE_ID)
    step("drop capabilities")
    kernel.clear_capabilities()
    # A change of ids makes a process undumpable, and its own /proc files root's. Nothing secret is in it yet.
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    step("forbid new privileges")
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    step("install seccomp filter")
    kernel.install_filter(config["filter"])


def _refresh_randomness():
    """What the zygote has drawn, all its children would draw again. OpenSSL knows a fork by the process id only, which
    is 1 in the zygote as it is here."""
    if "random" in sys.modules:
        sys.modules["random"].seed()
    if "ssl" in sys.modules:
        sys.modules["ssl"].RAND_add(os.urandom(32), 32.0)


def _run(runtime):
    gc.enable()
    try:
        runtime.serve(CHANNEL)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
