"""The function's heartbeat: asked by the daemon, called in a thread of its own.

Theory of operation: whoever reads the channel hands the question over and goes on. So a handler that merely works, in
whatever thread, does not keep the answer back; a heartbeat function that hangs (it waits for the lock in which the
handler is stuck) keeps back nothing but its own answers. Questions that come while it runs are answered together, with
the newest one's id, by the next run. Only `True` is well: whatever else it returns, or raises, is not.
"""

import sys
import threading

from _fgd_runtime.channel import HEADER, HEARTBEAT, _exit, _get_ident, _getpid
from _fgd_runtime.failures import message_of, raise_low_limit, stack_of, type_name

_REASON_MAX_BYTES = 500


class Heartbeat(object):
    """`function` takes no arguments."""

    def __init__(self, function, channel, sink, code_root):
        self._function = function
        self._channel = channel
        self._sink = sink
        self._code_root = code_root
        self._baton = threading.Lock()
        self._baton.acquire()
        #: Id of the newest question.
        self._asked = 0
        thread = threading.Thread(target=self._run, name="fgd-heartbeat")
        thread.daemon = True
        thread.start()

    def ask(self, call_id):
        """To be called by the thread that reads the channel; does not wait."""
        self._asked = call_id
        try:
            self._baton.release()
        except Exception:  # it is free already: the question before this one has not been taken up
            pass

    def _run(self):
        self._sink.threads[_get_ident()] = 0
        while True:
            self._baton.acquire()
            call_id = self._asked
            why = self._check()
            if _getpid() != self._channel.pid:
                _exit(0)  # a child that the function forked came back here
            body = b"\x00" + why[:_REASON_MAX_BYTES] if why else b"\x01"
            self._channel.send(HEADER.pack(len(body), HEARTBEAT, 0, 0, call_id) + body)

    def _check(self):
        """b"" if the function says that all is well, else why not."""
        try:
            result = self._function()
        except:  # noqa: E722 - SystemExit is an answer too
            return self._threw(sys.exc_info())
        if result is True:
            return b""
        if result is False:
            return b"returned false"
        return _bytes("returned %s, which is not a Boolean" % type_name(result))

    def _threw(self, info):
        raise_low_limit()
        kind, error, trace = info
        text = "%s: %s" % (kind.__name__ if isinstance(kind, type) else kind, message_of(error))
        try:
            stack = "".join(stack_of(trace, self._code_root))
        except Exception:  # the user's code may have replaced or broken what this needs
            stack = ""
        self._sink.record(0, 40, _bytes("heartbeat function raised %s\n%s" % (text, stack)).rstrip(b"\n"))
        return _bytes("raised " + text)


def _bytes(text):
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")
