"""The channel to the daemon: frames in, frames out. The format is that of `fgd/wire/frames.py`.

Theory of operation: the channel is a stream socket used through `os.read` and `os.write`, which need no module beyond
`os` and cost the least. User code shares the process, so three things are guarded against:

- A forked child of the user's code inherits the descriptor. Every send compares the process id first, so that a child
  never speaks to the daemon.
- A Python signal handler of the user's that raises may strike in the middle of a send. The kernel takes frames up to
  ATOMIC_BYTES in one piece, so those are either sent or not; for longer ones signals are blocked meanwhile.
- User code may close descriptors (`os.closerange(3, 100)`). The channel is moved to a high number first.
"""

import errno
import fcntl
import os
import select
import signal
import struct
import threading

HEADER = struct.Struct("<IBBHQ")
INVOKE_HEAD = struct.Struct("<36sdI")
#: Header of a frame and head of an INVOKE in one, so that the usual call is unpacked once.
INVOKE_WHOLE = struct.Struct("<IBBHQ36sdI")
#: Header and head of RESULT and ERROR: length, type, flags, 0, call id, code, memory in bytes, run time in us.
RESULT_WHOLE = struct.Struct("<IBBHQIQI")
#: Header and head of LOG: length, type, flags, 0, call id, level, epoch seconds.
LOG_WHOLE = struct.Struct("<IBBHQBd")

INIT, INVOKE, RESULT, ERROR, LOG, HEARTBEAT, CHUNK, CANCEL, READY, LOADED, SIZE, STOP = range(1, 13)
FLAG_TEXT = 1

#: Longest body that is read: the largest event with its head and extras.
MAX_BODY_BYTES = 6 * 1024 * 1024 + 64 * 1024
READ_BYTES = 16384
#: A Unix stream socket queues a write up to this size as one buffer: all of it or nothing.
ATOMIC_BYTES = 32 * 1024
#: Lowest number the channel may get; few programs close descriptors that far up.
_HIGH_FD = 200
_F_DUPFD_CLOEXEC = 1030  # linux/fcntl.h; Python 2.7 has no name for it

#: Python 2 has an error of its own for poll().
_POLL_FAILED = (OSError, IOError, select.error)

_getpid = os.getpid
_read = os.read
_write = os.write
_exit = os._exit
_get_ident = threading._get_ident if hasattr(threading, "_get_ident") else threading.get_ident
_sigmask = getattr(signal, "pthread_sigmask", None)
_ALL_SIGNALS = signal.valid_signals() if hasattr(signal, "valid_signals") else range(1, signal.NSIG)

#: How this process ends when there is nobody left to tell: the daemon went away; it sent what no frame is; it is
#: unknown whether an answer went out.
EXIT_END, EXIT_BROKEN, EXIT_UNSURE = 0, 70, 71


class Channel(object):
    """The runtime's end of the channel. Reading is for one thread; sending for all."""

    __slots__ = ("fd", "lock", "main", "pid", "rest", "wait")

    def __init__(self, fd):
        """Takes over descriptor `fd`; its number is free afterwards."""
        try:
            high = fcntl.fcntl(fd, _F_DUPFD_CLOEXEC, _HIGH_FD)
            os.close(fd)
        except (OSError, IOError):  # the limit of open files is lower than that
            high = fd
            fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        flags = fcntl.fcntl(high, fcntl.F_GETFL)
        if flags & os.O_NONBLOCK:
            fcntl.fcntl(high, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)
        self.fd = high
        poller = select.poll()
        poller.register(high, select.POLLIN)
        #: Returns when there is something to read, or the end.
        self.wait = poller.poll
        self.pid = _getpid()
        self.main = _get_ident()
        self.lock = threading.Lock()
        #: Bytes that were read and not taken yet.
        self.rest = b""

    def send(self, frame):
        """Sends a whole frame, or ends the process when the daemon is gone."""
        if _getpid() != self.pid:
            return
        with self.lock:
            self.send_locked(frame)

    def send_locked(self, frame):
        """The same for a caller that holds the lock or is the only thread."""
        if len(frame) <= ATOMIC_BYTES or _sigmask is None or _get_ident() != self.main:
            self._write_all(frame)
            return
        old = _sigmask(signal.SIG_BLOCK, _ALL_SIGNALS)
        try:
            self._write_all(frame)
        finally:
            _sigmask(signal.SIG_SETMASK, old)

    def _write_all(self, frame):
        while True:
            try:
                sent = _write(self.fd, frame)
            except (OSError, IOError) as error:
                if error.errno == errno.EINTR:
                    continue
                _exit(EXIT_END)
            if sent == len(frame):
                return
            frame = memoryview(frame)[sent:]

    def read_some(self):
        """The next bytes; at the end of the stream the process ends."""
        while True:
            try:
                # Whoever sleeps in read() on a Unix socket is also woken when the peer has taken what we sent; poll()
                # waits for input alone. That spared a tenth of the CPU of a call, here and in the daemon.
                self.wait()
                data = _read(self.fd, READ_BYTES)
            except _POLL_FAILED as error:
                if error.args[0] == errno.EINTR:
                    continue
                _exit(EXIT_BROKEN)
            if not data:
                _exit(EXIT_END)
            return data

    def next_frame(self):
        """The next frame as (type, flags, call id, body). The way for everything that need not be fast."""
        data = self.rest
        while len(data) < HEADER.size:
            data += self.read_some()
        length, kind, flags, zero, call_id = HEADER.unpack_from(data)
        if not INIT <= kind <= STOP or zero or length > MAX_BODY_BYTES:
            _exit(EXIT_BROKEN)
        stop = HEADER.size + length
        if len(data) < stop:
            data = self._read_to(data, stop)
        self.rest = data[stop:]
        return kind, flags, call_id, data[HEADER.size : stop]

    def _read_to(self, data, size):
        """`data` and what follows it up to `size` bytes."""
        parts, have = [data], len(data)
        while have < size:
            data = self.read_some()
            parts.append(data)
            have += len(data)
        return b"".join(parts)
