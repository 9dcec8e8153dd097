"""What functions print and log."""

import time

import pytest

from fgd.wire import frames
from tests.runtime.conftest import Spawn

LINE_MAX_BYTES = 90 * 1024


def test_printed_lines_arrive_before_the_answer_with_its_call_id(spawn: Spawn) -> None:
    process = spawn("def handler(event, context):\n    print('first')\n    print('second')\n    return event")
    process.ready()
    before = time.time()
    answer = process.call(1)

    assert [(0, "first\n"), (0, "second\n")] == [(log.level, log.text) for log in answer.logs]
    assert all(before - 1 < log.time_s < time.time() + 1 for log in answer.logs)


def test_both_streams_and_their_bytes_come_as_lines(spawn: Spawn) -> None:
    source = """
        import sys
        def handler(event, context):
            sys.stdout.write(u"caf\\u00e9 \\U0001f600\\n")
            sys.stderr.write("oops\\n")
            getattr(sys.stdout, "buffer", sys.stdout).write(b"raw \\xff\\n")
            sys.stdout.writelines(["a", "b", "\\n"])
            sys.stdout.flush()
            sys.__stdout__.write("old name\\n")
    """
    process = spawn(source)
    process.ready()

    texts = [log.text for log in process.call().logs]
    assert ["caf\u00e9 \U0001f600\n", "oops\n", "raw \ufffd\n", "ab\n", "old name\n"] == texts


def test_an_unfinished_line_is_ended_with_its_call(spawn: Spawn) -> None:
    process = spawn("import sys\ndef handler(e, c):\n    sys.stdout.write('half %s' % e)\n    sys.stderr.write('more')")
    process.ready()

    assert ["half 1\n", "more\n"] == [log.text for log in process.call(1).logs]
    assert ["half 2\n", "more\n"] == [log.text for log in process.call(2).logs]


def test_streams_look_like_the_real_ones(spawn: Spawn) -> None:
    source = """
        import sys
        def handler(event, context):
            out = sys.stdout
            out.close()
            print("still there")
            return [out.fileno(), sys.stderr.fileno(), out.isatty(), out.encoding.lower(), out.writable(),
                    out.readable(), out.buffer.fileno(), out.closed, out.name]
    """
    process = spawn(source)
    process.ready()

    answer = process.call()
    assert [1, 2, False, "utf-8", True, False, 1, False, "<stdout>"] == answer.json
    assert ["still there\n"] == [log.text for log in answer.logs]


def test_writing_something_else_than_text_is_refused_as_usual(spawn: Spawn) -> None:
    process = spawn("import sys\ndef handler(e, c): sys.stdout.write(3 if bytes is not str else b'x'.no)")
    process.ready()

    assert 4002 == process.call().code


def test_the_logger_sends_records_with_level_and_call(spawn: Spawn) -> None:
    source = """
        def handler(event, context):
            log = context.getLogger()
            log.debug("hidden")
            log.setLevel("DEBUG")
            log.debug("shown %d", 1)
            log.info("%s and %s", "a", "b")
            log.info("%(name)s", {"name": "mapped"})
            log.warn("careful")
            log.warning("careful %s")
            log.error("wrong number %d %d", 1)
            log.critical("worst")
            log.info({"any": 1})
            log.info("100%")
            try:
                1 / 0
            except ZeroDivisionError:
                log.exception("caught")
            log.setLevel("ERROR")
            log.warn("hidden")
    """
    process = spawn(source)
    process.ready()

    logs = process.call().logs
    assert [10, 20, 20, 30, 30, 40, 40, 20, 20, 40] == [log.level for log in logs]
    assert ["shown 1\n", "a and b\n", "mapped\n", "careful\n", "careful %s\n", "wrong number %d %d 1\n", "worst\n",
            "{'any': 1}\n", "100%\n"] == [log.text for log in logs[:9]]  # fmt: skip
    assert logs[9].text.startswith("caught\nTraceback (most recent call last):\n")
    assert "ZeroDivisionError" in logs[9].text


def test_the_standard_logging_module_works(spawn: Spawn) -> None:
    source = """
        import logging
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
        def handler(event, context):
            logging.getLogger("mine").info("hello %s", event)
    """
    process = spawn(source)
    process.ready()

    assert ["INFO hello 1\n"] == [log.text for log in process.call(1).logs]


@pytest.mark.parametrize("way", ["print", "logger"])
def test_a_line_over_90_kib_is_split_between_characters(spawn: Spawn, way: str) -> None:
    source = """
        def handler(event, context):
            text = u"x" + u"\\u20ac" * 100000
            if event == "print":
                print(text.encode("utf-8") if bytes is str else text)
            else:
                context.getLogger().info(text)
    """
    process = spawn(source)
    process.ready()

    texts = [log.text for log in process.call(way).logs]
    assert all(len(text.encode()) <= LINE_MAX_BYTES and text.endswith("\n") for text in texts)
    assert 4 == len(texts)
    assert "x" + "\u20ac" * 100000 == "".join(text[:-1] for text in texts)


def test_a_flood_arrives_whole_in_order_and_in_few_frames(spawn: Spawn) -> None:
    process = spawn("def handler(event, context):\n    for n in range(event): print(n)\n    return 'done'")
    process.ready()

    logs = process.call(20000).logs
    assert [f"{number}" for number in range(20000)] == "".join(log.text for log in logs).split("\n")[:-1]
    assert len(logs) < 2000
    assert all(len(log.text) <= LINE_MAX_BYTES for log in logs)


def test_one_huge_print_arrives_whole(spawn: Spawn) -> None:
    process = spawn("def handler(event, context):\n    print('\\n'.join(['y' * 99] * 20000))")
    process.ready()

    logs = process.call().logs
    assert ("y" * 99 + "\n") * 20000 == "".join(log.text for log in logs)
    assert all(log.text.endswith("\n") for log in logs)


def test_the_last_lines_of_a_flood_arrive_while_the_handler_waits(spawn: Spawn) -> None:
    source = """
        import sys, time
        def handler(event, context):
            for n in range(1000):
                print(n)
            sys.stdin.readline()
            time.sleep(600)
    """
    process = spawn(source)
    process.ready()
    process.start()
    lines: list[str] = []
    while lines[-1:] != ["999"]:
        frame = process.receive()
        assert frames.LOG == frame[0]
        lines += frame[3][frames.LOG_HEAD.size :].decode().splitlines()

    assert [str(number) for number in range(1000)] == lines
    process.process.kill()


def test_a_thread_prints_into_the_call_that_started_it(spawn: Spawn) -> None:
    source = """
        import threading
        go = threading.Event()
        done = threading.Event()
        def late():
            go.wait(10)
            print("late")
            done.set()
        def handler(event, context):
            if event == 1:
                threading.Thread(target=late).start()
            else:
                print("now")
                go.set()
                done.wait(10)
    """
    process = spawn(source)
    process.ready()
    process.call(1)
    process.call(2)

    assert [(2, "now\n"), (1, "late\n")] == [(log.call_id, log.text) for log in process.logs]


def test_a_thread_made_below_threading_prints_into_the_last_call(spawn: Spawn) -> None:
    source = """
        import threading
        try:
            import _thread
        except ImportError:
            import thread as _thread
        done = threading.Event()
        def low():
            print("low")
            done.set()
        def handler(event, context):
            _thread.start_new_thread(low, ())
            done.wait(10)
    """
    process = spawn(source)
    process.ready()

    assert [(1, "low\n")] == [(log.call_id, log.text) for log in process.call().logs]


def test_an_error_in_a_thread_is_printed(spawn: Spawn) -> None:
    source = """
        import threading
        def handler(event, context):
            thread = threading.Thread(target=lambda: 1 / 0)
            thread.start()
            thread.join()
    """
    process = spawn(source)
    process.ready()

    assert "ZeroDivisionError" in "".join(log.text for log in process.call().logs)


def test_child_processes_write_to_the_output_pipe(spawn: Spawn) -> None:
    source = """
        import os, subprocess, sys
        def handler(event, context):
            subprocess.check_call(["/bin/echo", "from a program"])
            pid = os.fork()
            if pid == 0:
                print("from a fork")
                os._exit(0)
            os.waitpid(pid, 0)
            print("from the function")
    """
    process = spawn(source)
    process.ready()
    logs = process.call().logs
    process.channel.close()
    process.status()

    assert ["from the function\n"] == [log.text for log in logs]
    assert "from a program\nfrom a fork\n" == process.raw_output()
