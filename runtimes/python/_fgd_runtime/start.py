"""From the INIT frame to READY: environment, output, handler, initializer."""

import json
import os
import resource
import signal
import sys
import time

from _fgd_runtime.channel import (
    ERROR, EXIT_BROKEN, HEADER, HEARTBEAT, INIT, LOADED, READY, RESULT_WHOLE, SIZE, STOP, Channel,
)  # fmt: skip
from _fgd_runtime.context import Context, Instance
from _fgd_runtime.failures import ENTRY, HEARTBEAT_ENTRY, INITIALIZER, LoadFailure, failure_body
from _fgd_runtime.heartbeat import Heartbeat
from _fgd_runtime.loader import enter_code_root, entry, load_module, refusal, split_handler
from _fgd_runtime.output import Sink, TextStream, follow_threads
from _fgd_runtime.prestop import PreStop
from _fgd_runtime.values import decode_event, encode_result, native

_KEPT = []
DEFAULT_CODE_ROOT = "/opt/function/code"

if hasattr(time, "perf_counter"):
    ticks = time.perf_counter
else:
    ticks = time.time


#: Kept, as user code may replace what the module holds.
_now = time.time


def memory_bytes():
    """The most memory this process has had resident."""
    return resource.getrusage(resource.RUSAGE_SELF)[2] * 1024


def warm_up():
    """Uses, before the fork, what the first call of every instance would otherwise use for the first time."""
    try:
        load_module(["fgd-warm-up"], os.path.dirname(os.path.abspath(__file__)))
    except LoadFailure:
        pass
    encode_result(decode_event(b'{"a": [1, "b", null]}'))
    try:
        raise ValueError("warm-up")
    except ValueError:
        failure_body(ENTRY, sys.exc_info()[1], sys.exc_info()[2], DEFAULT_CODE_ROOT)
    memory_bytes()


def warm_again():
    """The same in a forked process that has time: it makes the pages its own that a start will write to."""
    warm_up()
    names = ["RUNTIME_WARM_UP_%d" % number for number in range(16)]
    init = json.loads(json.dumps({"handler": "index.handler", "env": dict.fromkeys(names, "x" * 40), "context": {}}))
    for name in names:
        os.environ[native(name)] = native(init["env"][name])
    for name in names:
        del os.environ[native(name)]
    space = {}
    exec(compile("import json\ndef handler(event, context):\n    return event\n", "index.py", "exec"), space)
    context = Context(Instance(init, None), 0, "", time.time(), b"")
    space["handler"]({}, context)
    context.getRemainingTimeInMilliSeconds()
    RESULT_WHOLE.unpack(RESULT_WHOLE.pack(16, READY, 0, 0, 0, 0, memory_bytes(), int(ticks())))


class Started(object):
    """A process that is ready for calls."""

    def __init__(self, channel, sink, instance, handler, code_root, concurrency, heartbeat, pre_stop, ready):
        self.channel = channel
        self.sink = sink
        self.instance = instance
        self.handler = handler
        self.code_root = code_root
        self.concurrency = concurrency
        #: None where the function has none.
        self.heartbeat = heartbeat
        self.pre_stop = pre_stop
        self._ready = ready

    def announce(self):
        """Sends READY, the first time."""
        frame, self._ready = self._ready, None
        if frame is not None:
            self.channel.send(frame)


    def control(self, kind, call_id, body):
        """Acts on a frame that is about the instance and not about a call; whether it was one."""
        if kind == HEARTBEAT:
            if self.heartbeat is None:
                self.channel.send(HEADER.pack(1, HEARTBEAT, 0, 0, call_id) + b"\x01")
            else:
                self.heartbeat.ask(call_id)
        elif kind == SIZE:
            self.resize(body)
        elif kind == STOP and self.pre_stop is not None:
            self.pre_stop.call(call_id, body)
        else:
            return False
        return True

    def resize(self, body):
        """The instance has other limits."""
        size = decode_event(body)
        self.instance.memory_mib, self.instance.cpu_mcpu = int(size["memory_mib"]), int(size["cpu_mcpu"])
        for name, value in (("RUNTIME_MEMORY", size["memory_mib"]), ("RUNTIME_CPU", size["cpu_mcpu"])):
            try:
                os.environ[name] = str(value)
            except Exception:  # the function has put something of its own there
                pass


def start(fd, own_folder):
    """Takes the channel over and does everything before READY. Does not return when that fails: the process ends
    after it has told the daemon why."""
    channel = Channel(fd)
    kind, _, _, body = channel.next_frame()
    while kind == HEARTBEAT:
        channel.send(HEADER.pack(1, HEARTBEAT, 0, 0, 0) + b"\x01")
        kind, _, _, body = channel.next_frame()
    if kind != INIT:
        os._exit(EXIT_BROKEN)
    try:
        init = json.loads(body.decode("utf-8"))
        handler_name, initializer_name = native(init["handler"]), native(init.get("initializer") or "")
        concurrency = int(init.get("concurrency") or 1)
        env = init.get("env") or {}
    except (ValueError, KeyError, TypeError, AttributeError):
        os._exit(EXIT_BROKEN)
    _fresh_process()
    _set_environment(env)
    sink = Sink(channel)
    follow_threads(sink)
    for fd, name in ((1, "stdout"), (2, "stderr")):
        try:
            getattr(sys, name).flush()
        except Exception:  # whatever stands there, it is replaced now
            pass
        stream = TextStream(sink, fd, "<%s>" % name)
        setattr(sys, name, stream)
        setattr(sys, "__%s__" % name, stream)
    sink.begin(0)
    code_root = os.environ.get("RUNTIME_CODE_ROOT") or DEFAULT_CODE_ROOT
    instance = Instance(init, sink)
    began = ticks()
    code = ENTRY
    try:
        enter_code_root(code_root, own_folder)
        parts, name = split_handler(handler_name)
        module = load_module(parts, code_root)
        handler = entry(module, name, parts, 2)
        pre_stop = _pre_stop(init, parts, module, code_root, channel, sink, instance)
        code = HEARTBEAT_ENTRY
        heartbeat = _heartbeat(init, parts, module, code_root, channel, sink)
        loaded = ticks()
        code = INITIALIZER
        if initializer_name and not initializer_name.endswith("."):
            channel.send(HEADER.pack(0, LOADED, 0, 0, 0))  # its own timeout begins now
        _initialize(initializer_name, init, instance, parts, module, code_root)
    except:  # noqa: E722 - SystemExit, KeyboardInterrupt and the string exceptions of old
        trace = sys.exc_info()[2].tb_next
        body = failure_body(code, sys.exc_info()[1], trace, code_root)
        sink.finish(0)
        micros = int((ticks() - began) * 1e6)
        channel.send(RESULT_WHOLE.pack(len(body) + 16, ERROR, 0, 0, 0, code, memory_bytes(), micros) + body)
        os._exit(1)
    sink.finish(0)
    # written here, so that a broken `json` module does not matter
    body = '{"load_us": %d, "init_us": %d, "memory_bytes": %d, "ready_s": %.6f}' % (
        (loaded - began) * 1e6, (ticks() - loaded) * 1e6, memory_bytes(), _now(),
    )  # fmt: skip
    body = body.encode("ascii")
    ready = HEADER.pack(len(body), READY, 0, 0, 0) + body
    return Started(channel, sink, instance, handler, code_root, concurrency, heartbeat, pre_stop, ready)


def _fresh_process():
    """What must not be shared with other processes forked from the same parent, nor inherited from it."""
    sys.dont_write_bytecode = True  # the code folder is read-only; trying costs time
    own = sys.modules.pop("bootstrap", None)  # the function may have a file of that name
    _KEPT.append(own)  # Python 2.7 would empty a module that nothing refers to
    sys.argv[:] = [""]
    for name in ("random", "numpy.random"):
        module = sys.modules.get(name)
        if module is not None:
            module.seed()
    for number, action in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGCHLD, signal.SIG_DFL)):
        signal.signal(number, action)


def _set_environment(env):
    """Makes the environment exactly `env`; only where the interpreter's libraries lie is kept."""
    keep = os.environ.get("LD_LIBRARY_PATH")
    os.environ.clear()
    if keep:
        os.environ["LD_LIBRARY_PATH"] = keep
    for name, value in env.items():
        try:
            os.environ[native(name)] = native(value)
        except UnicodeError:  # Python 3.6 started without a UTF-8 locale
            os.environb[name.encode("utf-8", "replace")] = value.encode("utf-8", "replace")
        except (ValueError, TypeError, OSError):
            continue  # a name with "=" or a value with NUL: no process can have it
    if "TZ" in env:
        time.tzset()


def _named(name, parts, module, code_root):
    """Module and place of an entry that may be in the handler's file."""
    there, function = split_handler(name)
    return (module if there == parts else load_module(there, code_root)), there, function


def _heartbeat(init, parts, module, code_root, channel, sink):
    name = native(init.get("heartbeat") or "")
    if not name:
        return None
    module, there, function = _named(name, parts, module, code_root)
    return Heartbeat(entry(module, function, there, 0, "heartbeat function"), channel, sink, code_root)


def _pre_stop(init, parts, module, code_root, channel, sink, instance):
    name = native(init.get("pre_stop") or "")
    if not name:
        return None
    module, there, function = _named(name, parts, module, code_root)
    return PreStop(module, function, there, channel, sink, instance, code_root)


def _initialize(name, init, instance, handler_parts, handler_module, code_root):
    """Runs the initializer, if there is one. An entry with an empty function name is none."""
    if not name or name.endswith("."):
        return
    parts, function = split_handler(name)
    module = handler_module if parts == handler_parts else load_module(parts, code_root)
    initializer = entry(module, function, parts, 1)
    deadline_s = time.time() + (init.get("initializer_timeout_s") or 3)
    context = Context(instance, 0, native(init.get("init_request_id") or ""), deadline_s, init.get("extras") or {})
    try:
        initializer(context)
    except TypeError:
        if sys.exc_info()[2].tb_next is None:  # raised by the call itself, not inside it
            raise LoadFailure("FunctionLoadError", refusal(1, 0))
        raise
