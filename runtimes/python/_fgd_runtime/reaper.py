"""Orphans of the function's child processes.

The runtime is the first process of its namespace, so processes whose parent ended become its children, and stay as
zombies until someone asks for their status. They cannot be told from children that user code started and will still
ask for (`subprocess.Popen.poll`), so nothing is taken away in a hurry: only when more than SPARED zombies have
gathered, those that were zombies already LOOK_EVERY calls ago are reaped. With the limit of 1,024 processes of an
instance that is enough to keep going, and nobody who wants a status leaves so many children alone for so long.

Where several calls run at once nothing is reaped: there a child may be waited for at any moment.
"""

import os

SPARED = 64
LOOK_EVERY = 128


class Reaper(object):
    """Counts calls and has a look now and then."""

    __slots__ = ("_calls", "_every", "_seen", "_spared")

    def __init__(self, every=LOOK_EVERY, spared=SPARED):
        self._calls = 0
        self._every = every
        self._seen = frozenset()
        self._spared = spared

    def after_call(self):
        self._calls += 1
        if self._calls >= self._every:
            self._calls = 0
            self.look()

    def look(self):
        """Reaps the zombies that the look before saw, if there are too many; gives their number."""
        zombies = zombie_children() if _has_dead_child() else frozenset()
        reaped = 0
        if len(zombies) > self._spared:
            for pid in zombies & self._seen:
                try:
                    reaped += os.waitpid(pid, os.WNOHANG)[0] == pid
                except OSError:  # user code has just asked for it
                    pass
        self._seen = zombies
        return reaped


def _has_dead_child():
    """Whether a child has ended and was not waited for; a cheap question that takes nothing away. May say yes wrongly."""
    if not hasattr(os, "waitid"):  # Python 2.7
        return True
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except OSError:  # no children at all
        return False


def zombie_children():
    """Process ids of children that ended and were not waited for. Empty where /proc does not tell."""
    parent, zombies = os.getpid(), []
    try:
        names = os.listdir("/proc")
    except OSError:
        names = []
    for name in names:
        if name.isdigit():
            try:
                with open("/proc/" + name + "/stat", "rb") as file:
                    # the command's name is in brackets and may hold anything
                    fields = file.read().rpartition(b")")[2].split(None, 2)
            except (OSError, IOError):
                continue
            if len(fields) == 3 and fields[0] == b"Z" and int(fields[1]) == parent:
                zombies.append(int(name))
    return frozenset(zombies)
