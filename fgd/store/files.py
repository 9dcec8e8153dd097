# Everything here works beneath descriptors, which pathlib cannot.
# ruff: noqa: PTH101, PTH208
"""Small tools for files that must survive: durable writes, and removal of trees that resist it."""

import os
import secrets
import stat
from pathlib import Path

_BLOCK_BYTES = 1 << 20


def sync_folder(path: Path) -> None:
    """Makes names in a folder durable; a new or renamed file is only then sure to be found after a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Makes a new file and puts its contents on disk; its name is durable after `sync_folder`."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_durably(path: Path, data: bytes) -> None:
    """Writes a file of mode 0600 wholly or not at all, in place of an earlier one; it is on disk with its name."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        new.unlink(missing_ok=True)
        write_durably(new, data)
        new.rename(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def copy_durably(source: Path, target: Path, mode: int = 0o600) -> None:
    """The same with the contents of another file."""
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file, source.open("rb") as origin:
        while block := origin.read(_BLOCK_BYTES):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def remove_tree(path: Path) -> None:
    """Removes a folder (or file) and all that is in it. Follows no link; needs no rights but ownership.

    A tree may be thousands of levels deep, so it is neither recursed into nor held open level by level: the folders in
    a folder are moved up to the root of the tree, under new names, until there is nothing left to move.
    A path that does not exist is fine.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        path.unlink(missing_ok=True)
        return
    root = _open_folder(os.fspath(path), None)
    try:
        while names := os.listdir(root):
            for name in names:
                if _unlink(name, root):
                    continue
                folder = _open_folder(name, root)
                try:
                    for inner in os.listdir(folder):
                        if not _unlink(inner, folder):
                            os.close(_open_folder(inner, folder))  # makes it ours to move: `..` in it is rewritten
                            os.rename(inner, secrets.token_hex(16), src_dir_fd=folder, dst_dir_fd=root)
                finally:
                    os.close(folder)
                os.rmdir(name, dir_fd=root)
    finally:
        os.close(root)
    path.rmdir()


def _unlink(name: str, folder: int) -> bool:
    """Removes what is not a folder; False when it is one."""
    if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return False
    os.unlink(name, dir_fd=folder)
    return True


def _open_folder(name: str, folder: int | None) -> int:
    """Opens a folder, giving ourselves the rights to change it."""
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(name, os.O_PATH | flags, dir_fd=folder)
    try:
        if os.fstat(handle).st_mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{handle}", 0o700)  # O_PATH has no fchmod
    finally:
        os.close(handle)
    return os.open(name, os.O_RDONLY | flags, dir_fd=folder)
