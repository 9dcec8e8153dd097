"""Mounts that the launcher makes: a new root from a plan, and a read-only view of a folder to hand on."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from fgd.linux import libc

#: A folder that every host has; covered only in the new mount namespace, and only until the root is changed.
_BASE = "/tmp"
_OLD_ROOT = "/.host"
_READ_ONLY = libc.MOUNT_ATTR_RDONLY | libc.MOUNT_ATTR_NOSUID | libc.MOUNT_ATTR_NODEV


def make_private() -> None:
    """Nothing that is mounted from here on is seen in another namespace, nor the other way round."""
    libc.mount("none", "/", None, libc.MS_REC | libc.MS_PRIVATE)


def enter_new_root(size_bytes: int, inodes: int, fill: Callable[[str], None]) -> None:
    """Makes an empty tmpfs the root of our mount namespace, has `fill` build the new root in it, and seals it.

    `fill` gets the folder at which the host's root is seen; afterwards that is out of reach. Call it in a mount
    namespace of your own. The host's root is moved aside before anything is mounted, so no source is covered by the new
    root.
    """
    make_private()
    options = f"size={size_bytes},nr_inodes={inodes},mode=755"
    libc.mount("tmpfs", _BASE, "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, options)
    Path(_BASE + _OLD_ROOT).mkdir(mode=0o700)
    libc.pivot_root(_BASE, _BASE + _OLD_ROOT)
    os.chdir("/")
    fill(_OLD_ROOT)
    libc.umount(_OLD_ROOT, libc.MNT_DETACH)
    Path(_OLD_ROOT).rmdir()
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    libc.set_mount_attributes(root, _READ_ONLY)
    os.close(root)


def read_only_view(folder_fd: int) -> int:
    """A detached mount of the folder: read-only, without set-id and devices. The caller closes the descriptor."""
    view = libc.clone_mount("", folder_fd)
    try:
        libc.set_mount_attributes(view, _READ_ONLY)
    except OSError:
        os.close(view)
        raise
    return view


def merged_view(folder_fds: Sequence[int]) -> int:
    """A detached mount that shows two or more folders as one tree, read-only, without set-id and devices.

    Where two hold a file of the same name, the earlier folder's is seen. It is an overlay with lower layers only, which
    needs no room of its own; the kernel keeps one copy of a file's pages however many overlays show it. The caller
    closes the descriptor. Call it with one thread: the working directory changes for a moment.

    Raises:
        OSError: the kernel has no overlayfs, or does not take one of the folders as a layer.
    """
    # Names of layers are relative to the folder of our descriptors, as the kernel takes 255 bytes for all of them.
    before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir("/proc/self/fd")
        try:
            return libc.new_mount("overlay", {"lowerdir": ":".join(map(str, folder_fds))}, _READ_ONLY)
        finally:
            os.fchdir(before)
    finally:
        os.close(before)
