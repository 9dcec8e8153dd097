"""Several calls at once: the main thread reads frames, worker threads run the handler.

Theory of operation: a worker waits on a lock of its own, its baton; the reader puts a call into an idle worker and
releases the baton. Workers are made when needed, at most as many as the function's concurrency; the one that became
idle last is taken first. Further calls wait in a line.

Cancelling: `live` maps call ids to workers. A CANCEL makes the interpreter raise `Cancelled` in the worker, once per
call, at one of its next bytecodes, wherever it is by then. So the request is made under the worker's `guard` and only
while it is armed; `settle` disarms it under the same guard and calls off what has not struck yet. Between those two
points everything is prepared for the exception, after them it cannot come. The output streams hold the guard while
they work, so that no line is cut and no lock stays behind (Python 2.7 looks for such exceptions at fixed intervals
only; there it is unlikely but possible). A handler that blocks in C (a sleep, a read) is interrupted only when that
ends, and its slot is not free before: the answer 4208 comes then.
"""

import collections
import sys
import threading

from _fgd_runtime.channel import (
    CANCEL, ERROR, EXIT_BROKEN, FLAG_TEXT, INVOKE, INVOKE_HEAD, RESULT, RESULT_WHOLE, _exit,
    _get_ident, _getpid,
)  # fmt: skip
from _fgd_runtime.context import Context
from _fgd_runtime.failures import (
    CANCELLED, CANCELLED_BODY, NOT_ENCODABLE, TOO_LARGE, TOO_LARGE_BODY, Cancelled, failure_body, raise_low_limit,
)  # fmt: skip
from _fgd_runtime.serial import native_ascii, what_threw
from _fgd_runtime.start import memory_bytes, ticks
from _fgd_runtime.values import RESULT_MAX_BYTES, decode_event, encode_result


def serve_many(started):
    """Reads frames until the channel ends, which ends the process."""
    reader = _Reader(started)
    while True:
        try:
            reader.run()
        except:  # noqa: E722 - a signal handler of the user's runs in this thread and may raise
            raise_low_limit()


class _Reader(object):
    def __init__(self, started):
        self.started = started
        self.channel = started.channel
        self.lock = threading.Lock()
        self.idle = []
        self.waiting = collections.deque()
        self.workers = 0
        #: Worker of every call that has no answer yet; None while the call waits in line.
        self.live = {}

    def run(self):
        channel = self.channel
        self.started.announce()
        while True:
            kind, _, call_id, body = channel.next_frame()
            if kind == INVOKE:
                if len(body) < INVOKE_HEAD.size:
                    _exit(EXIT_BROKEN)
                self.hand_out((call_id, body))
            elif kind == CANCEL:
                self.cancel(call_id)
            elif not self.started.control(kind, call_id, body):
                _exit(EXIT_BROKEN)

    def hand_out(self, job):
        with self.lock:
            if self.idle:
                worker = self.idle.pop()
            elif self.workers < self.started.concurrency:
                worker = self.new_worker()
            else:
                worker = None
            self.live[job[0]] = worker
            if worker is None:
                self.waiting.append(job)
                return
            worker.job = job
        worker.baton.release()

    def new_worker(self):
        """A worker, or None when the limit of threads is reached and others will do the work."""
        worker = _Worker(self)
        thread = threading.Thread(target=worker.run, name="fgd-worker-%d" % (self.workers + 1))
        thread.daemon = True
        try:
            thread.start()
        except Exception:
            if not self.workers:
                _exit(EXIT_BROKEN)
            return None
        self.workers += 1
        return worker

    def next_job(self, worker):
        """The call that has waited longest; None makes the worker idle."""
        with self.lock:
            if self.waiting:
                job = self.waiting.popleft()
                self.live[job[0]] = worker
                return job
            self.idle.append(worker)
            return None

    def cancel(self, call_id):
        with self.lock:
            if call_id not in self.live:
                return  # answered already
            worker = self.live[call_id]
            if worker is None:
                del self.live[call_id]
                self.waiting = collections.deque(job for job in self.waiting if job[0] != call_id)
        if worker is None:
            self.answer(call_id, ERROR, 0, CANCELLED, CANCELLED_BODY, 0.0)
        else:
            worker.cancel(call_id)

    def answer(self, call_id, kind, flags, code, body, seconds):
        if _getpid() != self.channel.pid:
            _exit(0)  # a child that the handler forked came back here: only its parent answers
        self.started.sink.finish(call_id)
        micros = int(seconds * 1e6)
        self.channel.send(
            RESULT_WHOLE.pack(len(body) + 16, kind, flags, 0, call_id, code, memory_bytes(), micros) + body
        )


#: Python 2 looks for such an exception at intervals only: called off too late it struck in our own code, and the answer
#: was lost. There a cancelled call runs to its end and is answered as cancelled then.
_CAN_STRIKE = sys.version_info >= (3,)


class _Worker(object):
    def __init__(self, reader):
        self.reader = reader
        self.baton = threading.Lock()
        self.baton.acquire()
        self.guard = threading.Lock()
        #: Call id and body of an INVOKE; set by the reader before it releases the baton.
        self.job = None
        self.ident = 0
        #: Call in which `Cancelled` may strike.
        self.armed = None
        #: Call that was cancelled last.
        self.cancelled = None

    def run(self):
        self.ident = _get_ident()
        self.reader.started.sink.guards[self.ident] = self.guard
        job = None
        while True:
            if job is None:
                self.baton.acquire()
                job = self.job
            outcome = self.call(*job)
            call_id = job[0]
            # available again before the answer is out: the daemon may send the next call at once
            job = self.reader.next_job(self)
            with self.guard:  # the next call may be cancelled already
                self.reader.answer(call_id, *outcome)

    def cancel(self, call_id):
        """To be called by the reader."""
        with self.guard:
            if self.cancelled != call_id:
                self.cancelled = call_id
                if self.armed == call_id and _CAN_STRIKE:
                    _raise_in(self.ident, Cancelled)

    def call(self, call_id, body):
        """Runs a call; gives its outcome as the arguments of `answer`."""
        began = ticks()
        outcome = None
        try:
            try:
                outcome = self.work(call_id, body)
            except:  # noqa: E722 - it struck outside of the handler
                pass
            self.settle(call_id)
        except:  # noqa: E722 - it struck here
            self.settle(call_id)
        if outcome is None or self.cancelled == call_id:
            outcome = ERROR, 0, CANCELLED, CANCELLED_BODY
        return outcome + (ticks() - began,)

    def settle(self, call_id):
        """Takes the call out of reach of CANCEL; a cancellation that has not struck yet is called off."""
        with self.guard:
            self.armed = None
            self.reader.live.pop(call_id, None)
            if self.cancelled == call_id and _CAN_STRIKE:
                _raise_in(self.ident, None)

    def work(self, call_id, body):
        started = self.reader.started
        with self.guard:
            self.armed = call_id
            if self.cancelled == call_id:
                return None
        started.sink.begin(call_id)
        try:
            request_id, deadline_s, extras_size = INVOKE_HEAD.unpack_from(body)
            event_at = 48 + extras_size
            context = Context(started.instance, call_id, native_ascii(request_id), deadline_s, body[48:event_at])
            result = started.handler(decode_event(body[event_at:]), context)
        except:  # noqa: E722 - SystemExit and KeyboardInterrupt are outcomes too
            code, body = what_threw(sys.exc_info(), started.code_root)
            return ERROR, 0, code, body
        try:
            body, text = encode_result(result)
        except:  # noqa: E722 - __str__ and the like of user classes may raise anything
            body = failure_body(NOT_ENCODABLE, sys.exc_info()[1], None, started.code_root)
            return ERROR, 0, NOT_ENCODABLE, body
        if len(body) > RESULT_MAX_BYTES:
            return ERROR, 0, TOO_LARGE, TOO_LARGE_BODY
        return RESULT, FLAG_TEXT if text else 0, 0, body


def _raise_in(ident, kind):
    """Has `kind` raised in a thread soon; None calls it off. Does nothing where ctypes is missing."""
    try:
        import ctypes

        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(ident) if sys.version_info >= (3, 7) else ctypes.c_long(ident),
            ctypes.py_object(kind) if kind is not None else None,
        )
    except ImportError:
        pass
