"""User code that does rude things to the process it shares with the runtime."""

import signal

import pytest

from fgd.wire import frames
from tests.runtime.conftest import Spawn
from tests.runtime.harness import Ended

RUDE = {
    "replaces the streams": "import sys, io\nsys.stdout = sys.stderr = None",
    "replaces the streams by wrong things": "import sys\nsys.stdout = sys.stderr = 3",
    "breaks json": "import json, json.encoder, json.decoder\njson.loads = json.dumps = None\njson.JSONEncoder = None\n"
    "json.encoder.c_make_encoder = json.encoder.encode_basestring_ascii = None",
    "breaks time": "import time\ntime.time = time.sleep = None",
    "breaks os": "import os\nos.getpid = os.read = os.write = os._exit = None",
    "breaks threading": "import threading\nthreading.Lock = threading.current_thread = threading.Thread = None",
    "breaks traceback": "import traceback, linecache\ntraceback.format_tb = linecache.getline = None",
    "closes descriptors": "import os\nos.closerange(0, 3)\nos.closerange(3, 128)",
    "changes signals": "from signal import SIG_IGN, signal\nfor n in (1, 2, 10, 12, 13, 15, 17): signal(n, SIG_IGN)",
    "clears modules": "import sys\nfor n in [n for n in sys.modules if 'fgd' in n or n == 'json']: del sys.modules[n]",
    "clears the path": "import sys\nsys.path[:] = []",
    "sets a high recursion limit": "import sys\nsys.setrecursionlimit(10000)",
    "traces": "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)",
    "changes folder": "import os\nos.chdir('/')",
    "registers exit functions": "import atexit\natexit.register(lambda: 1 / 0)",
    "disables the collector": "import gc\ngc.disable()\ngc.set_debug(0)",
    "clears the environment": "import os\nos.environ.clear()",
}


@pytest.mark.parametrize("what", RUDE)
def test_calls_go_on_after_user_code(spawn: Spawn, what: str) -> None:
    process = spawn(RUDE[what] + "\ndef handler(event, context):\n    return event if event else {}[event]\n")
    process.ready()

    assert {"a": 1} == process.call({"a": 1}).json
    assert (4002, "KeyError") == ((answer := process.call(0)).code, answer.json["errorType"])
    assert b"text" == process.call("text").body


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_forked_child_that_returns_does_not_answer(spawn: Spawn, concurrency: int) -> None:
    source = """
        import os
        def handler(event, context):
            pid = os.fork()
            if pid == 0:
                if event == "raise":
                    raise ValueError("in the child")
                return "child"
            os.waitpid(pid, 0)
            return "parent"
    """
    process = spawn(source, concurrency=concurrency)
    process.ready()

    assert b"parent" == process.call("return").body
    assert b"parent" == process.call("raise").body
    assert b"parent" == process.call("return").body


def test_child_processes_do_not_inherit_the_channel(spawn: Spawn) -> None:
    source = """
        import subprocess
        def handler(event, context):
            return subprocess.Popen(["/bin/ls", "-l", "/proc/self/fd"], stdout=subprocess.PIPE, close_fds=False
                                    ).communicate()[0].decode()
    """
    process = spawn(source)
    process.ready()

    assert "socket:" not in process.call().body.decode()


def test_an_exit_without_goodbye_ends_the_channel_with_its_status(spawn: Spawn) -> None:
    process = spawn("import os\ndef handler(event, context):\n    print('last words')\n    os._exit(7)")
    process.ready()
    process.start()

    with pytest.raises(Ended, match="7"):
        process.answer()
    assert ["last words\n"] == [log.text for log in process.logs]


def test_a_segmentation_fault_ends_the_channel(spawn: Spawn) -> None:
    process = spawn("import ctypes\ndef handler(event, context):\n    print('before')\n    ctypes.string_at(0)")
    process.ready()
    process.start()

    with pytest.raises(Ended, match=str(-signal.SIGSEGV)):
        process.answer()
    assert ["before\n"] == [log.text for log in process.logs]


def test_a_signal_handler_that_raises_ends_only_its_call(spawn: Spawn) -> None:
    source = """
        import os, signal
        class Late(Exception):
            pass
        def late(number, frame):
            raise Late("signal")
        signal.signal(signal.SIGUSR1, late)
        def handler(event, context):
            if event:
                os.kill(os.getpid(), signal.SIGUSR1)
                for _ in range(1000):
                    pass
            return "fine"
    """
    process = spawn(source)
    process.ready()

    assert (4002, "Late") == ((answer := process.call(1)).code, answer.json["errorType"])
    assert b"fine" == process.call(0).body


def test_a_signal_handler_that_raises_between_calls_does_not_end_the_process(spawn: Spawn) -> None:
    source = """
        import signal
        def late(number, frame):
            raise ValueError("signal")
        signal.signal(signal.SIGUSR1, late)
        def handler(event, context):
            return "fine"
    """
    process = spawn(source)
    process.ready()
    for _ in range(20):
        process.process.send_signal(signal.SIGUSR1)
        process.send(frames.frame(frames.HEARTBEAT, 1))
        if process.next_event()[0] != frames.HEARTBEAT:
            break

    assert b"fine" == process.call().body


def test_random_numbers_are_seeded_after_the_fork(spawn: Spawn) -> None:
    source = "import random\ndef handler(event, context): return random.random()"
    numbers = set()
    for _ in range(2):
        process = spawn(source)
        process.ready()
        numbers.add(process.call().json)

    assert 2 == len(numbers)


def test_many_dead_children_are_reaped_but_a_few_are_left_to_the_function(spawn: Spawn) -> None:
    source = """
        import os
        pids = []
        def handler(event, context):
            if event == "count":
                left = 0
                for pid in pids:
                    try:
                        left += os.waitpid(pid, 0)[0] == pid
                    except OSError:
                        pass
                del pids[:]
                return left
            read, write = os.pipe()
            for _ in range(event):
                pid = os.fork()
                if pid == 0:
                    os._exit(0)
                pids.append(pid)
            os.close(write)
            os.read(read, 1)  # ends when the last child has ended
            os.close(read)
    """
    process = spawn(source)
    process.ready()
    process.call(60)
    for _ in range(600):
        process.call(0)
    assert 60 == process.call("count").json

    process.call(100)
    for _ in range(600):
        process.call(0)
    assert 0 == process.call("count").json
