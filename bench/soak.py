"""Every event source at once, for ten minutes, through functions that write down what they got.

Usage: python -m bench.soak [SECONDS [SOURCE ...]]

What a source has acknowledged must have come to its function: `lost` counts what did not, `repeated` what came more
than once. One function (`kafka_slow`) is slower than its messages come: the rest of those must wait at the broker, not
in the daemon's memory, which is looked at all the time. Timers count ticks: so many as there were seconds.
"""

import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from bench.host import percentile, report, say
from bench.node import node, pss_bytes
from bench.soak_sources import DISK, SOURCES, STREAM_PARTITIONS, STREAM_TOPIC, TIMER_RATE_S, Feed, Source, World
from fgd.testing.kafka import KafkaBroker

SECONDS = 600.0
_STEP_S = 0.2
_SAMPLE_S = 5.0
_DRAIN_S = 60.0
_MIB = 1 << 20


class Pressure(threading.Thread):
    """Feeds one source at its rate until told to stop; what it could not keep up with is not made up for."""

    def __init__(self, source: Source, feed: Feed, stop: threading.Event) -> None:
        super().__init__(name=source.name, daemon=True)
        self._source = source
        self._feed = feed
        self._stop_now = stop
        self.sent = 0
        self.failed = ""

    def run(self) -> None:
        count = max(1, round(self._source.rate_s * _STEP_S))
        step_s = count / self._source.rate_s
        due_s = time.monotonic()
        while not self._stop_now.is_set():
            try:
                self._feed(range(self.sent, self.sent + count))
            except Exception as error:
                self.failed = f"{type(error).__name__}: {error}"
                return
            self.sent += count
            due_s = max(due_s + step_s, time.monotonic() - 1.0)
            self._stop_now.wait(max(0.0, due_s - time.monotonic()))


def arrived(folder: Path, source: Source) -> "Counter[str]":
    """How often each number came to the function of a source."""
    file = folder / source.name
    return Counter(file.read_text("ascii").split()) if file.exists() else Counter()


def missing(folder: Path, source: Source, sent: int) -> int:
    """How many of the first `sent` numbers have not come."""
    found = arrived(folder, source)
    return sum(str(number) not in found for number in range(sent))


def outcome(folder: Path, source: Source, pressure: Pressure | None, seconds: float) -> dict[str, object]:
    """The figures of a source."""
    found = arrived(folder, source)
    came: dict[str, object] = {"came": len(found), "repeated": sum(found.values()) - len(found)}
    if pressure is None:
        return {"expected": int(seconds) * TIMER_RATE_S, **came}
    figures: dict[str, object] = {"sent": pressure.sent, **came}
    figures["lost" if source.drains else "waiting"] = missing(folder, source, pressure.sent)
    return figures | ({"failed": pressure.failed} if pressure.failed else {})


def thirds(values: list[float]) -> list[float]:
    """The medians of the first, second and last third."""
    size = max(1, len(values) // 3)
    return [round(percentile(part, 50), 1) for part in (values[:size], values[size:-size] or values, values[-size:])]


def main(seconds: float = SECONDS, names: tuple[str, ...] = ()) -> None:
    sources = [one for one in SOURCES if not names or one.name in names]
    folder = Path(tempfile.mkdtemp(prefix="fgd-soak-"))
    folder.chmod(0o777)
    try:
        with ExitStack() as stack:
            kafka = stack.enter_context(KafkaBroker())
            kafka.topic(STREAM_TOPIC, STREAM_PARTITIONS)
            streams = {"soak": {"brokers": [kafka.address], "topic": STREAM_TOPIC}}
            daemon, client = stack.enter_context(node(mount_roots=[f"soak={folder}"], streams=streams))
            world = World(daemon, client, kafka, stack)
            stop = threading.Event()
            pressures: dict[str, Pressure] = {}
            mount = {
                "mount_type": "host", "mount_resource": "soak", "mount_share_path": "", "local_mount_path": DISK
            }  # fmt: skip
            for source in sources:
                say(f"soak: {source.name} is made")
                urn = client.deploy(
                    source.name.replace("_", "-"), source.code(), mount_config={"func_mounts": [mount]}
                )  # fmt: skip
                feed = source.make(world, urn)
                if feed is not None:
                    pressures[source.name] = Pressure(source, feed, stop)
            for pressure in pressures.values():
                pressure.start()
            begin_s, cpu_s = time.monotonic(), daemon.cpu_s()
            process = psutil.Process(daemon.pid)
            memory: list[float] = []
            files: list[float] = []
            instances: list[float] = []
            while (lasted_s := time.monotonic() - begin_s) < seconds:
                memory.append(pss_bytes(process) / _MIB)
                files.append(float(process.num_fds()))
                instances.append(float(len(daemon.instances())))
                say(f"soak: {lasted_s:.0f} of {seconds:.0f} s, the daemon has {memory[-1]:.1f} MiB")
                time.sleep(min(_SAMPLE_S, max(0.1, seconds - lasted_s)))
            stop.set()
            for pressure in pressures.values():
                pressure.join()
            lasted_s = time.monotonic() - begin_s
            used_s = daemon.cpu_s() - cpu_s
            say("soak: what is still under way may come")
            waited_s = time.monotonic()
            while time.monotonic() - waited_s < _DRAIN_S and any(
                missing(folder, one, pressures[one.name].sent)
                for one in sources
                if one.drains and one.name in pressures
            ):
                time.sleep(1)
            results: dict[str, Any] = {
                "seconds": round(lasted_s, 1),
                "sources": {one.name: outcome(folder, one, pressures.get(one.name), lasted_s) for one in sources},
                "memory_mib_thirds": thirds(memory),
                "memory_mib_max": round(max(memory), 1),
                "files_thirds": thirds(files),
                "instances_thirds": thirds(instances),
                "cpu_percent": round(used_s / lasted_s * 100, 1),
                "drained_after_s": round(time.monotonic() - waited_s, 1),
            }
            report("soak", results)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS, tuple(sys.argv[2:]))
