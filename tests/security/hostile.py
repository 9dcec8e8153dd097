"""Source of functions that speak on their channel past the runtime."""

#: Sends what the event says in hex, then answers "done" if it still can.
SPEAKS = """
import os, socket, stat, struct, time

DESCRIPTORS = [fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2]

def channel():
    for fd in DESCRIPTORS:
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                return fd
        except OSError:
            pass

def send(data):
    fd = channel()
    while data:
        data = data[os.write(fd, data):]

def flood(data, fd, seconds):
    end, count = time.time() + seconds, 0
    while time.time() < end:
        count += os.write(fd, data)
    return count

def handler(event, context):
    what = event["do"]
    if what == "send":
        for _ in range(event.get("times", 1)):
            send(bytes.fromhex(event["data"]))
    elif what == "close":
        os.close(channel())
        time.sleep(5)
    elif what == "flood":
        return flood(bytes.fromhex(event["data"]), channel(), event["seconds"])
    elif what == "print":
        return flood(b"\\n" * 65536, 1, event["seconds"])
    elif what == "descriptors":
        own = socket.socket(fileno=os.dup(channel()))
        for _ in range(20):
            socket.send_fds(own, [bytes.fromhex(event["data"])], [0] * 100)
    elif what == "answers":
        # as every later call of this instance would be answered, by numbers that cannot be guessed
        for number in range(1, 2000):
            send(struct.pack("<IBBHQIQI", 17, 3, 0, 0, number, 0, 0, 0) + b"1")
    return "done"
"""

#: Speaks while it is being loaded; `%s` is the data in hex.
SPEAKS_EARLY = """
import os, stat

for fd in map(int, os.listdir("/proc/self/fd")):
    try:
        if fd > 2 and stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.write(fd, bytes.fromhex("%s"))
    except OSError:
        pass

def handler(event, context):
    return "ok"
"""

ECHO = "def handler(event, context):\n    return event\n"
