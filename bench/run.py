"""Runs all programs one after the other, keeps their results, and prints the table.

Usage: python -m bench [--json] [PROGRAM ...]. Exit code 1 when a program failed or a figure fell short.
"""

import argparse
import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.host import say
from bench.table import FIGURES, table

PROGRAMS = (
    "ceilings", "warm", "cold", "creation", "density", "enqueue", "logs", "lts", "memory", "leftovers", "kill9",
    "reserved", "timers", "apig",
)  # fmt: skip
#: No program may take longer, so that all together stay below ten minutes.
LIMIT_S = 150


def run(program: str) -> dict[str, Any] | None:
    """One program in a process of its own; None when it failed."""
    say(f"--- {program}")
    start = time.monotonic()
    with subprocess.Popen([sys.executable, "-m", f"bench.{program}"], stdout=subprocess.PIPE, text=True) as process:
        try:
            output, _ = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            say(f"{program} took more than {LIMIT_S} s")
            process.terminate()  # it ends its daemon first
            process.communicate()
            return None
    say(f"{program}: {time.monotonic() - start:.1f} s")
    if process.returncode:
        return None
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures fgd on this host.")
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"all of them by default: {', '.join(PROGRAMS)}")
    parser.add_argument("--json", action="store_true", help="one JSON line for each program instead of the table")
    args = parser.parse_args(arguments)
    unknown = sorted(set(args.programs) - set(PROGRAMS))
    if unknown:
        parser.error(f"no such program: {', '.join(unknown)}; there are {', '.join(PROGRAMS)}")
    results: dict[str, Any] = {}
    failed = []
    for program in args.programs or PROGRAMS:
        result = run(program)
        if result is None:
            failed.append(program)
            continue
        results[program] = result
        if args.json:
            print(json.dumps(result), flush=True)
    folder = Path("bench-results")
    folder.mkdir(exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"
    path.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    if not args.json:
        print(table(results))
    for program in failed:
        say(f"{program} failed")
    say(f"results: {path}")
    return 1 if failed or _short(results) else 0


def _short(results: dict[str, Any]) -> bool:
    lines = table(results).splitlines()
    return any(line.endswith("SHORT") for line in lines[: len(FIGURES) + 1])


if __name__ == "__main__":
    sys.exit(main())
