"""Cold starts: from the HTTP request to the answer of a function that has never run, 30 for each runtime.

With blanks kept ready for every runtime of the host; for Python 3.12 also without any, and with a dependency that the
handler's module imports, where each function has code of its own and so a tree of its own. The zygote of a runtime is
there before (an earlier function started it).
"""

import base64
import io
import time
import zipfile

from bench.host import percentile, report, say
from bench.node import ECHO, Line, metric, node, runtimes, target
from fgd.testing.client import Client
from fgd.testing.daemon import DaemonProcess

STARTS = 30


def starts(
    daemon: DaemonProcess, client: Client, runtime: str, *, pooled: bool, dependency: str = ""
) -> dict[str, object]:
    """Times of `STARTS` first invocations, in milliseconds. `dependency`: id of one that has a module `library`."""
    tag = runtime.replace(".", "-")
    lengths = []
    line = Line(daemon.port)
    for number in range(STARTS + 1):
        source = f"import library  # {number}\n{ECHO}" if dependency else ECHO
        wanted = [dependency] if dependency else []
        name = f"cold-{tag}-{number}{'-d' * bool(dependency)}"
        urn = client.deploy(name, source, runtime=runtime, depend_version_list=wanted)
        if number and pooled:
            _wait_filled(daemon, runtime)
        length_ms, _ = line.exchange(target(daemon, client, urn, {"n": number}).wire())
        if number:  # the first one made the zygote
            lengths.append(length_ms)
        else:
            time.sleep(0.5)
    line.close()
    return {
        "p50_ms": round(percentile(lengths, 50), 2),
        "p99_ms": round(percentile(lengths, 99), 2),
        "best_ms": round(min(lengths), 2),
    }


def _wait_filled(daemon: DaemonProcess, runtime: str) -> None:
    """A pool is full when its number of blanks has stopped growing."""
    end = time.monotonic() + 2
    last = -1.0
    while time.monotonic() < end:
        now = metric(daemon, "fgd_node_blanks", runtime=runtime)
        if now and now == last:
            return
        last = now
        time.sleep(0.06)


def add_library(client: Client) -> str:
    """Uploads a dependency of 300 modules, of which one is imported; gives its id."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for number in range(300):
            archive.writestr(f"package/module{number}.py", f"NUMBER = {number}\n" * 50)
        archive.writestr("library.py", "WORD = 1\n")
    body = {
        "name": "library",
        "runtime": "Python3.12",
        "depend_type": "zip",
        "depend_file": base64.b64encode(target.getvalue()).decode(),
    }
    made = client.request("POST", f"/v2/{client.project_id}/fgs/dependencies/version", body)
    return str(made.json()["id"])


def main() -> None:
    results: dict[str, object] = {}
    for name, settings in (("pooled", {}), ("empty", {"blank_pool": 0, "blank_pool_max": 0})):
        with node(**settings) as (daemon, client):
            for runtime in runtimes(daemon) if name == "pooled" else ["Python3.12"]:
                say(f"cold: {runtime}, {name}")
                results[f"{name}_{runtime}"] = starts(daemon, client, runtime, pooled=name == "pooled")
            if name == "pooled":
                say("cold: Python3.12, with a dependency")
                results["dependency_Python3.12"] = starts(
                    daemon, client, "Python3.12", pooled=True, dependency=add_library(client)
                )
    report("cold", results)


if __name__ == "__main__":
    main()
