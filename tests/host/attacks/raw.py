"""System calls by number, without the C library's opinion."""

import ctypes
import errno

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def call(number: int, *arguments: object) -> int:
    """The result, or minus the errno."""
    ctypes.set_errno(0)
    padded = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = int(libc.syscall(ctypes.c_long(number), *padded))
    return -ctypes.get_errno() if result == -1 else result


def name(result: int) -> str:
    """ "EPERM" for -1 and so on; "allowed" for what succeeded."""
    return "allowed" if result >= 0 else errno.errorcode.get(-result, str(-result))
