"""Functions that the tests deploy."""

ECHO = "def handler(event, context):\n    return event\n"

#: Does what the event says; one function for many ways to behave.
ACTOR = """\
import json, os, signal, sys, time

COUNT = 0

class Odd(Exception):
    pass

def handler(event, context):
    global COUNT
    COUNT += 1
    do = event.get("do", "")
    if do == "raise":
        raise Odd(event["text"])
    if do == "exit":
        os._exit(event.get("code", 3))
    if do == "sys.exit":
        sys.exit(event.get("code", 0))
    if do == "segfault":
        import ctypes
        ctypes.string_at(0)
    if do == "abort":
        os.abort()
    if do == "sleep":
        time.sleep(event["s"])
    if do == "sleep-stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end = time.time() + event["s"]
        while time.time() < end:
            try:
                time.sleep(0.1)
            except BaseException:
                pass
    if do == "eat":
        kept = []
        while True:
            kept.append(bytearray(4 << 20))
    if do == "flood":
        line = "x" * 1000
        for _ in range(event["lines"]):
            print(line)
    if do == "raw-flood":
        for _ in range(event["lines"]):
            os.write(1, b"y" * 1000 + b"\\n")
    if do == "big":
        return "z" * event["bytes"]
    if do == "set":
        return {1, 2}
    if do == "print":
        print(event["text"])
        context.getLogger().info("logged " + event["text"])
    if do == "env":
        return {name: os.environ.get(name) for name in event["names"]}
    if do == "user-data":
        return {name: context.getUserData(name) for name in event["names"]}
    if do == "none":
        return None
    if do == "text":
        return event["text"]
    return {"count": COUNT, "pid": os.getpid(), "request_id": context.getRequestID()}
"""

#: Tells which instance took it; sleeps for `s` seconds.
WHO = """\
import time, uuid
ME = str(uuid.uuid4())
def handler(event, context):
    begun = time.time()
    time.sleep(event.get("s", 0))
    return {"me": ME, "begun": begun, "ended": time.time()}
"""

#: A thread of it counts ten times a second of CPU permitted time.
TICKER = """\
import threading, time
TICKS = 0
def tick():
    global TICKS
    while True:
        time.sleep(0.01)
        TICKS += 1
threading.Thread(target=tick, daemon=True).start()
def handler(event, context):
    time.sleep(event.get("s", 0))
    return TICKS
"""

INITIALIZED = """\
STARTED = []
def init(context):
    STARTED.append(context.getFunctionName())
def handler(event, context):
    return STARTED
"""

BAD_INITIALIZER = """\
def init(context):
    raise RuntimeError("the database is away")
def handler(event, context):
    return "never"
"""
