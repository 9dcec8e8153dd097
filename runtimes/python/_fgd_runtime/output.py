"""What the function prints and logs, as LOG frames of the call it belongs to.

Theory of operation: `sys.stdout` and `sys.stderr` are replaced by streams without a buffer of their own. They hand
bytes to one `Sink`, which keeps the unfinished line of each call and stream, and sends whole lines, each ended by a
newline. A line goes out at once, so that it is there when the next statement crashes the process. Only a flood is
batched: beyond 64 sends in a tenth of a second lines are gathered up to 32 KiB, and a short-lived thread sends what is
left after 20 ms.

Which call a line belongs to: the thread's own call for the threads that run handlers; for a thread that user code
started, the call that was running in the thread which started it; else the call begun last. Lines written after the
end of a call still carry its id; the daemon knows whether that call is over.

A child process that user code forked writes to descriptors 1 and 2 instead, which the daemon reads as well.
"""

import io
import os
import threading
import time

from _fgd_runtime.channel import ATOMIC_BYTES, LOG, LOG_WHOLE
from _fgd_runtime.values import PY2, text_type

if PY2:
    import thread as _thread
else:
    import _thread

#: Longest line in bytes, its newline included; what is longer is split.
LINE_MAX_BYTES = 90 * 1024
_WINDOW_S, _SENDS_PER_WINDOW, _LINGER_S = 0.1, 64, 0.02
_BODY_EXTRA = 9  # level and time, before the text of a LOG frame

_getpid = os.getpid
_get_ident = _thread.get_ident
_current_thread = threading.current_thread
_start_thread = _thread.start_new_thread
_now = time.time
_sleep = time.sleep


class Sink(object):
    """Sends lines with the id of their call."""

    def __init__(self, channel):
        self._channel = channel
        self._pid = channel.pid
        # reentrant: a signal handler of the user's may print while the same thread is in here
        self._lock = threading.RLock()
        #: Call id of each thread that runs handlers.
        self.threads = {}
        #: Lock of each thread in which a call may be cancelled: nothing is cancelled while the thread is in here.
        self.guards = {}
        #: Call begun last.
        self.last = 0
        self._partial = {}
        self._batch = []
        self._batch_bytes = 0
        self._batch_call = 0
        self._batch_time = 0.0
        self._flushing = False
        self._window_s = 0.0
        self._sends = 0

    def begin(self, call_id):
        """The calling thread runs this call from now on."""
        self.threads[_get_ident()] = self.last = call_id

    def finish(self, call_id):
        """Sends everything of a call that is still here; an unfinished line is ended."""
        if self._partial or self._batch:
            with self._lock:
                for stream in (1, 2):
                    partial = self._partial.pop((call_id, stream), None)
                    if partial:
                        self._lines(call_id, bytes(partial) + b"\n")
                self._flush()

    def call_of_thread(self):
        call_id = self.threads.get(_get_ident())
        if call_id is None:
            call_id = getattr(_current_thread(), "_fgd_call", self.last)
        return call_id

    def write(self, stream, data):
        """Takes bytes printed to stream 1 or 2."""
        if _getpid() != self._pid:
            _write_raw(stream, data)
            return
        guard = self.guards.get(_get_ident())
        if guard is None:
            self._write(self.call_of_thread(), stream, data)
        else:
            with guard:
                self._write(self.call_of_thread(), stream, data)

    def _write(self, call_id, stream, data):
        with self._lock:
            key = (call_id, stream)
            partial = self._partial.get(key)
            if data.endswith(b"\n"):
                if partial is not None:
                    del self._partial[key]
                    data = bytes(partial) + data
                self._lines(call_id, data)
                return
            if partial is None:
                partial = self._partial[key] = bytearray()
            cut = data.rfind(b"\n") + 1
            if cut:
                lines = bytes(partial) + data[:cut]
                partial = self._partial[key] = bytearray()
                self._lines(call_id, lines)
            partial += data[cut:]
            while len(partial) >= LINE_MAX_BYTES:
                stop = _utf8_cut(partial, LINE_MAX_BYTES - 1)
                self._lines(call_id, bytes(partial[:stop]) + b"\n")
                del partial[:stop]

    def record(self, call_id, level, text):
        """Sends one record of the context's logger at once, as a frame of its own (more if it is very long)."""
        data = text + b"\n"
        if _getpid() != self._pid:
            _write_raw(2, data)
            return
        guard = self.guards.get(_get_ident())
        if guard is None:
            self._record(call_id, level, data)
        else:
            with guard:
                self._record(call_id, level, data)

    def _record(self, call_id, level, data):
        with self._lock:
            self._flush()
            now = _now()
            while len(data) > LINE_MAX_BYTES:
                stop = _utf8_cut(data, LINE_MAX_BYTES - 1)
                self._frame(call_id, level, now, data[:stop] + b"\n")
                data = data[stop:]
            self._frame(call_id, level, now, data)

    def _lines(self, call_id, data):
        """Sends or batches whole lines; holds the lock."""
        now = _now()
        if now - self._window_s > _WINDOW_S or now < self._window_s:
            self._window_s, self._sends = now, 0
        self._sends += 1
        size = len(data)
        if size > ATOMIC_BYTES or (self._sends <= _SENDS_PER_WINDOW and not self._batch):
            self._flush()
            for part in _parts(data):
                self._frame(call_id, 0, now, part)
            return
        if self._batch and (self._batch_call != call_id or self._batch_bytes + size > ATOMIC_BYTES - 64):
            self._flush()
        if not self._batch:
            self._batch_call, self._batch_time = call_id, now
        self._batch.append(data)
        self._batch_bytes += size
        if not self._flushing:
            self._start_flusher()

    def _flush(self):
        if self._batch:
            data = b"".join(self._batch)
            self._batch = []
            self._batch_bytes = 0
            self._frame(self._batch_call, 0, self._batch_time, data)

    def _frame(self, call_id, level, now, data):
        head = LOG_WHOLE.pack(len(data) + _BODY_EXTRA, LOG, 0, 0, call_id, level, now)
        self._channel.send(head + data)

    def _start_flusher(self):
        self._flushing = True
        try:
            _start_thread(self._linger, ())
        except Exception:  # no room for another thread: then nothing may wait
            self._flushing = False
            self._flush()

    def _linger(self):
        while True:
            _sleep(_LINGER_S)
            with self._lock:
                if not self._batch:
                    self._flushing = False
                    return
                self._flush()


def _parts(data):
    """Whole lines in pieces of whole lines that fit a frame; a line over the limit is split."""
    if len(data) <= ATOMIC_BYTES:
        return [data]
    parts, at, end = [], 0, len(data)
    while at < end:
        stop = data.rfind(b"\n", at, at + ATOMIC_BYTES) + 1
        if not stop:
            stop = data.find(b"\n", at, at + LINE_MAX_BYTES) + 1
        if stop:
            parts.append(data[at:stop])
        else:
            stop = _utf8_cut(data, at + LINE_MAX_BYTES - 1)
            parts.append(data[at:stop] + b"\n")
        at = stop
    return parts


def _utf8_cut(data, at):
    """The last place up to `at` where no character is cut in two."""
    cut = at
    view = bytearray(data[at - 3 : at + 1])
    while at - cut < 3 and view[3 - (at - cut)] & 0xC0 == 0x80:
        cut -= 1
    return cut if view[3 - (at - cut)] & 0xC0 != 0x80 else at


def _write_raw(fd, data):
    try:
        while data:
            data = data[os.write(fd, data) :]
    except (OSError, IOError):  # the child closed it; as for any process without an output
        pass


_TextBase = object if PY2 else io.TextIOBase


class ByteStream(io.BufferedIOBase):
    """`sys.stdout.buffer`: bytes of any kind, in order with what is printed as text."""

    mode = "wb"

    def __init__(self, sink, fd, name):
        self._sink = sink
        self._fd = fd
        self.name = name

    def writable(self):
        return True

    def write(self, data):
        data = bytes(data) if not isinstance(data, bytes) else data
        if data:
            # LOG frames hold UTF-8; what is none is shown by the replacement character
            self._sink.write(self._fd, data.decode("utf-8", "replace").encode("utf-8") if _foreign(data) else data)
        return len(data)

    def flush(self):
        pass

    def close(self):
        """Does nothing: later output of this process still has to go somewhere."""

    def fileno(self):
        return self._fd

    def isatty(self):
        return False

    def detach(self):
        return self

    @property
    def raw(self):
        return self


def _foreign(data):
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


class TextStream(_TextBase):
    """What `sys.stdout` and `sys.stderr` are inside a function."""

    mode = "w"
    line_buffering = True
    write_through = True
    if PY2:
        closed = False
        encoding = "UTF-8"
        errors = "replace"
        newlines = None
    else:
        encoding = "utf-8"
        errors = "backslashreplace"

    def __init__(self, sink, fd, name):
        self._sink = sink
        self._fd = fd
        self.name = name
        self.buffer = ByteStream(sink, fd, name)
        self._softspace = threading.local()

    if PY2:

        @property
        def softspace(self):
            """Kept by the print statement; one for each thread, or a blank gets into another call's line."""
            return getattr(self._softspace, "value", 0)

        @softspace.setter
        def softspace(self, value):
            self._softspace.value = value

        def write(self, text):
            if isinstance(text, text_type):
                self._sink.write(self._fd, text.encode("utf-8"))
            else:
                self.buffer.write(bytes(text))

    else:

        def write(self, text):
            if not isinstance(text, str):
                raise TypeError("write() argument must be str, not %s" % type(text).__name__)
            if text:
                self._sink.write(self._fd, text.encode("utf-8", "backslashreplace"))
            return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def writable(self):
        return True

    def readable(self):
        return False

    def seekable(self):
        return False

    def flush(self):
        pass

    def close(self):
        """Does nothing: later output of this process still has to go somewhere."""

    def fileno(self):
        return self._fd

    def isatty(self):
        return False

    def detach(self):
        return self.buffer

    def reconfigure(self, **options):
        """Accepted for compatibility; lines go out at once and as UTF-8 whatever is asked."""


def follow_threads(sink):
    """Makes threads that user code starts remember the call they were started in."""
    start = threading.Thread.start

    def start_with_call(self):
        self._fgd_call = sink.call_of_thread()
        return start(self)

    start_with_call.__name__ = "start"
    start_with_call.__doc__ = start.__doc__
    threading.Thread.start = start_with_call
