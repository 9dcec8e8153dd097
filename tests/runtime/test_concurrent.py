"""Several calls at once in one process."""

import signal

import pytest

from fgd.wire import frames
from tests.runtime.conftest import Spawn
from tests.runtime.harness import RuntimeProcess

SOURCE = """
    import threading, time
    gates = {}
    lock = threading.Lock()
    def gate(name):
        with lock:
            return gates.setdefault(name, threading.Event())
    def handler(event, context):
        what = event["do"]
        print("%s begins" % event["name"])
        context.getLogger().info(event["name"])
        if what == "wait":
            gate(event["name"]).wait(30)
        elif what == "open":
            gate(event["for"]).set()
        elif what == "spin":
            gate("spinning").set()
            while True:
                pass
        elif what == "stubborn":
            try:
                while True:
                    pass
            except BaseException:
                return "swallowed"
        elif what == "raise":
            raise ValueError(event["name"])
        elif what == "big":
            return "x" * 6291457
        elif what == "odd":
            return object()
        elif what == "thread":
            result = []
            thread = threading.Thread(target=lambda: (print_(event["name"]), result.append(1)))
            thread.start()
            thread.join()
        elif what == "threads":
            return threading.active_count()
        print("%s ends" % event["name"])
        return event["name"]
    def print_(name):
        print("%s in a thread" % name)
"""


@pytest.fixture
def runtime(spawn: Spawn) -> RuntimeProcess:
    process = spawn(SOURCE, concurrency=4)
    process.ready()
    return process


def test_a_later_call_may_be_answered_first(runtime: RuntimeProcess) -> None:
    first = runtime.start({"do": "wait", "name": "a"})
    second = runtime.start({"do": "wait", "name": "b"})
    third = runtime.start({"do": "open", "name": "c", "for": "b"})

    assert {(third, b"c"), (second, b"b")} == {(i, a.body) for i, a in (runtime.answer(), runtime.answer())}
    fourth = runtime.start({"do": "open", "name": "d", "for": "a"})
    assert {(fourth, b"d"), (first, b"a")} == {(i, a.body) for i, a in (runtime.answer(), runtime.answer())}


def test_lines_belong_to_the_call_that_wrote_them(runtime: RuntimeProcess) -> None:
    names = {runtime.start({"do": "wait", "name": name}): name for name in "abc"}
    opener = runtime.start({"do": "open", "name": "d", "for": "a"})
    answers = dict([runtime.answer(), runtime.answer()])
    assert b"d" == answers[opener].body
    for name in "bc":
        runtime.start({"do": "open", "name": "x", "for": name})
        answers.update([runtime.answer(), runtime.answer()])

    for call_id, name in names.items():
        assert [f"{name} begins\n", f"{name}\n", f"{name} ends\n"] == [log.text for log in answers[call_id].logs]


def test_a_thread_started_by_a_call_prints_into_it(runtime: RuntimeProcess) -> None:
    waiting = runtime.start({"do": "wait", "name": "a"})
    answer = runtime.call({"do": "thread", "name": "b"})
    runtime.start({"do": "open", "name": "c", "for": "a"})
    answers = dict([runtime.answer(), runtime.answer()])

    assert ["b begins\n", "b\n", "b in a thread\n", "b ends\n"] == [log.text for log in answer.logs]
    assert ["a begins\n", "a\n", "a ends\n"] == [log.text for log in answers[waiting].logs]


def test_more_calls_than_threads_wait_their_turn(runtime: RuntimeProcess) -> None:
    waiting = [runtime.start({"do": "wait", "name": str(n)}) for n in range(3)]
    rest = [runtime.start({"do": "none", "name": "r"}) for _ in range(20)]

    assert set(rest) == {runtime.answer()[0] for _ in rest}
    opened = []
    for n in range(3):
        opened.append(runtime.start({"do": "open", "name": "o", "for": str(n)}))
    assert {*waiting, *opened} == {runtime.answer()[0] for _ in range(6)}


def test_threads_are_made_when_they_are_needed(runtime: RuntimeProcess) -> None:
    for _ in range(5):
        runtime.call({"do": "none", "name": "x"})

    assert b"2" == runtime.call({"do": "threads", "name": "x"}).body


@pytest.mark.parametrize(("what", "code"), [("raise", 4002), ("big", 4004), ("odd", 4007), ("no such", 0)])
def test_outcomes_are_the_same_as_one_by_one(runtime: RuntimeProcess, what: str, code: int) -> None:
    answer = runtime.call({"do": what, "name": "n"})

    assert code == answer.code
    if what == "raise":
        assert ["ValueError", 1] == [answer.json["errorType"], len(answer.json["stackTrace"])]


def test_a_heartbeat_is_answered_while_calls_run(runtime: RuntimeProcess) -> None:
    waiting = runtime.start({"do": "wait", "name": "a"})
    runtime.send(frames.frame(frames.HEARTBEAT, 9))
    assert (frames.HEARTBEAT, 0, 9, b"\x01") == runtime.next_event()
    runtime.start({"do": "open", "name": "b", "for": "a"})

    assert waiting in {runtime.answer()[0], runtime.answer()[0]}


@pytest.mark.parametrize("what", ["spin", "stubborn"])
def test_a_cancelled_call_ends_and_the_others_go_on(runtime: RuntimeProcess, what: str) -> None:
    waiting = runtime.start({"do": "wait", "name": "a"})
    spinning = runtime.start({"do": what, "name": "s"})
    while not [log for log in runtime.logs if log.call_id == spinning]:
        runtime.send(frames.frame(frames.HEARTBEAT, 1))
        assert frames.HEARTBEAT == runtime.next_event()[0]
    runtime.send(frames.frame(frames.CANCEL, spinning))
    if runtime.install.version.startswith("2."):  # runs on to its end there; only the others can be told
        runtime.start({"do": "open", "name": "b", "for": "a"})
        assert waiting in {runtime.answer()[0], runtime.answer()[0]}
        return
    call_id, answer = runtime.answer()

    assert (spinning, frames.ERROR, 4208) == (call_id, answer.kind, answer.code)
    assert "function invocation canceled" == answer.json["errorMessage"]
    runtime.start({"do": "open", "name": "b", "for": "a"})
    assert waiting in {runtime.answer()[0], runtime.answer()[0]}


def test_a_cancelled_call_that_waits_for_a_thread_is_answered_at_once(runtime: RuntimeProcess) -> None:
    for name in "abcd":
        runtime.start({"do": "wait", "name": name})
    late = runtime.start({"do": "none", "name": "late"})
    runtime.send(frames.frame(frames.CANCEL, late))
    call_id, answer = runtime.answer()

    assert (late, 4208) == (call_id, answer.code)


def test_cancelling_at_any_moment_gives_one_answer_each(runtime: RuntimeProcess) -> None:
    ids = []
    for number in range(200):
        ids.append(runtime.start({"do": "none", "name": str(number)}))
        runtime.send(frames.frame(frames.CANCEL, ids[-1]))
    answers = dict(runtime.answer() for _ in ids)

    assert set(ids) == set(answers)
    assert {0, 4208} >= {answer.code for answer in answers.values()}, {answer.body for answer in answers.values()}
    assert b"last" == runtime.call({"do": "none", "name": "last"}).body


def test_a_signal_handler_that_raises_does_not_stop_the_reader(spawn: Spawn) -> None:
    source = """
        import signal
        def late(number, frame):
            raise ValueError("signal")
        signal.signal(signal.SIGUSR1, late)
        def handler(event, context):
            return "fine"
    """
    process = spawn(source, concurrency=2)
    process.ready()
    process.process.send_signal(signal.SIGUSR1)

    assert b"fine" == process.call().body
