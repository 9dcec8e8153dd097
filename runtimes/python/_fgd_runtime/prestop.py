"""The function's pre-stop handler: called once, between calls, before the daemon ends the process.

It may take the context or nothing. What a signature does not tell is found out by trying: with the context first.
"""

import sys

from _fgd_runtime.channel import ERROR, EXIT_BROKEN, INVOKE_HEAD, RESULT, RESULT_WHOLE, _exit, _getpid
from _fgd_runtime.context import Context
from _fgd_runtime.failures import THREW, LoadFailure, failure_body
from _fgd_runtime.loader import entry, parameters
from _fgd_runtime.values import native


class PreStop(object):
    """Loaded with the handler, so that a wrong entry is found at the start and not at the end.

    Raises:
        LoadFailure: no such function, or it takes two arguments or more.
    """

    def __init__(self, module, name, parts, channel, sink, instance, code_root):
        found = getattr(module, name, None)
        if callable(found) and parameters(found, 1) is not None:
            takes = parameters(found, 0)
            if takes is not None:
                raise LoadFailure(
                    "FunctionLoadError", "pre-stop handler expect to have 0 or 1 parameters, but received %d" % takes
                )
            self._wanted = 0
        else:
            self._wanted = 1
        self._function = entry(module, name, parts, self._wanted, "pre-stop handler")
        self._channel = channel
        self._sink = sink
        self._instance = instance
        self._code_root = code_root

    def call(self, call_id, body):
        """Answers a STOP."""
        if len(body) < INVOKE_HEAD.size:
            _exit(EXIT_BROKEN)
        request_id, deadline_s, extras_size = INVOKE_HEAD.unpack_from(body)
        extras = body[INVOKE_HEAD.size : INVOKE_HEAD.size + extras_size]
        self._sink.begin(call_id)
        context = Context(self._instance, call_id, native(request_id.decode("ascii")), deadline_s, extras)
        kind, code, body = RESULT, 0, b""
        try:
            self._try(context)
        except:  # noqa: E722 - SystemExit and KeyboardInterrupt are outcomes too
            error, trace = sys.exc_info()[1:]
            kind, code, body = ERROR, THREW, failure_body(THREW, error, trace.tb_next or trace, self._code_root)
        if _getpid() != self._channel.pid:
            _exit(0)  # a child that the handler forked came back here
        self._sink.finish(call_id)
        self._channel.send(RESULT_WHOLE.pack(len(body) + 16, kind, 0, 0, call_id, code, 0, 0) + body)

    def _try(self, context):
        if not self._wanted:
            self._function()
            return
        try:
            self._function(context)
        except TypeError:
            if sys.exc_info()[2].tb_next is not None:  # raised inside it, not by the call itself
                raise
            self._function()
