"""Keeps the zygote's objects out of the way of copy-on-write. Python 3.12 and later; does nothing before.

Theory of operation: after a fork, a page is copied when it is written to, and the interpreter writes to an object
whenever it is used: to its reference count. So an instance that only calls a few functions copies half of the heap. Since
Python 3.12 (PEP 683) an object with the count 0xFFFFFFFF is immortal: its count is never written again. Everything that
the zygote has when it begins to fork stays for ever anyway, so all of it is made immortal.
"""

from __future__ import absolute_import

import ctypes
import gc
import sys
import sysconfig

_IMMORTAL = b"\xff\xff\xff\xff"


def supported():
    """Whether counts are where and as we think: CPython with a lock, 64 bits, low half first."""
    return (
        sys.version_info >= (3, 12)
        and sys.implementation.name == "cpython"
        and sys.maxsize > 2**32
        and sys.byteorder == "little"
        and not sysconfig.get_config_var("Py_GIL_DISABLED")
    )


def make_immortal():
    """Makes every object that the collector knows, or that one of those refers to, immortal. Gives their number."""
    if not supported():
        return 0
    number = 0
    todo = gc.get_objects()
    own = {id(todo)}
    own.add(id(own))
    seen = set(own)
    seen.add(id(seen))
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if ctypes.c_int32.from_address(id(one)).value >= 0:  # negative: immortal already
            ctypes.memmove(id(one), _IMMORTAL, 4)
            number += 1
        todo.extend(gc.get_referents(one))
    return number
