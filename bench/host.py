"""Facts of the host that stand beside every figure, and the one line that each program prints."""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil


def facts() -> dict[str, object]:
    """Kernel, processors, memory, interpreter, cgroup version, and the load before the measurement."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    return {
        "kernel": platform.release(),
        "cpus": len(os.sched_getaffinity(0)),
        "cpu_model": _cpu_model(),
        "memory_mib": psutil.virtual_memory().total // 2**20,
        "python": platform.python_version(),
        "cgroup": 2 if unified else 1,
        "load": [round(one, 2) for one in os.getloadavg()],
    }


def report(name: str, results: dict[str, Any]) -> None:
    """Prints the one JSON line of a program."""
    line = {"bench": name, "time": datetime.now(UTC).isoformat(timespec="seconds"), "host": facts(), **results}
    print(json.dumps(line), flush=True)


def say(text: str) -> None:
    """Progress, for people; standard output holds the result alone."""
    print(text, file=sys.stderr, flush=True)


def percentile(values: list[float], percent: float) -> float:
    """The value below which `percent` of them lie (nearest rank); 0 without values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
