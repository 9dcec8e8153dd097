"""The Python runtime of fgd: what runs inside the sandbox, on CPython 2.7 and from 3.6 on, standard library only.

A zygote imports this file, calls `preload()` once, and in each process it forks `serve(fd)`. A provider that starts
programs runs it as `python bootstrap.py --channel 3`. README.md tells what goes over the channel.

The parts lie beside this file in the package `_fgd_runtime`, whose folder is on `sys.path` only while they are imported.
"""

import os
import sys

_FOLDER = os.path.dirname(os.path.abspath(__file__))

sys.path.insert(0, _FOLDER)
try:
    # all of them: Python 2.7 empties a module that neither `sys.modules` nor anything else refers to
    from _fgd_runtime import (
        channel, context, failures, heartbeat, loader, output, prestop, reaper, relay, serial, start, threads, values,
    )  # fmt: skip
finally:
    if _FOLDER in sys.path:
        sys.path.remove(_FOLDER)

_PARTS = (
    channel, context, failures, heartbeat, loader, output, prestop, reaper, relay, serial, start, threads, values,
)  # fmt: skip

#: Modules that nearly every function imports. Loaded before the fork they cost each function nothing.
_COMMON = (
    "base64 collections contextlib copy datetime functools itertools json logging math operator os re string struct "
    "threading time traceback urllib.parse"
).split()


def preload():
    """Does what is the same for all instances; to be called once, before the first fork, with one thread."""
    for name in _COMMON:
        try:
            __import__(name)
        except ImportError:  # another name in this version of Python
            pass
    start.warm_up()


def warm_up():
    """May be called in a forked process that waits for its function; leaves nothing behind but warm pages."""
    start.warm_again()


def serve(fd):
    """Takes over the channel and serves calls until it ends; never returns."""
    started = start.start(fd, _FOLDER)
    if started.concurrency == 1:
        if started.heartbeat is not None:
            started.channel = relay.Relay(started.channel, started.heartbeat)
        serial.serve_one_by_one(started)
    else:
        threads.serve_many(started)


def main(arguments):
    if len(arguments) != 2 or arguments[0] != "--channel" or not arguments[1].isdigit():
        sys.stderr.write("usage: bootstrap.py --channel DESCRIPTOR\n")
        return 2
    serve(int(arguments[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
