"""Heartbeat, pre-stop and another size, as the real runtime answers them on every Python."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from fgd.wire import frames
from tests.runtime.harness import REQUEST_ID, RuntimeProcess

type Spawn = Callable[..., RuntimeProcess]
ECHO = "def handler(event, context):\n    return event\n"


def ask(runtime: RuntimeProcess, question: int = 77) -> bytes:
    """Asks the heartbeat and gives the answer's body; other calls may be under way."""
    runtime.send(frames.frame(frames.HEARTBEAT, question))
    kind, _, call_id, body = runtime.next_event()
    assert (frames.HEARTBEAT, question) == (kind, call_id)
    return body


@pytest.mark.parametrize("concurrency", [1, 4])
def test_without_a_function_the_runtime_itself_answers(spawn: Spawn, concurrency: int) -> None:
    runtime = spawn(ECHO, concurrency=concurrency)
    runtime.ready()

    assert b"\x01" == ask(runtime)
    assert 5 == runtime.call(5).json


CHOOSING = """
import sys
SAID = [True]
def handler(event, context):
    SAID[0] = event
def beat():
    if SAID[0] == "raise":
        raise ValueError("no disk")
    if SAID[0] == "exit":
        sys.exit(0)
    return SAID[0]
"""


def test_only_true_is_well(spawn: Spawn) -> None:
    runtime = spawn(CHOOSING, heartbeat="index.beat")
    runtime.ready()
    answers = {}
    for said in (True, False, None, 1, "raise", "exit", True):
        runtime.call(said)
        answers[said if isinstance(said, str) else repr(said)] = ask(runtime)

    assert {
        "True": b"\x01",
        "False": b"\x00returned false",
        "None": b"\x00returned NoneType, which is not a Boolean",
        "1": b"\x00returned int, which is not a Boolean",
        "raise": b"\x00raised ValueError: no disk",
        "exit": b"\x00raised SystemExit: 0",
    } == answers
    assert [40, 40] == [log.level for log in runtime.logs]
    assert 'File "index.py"' in runtime.logs[0].text


BUSY = """
import time
def handler(event, context):
    end = time.time() + event["s"]
    while event["spin"] and time.time() < end:
        pass
    time.sleep(max(0, end - time.time()))
    return "done"
def beat():
    print("beat")
    return True
"""


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("spin", [True, False])
def test_busy_handler_does_not_keep_the_answer_back(spawn: Spawn, concurrency: int, spin: bool) -> None:
    runtime = spawn(BUSY, heartbeat="index.beat", concurrency=concurrency)
    runtime.ready()
    call_id = runtime.start({"s": 0.6, "spin": spin})
    time.sleep(0.2)
    began = time.monotonic()
    body = ask(runtime)
    took_s = time.monotonic() - began
    answered, answer = runtime.answer()

    assert b"\x01" == body
    assert took_s < 0.35
    assert (call_id, b"done") == (answered, answer.body)
    assert ["beat\n"] == [log.text for log in runtime.logs if log.call_id == 0]


STUCK = """
import threading
LOCK = threading.Lock()
def handler(event, context):
    LOCK.acquire()
    LOCK.acquire()
def beat():
    with LOCK:
        return True
"""


@pytest.mark.parametrize("concurrency", [1, 2])
def test_deadlocked_handler_is_found_out_by_a_heartbeat_that_needs_its_lock(spawn: Spawn, concurrency: int) -> None:
    runtime = spawn(STUCK, heartbeat="index.beat", concurrency=concurrency)
    runtime.ready()
    assert b"\x01" == ask(runtime)
    runtime.start()
    time.sleep(0.2)
    runtime.send(frames.frame(frames.HEARTBEAT, 78))
    runtime.channel.settimeout(0.3)

    with pytest.raises(TimeoutError):
        runtime.receive()


def test_questions_that_pile_up_are_answered_by_the_newest(spawn: Spawn) -> None:
    source = """
import time
COUNT = []
def beat():
    COUNT.append(1)
    time.sleep(0.4)
    return True
def count(event, context):
    return len(COUNT)
"""
    runtime = spawn(source, heartbeat="index.beat", handler="index.count")
    runtime.ready()
    for question in (1, 2, 3):
        runtime.send(frames.frame(frames.HEARTBEAT, question))
        time.sleep(0.1)
    answered = [runtime.next_event()[2] for _ in range(2)]

    assert [1, 3] == answered
    assert 2 == runtime.call().json


@pytest.mark.parametrize(
    ("heartbeat", "source", "message"),
    [
        ("index.beat", ECHO, "heartbeat function 'beat' not found in module './index.py'"),
        ("index.beat", ECHO + "beat = 5\n", "heartbeat function 'beat' in module './index.py' is not callable"),
        ("index.beat", ECHO + "def beat(context): pass\n", "heartbeat expect to have 0 parameters, but received 1"),
    ],
)
def test_wrong_heartbeat_fails_the_start_with_4006(spawn: Spawn, heartbeat: str, source: str, message: str) -> None:
    runtime = spawn(source, heartbeat=heartbeat)
    call_id, answer = runtime.answer()

    assert (0, 4006) == (call_id, answer.code)
    assert f"heartbeat function exception, error: {message}" == answer.json["errorMessage"]
    assert 1 == runtime.status()


def test_large_events_and_results_pass_a_runtime_with_a_heartbeat(spawn: Spawn) -> None:
    runtime = spawn(ECHO + "def beat(): return True\n", heartbeat="index.beat")
    runtime.ready()
    event = "x" * 3_000_000

    assert event.encode() == runtime.call(event).body
    assert [b"%d" % number for number in range(50)] == [runtime.call(number).body for number in range(50)]


def stop(runtime: RuntimeProcess, seconds: float = 5.0) -> tuple[int, Any]:
    """Has the pre-stop handler called; gives the answer's code and body."""
    runtime.send(frames.stop_frame(99, REQUEST_ID, time.time() + seconds))
    call_id, answer = runtime.answer()
    assert 99 == call_id
    return answer.code, answer.body


@pytest.mark.parametrize(
    ("signature", "text", "concurrency"),
    [
        ("def bye(context)", "context", 1),
        ("def bye(context=None)", "context", 3),
        ("def bye(*all)", "context", 1),
        ("def bye()", "nothing", 3),
        ("def bye(**named)", "nothing", 1),
    ],
)
def test_pre_stop_gets_the_context_if_it_takes_one(spawn: Spawn, signature: str, text: str, concurrency: int) -> None:
    given = "context" if "context" in signature else "(all or [None])[0]" if "*all" in signature else "None"
    source = f"""
def handler(event, context):
    context.set_state(event)
{signature}:
    context = {given}
    if context is None:
        print("nothing")
    else:
        assert 0 < context.getRemainingTimeInMilliSeconds() <= 5000
        print("context %s %s" % (context.getRequestID(), context.get_state()))
"""
    runtime = spawn(source, pre_stop="index.bye", concurrency=concurrency)
    runtime.ready()
    runtime.call("kept")

    assert (0, b"") == stop(runtime)
    (log,) = [log for log in runtime.logs if log.call_id == 99]
    assert (f"context {REQUEST_ID} kept\n" if text == "context" else "nothing\n") == log.text


def test_callable_object_is_tried_with_the_context_then_without(spawn: Spawn) -> None:
    source = (
        ECHO
        + """
class Bye(object):
    def __call__(self):
        print("called")
bye = Bye()
"""
    )
    runtime = spawn(source, pre_stop="index.bye")
    runtime.ready()

    assert (0, b"") == stop(runtime)
    assert ["called\n"] == [log.text for log in runtime.logs]


@pytest.mark.parametrize("raised", ["ValueError('no')", "SystemExit(0)", "TypeError('own')"])
def test_pre_stop_that_raises_is_an_error_and_not_called_twice(spawn: Spawn, raised: str) -> None:
    runtime = spawn(ECHO + f"def bye(context):\n    print('once')\n    raise {raised}\n", pre_stop="index.bye")
    runtime.ready()
    code, body = stop(runtime)

    assert 4002 == code
    assert raised.partition("(")[0] == json.loads(body)["errorType"]
    assert ["once\n"] == [log.text for log in runtime.logs]


def test_pre_stop_may_be_in_another_file_and_a_wrong_one_fails_the_start(spawn: Spawn) -> None:
    files = {"index.py": ECHO, "end.py": "def bye():\n    print('from end')\ndef two(a, b):\n    pass\n"}
    runtime = spawn(files=files, pre_stop="end.bye")
    runtime.ready()
    assert (0, b"") == stop(runtime)

    for wrong, message in (
        ("end.two", "pre-stop handler expect to have 0 or 1 parameters, but received 2"),
        ("end.none", "pre-stop handler 'none' not found in module './end.py'"),
        ("nowhere.bye", "not found module './nowhere.py'"),
    ):
        call_id, answer = spawn(files=files, pre_stop=wrong).answer()

        assert (0, 4001) == (call_id, answer.code)
        assert f"function entry exception, error: {message}" == answer.json["errorMessage"]


@pytest.mark.parametrize("options", [{}, {"concurrency": 3}, {"heartbeat": "index.beat"}])
def test_other_size_is_seen_by_context_and_environment(spawn: Spawn, options: dict[str, Any]) -> None:
    source = """
import os
def handler(event, context):
    return [context.getMemorySize(), context.getCPUNumber(), os.environ["RUNTIME_MEMORY"], os.environ["RUNTIME_CPU"]]
def beat():
    return True
"""
    runtime = spawn(source, env={"RUNTIME_MEMORY": "128", "RUNTIME_CPU": "300"}, **options)
    runtime.ready()
    before = runtime.call().json
    runtime.send(frames.frame(frames.SIZE, 0, b'{"memory_mib": 1024, "cpu_mcpu": 1000}'))

    assert [128, 300, "128", "300"] == before
    assert [1024, 1000, "1024", "1000"] == runtime.call().json


def test_stop_without_a_handler_is_a_broken_frame(spawn: Spawn) -> None:
    runtime = spawn(ECHO)
    runtime.ready()
    runtime.send(frames.stop_frame(9, REQUEST_ID, 0.0))

    assert 70 == runtime.status()


def test_pre_stop_has_the_credentials_that_came_with_it(spawn: Spawn) -> None:
    runtime = spawn(ECHO + "def bye(context):\n    print(context.getSecurityToken())\n", pre_stop="index.bye")
    runtime.ready()
    runtime.send(frames.stop_frame(9, REQUEST_ID, time.time() + 5, b'{"security_token": "t-1"}'))
    runtime.answer()

    assert ["t-1\n"] == [log.text for log in runtime.logs]
