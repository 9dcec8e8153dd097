"""`make demo`: a daemon of its own, a function deployed and run cold and warm, with timings. Leaves nothing behind."""

import argparse
import json
import shlex
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

from fgd.testing.client import Client, HarnessError
from fgd.testing.daemon import DaemonProcess

_HELLO = Path(__file__).resolve().parents[1] / "examples" / "hello"
_EVENT = {"name": "demo"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--colds", type=int, default=10, help="cold starts to measure")
    parser.add_argument("--warms", type=int, default=500, help="warm requests to measure")
    args = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    folder = Path(tempfile.mkdtemp(prefix="fgd-demo-"))
    daemon = DaemonProcess(folder)
    try:
        began = time.monotonic()
        with daemon:
            print(f"fgd listens on 127.0.0.1:{daemon.port}, ready after {time.monotonic() - began:.1f} s\n")
            _show(daemon, args.colds, args.warms)
    except HarnessError as error:
        print(f"demo: {error}\n", file=sys.stderr)
        print("demo: what this host lacks, if it lacks something, says: .venv/bin/fgd doctor", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: stopped; cleaned up", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\nAll of it is gone again. Next: make serve, then docs/tutorial.md")
    return 0


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _run(daemon: DaemonProcess, *words: str) -> str:
    """One command as a user would type it, with what it prints."""
    print(f"$ fgd {shlex.join(words)}")
    done = daemon.cli(*words, check=False)
    if done.returncode:
        raise HarnessError(f"fgd {words[0]} ended with {done.returncode}: {done.stderr}\n{daemon.log_tail()}")
    print(done.stderr + done.stdout)
    return done.stdout


def _show(daemon: DaemonProcess, colds: int, warms: int) -> None:
    _run(daemon, "deploy", str(_HELLO.relative_to(Path.cwd()) if _HELLO.is_relative_to(Path.cwd()) else _HELLO))
    _run(daemon, "invoke", "hello", "--data", json.dumps(_EVENT), "--timing")
    _run(daemon, "logs", "hello", "--limit", "6")
    _run(daemon, "invoke", "hello", "--data", json.dumps(_EVENT), "--async")

    keys = daemon.create_keys()
    client = daemon.client(keys)
    cold_ms = [_first_call(daemon, client, f"hello-{index}") for index in range(colds)]
    warm_ms = sorted(_call(client, "hello") for _ in range(warms))
    print("HTTP request to answer, over TCP with a token, each instance in its own sandbox:")
    print(f"  cold  p50 {statistics.median(cold_ms):7.2f} ms   worst {max(cold_ms):7.2f} ms   ({colds} new instances)")
    p99 = warm_ms[int(len(warm_ms) * 0.99)]
    print(f"  warm  p50 {statistics.median(warm_ms):7.2f} ms   p99   {p99:7.2f} ms   ({warms} requests in a row)")
    client.close()
    print()
    _run(daemon, "functions", "list", "--match", "hello-0")
    _run(daemon, "async", "list", "hello")


def _first_call(daemon: DaemonProcess, client: Client, name: str) -> float:
    """Deploys under another name, so that the next call needs a new instance."""
    done = daemon.cli("deploy", str(_HELLO), "--name", name, check=False)
    if done.returncode:
        raise HarnessError(f"fgd deploy: {done.stderr}")
    time.sleep(0.05)  # the pool of blank sandboxes fills up again meanwhile, as it would between two users
    return _call(client, name)


def _call(client: Client, name: str) -> float:
    """Milliseconds of one invocation."""
    began = time.perf_counter()
    answer = client.invoke(name, _EVENT)
    took_ms = (time.perf_counter() - began) * 1000
    if answer.status != 200 or answer.json().get("greeting") != "Hello, demo!":
        raise HarnessError(f"{name}: {answer.status} {answer.text[:300]}")
    return took_ms


if __name__ == "__main__":
    sys.exit(main())
