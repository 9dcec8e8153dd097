"""What went wrong, as FunctionGraph tells it: codes, message prefixes, and the stack without the platform's frames."""

import linecache
import os
import sys

from _fgd_runtime.values import PY2, native, text_type

ENTRY, THREW, TOO_LARGE, HEARTBEAT_ENTRY, NOT_ENCODABLE, INITIALIZER, CANCELLED = (
    4001, 4002, 4004, 4006, 4007, 4009, 4208,
)  # fmt: skip

_PREFIX = {
    ENTRY: "function entry exception, error: ",
    THREW: "function invocation exception, error: ",
    HEARTBEAT_ENTRY: "heartbeat function exception, error: ",
    NOT_ENCODABLE: "function result is invalid, error: ",
    INITIALIZER: "function initialization exception, error: ",
}
#: The whole body when a result is over its limit: a JSON string, no object.
TOO_LARGE_BODY = b'"the return value of the function exceeds the maximum allowed limit"'
CANCELLED_BODY = b'{\n    "errorMessage": "function invocation canceled",\n    "errorType": "InvocationCanceled"\n}'

_OWN_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep
_OWN_ENTRY = os.path.join(os.path.dirname(_OWN_FOLDER[:-1]), "bootstrap.py")
#: Longest message (characters), longest source line, most frames from either end of a stack.
_MESSAGE_MAX, _LINE_MAX, _FRAMES_MAX = 65536, 1000, 50


class Cancelled(BaseException):
    """Raised inside the handler's thread when the daemon cancels its call."""


class LoadFailure(Exception):
    """The handler or the initializer cannot be had. `kind` is FunctionLoadError or FunctionConfigError."""

    def __init__(self, kind, message):
        Exception.__init__(self, message)
        self.kind = kind


def message_of(error):
    """`str(error)`, whatever the error's class does."""
    try:
        text = str(error)
    except Exception:
        try:
            text = text_type(error)
        except Exception:
            return "<the exception's text cannot be had>"
    if PY2 and isinstance(text, str):
        text = text.decode("utf-8", "replace")
    return text if len(text) <= _MESSAGE_MAX else text[:_MESSAGE_MAX] + "..."


def type_name(error):
    return getattr(type(error), "__name__", "Exception")


def stack_of(trace, code_root):
    """The frames of a traceback, oldest first, each as `traceback.format_tb` writes it.

    Frames of the runtime and of the import machinery are left out; paths beneath the code root are relative to it.
    Of a very deep stack (endless recursion) only both ends are kept.
    """
    root = code_root.rstrip("/") + "/"
    frames = []
    while trace is not None:
        code = trace.tb_frame.f_code
        name = code.co_filename
        if not (name.startswith(_OWN_FOLDER) or name.startswith("<frozen importlib") or name == _OWN_ENTRY):
            frames.append((name, trace.tb_lineno, code.co_name, trace.tb_frame.f_globals))
        trace = trace.tb_next
    dropped = len(frames) - 2 * _FRAMES_MAX
    if dropped > 0:
        frames[_FRAMES_MAX:-_FRAMES_MAX] = [None]
    lines = []
    for frame in frames:
        if frame is None:
            lines.append("  ... %d more frames ...\n" % dropped)
            continue
        name, number, function, variables = frame
        source = linecache.getline(name, number, variables).strip()[:_LINE_MAX]
        if name.startswith(root):
            name = name[len(root) :]
        text = '  File "%s", line %d, in %s\n' % (name, number, function)
        lines.append(text + "    %s\n" % source if source else text)
    return lines


def failure_body(code, error, trace, code_root):
    """The error JSON as bytes. Without a traceback there is no `stackTrace`."""
    raise_low_limit()
    if isinstance(error, LoadFailure):
        kind, trace = error.kind, None
    else:
        kind = type_name(error)
    fields = [("errorMessage", _PREFIX[code] + message_of(error)), ("errorType", kind)]
    if trace is not None:
        try:
            fields.append(("stackTrace", stack_of(trace, code_root)))
        except Exception:  # the user's code may have replaced or broken what this needs
            fields.append(("stackTrace", []))
    return _render(fields)


def _render(fields):
    """A small JSON object, indented by four, written here so that a broken `json` module does not matter."""
    parts = []
    for name, value in fields:
        if isinstance(value, list):
            inner = ",\n".join("        " + _quote(item) for item in value)
            text = "[\n" + inner + "\n    ]" if value else "[]"
        else:
            text = _quote(value)
        parts.append('    "%s": %s' % (name, text))
    return ("{\n" + ",\n".join(parts) + "\n}").encode("ascii")


def _quote(text):
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    parts = []
    for char in text:
        number = ord(char)
        if char in u'"\\':
            parts.append("\\" + str(char))
        elif char == u"\n":
            parts.append("\\n")
        elif 32 <= number < 127:
            parts.append(str(char))
        elif number < 0x10000:
            parts.append("\\u%04x" % number)
        else:
            number -= 0x10000
            parts.append("\\u%04x\\u%04x" % (0xD800 | number >> 10, 0xDC00 | number & 0x3FF))
    return native('"' + "".join(parts) + '"')


def raise_low_limit():
    """Undoes a recursion limit so low that the runtime itself could not go on."""
    if sys.getrecursionlimit() < 300:
        sys.setrecursionlimit(1000)
