"""Carries out a plan: lists of an operation's name and its fields, as `fgd.sandbox.plan.plain` makes them.

Runs as root in a zygote's new mount namespace (the root plan), and inside a blank sandbox (the instance plan), there
also on Python 2.7. One error per failing step: what, where, and the kernel's errno.
"""

from __future__ import absolute_import

import errno
import os
import stat

from . import kernel

_FILE_MODE = 0o644


class StepFailed(Exception):
    """A step that the kernel refused."""

    def __init__(self, step, path, number):
        Exception.__init__(self, "%s %s: %s" % (step, path, os.strerror(number)))
        self.report = {"step": step, "path": path, "errno": number}


def carry_out(plan, host=""):
    """Performs the operations in order. `host` is the folder at which the host's root can be seen."""
    for operation in plan:
        name, fields = operation[0], operation[1:]
        path = fields[_PATH_FIELD.get(name, 0)]
        try:
            if name in _FROM_HOST:
                _FROM_HOST[name](host, *fields)
            else:
                _PLAIN[name](*fields)
        except EnvironmentError as error:
            raise StepFailed(name, path, error.errno or 0)


def _make_parents(path):
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        _dir(parent, 0o755)


def _dir(path, mode):
    _make_parents(path)
    if not os.path.isdir(path):
        os.mkdir(path)
        os.chmod(path, mode)  # whatever the umask is


def _tmpfs(path, size_bytes, inodes, mode, owner, executable, devices):
    _dir(path, 0o755)
    flags = kernel.MS_NOSUID | (0 if devices else kernel.MS_NODEV) | (0 if executable else kernel.MS_NOEXEC)
    options = "size=%d,nr_inodes=%d,mode=%o,uid=%d,gid=%d" % (size_bytes, inodes, mode, owner, owner)
    kernel.mount("tmpfs", path, "tmpfs", flags, options)


def _bind(host, source, path, required):
    source = host + source
    if not required and not os.path.exists(source):
        return
    if stat.S_ISDIR(os.stat(source).st_mode):
        _dir(path, 0o755)
    else:
        _file(path, "")
    kernel.mount(source, path, None, kernel.MS_BIND | kernel.MS_REC)
    attributes = kernel.ATTR_RDONLY | kernel.ATTR_NOSUID | kernel.ATTR_NODEV
    kernel.set_attributes(path, attributes, recursive=True)


def _file(path, text):
    _write(path, text.encode("utf-8"))


def _write(path, data):
    _make_parents(path)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _FILE_MODE)
    try:
        os.fchmod(fd, _FILE_MODE)
        while data:
            data = data[os.write(fd, data) :]
    finally:
        os.close(fd)


def _copy(host, source, path):
    # A link into /usr (as /etc/localtime is one) leads into the new root's /usr, which is the same.
    source = host + source
    if os.path.isfile(source):
        with open(source, "rb") as file:
            _write(path, file.read())


def _link(target, path):
    _make_parents(path)
    os.symlink(target, path)


def _device(host, path, major, minor):
    number = os.makedev(major, minor)
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, number)
        os.chmod(path, 0o666)
    except EnvironmentError as error:
        if error.errno != errno.EPERM:
            raise
        # The service unit lets nobody make devices: take the host's own, but only if it is what its name says.
        found = os.stat(host + path)
        if not stat.S_ISCHR(found.st_mode) or found.st_rdev != number:
            raise
        _file(path, "")
        kernel.mount(host + path, path, None, kernel.MS_BIND)


def _proc(path, hidden):
    flags = kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("proc", path, "proc", flags, "hidepid=2" if hidden else None)


def _mask(path, folder):
    if folder:
        flags = kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
        kernel.mount("tmpfs", path, "tmpfs", flags, "size=4096,nr_inodes=1,mode=555")
    else:
        kernel.mount("/dev/null", path, None, kernel.MS_BIND)


def _seal(path):
    kernel.set_attributes(path, kernel.ATTR_RDONLY, recursive=False)


_FROM_HOST = {"bind": _bind, "copy": _copy, "device": _device}
_PLAIN = {
    "dir": _dir,
    "tmpfs": _tmpfs,
    "file": _file,
    "link": _link,
    "proc": _proc,
    "mask": _mask,
    "seal": _seal,
}
#: Where the path that an error names is among the fields; otherwise the first.
_PATH_FIELD = {"link": 1, "bind": 0}
KNOWN = tuple(_FROM_HOST) + tuple(_PLAIN)
