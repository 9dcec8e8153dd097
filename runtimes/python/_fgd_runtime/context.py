"""The second argument of a handler: FunctionGraph's Context, and its logger.

Methods, types and traps are those of FunctionGraph's Python runtime: `getRunningTimeInSeconds` gives the function's
timeout in milliseconds, memory and CPU are integers, missing credentials are empty strings, and the remaining time may
become negative. One object is made per call, so it holds only what differs between calls; what is the same for the
whole instance is in `_instance`, an `Instance`.
"""

import sys
import time
import traceback

from _fgd_runtime.values import PY2, decode_event, native, text_type

_now = time.time

_LEVELS = {"DEBUG": 10, "INFO": 20, "WARN": 30, "WARNING": 30, "ERROR": 40, "CRITICAL": 50, "FATAL": 50}
_RUNNING_TIME_NOTE = (
    b"context.getRunningTimeInSeconds() gives the timeout of the function in milliseconds, as it does on FunctionGraph"
)


class Instance(object):
    """What is the same for all calls of this process, taken from the INIT frame."""

    def __init__(self, init, sink):
        about = init.get("context") or {}
        self.sink = sink
        self.user_data = init.get("user_data") or {}
        self.instance_id = native(init.get("instance_id") or "")
        self.timeout_ms = int((init.get("timeout_s") or 0) * 1000)
        self.function_name = native(about.get("function_name") or "")
        self.version = native(about.get("version") or "latest")
        self.package = native(about.get("package") or "default")
        self.project_id = native(about.get("project_id") or "")
        self.memory_mib = int(about.get("memory_mib") or 0)
        self.cpu_mcpu = int(about.get("cpu_mcpu") or 0)
        self.state = None
        self.running_time_noted = False


class Context(object):
    """One call, as its handler sees it."""

    __slots__ = ("__dict__", "__weakref__", "_call_id", "_deadline_s", "_extras", "_instance", "_logger", "_request_id")

    def __init__(self, instance, call_id, request_id, deadline_s, extras):
        self._instance = instance
        self._call_id = call_id
        self._request_id = request_id
        # 0: the call came along with INIT, and its time begins only now.
        self._deadline_s = deadline_s or _now() + instance.timeout_ms / 1000.0
        #: JSON text, or what it holds once something asked for it.
        self._extras = extras
        self._logger = None

    def _extra(self, name):
        extras = self._extras
        if not isinstance(extras, dict):
            extras = self._extras = decode_event(extras) or {}
        return native(extras.get(name) or "")

    def getRequestID(self):
        return self._request_id

    def getRemainingTimeInMilliSeconds(self):
        """Until the timeout; negative after it."""
        return int((self._deadline_s - _now()) * 1000)

    def getRunningTimeInSeconds(self):
        """The function's timeout in milliseconds, in spite of the name."""
        instance = self._instance
        if not instance.running_time_noted:
            instance.running_time_noted = True
            instance.sink.record(self._call_id, 30, _RUNNING_TIME_NOTE)
        return instance.timeout_ms

    def getAccessKey(self):
        return self._extra("access_key")

    def getSecretKey(self):
        return self._extra("secret_key")

    def getSecurityAccessKey(self):
        return self._extra("security_access_key")

    def getSecuritySecretKey(self):
        return self._extra("security_secret_key")

    def getSecurityToken(self):
        return self._extra("security_token")

    def getToken(self):
        return self._extra("auth_token")

    def getUserData(self, key, default=None):
        """The function's environment variable of that name."""
        return self._instance.user_data.get(key, default)

    def getFunctionName(self):
        return self._instance.function_name

    def getVersion(self):
        return self._instance.version

    def getPackage(self):
        return self._instance.package

    def getProjectID(self):
        return self._instance.project_id

    def getAlias(self):
        return self._extra("alias")

    def getMemorySize(self):
        """In MB."""
        return self._instance.memory_mib

    def getCPUNumber(self):
        """In millicores."""
        return self._instance.cpu_mcpu

    def getLogger(self):
        """The logger whose lines carry this call's request id, whatever thread uses it."""
        logger = self._logger
        if logger is None:
            logger = self._logger = Logger(self._instance.sink, self._call_id)
        return logger

    def get_state(self):
        """What `set_state` was given; it lives as long as this instance. None before that."""
        return self._instance.state

    def set_state(self, state):
        self._instance.state = state

    def get_instance_id(self):
        return self._instance.instance_id

    def get_invoke_id(self):
        return self._request_id

    def get_trace_id(self):
        return self._extra("trace_id")

    def get_invoke_property(self):
        return self._extra("invoke_property")

    def getInvokeType(self):
        """`sync` or `async`; "" when the caller did not tell."""
        return self._extra("invoke_type")

    def getWorkflowID(self):
        return self._extra("workflow_id")

    def getWorkflowRunID(self):
        return self._extra("workflow_run_id")

    def getWorkflowStateID(self):
        return self._extra("workflow_state_id")


class Logger(object):
    """Takes printf-style arguments as `logging` does, but never fails over them."""

    __slots__ = ("_call_id", "_level", "_sink")

    def __init__(self, sink, call_id):
        self._sink = sink
        self._call_id = call_id
        self._level = 20

    def setLevel(self, level):
        """Takes a name ("DEBUG") or a number of `logging`; records beneath it are not sent. Default INFO."""
        if not isinstance(level, int):
            name = str(level).upper()
            if name not in _LEVELS:
                raise ValueError("Unknown level: %r" % (level,))
            level = _LEVELS[name]
        self._level = level

    def debug(self, message, *args, **options):
        self.log(10, message, *args, **options)

    def info(self, message, *args, **options):
        self.log(20, message, *args, **options)

    def warning(self, message, *args, **options):
        self.log(30, message, *args, **options)

    warn = warning

    def error(self, message, *args, **options):
        self.log(40, message, *args, **options)

    def critical(self, message, *args, **options):
        self.log(50, message, *args, **options)

    fatal = critical

    def exception(self, message, *args, **options):
        """An error with the traceback of the exception being handled."""
        options.setdefault("exc_info", True)
        self.log(40, message, *args, **options)

    def isEnabledFor(self, level):
        return level >= self._level

    def log(self, level, message, *args, **options):
        """Sends one record. Of the options of `logging` only `exc_info` has an effect here."""
        if level < self._level:
            return
        text = _as_text(message)
        if args:
            text = _formatted(text, args)
        error = options.get("exc_info")
        if error:
            text += u"\n" + _traceback_text(error)
        self._sink.record(self._call_id, min(max(level, 10), 40), _encoded(text))


def _as_text(value):
    try:
        if PY2:
            if isinstance(value, text_type):
                return value
            return str(value).decode("utf-8", "replace")
        return str(value)
    except Exception:
        return text_type(object.__repr__(value))


def _formatted(text, args):
    try:
        # as logging does: a single mapping serves names in the format
        return text % (args[0] if len(args) == 1 and args[0] and isinstance(args[0], dict) else args)
    except Exception:  # the wrong number or kind of arguments must not cost the line
        return u" ".join([text] + [_as_text(value) for value in args])


def _traceback_text(error):
    try:
        if isinstance(error, BaseException):
            info = (type(error), error, getattr(error, "__traceback__", None))
        elif isinstance(error, tuple) and len(error) == 3:
            info = error
        else:
            info = sys.exc_info()
        return _as_text("".join(traceback.format_exception(*info)).rstrip("\n"))
    except Exception:
        return u"<no traceback can be had>"


def _encoded(text):
    try:
        return text.encode("utf-8")
    except UnicodeError:
        return text.encode("utf-8", "replace")
