"""Events in, results out, one call at a time."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fgd.runtime import RuntimeInstall
from fgd.wire import frames
from tests.runtime.conftest import Spawn
from tests.runtime.harness import REQUEST_ID, RuntimeProcess, write_files

SOURCE = """
import os, sys, json, math

class Odd(object):
    pass

class Rude(Exception):
    def __str__(self):
        raise RuntimeError("no text")

def circle():
    ring = []
    ring.append(ring)
    return ring

def deep(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value

def endless(n):
    return endless(n + 1)

def raise_(error):
    raise error

def fall():
    raise ValueError(u"caf\\u00e9 \\U0001f600".encode("utf-8") if bytes is str else u"caf\\u00e9 \\U0001f600")

JOBS = {
    "none": lambda: None,
    "text": lambda: u"caf\\u00e9",
    "dict": lambda: {"a": [1, 2.5, None, True, u"\\u00e9"]},
    "number": lambda: 7,
    "false": lambda: False,
    "empty text": lambda: "",
    "tuple": lambda: (1, 2),
    "odd": lambda: {"o": Odd()},
    "circle": circle,
    "deep": lambda: deep(100000),
    "set": lambda: set([1]),
    "nan": lambda: {"n": float("nan")},
    "infinity": lambda: float("inf"),
    "surrogate": lambda: u"\\ud800" if bytes is not str else Odd(),
    "bytes": lambda: b"\\xff\\xfe" if bytes is not str else Odd(),
    "odd key": lambda: {(1, 2): 3},
    "limit": lambda: "x" * 6291456,
    "too large": lambda: "x" * 6291457,
    "exit": lambda: sys.exit(3),
    "interrupt": lambda: raise_(KeyboardInterrupt()),
    "memory": lambda: raise_(MemoryError("none left")),
    "generator exit": lambda: raise_(GeneratorExit()),
    "recursion": lambda: endless(0),
    "rude": lambda: raise_(Rude()),
    "fall": fall,
    "library": lambda: json.loads("{"),
    "low limit": lambda: sys.setrecursionlimit(60),
    "length": lambda: None,
}

def handler(event, context):
    if isinstance(event, dict) and "job" in event:
        return JOBS[event["job"]]()
    return event
"""


@pytest.fixture(scope="module")
def runtime(install: RuntimeInstall, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeProcess]:
    """One process for all calls of this file: each of them must leave it usable."""
    folder: Path = tmp_path_factory.mktemp("code")
    write_files(folder, {"index.py": SOURCE})
    process = RuntimeProcess(install, folder)
    process.ready()
    yield process
    process.close()


@pytest.mark.parametrize(
    "event", [None, True, 0, -3.5, "text", "", "caf\u00e9 \U0001f600", [1, [2]], {"a": {"b": None}}, {}], ids=repr
)
def test_an_event_comes_back_as_the_result(runtime: RuntimeProcess, event: Any) -> None:
    answer = runtime.call(event)

    assert (frames.RESULT, 0) == (answer.kind, answer.code)
    if event is None:
        assert b"" == answer.body
    elif isinstance(event, str):
        assert (frames.FLAG_TEXT, event.encode()) == (answer.flags, answer.body)
    else:
        assert (0, event) == (answer.flags, answer.json)


def test_white_space_around_an_event_is_fine(runtime: RuntimeProcess) -> None:
    assert [1] == runtime.call(raw=b" \n[1] \t").json


def test_an_event_of_no_bytes_is_none(runtime: RuntimeProcess) -> None:
    assert b"" == runtime.call(raw=b"").body


def test_an_event_that_is_no_json_is_an_error_of_its_call_only(runtime: RuntimeProcess) -> None:
    for raw in (b"{", b"1 2", b"\xff", b"nul"):
        assert 4002 == runtime.call(raw=raw).code
    assert 1 == runtime.call(1).json


def test_an_event_of_six_megabytes_comes_back(runtime: RuntimeProcess) -> None:
    event = "x" * (6 * 1024 * 1024 - 2)

    assert event.encode() == runtime.call(event).body


def test_calls_sent_together_are_answered_in_order(runtime: RuntimeProcess) -> None:
    ids = [runtime.start(number) for number in range(50)]

    answers = [runtime.answer() for _ in ids]
    assert ids == [call_id for call_id, _ in answers]
    assert list(range(50)) == [answer.json for _, answer in answers]


def test_a_call_cut_into_single_bytes_is_answered(runtime: RuntimeProcess) -> None:
    data = frames.invoke_frame(99, REQUEST_ID, 0.0, b'{"a": 1}', b'{"alias": "x"}')
    for at in range(len(data)):
        runtime.send(data[at : at + 1])

    call_id, answer = runtime.answer()
    assert (99, {"a": 1}) == (call_id, answer.json)


@pytest.mark.parametrize(
    ("job", "flags", "body"),
    [
        ("none", 0, b""),
        ("text", 1, "caf\u00e9".encode()),
        ("empty text", 1, b""),
        ("dict", 0, b'{"a": [1, 2.5, null, true, "\\u00e9"]}'),
        ("number", 0, b"7"),
        ("false", 0, b"false"),
        ("tuple", 0, b"[1, 2]"),
        ("limit", 1, b"x" * 6291456),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_results_are_text_or_json_as_json_dumps_writes_it(
    runtime: RuntimeProcess, job: str, flags: int, body: bytes
) -> None:
    answer = runtime.call({"job": job})

    assert (0, flags, body) == (answer.code, answer.flags, answer.body)


@pytest.mark.parametrize(
    "job", ["odd", "circle", "deep", "set", "nan", "infinity", "surrogate", "bytes", "odd key"], ids=str
)
def test_a_result_that_is_no_json_is_4007(runtime: RuntimeProcess, job: str) -> None:
    answer = runtime.call({"job": job})

    assert (frames.ERROR, 4007) == (answer.kind, answer.code)
    assert answer.json["errorMessage"].startswith("function result is invalid, error: ")
    assert answer.json["errorType"] in (
        "TypeError",
        "ValueError",
        "RecursionError",
        "UnicodeEncodeError",
        "RuntimeError",
    )
    assert "stackTrace" not in answer.json


def test_a_result_over_the_limit_is_4004_with_a_bare_string(runtime: RuntimeProcess) -> None:
    answer = runtime.call({"job": "too large"})

    assert 4004 == answer.code
    assert "the return value of the function exceeds the maximum allowed limit" == answer.json


@pytest.mark.parametrize(
    ("job", "kind", "message"),
    [
        ("exit", "SystemExit", "3"),
        ("interrupt", "KeyboardInterrupt", ""),
        ("memory", "MemoryError", "none left"),
        ("generator exit", "GeneratorExit", ""),
        ("rude", "Rude", "<the exception's text cannot be had>"),
        ("fall", "ValueError", "caf\u00e9 \U0001f600"),
    ],
    ids=lambda value: value,
)
def test_whatever_the_handler_raises_is_4002(runtime: RuntimeProcess, job: str, kind: str, message: str) -> None:
    answer = runtime.call({"job": job})

    assert 4002 == answer.code
    assert ("function invocation exception, error: " + message, kind) == (
        answer.json["errorMessage"],
        answer.json["errorType"],
    )
    assert answer.json["stackTrace"][0].startswith('  File "index.py", line ')


def test_the_error_json_is_indented_by_four(runtime: RuntimeProcess) -> None:
    body = runtime.call({"job": "fall"}).body

    assert json.dumps(json.loads(body), indent=4).encode() == body


def test_a_stack_holds_frames_of_user_and_library_but_none_of_the_runtime(runtime: RuntimeProcess) -> None:
    stack = runtime.call({"job": "library"}).json["stackTrace"]

    assert 'index.py", line' in stack[0] and ", in handler\n    return JOBS" in stack[0]
    assert "json" in stack[-1]
    assert not [line for line in stack if "_fgd_runtime" in line or "bootstrap" in line]


def test_the_stack_of_an_endless_recursion_is_cut(runtime: RuntimeProcess) -> None:
    answer = runtime.call({"job": "recursion"})

    assert 4002 == answer.code
    assert answer.json["errorType"] in ("RecursionError", "RuntimeError")
    assert 101 == len(answer.json["stackTrace"])
    assert "more frames" in answer.json["stackTrace"][50]


def test_a_very_low_recursion_limit_does_not_end_the_process(runtime: RuntimeProcess) -> None:
    runtime.call({"job": "low limit"})
    for _ in range(3):
        runtime.call({"job": "dict"})

    assert 4002 == runtime.call({"job": "fall"}).code
    assert 0 == runtime.call({"job": "dict"}).code


def test_an_answer_tells_memory_and_duration(runtime: RuntimeProcess) -> None:
    answer = runtime.call(1)

    assert answer.memory_bytes > 1 << 20
    assert 0 <= answer.duration_us < 60_000_000


def test_a_heartbeat_is_answered_with_one(runtime: RuntimeProcess) -> None:
    runtime.send(frames.frame(frames.HEARTBEAT, 77))

    assert (frames.HEARTBEAT, 0, 77, b"\x01") == runtime.next_event()


def test_a_cancel_of_a_call_that_is_over_does_nothing(runtime: RuntimeProcess) -> None:
    runtime.send(frames.frame(frames.CANCEL, 12345))

    assert 5 == runtime.call(5).json


def test_the_end_of_the_channel_ends_the_process_with_zero(spawn: Spawn) -> None:
    process = spawn("def handler(event, context): pass")
    process.ready()
    process.channel.close()

    assert 0 == process.status()


@pytest.mark.parametrize(
    "data", [b"\xff" * 16, frames.frame(frames.READY, 1), frames.frame(frames.INVOKE, 1, b"short")], ids=repr
)
def test_a_frame_that_may_not_be_ends_the_process(spawn: Spawn, data: bytes) -> None:
    process = spawn("def handler(event, context): pass")
    process.ready()
    process.send(data)

    assert 70 == process.status()
