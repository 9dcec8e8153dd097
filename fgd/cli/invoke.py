"""`fgd invoke`: one event, one result."""

import argparse
import base64
import json
import sys
from pathlib import Path
from urllib.parse import quote

from fgd.cli.client import Answer, Client, refusal
from fgd.cli.report import EXIT_FUNCTION, Refused, UsageError, human_us, note, print_json

#: Longest wait for an answer; the gateway gives up earlier.
_WAIT_S = 960.0


def read_event(data: str) -> bytes:
    """The event that `--data` names: JSON text, `@file`, or `-` for standard input.

    Raises:
        UsageError: the file cannot be read, or it is not JSON.
    """
    if data == "-":
        event = sys.stdin.buffer.read()
    elif data.startswith("@"):
        try:
            event = Path(data[1:]).read_bytes()
        except OSError as error:
            raise UsageError(f"--data {data}: cannot be read: {error.strerror}") from None
    else:
        event = data.encode()
    try:
        json.loads(event)
    except ValueError as error:
        raise UsageError(f"--data: not JSON: {error}; text needs quotes: --data '\"text\"'") from None
    return event


def invoke(args: argparse.Namespace) -> int:
    """Prints the function's result to standard output, everything else to standard error."""
    event = read_event(args.data)
    client = Client(args.admin_socket, timeout_s=_WAIT_S)
    headers = {} if args.memory is None else {"X-Cff-Instance-Memory": str(args.memory)}
    if args.async_:
        return _enqueue(client, args, event, headers)
    if args.tail:
        headers["X-Cff-Log-Type"] = "tail"
    answer = client.send("POST", client.functions_path(args.function, "invocations"), raw=event, headers=headers)
    if answer.status >= 400:
        raise refusal(answer)
    failed = answer.headers.get("x-func-err-code", "0") != "0"
    request_id = answer.headers.get("x-cff-request-id", "")
    timing = timing_of(client, args.function, answer) if args.timing else None
    if args.json:
        print_json(
            {
                "request_id": request_id,
                "error": failed,
                "error_code": int(answer.headers.get("x-func-err-code", "0")),
                "result": _value(answer.body),
                "log": _tail(answer) if args.tail else None,
                "timing": timing,
            }
        )
        return EXIT_FUNCTION if failed else 0
    if args.tail:
        sys.stderr.write(_tail(answer))
        sys.stderr.flush()
    if timing is not None:
        _print_timing(timing)
    if failed:
        note(f"fgd: the function failed with {answer.headers.get('x-func-err-code')}; its log: "
             f"fgd logs {args.function} --request {request_id}")  # fmt: skip
    sys.stdout.buffer.write(answer.body + (b"" if answer.body.endswith(b"\n") else b"\n"))
    return EXIT_FUNCTION if failed else 0


def _enqueue(client: Client, args: argparse.Namespace, event: bytes, headers: dict[str, str]) -> int:
    path = client.functions_path(args.function, "invocations-async")
    answer = client.send("POST", path, raw=event, headers=headers)
    if answer.status >= 400:
        raise refusal(answer)
    accepted = json.loads(answer.body)
    if args.json:
        print_json(accepted)
    else:
        print(accepted["request_id"])
    return 0


def _value(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def _tail(answer: Answer) -> str:
    text = base64.b64decode(answer.headers.get("x-cff-function-log", "")).decode("utf-8", "replace")
    return text if text.endswith("\n") or not text else text + "\n"


def timing_of(client: Client, function: str, answer: Answer) -> dict[str, object]:
    """Where the time of an invocation went, by the names frontend, queue, dispatch, runtime, write (microseconds).

    `start` in it is the cold start it caused: sandbox (instance), code, init. Empty when nothing is recorded of it.
    """
    path = f"/fgd/v1/functions/{quote(function, safe='')}/invocations"
    try:
        found = client.call("GET", path, query={"request_id": answer.headers.get("x-cff-request-id", "")})
    except Refused as error:
        if error.status in (404, 501):
            return {}
        raise
    if not found["invocations"]:
        return {}
    record: dict[str, object] = found["invocations"][0]
    starts = [start for start in found["starts"] if start["instance_id"] == record["instance_id"]]
    return record | ({"start": starts[0]} if starts else {})


def _print_timing(timing: dict[str, object]) -> None:
    names = ("frontend", "queue", "dispatch", "runtime", "write")
    parts = [f"{name} {human_us(float(str(timing[f'{name}_us'])))}" for name in names if f"{name}_us" in timing]
    start = timing.get("start")
    if isinstance(start, dict):
        cold = [f"{name} {human_us(start[f'{name}_us'])}" for name in ("instance", "code", "init")]
        parts.append(f"cold start: {', '.join(cold)}")
    note("time: " + (", ".join(parts) or "not recorded"))
