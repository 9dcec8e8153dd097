"""Folders in a sandbox's root at which something will be mounted. Works on Python 2.7 and 3.

Theory of operation: the root is one read-only tmpfs that all sandboxes of a zygote share, so nothing can be made in it
for one of them. A sandbox that needs more folders gets a root of its own instead: a small tmpfs with the same entries,
each bound from the old root, and beside them the folders; then it is sealed and the old root let go.
"""

from __future__ import absolute_import

import os
import stat

from . import kernel

#: An empty folder of the old root.
_NEW = "/home/snuser/log"
_OLD = "/.old"


def make_folders(paths):
    """Enters a root that is as the one before and has these folders too. The working directory is its top then."""
    flags = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("tmpfs", _NEW, "tmpfs", flags, "size=1m,nr_inodes=256,mode=755")
    # So that it is not seen below itself: what is bound with all below it leaves it out.
    kernel.mount("none", _NEW, None, kernel.MS_UNBINDABLE)
    _fill("/", _NEW, [path.strip("/").split("/") for path in paths])
    os.mkdir(_NEW + _OLD)
    kernel.pivot_root(_NEW, _NEW + _OLD)
    os.chdir("/")
    kernel.detach(_OLD)
    os.rmdir(_OLD)
    kernel.set_attributes("/", kernel.ATTR_RDONLY, recursive=False)


def _fill(source, target, wanted):
    """Makes in `target` what `source` has and, name by name, the wanted folders below it."""
    for name in os.listdir(source):
        old, new = os.path.join(source, name), os.path.join(target, name)
        status = os.lstat(old)
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(old), new)
        elif not stat.S_ISDIR(status.st_mode):
            os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
            kernel.mount(old, new, None, kernel.MS_BIND)
        else:
            os.mkdir(new, 0o755)
            below = [names[1:] for names in wanted if names[0] == name]
            if below:
                _fill(old, new, below)
            else:
                kernel.mount(old, new, None, kernel.MS_BIND | kernel.MS_REC)
    for names in wanted:
        path = target
        for name in names:
            path = os.path.join(path, name)
            if not os.path.isdir(path):
                os.mkdir(path, 0o755)
                os.chmod(path, 0o755)
