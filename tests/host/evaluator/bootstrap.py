# mypy: ignore-errors
"""A runtime for tests: runs source that comes by the channel, answers with the value of `out`. Python 2.7 and 3.

Request and answer are one JSON text per line: {"source": ...} and {"out": ...} or {"error": traceback}.
"""

import json
import os
import traceback


def preload():
    """Nothing: all that is needed is imported above."""


def serve(fd, code_ready=None):
    if code_ready is not None:
        code_ready()
    namespace, buffered = {}, b""
    while True:
        data = os.read(fd, 65536)
        if not data:
            return
        buffered += data
        while b"\n" in buffered:
            line, buffered = buffered.split(b"\n", 1)
            answer = json.dumps(_run(json.loads(line.decode("utf-8"))["source"], namespace))
            os.write(fd, answer.encode("utf-8") + b"\n")


def _run(source, namespace):
    try:
        namespace["out"] = None
        exec(source, namespace)
        return {"out": namespace["out"]}
    except Exception:
        return {"error": traceback.format_exc()}


if __name__ == "__main__":
    preload()
    serve(3)
