"""The zygote: an interpreter with all loaded that functions need, which forks blank sandboxes. Python 2.7 and 3.

It runs under the runtime's own interpreter, in the sandboxes' root, as an unprivileged user and as the first process of
a pid namespace: when it ends, the kernel ends all it forked. One thread, no user code ever. It answers the launcher on
descriptor 3 (SOCK_SEQPACKET):

    fork + descriptors (setup socket, channel, output pipe, cgroup files)  no answer: the child speaks
    reap                                                                    JSON list of [process id, wait status]
"""

from __future__ import absolute_import

import errno
import gc
import json
import os
import signal
import sys

from . import blank, immortal, kernel

_CONTROL = 3
_CONFIG_BYTES = 65536
_FDS_MAX = 8


def main():
    """Takes its configuration and the seccomp program, loads the runtime, serves until the launcher is gone."""
    config = json.loads(kernel.receive(_CONTROL, _CONFIG_BYTES, 0)[0].decode("ascii"))
    config["filter"] = kernel.receive(_CONTROL, _CONFIG_BYTES, 0)[0]
    # With huge pages, one byte written after the fork could copy a page of 2 MiB.
    kernel.prctl(kernel.PR_SET_THP_DISABLE, 1)
    sys.path.insert(0, config["runtime_root"])
    runtime = __import__(config["module"])
    runtime.preload()
    # A child's end interrupts the waiting; the handler itself has nothing to do.
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    control = kernel.Receiver(_CONTROL, 16, _FDS_MAX)
    kernel.send(_CONTROL, b"ready")
    # Afterwards the collector leaves alone what is there now, and using it does not write to it.
    gc.collect()
    immortal.make_immortal()
    if hasattr(gc, "freeze"):
        gc.freeze()
    else:
        gc.disable()  # Python before 3.7; an instance enables it again
    _serve(control, config, runtime)


def _serve(control, config, runtime):
    helpers, ended = set(), []
    while True:
        try:
            order, fds = control.next()
        except EnvironmentError as error:
            if error.errno != errno.EINTR:
                raise
            _collect(helpers, ended)
            continue
        if order == b"fork":
            helper = _fork(fds, config, runtime)
            if helper:
                helpers.add(helper)
            for fd in fds:
                os.close(fd)
        elif not order:
            os._exit(0)
        _collect(helpers, ended)
        if order == b"reap":
            kernel.send(_CONTROL, json.dumps(ended[:256]).encode("ascii"))
            del ended[:256]


def _fork(fds, config, runtime):
    try:
        child = kernel.fork()
    except OSError as error:
        report = {"step": "fork", "path": "", "errno": error.errno}
        kernel.send(fds[0], json.dumps(report).encode("ascii"))
        return 0
    if child == 0:
        blank.start(fds[0], fds[1], fds[2], fds[3:], config, runtime)
    return child


def _collect(helpers, ended):
    """Takes the ended children: those that only made a sandbox are forgotten, the sandboxes' first processes told."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except OSError as error:
            if error.errno == errno.ECHILD:
                return
            raise
        if pid == 0:
            return
        if pid in helpers:
            helpers.discard(pid)
        else:
            ended.append([pid, status])
