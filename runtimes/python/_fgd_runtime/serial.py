"""One call at a time, in the main thread: the fastest way there is.

Theory of operation: the usual call is one read, one write, and nothing between that could be done before. Everything
the loop needs is a local variable. An exception may come from anywhere, also from a signal handler of the user's that
strikes between two statements of ours; `call_id` tells whether there is a call to answer.
"""

import sys

from _fgd_runtime.channel import (
    CANCEL, ERROR, EXIT_BROKEN, EXIT_UNSURE, FLAG_TEXT, INVOKE, INVOKE_HEAD, INVOKE_WHOLE,
    RESULT, RESULT_WHOLE, _exit, _getpid,
)  # fmt: skip
from _fgd_runtime.context import Context
from _fgd_runtime.failures import (
    ENTRY, NOT_ENCODABLE, THREW, TOO_LARGE, TOO_LARGE_BODY, LoadFailure, failure_body, raise_low_limit,
)  # fmt: skip
from _fgd_runtime.loader import refusal
from _fgd_runtime.reaper import Reaper
from _fgd_runtime.start import memory_bytes, ticks
from _fgd_runtime.values import RESULT_MAX_BYTES, decode_event, encode_result

_WHOLE_BYTES = INVOKE_WHOLE.size


def serve_one_by_one(started):
    """Answers calls until the channel ends, which ends the process."""
    loop = _Loop(started)
    while True:
        try:
            loop.run()
        except:  # noqa: E722 - nothing that user code left behind may end the loop
            loop.fell_out()


class _Loop(object):
    def __init__(self, started):
        self.started = started
        self.channel = started.channel
        self.reap = Reaper().after_call
        #: The call being worked on, None between calls.
        self.call_id = None
        #: Whether an answer is on its way out.
        self.sending = False
        self.began = 0.0

    def run(self):
        started, channel = self.started, self.channel
        sink, instance, handler = started.sink, started.instance, started.handler
        read_some, next_frame, send, finish = channel.read_some, channel.next_frame, channel.send_locked, sink.finish
        unpack, pack, clock, memory, pid = INVOKE_WHOLE.unpack_from, RESULT_WHOLE.pack, ticks, memory_bytes, channel.pid
        begin, lock, reap = sink.begin, channel.lock, self.reap
        started.announce()
        while True:
            data = channel.rest or read_some()
            if len(data) >= _WHOLE_BYTES:
                length, kind, _, zero, call_id, request_id, deadline_s, extras_size = unpack(data)
            else:
                kind = 0
            if kind == INVOKE and length + 16 == len(data) and not zero:
                channel.rest = b""
                event_at = 64 + extras_size
                extras = data[64:event_at] if extras_size else b""
            else:
                channel.rest = data
                kind, _, call_id, data = next_frame()
                if kind != INVOKE:
                    if not started.control(kind, call_id, data) and kind != CANCEL:
                        _exit(EXIT_BROKEN)
                    # CANCEL: the call is over already, or the daemon ends the process
                    continue
                if len(data) < INVOKE_HEAD.size:
                    _exit(EXIT_BROKEN)
                request_id, deadline_s, extras_size = INVOKE_HEAD.unpack_from(data)
                event_at = 48 + extras_size
                extras = data[48:event_at]
            self.began = began = clock()
            self.call_id = call_id
            begin(call_id)
            try:
                event = decode_event(data[event_at:])
                result = handler(event, Context(instance, call_id, native_ascii(request_id), deadline_s, extras))
            except:  # noqa: E722 - SystemExit and KeyboardInterrupt are outcomes too
                self.fail(*what_threw(sys.exc_info(), started.code_root))
                continue
            ended = clock()
            flags = 0
            try:
                body, text = encode_result(result)
                if text:
                    flags = FLAG_TEXT
            except:  # noqa: E722 - __str__ and the like of user classes may raise anything
                self.fail(NOT_ENCODABLE, failure_body(NOT_ENCODABLE, sys.exc_info()[1], None, started.code_root))
                continue
            del result
            if len(body) > RESULT_MAX_BYTES:
                self.fail(TOO_LARGE, TOO_LARGE_BODY)
                continue
            finish(call_id)
            frame = pack(
                len(body) + 16, RESULT, flags, 0, call_id, 0, memory(), int((ended - began) * 1000000)
            ) + body  # fmt: skip
            if _getpid() != pid:
                _exit(0)  # a child that the handler forked came back here: only its parent answers
            self.call_id = None
            self.sending = True
            with lock:
                send(frame)
            self.sending = False
            reap()

    def fail(self, code, body):
        """Answers the current call with an error."""
        self.sending = True
        call_id, self.call_id = self.call_id, None
        if _getpid() != self.channel.pid:
            _exit(1)
        self.started.sink.finish(call_id)
        micros = int((ticks() - self.began) * 1e6)
        self.channel.send(
            RESULT_WHOLE.pack(len(body) + 16, ERROR, 0, 0, call_id, code, memory_bytes(), micros) + body
        )
        self.sending = False
        self.reap()

    def fell_out(self):
        """After an exception outside of the handler, such as a signal handler's or a RecursionError near the limit."""
        if self.sending:  # a second answer would be as wrong as none
            _exit(EXIT_UNSURE)
        raise_low_limit()
        if self.call_id is not None:
            self.fail(*what_threw(sys.exc_info(), self.started.code_root))


def what_threw(info, code_root):
    """Code and body for an exception that came out of a call of the handler."""
    kind, error, trace = info
    trace = trace.tb_next  # without the frame that called
    if kind is TypeError and trace is None:
        error = LoadFailure("FunctionLoadError", str(error) or refusal(2, 0))
        return ENTRY, failure_body(ENTRY, error, None, code_root)
    return THREW, failure_body(THREW, error, trace if trace is not None else info[2], code_root)


if bytes is str:

    def native_ascii(data):
        return data

else:

    def native_ascii(data):
        return data.decode("ascii")
