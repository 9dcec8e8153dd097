"""Memory of an idle daemon that knows 1000 functions: the daemon, the launcher, the zygotes with their blanks."""

import time

from bench.host import report, say
from bench.node import ECHO, node

COUNT = 1000


def main() -> None:
    with node() as (daemon, client):
        say(f"memory: {COUNT} functions")
        start = time.perf_counter()
        urn = client.deploy("f", ECHO)
        for number in range(1, COUNT):
            client.deploy(f"f{number}", ECHO)
        created_s = time.perf_counter() - start
        client.invoke(urn, {})
        time.sleep(3.0)
        sizes = {one.pid: one.memory_full_info() for one in daemon.processes()}
        launcher = daemon.launcher().pid
        main_size = sizes.pop(daemon.pid)
        launcher_size = sizes.pop(launcher)
        report(
            "memory",
            {
                "functions": COUNT,
                "creations_per_s": round(COUNT / created_s, 1),
                "daemon_pss_mib": round(main_size.pss / 2**20, 1),
                "daemon_rss_mib": round(main_size.rss / 2**20, 1),
                "launcher_pss_mib": round(launcher_size.pss / 2**20, 1),
                "others_pss_mib": round(sum(one.pss for one in sizes.values()) / 2**20, 1),
                "others": len(sizes),
            },
        )


if __name__ == "__main__":
    main()
